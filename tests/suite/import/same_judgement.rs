//! An import reports what an audit would call damaged right afterwards.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value as Json, json};

use super::{import, put_bytes, site_and_index};
use crate::support::{Said, Site, encoded_instance_file, instance_file};

/// An image of 64 x 64 pixels of two bytes.
fn image(uid: &str, change: Json) -> Vec<u8> {
    let mut all = json!({
        "SOPInstanceUID": uid, "Rows": "64", "Columns": "64", "BitsAllocated": "16", "SamplesPerPixel": "1",
        "PhotometricInterpretation": "MONOCHROME2", "PixelData": {"hex": "01".repeat(8192)},
    });
    change.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
    instance_file(all)
}

fn audited(site: &Site, url: &str) -> BTreeSet<String> {
    let archive = site.archive().display().to_string();
    let mut audit = site.program(&["audit", &archive, "--index", url, "--quiet", "--recheck-after", "0s"]);
    Said::of(audit.args(["--level", "full", "--json", "findings.jsonl"]));
    let text = fs::read_to_string(site.path("findings.jsonl")).unwrap_or_default();
    // The first line states the scope of the audit.
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Json>(line).unwrap());
    lines.map(|line| line["uid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_import_and_the_audit_after_it_name_the_same_files() {
    let (site, index) = site_and_index();
    let whole = image("1.2.1", json!({}));
    let frames = json!({"NumberOfFrames": "3", "PixelData": {"hex": "01".repeat(3 * 8192)}});
    let none = json!({"PixelData": null});
    let half = json!({"PixelData": {"hex": "01".repeat(4096)}});
    let files: [(&str, Vec<u8>); 11] = [
        ("1.2.1", whole),
        ("1.2.2", {
            let mut cut = image("1.2.2", json!({}));
            cut.truncate(cut.len() - 100);
            cut
        }),
        ("1.2.3", image("1.2.3", none.clone())),
        ("1.2.4", image("1.2.4", half)),
        ("1.2.5", [image("1.2.5", json!({})), b"garbage".repeat(100)].concat()),
        ("1.2.6", image("1.2.6", frames)),
        ("1.2.7", image("1.2.7", json!({"NumberOfFrames": "3"}))),
        ("1.2.8", [image("1.2.8", json!({})), vec![0; 200_000]].concat()),
        ("1.2.9", [image("1.2.9", json!({})), vec![0; 500]].concat()),
        // Files whose pixel data has no computable size: a compressed syntax, and a document.
        (
            "1.2.10",
            encoded_instance_file(
                json!({"SOPInstanceUID": "1.2.10", "Rows": "512", "Columns": "512", "BitsAllocated": "16", "SamplesPerPixel": "1"}),
                "1.2.840.10008.1.2.4.50",
            ),
        ),
        ("1.2.11", instance_file(json!({"SOPInstanceUID": "1.2.11"}))),
    ];
    for (name, bytes) in &files {
        put_bytes(&site, &format!("cd/{name}"), bytes);
    }
    let said = import(&site, "cd", &index, &[]).exits(1);
    println!("{}", said.out);
    assert_eq!(said.figure("inserted"), files.len() as u64, "{}", said.out);
    let reported: BTreeSet<String> = site
        .listing()
        .iter()
        .filter(|line| line["what"] == "damaged")
        .map(|line| line["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
        .collect();
    let audited = audited(&site, &index.url);
    let expected = ["1.2.2", "1.2.3", "1.2.4", "1.2.5", "1.2.7", "1.2.8"].map(str::to_owned).into();
    assert_eq!((&reported, &audited), (&expected, &expected), "{}", said.out);
    assert!(said.out.contains("6 damaged files"), "{}", said.out);
    let reasons: BTreeSet<String> =
        site.listing().iter().map(|line| line["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["cut-file", "damaged-file"].map(str::to_owned).into());
}

#[test]
fn a_file_that_is_whole_is_no_finding_of_either() {
    let (site, index) = site_and_index();
    for (n, samples, photometric, bytes) in
        [(1, "3", "RGB", 3 * 4096), (2, "3", "YBR_FULL_422", 2 * 4096), (3, "1", "MONOCHROME2", 4096)]
    {
        let uid = format!("1.2.{n}");
        let change = json!({"BitsAllocated": "8", "SamplesPerPixel": samples, "PhotometricInterpretation": photometric,
            "PixelData": {"hex": "01".repeat(bytes)}});
        put_bytes(&site, &format!("cd/{uid}"), &image(&uid, change));
    }
    import(&site, "cd", &index, &[]).exits(0);
    assert_eq!(audited(&site, &index.url), BTreeSet::new());
}
