//! Compares the reader of shell links with the crate `lnk`: if both return a target, it is the
//! same.

use std::ffi::OsStr;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pacs_index::archive::stub::{Target, recognise};
use tempfile::NamedTempFile;

use crate::support::random::Random;
use crate::support::stubs::{self, LinkInfo, ShellLink};

fn targets(bytes: &[u8]) -> Vec<Target> {
    recognise(bytes, bytes.len() as u64, OsStr::new("1.2.840.1")).expect("a shell link").targets
}

/// Returns the target and the relative path according to `lnk`, which panics on some links.
fn as_read_by_lnk(bytes: &[u8]) -> (Option<String>, Option<String>) {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let read = AssertUnwindSafe(|| {
        let link = lnk::ShellLink::open(file.path(), lnk::encoding::WINDOWS_1252).ok()?;
        Some((link.link_target(), link.string_data().relative_path().clone()))
    });
    catch_unwind(read).ok().flatten().unwrap_or_default()
}

#[test]
fn links_lead_where_another_reader_says() {
    let links = stubs::files().into_iter().filter(|(name, _)| name.ends_with(".lnk"));
    let mut compared = 0;
    for (name, bytes) in links {
        let (target, relative) = as_read_by_lnk(&bytes);
        // `lnk` ignores the flag that forbids the use of LinkInfo.
        let target = target.filter(|_| name != "not-by-info.lnk");
        for path in [target, relative].into_iter().flatten() {
            assert!(targets(&bytes).contains(&Target::Path(path.clone())), "{name}: {path:?}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}

#[test]
fn links_of_any_shape_lead_where_another_reader_says() {
    const PATHS: [&str; 5] = [r"D:\ARCHIVE", r"D:\ARCHIVE\2021\", r"C:\", r"E:\Röntgen\ÿ", r"D:\Ω"];
    const SERVERS: [&str; 3] = [r"\\NAS01\archive", r"\\nas01.example.org\d$", r"\\Größe\Ω"];
    const SUFFIXES: [&str; 4] = ["", "1.2.840.1", r"2021\11\1.2.840.1", "Käse"];
    const RELATIVE: [&str; 3] = [r".\1.2.840.1", r"..\..\x\Ω", "é"];
    let mut random = Random(0x17);
    let mut compared = 0;
    for round in 0..2_000 {
        let mut one_of = |choices: &[&'static str]| choices.get(random.below(choices.len() + 1)).copied();
        let (local, server) = (one_of(&PATHS), one_of(&SERVERS));
        let (device, suffix, relative) = (one_of(&["Z:"]), one_of(&SUFFIXES).unwrap_or("x"), one_of(&RELATIVE));
        let (in_unicode, item_ids) = (one_of(&[""]).is_some(), one_of(&["\u{3}\0\u{1}\0\0"]).unwrap_or(""));
        let info = LinkInfo { local, server, device, suffix, in_unicode };
        let bytes = ShellLink {
            info: Some(info).filter(|_| local.is_some() || server.is_some()),
            item_ids: item_ids.as_bytes(),
            in_unicode,
            relative,
            ..ShellLink::default()
        }
        .bytes();
        let (target, path) = as_read_by_lnk(&bytes);
        for path in [target, path].into_iter().flatten() {
            assert!(targets(&bytes).contains(&Target::Path(path.clone())), "link {round}: {path:?} of {info:?}");
            compared += 1;
        }
    }
    println!("{compared} targets of 2000 links are the same");
    assert!(compared > 1_000, "{compared}");
}
