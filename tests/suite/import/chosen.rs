//! Which files of a source are imported, and how.

use std::fs;

use serde_json::json;

use super::{assert_clean, contents, import, medium, put, put_bytes, site_and_index, uid};
use crate::support::{Index, Site, instance_file, walk};

#[test]
fn only_what_is_chosen_is_imported() {
    let cases: [(&[&str], u64); 6] = [
        (&["--patient", "P1"], 10),
        (&["--study", "1.3.6.1.4.1.32473.7.0", "--study", "1.3.6.1.4.1.32473.7.2"], 20),
        (&["--accession", "A2"], 10),
        (&["--modality", "mr"], 10),
        (&["--study-since", "2021-11-11"], 20),
        (&["--patient", "P0", "--study-since", "2021-11-11"], 10),
    ];
    for (chosen, expected) in cases {
        let (site, index) = site_and_index();
        medium(&site, 30);
        let said = import(&site, "cd", &index, chosen).exits(0);
        assert_eq!((said.figure("inserted"), said.figure("not selected")), (expected, 30 - expected), "{chosen:?}");
        assert_eq!(walk(&site.archive()).len() as u64, expected);
        assert_clean(&site, &index);
    }
}

#[test]
fn files_are_indexed_where_they_lie() {
    let (site, index) = site_and_index();
    medium(&site, 12);
    let said = import(&site, "cd", &index, &["--in-place", "--modality", "CT"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("not selected")), (8, 4));
    assert!(walk(&site.archive()).is_empty());
    let cd = site.path("cd").display().to_string();
    assert_eq!(index.rows(&format!("SELECT COUNT(*) FROM image WHERE path LIKE '{cd}/%'")), ["8"]);
}

#[test]
fn files_without_preamble_are_completed_and_keep_their_data_set() {
    let (site, index) = site_and_index();
    let whole = instance_file(json!({"SOPInstanceUID": "1.2.3"}));
    let group = u32::from_le_bytes(whole[140..144].try_into().unwrap()) as usize;
    let data_set = &whole[144 + group..];
    put_bytes(&site, "cd/bare", data_set);
    put_bytes(&site, "cd/no preamble", &instance_file(json!({"SOPInstanceUID": "1.2.4"}))[128..]);
    put(&site, "cd/whole", json!({"SOPInstanceUID": "1.2.5"}));
    import(&site, "cd", &index, &["--part10"]).exits(0);
    let copies = contents(&site.archive());
    for (uid, source) in [("1.2.3", data_set.to_vec()), ("1.2.5", fs::read(site.path("cd/whole")).unwrap())] {
        assert!(copies[uid][128..].starts_with(b"DICM") && copies[uid].ends_with(&source), "{uid}");
    }
    assert_eq!(copies["1.2.4"], instance_file(json!({"SOPInstanceUID": "1.2.4"})));
    assert_clean(&site, &index);
    // With or without the option, the same instances are already imported.
    for more in [&["--part10"][..], &[]] {
        let said = import(&site, "cd", &index, more).exits(0);
        assert_eq!(said.figure("unchanged"), 3, "{}", said.out);
    }
    let (other, index) = site_and_index();
    put_bytes(&other, "cd/bare", data_set);
    import(&other, "cd", &index, &[]).exits(0);
    assert_eq!(contents(&other.archive())["1.2.3"], data_set, "as it is, where nobody asks for more");
    assert_eq!(import(&other, "cd", &index, &["--part10"]).exits(0).figure("unchanged"), 1);
}

#[test]
fn stubs_and_links_of_a_source_are_told_and_nothing_is_recalled() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    std::os::unix::fs::symlink("IM00000", site.path("cd/DICOM/ST0/link")).unwrap();
    std::os::unix::fs::symlink("gone", site.path("cd/DICOM/ST0/dangling")).unwrap();
    let sparse = fs::File::create(site.path("cd/DICOM/ST0/nearline")).unwrap();
    sparse.set_len(500_000).unwrap();
    put_bytes(&site, "cd/DICOM/ST0/page.url", b"[InternetShortcut]\r\nURL=https://vault.example/x\r\n");
    let said = import(&site, "cd", &index, &[]).exits(1);
    let figures =
        ["inserted", "links within the archive", "stubs not read", "rejected"].map(|label| said.figure(label));
    assert_eq!(figures, [3, 1, 3, 0], "{}", said.out);
    assert_eq!(site.findings("stub").len(), 3);
    assert_clean(&site, &index);
}

#[test]
fn a_source_that_lies_in_the_archive_is_refused() {
    let (site, index) = site_and_index();
    site.add("restored/1", json!({}));
    for source in ["archive", "archive/restored"] {
        let said = import(&site, source, &index, &[]).exits(2);
        assert!(said.err.contains("already") && said.err.contains("--in-place"), "{}", said.err);
    }
    site.write("../around/1", b"x");
    let said = import(&site, ".", &index, &[]).exits(2);
    assert!(said.err.contains("is in the source"), "{}", said.err);
    assert!(!site.path("index.db").exists());
}

#[test]
fn a_choice_that_nothing_fits_is_told() {
    let (site, index) = site_and_index();
    medium(&site, 3);
    for more in [&["--patient", "nobody"][..], &["--patient", "nobody", "--list"]] {
        let said = import(&site, "cd", &index, more).exits(0);
        assert!(said.out.contains("NOTHING MATCHES"), "{}", said.out);
    }
}

#[test]
fn files_that_the_pacs_may_not_find_where_they_lie_are_asked_about() {
    let site = Site::new();
    let index = Index::pacsone();
    medium(&site, 3);
    index.execute("UPDATE config SET archivedir = 'D:/DICOM', archiveage = 0; DELETE FROM autopurge");
    let said = import(&site, "cd", &index, &["--in-place"]).exits(2);
    assert!(said.err.contains("--path-map") && said.err.contains("=D:/DICOM"), "{}", said.err);
    let archive = format!("{}=D:/DICOM", site.path("archive").display());
    let said = import(&site, "cd", &index, &["--in-place", "--path-map", &archive]).exits(2);
    assert!(said.err.contains("--path-map"), "{}", said.err);
    let all = format!("{}=D:/DICOM", site.archive().parent().unwrap().display());
    import(&site, "cd", &index, &["--in-place", "--path-map", &all]).exits(0);
    assert_eq!(index.rows("SELECT COUNT(*) FROM image WHERE path LIKE 'D:/DICOM/cd/%'"), ["3"]);
}

#[test]
fn an_sqlite_index_is_one_file_when_the_import_has_ended() {
    let (site, index) = site_and_index();
    medium(&site, 30);
    import(&site, "cd", &index, &["--move"]).exits(0);
    assert!(!site.path("index.db-wal").exists() && !site.path("index.db-shm").exists());
}

#[test]
fn the_pacs_says_where_copies_belong_and_another_place_is_asked_about() {
    let site = Site::new();
    let index = Index::pacsone();
    medium(&site, 6);
    let archive = site.archive().display().to_string();
    index.execute(&format!("UPDATE config SET archivedir = '{archive}', archiveformat = 3"));
    index.execute("DELETE FROM autopurge; UPDATE config SET archiveage = 0");
    fs::create_dir(site.path("other")).unwrap();
    let other = site.path("other").display().to_string();
    let none: [&str; 0] = [];
    for (more, told, advice) in [
        (["--archive", other.as_str()], "if that is the same directory, add --path-map", "--allow-unmapped-paths"),
        (["--layout", "flat"], "the PACS files by the layout combination, and this import by flat", "--yes"),
    ] {
        let mut command = site.program(&["import", "cd", "--index", &index.url, "--quiet"]);
        command.args(more).env("PACS_INDEX_PASSWORD", crate::support::PASSWORD);
        let said = crate::support::Said::of(&mut command).exits(2);
        assert!(said.err.contains(told) && said.err.contains(advice), "{}", said.err);
        assert_eq!(index.dump(), none);
    }
    let mut command = site.program(&["import", "cd", "--index", &index.url, "--quiet", "--yes"]);
    let said = crate::support::Said::of(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD)).exits(0);
    assert_eq!(said.figure("inserted"), 6);
    let first =
        site.archive().join(index.rows(&format!("SELECT path FROM image WHERE uuid = '{}'", uid(0)))[0].as_str());
    let below: Vec<_> = first.strip_prefix(site.archive()).unwrap().iter().map(|name| name.to_owned()).collect();
    assert_eq!((below.len(), below[1].to_str()), (3, Some("1.3.6.1.4.1.32473.7.0")));
    assert_clean(&site, &index);
}

#[test]
fn an_instance_that_lies_in_another_directory_of_the_pacs_is_compared_there() {
    let site = Site::new();
    let index = site.sqlite();
    medium(&site, 6);
    let (here, old) = (site.archive().display().to_string(), site.path("longterm").display().to_string());
    fs::create_dir(&old).unwrap();
    let maps = [format!("{here}=D:/DICOM"), format!("{old}=E:/DICOM")];
    let maps = ["--path-map", maps[0].as_str(), "--path-map", maps[1].as_str()];
    import(&site, "cd", &index, &maps).exits(0);
    assert_eq!(index.rows("SELECT COUNT(*) FROM image WHERE path LIKE 'D:/DICOM/2%'"), ["6"]);
    // The PACS moves old files.
    let copy = walk(&site.archive()).remove(0);
    fs::rename(&copy, site.path("longterm").join(copy.file_name().unwrap())).unwrap();
    index.execute(&format!(
        "UPDATE image SET path = 'E:/DICOM/' || uuid WHERE uuid = '{}'",
        copy.file_name().unwrap().to_str().unwrap()
    ));
    let said = import(&site, "cd", &index, &maps).exits(0);
    assert_eq!(said.figure("unchanged"), 6, "{}", said.out);
    assert_eq!(walk(&site.archive()).len(), 5, "it is not copied again");
}

#[test]
fn settings_of_an_import_come_from_a_file() {
    let (site, index) = site_and_index();
    medium(&site, 6);
    let file = format!(
        "sources = ['cd']\nindex = '{}'\narchive = 'archive'\nlayout = 'study'\nmodality = ['MR']\n",
        index.url
    );
    fs::write(site.path("site.toml"), file).unwrap();
    let said = site.run(&["import", "--config", "site.toml", "--quiet"]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("not selected")), (2, 4));
    assert_eq!(fs::read_dir(site.archive()).unwrap().count(), 1);
}
