//! Every kind of stub: its name, where its data is stored, its target, and its outcome.

use std::fs;
use std::os::unix::fs::symlink;

use super::{large, listed, move_away, write_beside};
use crate::support::stubs::{self, LinkInfo, ShellLink, xsym};
use crate::support::{FATES, Site};

/// An archive with every kind of stub. Each stub that can be followed points to its own instance in
/// `tier2`, which the PACS calls Z:\ARCHIVE.
fn tree() -> Site {
    let site = Site::new();
    let target =
        |name: &str| write_beside(&site, &format!("tier2/{name}"), &large(&format!("1.2.{}", 1000 + name.len())));
    let put = |name: &str, bytes: &[u8]| site.write(&format!("2021-11-12-FRI/{name}"), bytes);
    let link = |name: &str, to: &str| symlink(to, site.archive().join("2021-11-12-FRI").join(name)).unwrap();
    put("1.2.1", &large("1.2.1"));
    // Files that are neither links nor pointers.
    put("without blocks", &large("1.2.2"));
    move_away(&site.archive().join("2021-11-12-FRI/without blocks"));
    put("empty", b"");
    fs::hard_link(site.archive().join("2021-11-12-FRI/1.2.1"), site.archive().join("2021-11-12-FRI/hard link"))
        .unwrap();
    // Symbolic links.
    target("t");
    link("link to online", "../../tier2/t");
    link("link within", "1.2.1");
    link("dangling", "../../tier2/gone");
    link("loop a", "loop b");
    link("loop b", "loop a");
    link("link to a directory", "../../tier2");
    link("link out", "/etc/passwd");
    target("tt");
    move_away(&site.path("tier2/tt"));
    link("link to one without blocks", "../../tier2/tt");
    // Pointers with a target.
    let info = |suffix| LinkInfo { local: Some(r"Z:\ARCHIVE"), suffix, ..LinkInfo::default() };
    let shell_link = |suffix| ShellLink { info: Some(info(suffix)), ..ShellLink::default() }.bytes();
    target("ttt");
    put("shell link", &shell_link("ttt"));
    target("TTtt");
    put("shell link of another case", &shell_link("ttTT"));
    put("shell link to one without blocks", &shell_link("tt"));
    target("ttttt");
    put("internet shortcut", b"[InternetShortcut]\r\nURL=file:///Z:/ARCHIVE/ttttt\r\n");
    target("tttttt");
    put("desktop link", b"[Desktop Entry]\nType=Link\nURL=file:///Z:/ARCHIVE/tttttt\n");
    target("ttttttt");
    put("xsym", &xsym("../../tier2/ttttttt", "c793cb05be799e463554ff98bc295fdf"));
    target("tttttttt");
    put("cygwin", &[b"!<symlink>\xFF\xFE".to_vec(), stubs::unicode("../../tier2/tttttttt\0")].concat());
    target("ttttttttt");
    put("by rule.stub", b"id = 7\r\npath = Z:\\ARCHIVE\\ttttttttt\r\n");
    // Pointers without a target.
    for (name, bytes) in stubs::files() {
        if [
            "server.lnk",
            "variable.lnk",
            "vault.url",
            "annex",
            "lfs",
            "1.dcm.dvc",
            "commvault",
            "alias",
            "gzip",
            "zip",
            "tar",
        ]
        .contains(&name)
        {
            put(name, &bytes);
        }
    }
    site
}

const SETTINGS: [&str; 6] =
    ["--path-map", "TIER2=Z:/ARCHIVE", "--target-root", "tier2", "--pointer-rule", r"\.stub$ => ^path\s*=\s*(.+)$"];

fn settings(site: &Site) -> Vec<String> {
    let tier2 = site.path("tier2").display().to_string();
    SETTINGS.iter().map(|word| word.replace("TIER2", &tier2)).collect()
}

/// Name, kind, locality, Instance Availability, and a word from the reason why the stub was not
/// read.
const NOT_READ: [(&str, &str, &str, &str, &str); 20] = [
    ("without blocks", "file without blocks", "nearline", "NEARLINE", "0 blocks"),
    ("dangling", "symbolic link", "unavailable", "UNAVAILABLE", "not there"),
    ("loop a", "symbolic link", "unavailable", "UNAVAILABLE", "loop"),
    ("loop b", "symbolic link", "unavailable", "UNAVAILABLE", "loop"),
    ("link to a directory", "symbolic link", "unknown", "NEARLINE", "name the directory as a root"),
    ("link out", "symbolic link", "unknown", "NEARLINE", "--target-root"),
    ("link to one without blocks", "symbolic link", "nearline", "NEARLINE", "0 blocks"),
    ("shell link to one without blocks", "shell link", "nearline", "NEARLINE", "0 blocks"),
    ("server.lnk", "shell link", "offline", "OFFLINE", "--path-map DIRECTORY=//NAS01/archive"),
    ("variable.lnk", "shell link", "offline", "OFFLINE", "names no file"),
    ("vault.url", "internet shortcut", "offline", "OFFLINE", "never fetched"),
    ("annex", "git-annex pointer", "offline", "OFFLINE", "not looked into"),
    ("lfs", "Git LFS pointer", "offline", "OFFLINE", "not looked into"),
    ("1.dcm.dvc", "DVC pointer", "offline", "OFFLINE", "not looked into"),
    ("commvault", "note of an archiving system", "offline", "OFFLINE", "names no file"),
    ("alias", "macOS alias", "offline", "OFFLINE", "names no file"),
    ("gzip", "gzip file", "online", "ONLINE", "contents"),
    ("zip", "zip archive", "online", "ONLINE", "contents"),
    ("tar", "tar archive", "online", "ONLINE", "contents"),
    ("shell link of two cases", "shell link", "unknown", "NEARLINE", "case"),
];

#[test]
fn every_kind_is_told_and_what_is_online_is_indexed() {
    let site = tree();
    // Two files whose names differ only in case: the target is ambiguous.
    write_beside(&site, "tier2/UU", b"");
    write_beside(&site, "tier2/uu", b"");
    let info = LinkInfo { local: Some(r"Z:\ARCHIVE"), suffix: "Uu", ..LinkInfo::default() };
    let bytes = ShellLink { info: Some(info), ..ShellLink::default() }.bytes();
    site.write("2021-11-12-FRI/shell link of two cases", &bytes);
    let settings = settings(&site);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let index = site.sqlite();
    let preview = site.reindex(&index, &[&settings[..], &["--dry-run"]].concat());
    println!("{}", preview.out);
    let preview = preview.exits(1);
    let said = site.reindex(&index, &settings).exits(1);
    for said in [&preview, &said] {
        assert_eq!(FATES.iter().map(|fate| said.figure(fate)).sum::<u64>(), said.figure("files found"));
        assert_eq!(said.figure("stubs not read"), NOT_READ.len() as u64);
        assert_eq!(said.figure("links within the archive"), 1);
        assert_eq!((said.figure("rejected"), said.figure("duplicates not chosen")), (1, 1), "empty; the hard link");
    }
    for (name, kind, locality, availability, why) in NOT_READ {
        let line = listed(&site, name);
        let told = [&line["reason"], &line["locality"], &line["availability"]];
        assert_eq!(told, [kind, locality, availability], "{line}");
        assert!(line["detail"].as_str().unwrap().contains(why), "{line}");
    }
    let archive = site.archive().join("2021-11-12-FRI").display().to_string();
    let mut paths = index.rows("SELECT path FROM image");
    paths.sort();
    let here = |name: &str| format!("{archive}/{name}");
    let mut expected = vec![
        here("hard link"),
        here("link to online"),
        "Z:/ARCHIVE/ttt".into(),
        "Z:/ARCHIVE/TTtt".into(),
        "Z:/ARCHIVE/ttttt".into(),
        "Z:/ARCHIVE/tttttt".into(),
        "Z:/ARCHIVE/ttttttt".into(),
        "Z:/ARCHIVE/tttttttt".into(),
        "Z:/ARCHIVE/ttttttttt".into(),
    ];
    expected.sort();
    assert_eq!(paths, expected, "a plain open follows a symbolic link, and none of the others");
    let again = site.reindex(&index, &settings).exits(1);
    assert_eq!((again.figure("unchanged"), again.figure("inserted")), (expected.len() as u64, 0));
}

#[test]
fn a_site_chooses_by_which_path_the_index_names_what_a_stub_leads_to() {
    for (choice, link, pointer) in [("link", "archive/link", "archive/pointer"), ("target", "tier2/a", "tier2/b")] {
        let site = Site::new();
        write_beside(&site, "tier2/a", &large("1.2.1"));
        write_beside(&site, "tier2/b", &large("1.2.2"));
        symlink("../tier2/a", site.archive().join("link")).unwrap();
        site.write("pointer", &ShellLink { relative: Some(r"..\tier2\b"), ..ShellLink::default() }.bytes());
        let index = site.sqlite();
        site.reindex(&index, &["--target-root", "tier2", "--stub-path", choice]).exits(0);
        let expected = [link, pointer].map(|path| site.path(path).canonicalize().unwrap_or(site.path(path)));
        let expected: Vec<String> = expected.iter().map(|path| path.display().to_string()).collect();
        let expected = if choice == "link" {
            [link, pointer].map(|p| site.path(p).display().to_string()).to_vec()
        } else {
            expected
        };
        assert_eq!(index.rows("SELECT path FROM image ORDER BY uuid"), expected, "{choice}");
    }
}

#[test]
fn links_out_of_the_allowed_directories_are_not_followed() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    write_beside(&site, "tier2/inside", &large("1.2.2"));
    write_beside(&site, "elsewhere/secret", &large("1.2.3"));
    // Through a link inside the allowed directory, through `..`, and through a symlinked directory
    // on the target's path.
    symlink("../elsewhere/secret", site.path("tier2/out")).unwrap();
    symlink("../elsewhere", site.path("tier2/door")).unwrap();
    symlink("../tier2/out", site.archive().join("link")).unwrap();
    let pointer =
        |name: &str, to: &str| site.write(name, &ShellLink { relative: Some(to), ..ShellLink::default() }.bytes());
    pointer("by dots", r"..\tier2\..\elsewhere\secret");
    pointer("by a door", r"..\tier2\door\secret");
    pointer("good", r"..\tier2\inside");
    let index = site.sqlite();
    let said = site.reindex(&index, &["--target-root", "tier2"]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (2, 3));
    assert_eq!(index.rows("SELECT uuid FROM image ORDER BY uuid"), ["1.2.1", "1.2.2"]);
}

#[test]
fn a_pointer_to_a_file_of_the_archive_is_no_second_instance() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    site.write("pointer", &ShellLink { relative: Some(r".\1.2.1"), ..ShellLink::default() }.bytes());
    symlink("1.2.1", site.archive().join("link")).unwrap();
    let said = site.reindex(&site.sqlite(), &[]).exits(0);
    assert_eq!((said.figure("inserted"), said.figure("links within the archive")), (1, 2));
}

#[test]
fn a_link_into_a_snapshot_is_not_taken_for_one_to_a_file_that_is_indexed() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    site.write(".snapshot/1.2.2", &large("1.2.2"));
    symlink(".snapshot/1.2.2", site.archive().join("link")).unwrap();
    let said = site.reindex(&site.sqlite(), &[]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (1, 1));
}

#[test]
fn two_pointers_to_one_file_are_one_instance() {
    for threads in ["1", "8"] {
        let site = Site::new();
        let to = |path: &str| ShellLink { relative: Some(path), ..ShellLink::default() }.bytes();
        for n in 0..200 {
            write_beside(&site, &format!("tier2/{n}"), &large(&format!("1.2.{n}")));
            site.write(&format!("a/{n}"), &to(&format!(r"..\..\tier2\{n}")));
            site.write(&format!("b/c/{n}"), &to(&format!(r"..\..\..\tier2\{n}")));
        }
        let index = site.sqlite();
        let said = site.reindex(&index, &["--target-root", "tier2", "--io-threads", threads]);
        assert_eq!((said.figure("files found"), index.count("image")), (400, 200));
        let before = index.dump();
        site.reindex(&index, &["--target-root", "tier2"]);
        assert_eq!(index.dump(), before);
    }
}

#[test]
fn pointers_that_lead_to_each_other_come_to_an_end() {
    let site = Site::new();
    site.write("1.2.1", &large("1.2.1"));
    let to = |path| ShellLink { relative: Some(path), ..ShellLink::default() }.bytes();
    write_beside(&site, "tier2/a", &to(r".\b"));
    write_beside(&site, "tier2/b", &to(r".\a"));
    site.write("pointer", &to(r"..\tier2\a"));
    let said = site.reindex(&site.sqlite(), &["--target-root", "tier2"]).exits(1);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (1, 1));
    assert_eq!(listed(&site, "pointer")["reason"], "chain of links");
}

#[test]
fn dicom_behind_a_preamble_that_looks_like_a_link_is_dicom() {
    let site = Site::new();
    let mut file = large("1.2.1");
    file[..20].copy_from_slice(b"\x4C\0\0\0\x01\x14\x02\0\0\0\0\0\xC0\0\0\0\0\0\0\x46");
    site.write("polyglot", &file);
    assert_eq!(site.reindex(&site.sqlite(), &[]).exits(0).figure("inserted"), 1);
}
