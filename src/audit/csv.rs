//! Findings by study, as a table for a spreadsheet: which studies have lost images, and how many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::Finding;
use crate::index::Failure;
use crate::index::inspect::Inspector;

/// What a finding says of an image.
enum Is {
    Lost,
    Unreadable,
}

fn is(finding: &Finding) -> Option<Is> {
    match finding.check {
        "missing-file" => Some(Is::Lost),
        "empty-file" | "cut-file" | "unreadable-file" => Some(Is::Unreadable),
        _ => None,
    }
}

/// The studies of which the files of images are lost or cannot be read. No field needs quotes: UIDs and numbers.
pub fn by_study(findings: &[Finding], inspector: &mut Inspector) -> Result<String, Failure> {
    let of_images = findings.iter().filter_map(|finding| Some((finding.uid.as_deref()?, is(finding)?)));
    let of_images: Vec<(&str, Is)> = of_images.collect();
    let images: Vec<&str> = of_images.iter().map(|(uid, _)| *uid).collect();
    let studies = inspector.studies_of(&images)?;
    let mut counts: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (image, is) in &of_images {
        if let Some(study) = studies.of_image.get(*image) {
            let [lost, unreadable] = counts.entry(study).or_default();
            *match is {
                Is::Lost => lost,
                Is::Unreadable => unreadable,
            } += 1;
        }
    }
    let mut csv = String::from("study,expected,lost,unreadable\r\n");
    for (study, [lost, unreadable]) in counts {
        let expected = studies.images.get(study).copied().unwrap_or(0);
        let _ = write!(csv, "{study},{expected},{lost},{unreadable}\r\n");
    }
    Ok(csv)
}
