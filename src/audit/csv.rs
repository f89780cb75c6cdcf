//! The findings by study as CSV for spreadsheets: which studies have lost images, and how many. The
//! format is that of RFC 4180, and no cell is run as a formula.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::Finding;
use crate::index::Failure;
use crate::index::inspect::Inspector;

/// The state of an image according to a finding.
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

/// Returns the studies with images whose files are lost or cannot be read. A `limit` of the scope
/// of the audit is a line of its own at the top, so that a short table is not mistaken for a good
/// result.
pub fn by_study(findings: &[Finding], limit: Option<&str>, inspector: &mut Inspector) -> Result<String, Failure> {
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
    let mut csv = limit.map_or(String::new(), |limit| format!("{}\r\n", cell(&format!("# {limit}"))));
    csv += "study,expected,lost,unreadable\r\n";
    for (study, [lost, unreadable]) in counts {
        let expected = studies.images.get(study).copied().unwrap_or(0);
        let _ = write!(csv, "{},{expected},{lost},{unreadable}\r\n", cell(study));
    }
    Ok(csv)
}

/// Characters that, at the beginning of a text, make a spreadsheet read the cell as a formula, or
/// skip to a formula (OWASP, CSV Injection).
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Returns a cell with a text. A leading apostrophe makes a spreadsheet show a formula instead of
/// running it. A text with any character at which spreadsheets split cells is quoted, so that none
/// of its parts becomes a cell.
fn cell(text: &str) -> String {
    let apostrophe = if text.starts_with(FORMULA) { "'" } else { "" };
    match text.contains([',', ';', '\t', '"', '\r', '\n']) {
        true => format!("\"{apostrophe}{}\"", text.replace('"', "\"\"")),
        false => format!("{apostrophe}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_a_spreadsheet_would_run_is_shown_and_others_are_unchanged() {
        for (text, expected) in [
            ("1.2.840.10008", "1.2.840.10008"),
            ("", ""),
            ("a=1", "a=1"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "\"'\tx\""),
            ("1.2\t=1+1", "\"1.2\t=1+1\""),
            ("\r=x", "\"'\r=x\""),
            ("\n=x", "\"'\n=x\""),
            ("\u{ff20}x", "'\u{ff20}x"),
            ("a,b", "\"a,b\""),
            ("a;b", "\"a;b\""),
            ("=\"x\"", "\"'=\"\"x\"\"\""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
