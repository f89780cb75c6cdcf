//! Tests with a file of each kind, and with files that must not be recognized as one.

use std::ffi::OsStr;

use encoding_rs::WINDOWS_1251;

use super::*;

#[path = "../../../tests/support/stubs.rs"]
mod stubs;

use stubs::{LinkInfo, ShellLink};

fn told(name: &str, bytes: &[u8]) -> Option<Pointer> {
    recognise(bytes, bytes.len() as u64, OsStr::new(name))
}

fn file(name: &str) -> Vec<u8> {
    stubs::files().into_iter().find(|(other, _)| *other == name).unwrap().1
}

/// A short description of a pointer: its kind, and its targets in order.
fn in_words(pointer: &Pointer) -> String {
    let targets = pointer.targets.iter().map(|target| match target {
        Target::Path(path) => format!("; {path}"),
        Target::Address(address) => format!("; address {address}"),
        Target::Key { algorithm, key } => format!("; {algorithm} {key}"),
    });
    let size = pointer.claimed_size.map(|size| format!(" of {size} bytes")).unwrap_or_default();
    let offline = if pointer.offline { ", offline" } else { "" };
    [format!("{}{size}{offline}", pointer.kind)].into_iter().chain(targets).collect()
}

const EXPECTED: [(&str, &str); 34] = [
    ("local.lnk", r"shell link of 526336 bytes; D:\ARCHIVE\2021\1.2.840.1"),
    ("local-without-end.lnk", r"shell link; D:\ARCHIVE\2021\1.2.840.1"),
    ("local-ansi.lnk", r"shell link; D:\Röntgen\1.2.840.1"),
    ("local-offline.lnk", r"shell link, offline; D:\ARCHIVE\2021\1.2.840.1; ..\..\tier2\1.2.840.1"),
    ("server.lnk", r"shell link; \\NAS01\archive\2021\1.2.840.1; Z:\2021\1.2.840.1"),
    ("both.lnk", r"shell link; D:\ARCHIVE\2021\1.2.840.1; \\NAS01\archive\2021\1.2.840.1; Z:\2021\1.2.840.1"),
    ("unicode.lnk", r"shell link; D:\Röntgen\Ω.dcm; .\Ω.dcm"),
    ("server-unicode.lnk", r"shell link; \\NAS01\archive\Ω\1.2.840.1; Z:\Ω\1.2.840.1"),
    ("relative.lnk", r"shell link; ..\..\tier2\1.2.840.1"),
    ("not-by-info.lnk", r"shell link; ..\..\tier2\1.2.840.1"),
    ("environment.lnk", r"shell link; \\nas01\archive\1.2.840.1"),
    ("variable.lnk", "shell link"),
    ("nothing.lnk", "shell link"),
    ("vault.url", "internet shortcut; address https://vault.example/ViewMessage.asp?VaultId=1&SavesetId=2%20"),
    ("file.url", "internet shortcut; Z:/ARCHIVE/2021/1.2.840.1"),
    ("nothing.url", "internet shortcut"),
    ("link.desktop", "desktop link; /mnt/tier2/1.2.840.1"),
    ("annex", "git-annex pointer of 526336 bytes; SHA256E SHA256E-s526336--0b1bbb2a.dcm"),
    (
        "annex-link",
        "git-annex pointer of 12 bytes; ../.git/annex/objects/Xx/9F/MD5E-s12--0b1b.dcm/MD5E-s12--0b1b.dcm; \
         MD5E MD5E-s12--0b1b.dcm",
    ),
    (
        "lfs",
        "Git LFS pointer of 526336 bytes; \
         sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    ("1.dcm.dvc", "DVC pointer of 526336 bytes; 1.dcm; md5 d41d8cd98f00b204e9800998ecf8427e"),
    ("series.dvc", "DVC pointer of 9 bytes"),
    ("1.dcm.cv-migrated.txt", "note of an archiving system"),
    ("commvault", "note of an archiving system"),
    ("program.desktop", "none"),
    ("notes", "none"),
    ("xsym", "symbolic link (XSym); ../../tier2/2021/1.2.840.1"),
    ("interix", "symbolic link (Interix); /mnt/tier2/1.2.840.1"),
    ("cygwin", "symbolic link (Cygwin); /cygdrive/z/ARCHIVE/1.2.840.1"),
    ("cygwin-old", "symbolic link (Cygwin); /cygdrive/z/ARCHIVE/1.2.840.1"),
    ("alias", "macOS alias"),
    ("gzip", "gzip file"),
    ("zip", "zip archive"),
    ("tar", "tar archive"),
];

#[test]
fn a_stub_of_each_kind_is_told_with_its_targets() {
    let files = stubs::files();
    let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, EXPECTED.map(|(name, _)| name));
    for ((name, bytes), (_, expected)) in files.iter().zip(EXPECTED) {
        let pointer = told(name, bytes);
        assert_eq!(pointer.as_ref().map_or("none".into(), in_words), expected, "{name}");
        // Most kinds are recognized regardless of the file name.
        let is_by_name = [".dvc", ".cv-migrated.txt"].iter().any(|ending| name.ends_with(ending));
        let renamed = told("1.2.840.10008.1", bytes);
        assert_eq!(renamed, pointer.filter(|_| !is_by_name), "{name} under the name of an instance");
    }
}

#[test]
fn dicom_is_never_a_stub() {
    for (name, mut bytes) in stubs::files() {
        bytes.resize(bytes.len().max(132), 0);
        bytes[128..132].copy_from_slice(b"DICM");
        assert_eq!(told(name, &bytes), None, "{name}");
    }
}

#[test]
fn a_file_that_was_not_read_to_its_end_leads_nowhere() {
    for (name, bytes) in stubs::files() {
        for (head, size) in [(&bytes[..bytes.len() - 1], bytes.len() as u64), (&bytes, MOST + 1)] {
            let pointer = recognise(head, size, OsStr::new(name));
            assert!(pointer.is_none_or(|pointer| pointer.is_container), "{name}");
        }
    }
}

#[test]
fn a_file_that_is_cut_leads_to_the_target_or_nowhere() {
    // Text formats have no end marker: their last line may be truncated.
    let with_end = |name: &str| name.ends_with(".lnk") || ["cygwin", "cygwin-old", "xsym"].contains(&name);
    for (name, bytes) in stubs::files().into_iter().filter(|(name, _)| with_end(name)) {
        let whole = told(name, &bytes).unwrap().targets;
        for end in 0..bytes.len() {
            let targets = told(name, &bytes[..end]).map(|pointer| pointer.targets).unwrap_or_default();
            assert!(targets.iter().all(|target| whole.contains(target)), "{name}, cut at {end}: {targets:?}");
        }
    }
}

#[test]
fn a_link_is_read_in_the_code_page_of_its_machine() {
    let info = LinkInfo { local: Some("D:\\\u{CA}\u{D2}"), ..LinkInfo::default() };
    let bytes = ShellLink { info: Some(info), ..ShellLink::default() }.bytes();
    let file = File { head: &bytes, size: bytes.len() as u64, name: OsStr::new("1.2.3"), code_page: WINDOWS_1251 };
    assert_eq!(file.recognise().unwrap().targets, [Target::Path("D:\\КТ".into())]);
}

#[test]
fn a_damaged_symbolic_link_is_known_and_leads_nowhere() {
    let bytes = file("xsym");
    for at in [5, 9, 10, 42, 43, 60] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(told("1.2.3", &damaged), Some(Pointer::opaque(pseudo_symlink::XSYM)), "byte {at}");
    }
    assert_eq!(told("1.2.3", &bytes[..1066]), None);
    // A name with half of a surrogate pair is invalid.
    let odd = [b"IntxLNK\x01".as_slice(), &[0x00, 0xD8, b'a', 0]].concat();
    assert_eq!(told("1.2.3", &odd), Some(Pointer::opaque(pseudo_symlink::INTERIX)));
}

#[test]
fn text_is_read_in_its_encoding() {
    let text = "[InternetShortcut]\r\nURL=\"file://nas01/Röntgen/1.2\"\r\n";
    let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
    let ansi: Vec<u8> = text.chars().map(|character| character as u8).collect();
    for bytes in
        [text.into(), marked(b"\xEF\xBB\xBF", text.as_bytes()), marked(b"\xFF\xFE", &stubs::unicode(text)), ansi]
    {
        let pointer = told("1.2.3", &bytes).unwrap();
        assert_eq!(pointer.targets, [Target::Path("//nas01/Röntgen/1.2".into())]);
    }
}

#[test]
fn desktop_links_are_unescaped_and_variables_of_a_user_are_left() {
    let target = |url: &str| {
        let text = format!("[Desktop Entry]\nVersion=1.0\nType=Link\n{url}\n");
        told("1.2.3", text.as_bytes()).unwrap().targets
    };
    assert_eq!(target("URL=/mnt/a\\sb\\\\c\\x"), [Target::Path("/mnt/a b\\c\\x".into())]);
    assert_eq!(target("URL[$e]=$HOME/x"), []);
    assert_eq!(target("Name=x"), []);
}

#[test]
fn pointers_of_version_control_are_told_from_what_looks_like_them() {
    let oid = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let none = [
        "/annex/objects/".to_owned(),
        "/annex/objects/sha256--a\n".to_owned(),
        "/annex/objects/SHA256-s1\n".to_owned(),
        "/annex/objects/SHA256-s1--\u{1}\n".to_owned(),
        "/annex/objects/SHA256-s1--a\nand a text about it\n".to_owned(),
        "see /annex/objects/SHA256-s1--a\n".to_owned(),
        format!("oid sha256:{oid}\nsize 1\n"),
    ];
    for text in none {
        assert_eq!(told("1.dcm", text.as_bytes()), None, "{text}");
    }
    let opaque = [
        ("1.dcm", "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize x\n".to_owned()),
        ("1.dvc", format!("outs:\n- md5: {oid}\n  path: a\n- md5: {oid}\n  path: b\n")),
        ("1.dvc", "outs:\n- etag: 1\n  path: a\n".to_owned()),
    ];
    for (name, text) in opaque {
        assert_eq!(told(name, text.as_bytes()).map(|pointer| pointer.targets), Some(vec![]), "{text}");
    }
    let elsewhere = format!("wdir: ..\nouts:\n- md5: {oid}\n  path: a\n");
    let targets = told("1.dvc", elsewhere.as_bytes()).unwrap().targets;
    assert_eq!(targets, [Target::Key { algorithm: "md5".into(), key: oid.into() }]);
}
