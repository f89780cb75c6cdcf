//! The outcomes for real files from another source: those of pydicom.

use std::fs;

use crate::support::{Index, Site, on_both_databases, pydicom};

/// Rejected files, with the reasons. Every other file of the package is indexed or is a DICOMDIR.
const REJECTED: [(&str, &str); 22] = [
    // Palettes have no series; the test files listed here were stripped to the few elements that
    // they test.
    ("fall.dcm", "missing-uid"),
    ("hotiron.dcm", "missing-uid"),
    ("hotmetalblue.dcm", "missing-uid"),
    ("pet.dcm", "missing-uid"),
    ("pet20step.dcm", "missing-uid"),
    ("spring.dcm", "missing-uid"),
    ("summer.dcm", "missing-uid"),
    ("winter.dcm", "missing-uid"),
    ("JPEGLSNearLossless_08.dcm", "missing-uid"),
    ("JPEGLSNearLossless_16.dcm", "missing-uid"),
    ("SC_rgb_jls_lossy_line.dcm", "missing-uid"),
    ("SC_rgb_jls_lossy_sample.dcm", "missing-uid"),
    ("UN_sequence.dcm", "missing-uid"),
    ("chrSQEncoding.dcm", "missing-uid"),
    ("chrSQEncoding1.dcm", "missing-uid"),
    ("empty_charset_LEI.dcm", "missing-uid"),
    ("meta_missing_tsyntax.dcm", "missing-uid"),
    ("nested_priv_SQ.dcm", "missing-uid"),
    ("no_meta_group_length.dcm", "missing-uid"),
    ("priv_SQ.dcm", "missing-uid"),
    // The first element has a group with which no data set begins.
    ("no_meta.dcm", "not-dicom"),
    ("zipMR.gz", "gzip file"),
];

/// The names that the index must contain: the character sets of PS3.5 annexes H to K, in files by
/// other authors.
const NAMES: [(&str, &str); 12] = [
    ("chrArab.dcm", "قباني|لنزار|-|-"),
    ("chrFren.dcm", "Buc|Jérôme|-|-"),
    ("chrGerm.dcm", "Äneas|Rüdiger|-|-"),
    ("chrGreek.dcm", "Διονυσιος||-|-"),
    ("chrH31.dcm", "Yamada|Tarou|山田^太郎|やまだ^たろう"),
    ("chrH32.dcm", "ﾔﾏﾀﾞ|ﾀﾛｳ|山田^太郎|やまだ^たろう"),
    ("chrHbrw.dcm", "שרון|דבורה|-|-"),
    ("chrI2.dcm", "Hong|Gildong|洪^吉洞|홍^길동"),
    ("chrKoreanMulti.dcm", "김희중||-|-"),
    ("chrRuss.dcm", "Люкceмбypг||-|-"),
    ("chrX1.dcm", "Wang|XiaoDong|王^小東|-"),
    ("chrX2.dcm", "Wang|XiaoDong|王^小东|-"),
];

#[test]
fn each_file_of_pydicom_is_indexed_or_rejected_for_the_right_reason() {
    let Some(files) = pydicom::directory() else { return };
    on_both_databases(|site, index| {
        let said = site.reindex_root(&files, index, &[]).exits(1);
        let all = pydicom::files();
        assert_eq!(said.figure("files found"), all.len() as u64);
        let indexed = index.rows("SELECT path FROM image");
        for file in &all {
            let name = file.file_name().unwrap().to_str().unwrap();
            let listed = site.listed(&format!("/{}", file.strip_prefix(&files).unwrap().display()));
            let extension = file.extension().map(|extension| extension.to_str().unwrap());
            let expected = match REJECTED.iter().find(|(rejected, _)| *rejected == name) {
                Some((_, reason)) => *reason,
                None if name.starts_with("DICOMDIR") => "skipped",
                None if name == "README" => "not-dicom",
                None if matches!(extension, Some("txt" | "json" | "md" | "icc" | "dump" | "py")) => "not-dicom",
                None => "indexed",
            };
            let verdict = match listed.first() {
                Some((what, reason)) if what == "rejected" || what == "stub" => reason.as_str(),
                // Another file of the same instance is indexed.
                Some((what, _)) if what == "duplicate" => "indexed",
                _ if indexed.contains(&file.display().to_string()) => "indexed",
                _ => "skipped",
            };
            assert_eq!(verdict, expected, "{}", file.display());
        }
    });
}

#[test]
fn names_of_every_character_set_are_stored_as_text() {
    let Some(files) = pydicom::directory() else { return };
    for (file, expected) in NAMES {
        let site = Site::new();
        fs::copy(files.join("charset_files").join(file), site.archive().join(file)).unwrap();
        let index: Index = site.sqlite();
        site.reindex(&index, &[]).exits(0);
        let name = index.rows("SELECT lastname, firstname, ideographic, phonetic FROM patient");
        assert_eq!(name, [expected], "{file}");
        assert_eq!(index.rows("SELECT charset FROM patient"), ["ISO_IR 192"], "{file}");
    }
}
