//! Pointer stubs with random damage: any small file is classified quickly and with little memory,
//! and a target is always a valid file name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use pacs_index::archive::stub::{MOST, Pointer, Target, recognise};

use crate::support::memory;
use crate::support::random::Random;
use crate::support::stubs::{self, LinkInfo, ShellLink};

/// The maximum memory for classifying a file: a character of text may become three bytes.
const MOST_MEMORY: usize = 4 * MOST as usize;

#[test]
fn mutated_stubs_are_told_or_not() {
    let seeds = stubs::files();
    let rounds = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 1_000_000 } else { 100_000 };
    let mut random = Random(0x57AB);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut slowest, mut hungriest) = ((Duration::ZERO, 0, ""), (0, 0, ""));
    for round in 0..rounds {
        let (name, seed) = &seeds[random.below(seeds.len())];
        let mut bytes = seed.clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        if random.below(256) == 0 {
            bytes = swollen(&bytes);
        }
        let started = Instant::now();
        let size = bytes.len() as u64;
        let told = || catch_unwind(AssertUnwindSafe(|| recognise(&bytes, size, OsStr::new(name))));
        let (pointer, peak) = memory::peak(told);
        slowest = slowest.max((started.elapsed(), round, name));
        hungriest = hungriest.max((peak, round, name));
        let pointer = pointer.unwrap_or_else(|_| panic!("mutant {round}, of {name}"));
        assert!(pointer.iter().all(makes_sense), "mutant {round}, of {name}: {pointer:?}");
        *counts.entry(verdict(pointer.as_ref())).or_default() += 1;
    }
    println!("{rounds} mutants of {} seeds: {counts:?}", seeds.len());
    println!("the slowest took {:?} (mutant {}, of {})", slowest.0, slowest.1, slowest.2);
    println!("most memory: {} bytes (mutant {}, of {})", hungriest.0, hungriest.1, hungriest.2);
    assert!(slowest.0.as_secs() < 5, "{slowest:?}");
    assert!(hungriest.0 < MOST_MEMORY, "{hungriest:?}");
    for verdict in ["leads somewhere", "leads nowhere", "none"] {
        assert!(counts[verdict] > rounds / 20, "{counts:?}");
    }
}

/// The largest and most difficult pointers: the time must not grow with the square of the size.
#[test]
fn the_largest_stubs_are_told_soon_and_with_little_memory() {
    let mut files: Vec<_> = stubs::files().into_iter().map(|(name, seed)| (name, swollen(&seed))).collect();
    let filled = |beginning: &[u8], with: &[u8]| {
        let room = MOST as usize - beginning.len();
        [beginning, &with.iter().copied().cycle().take(room).collect::<Vec<_>>()].concat()
    };
    let long = "€".repeat(30_000);
    let info =
        LinkInfo { local: Some(&long[..9_000]), suffix: &long[..12_000], in_unicode: true, ..LinkInfo::default() };
    files.extend([
        ("euros.url", filled(b"[InternetShortcut]\nURL=file://", b"\x80")),
        ("escaped.url", filled(b"[InternetShortcut]\nURL=file://", b"%80")),
        ("sections.url", filled(b"", b"[a]\n")),
        ("entries.url", filled(b"[InternetShortcut]\n", b"=\n")),
        ("unicode.url", filled(b"\xFF\xFE[\0I\0]\0\n\0", b"\xAC\x20")),
        ("euros.desktop", filled(b"[Desktop Entry]\nType=Link\nURL=/", b"\\\x80")),
        ("entries.desktop", filled(b"[Desktop Entry]\n", b"a=\n")),
        ("keys", filled(b"/annex/objects/A", b"-s1")),
        ("lines", filled(b"/annex/objects/A--a\n", b"/annex/\n")),
        ("outs.dvc", filled(b"outs:\n", b" a:\n")),
        ("cygwin", filled(b"!<symlink>", b"\x80")),
        ("interix", filled(b"IntxLNK\x01", b"\xAC\x20")),
        ("long.lnk", ShellLink { info: Some(info), ..ShellLink::default() }.bytes()),
        ("blocks.lnk", filled(&ShellLink { without_end: true, ..ShellLink::default() }.bytes(), b"\x08\0\0\0\0\0\0\0")),
    ]);
    let (mut slowest, mut hungriest) = ((Duration::ZERO, ""), (0, ""));
    for (name, bytes) in files {
        let started = Instant::now();
        let (pointer, peak) = memory::peak(|| recognise(&bytes, bytes.len() as u64, OsStr::new(name)));
        slowest = slowest.max((started.elapsed(), name));
        hungriest = hungriest.max((peak, name));
        assert!(pointer.iter().all(makes_sense), "{name}: {pointer:?}");
    }
    println!("the slowest took {slowest:?}, most memory: {hungriest:?}");
    assert!(slowest.0.as_secs() < 2 && hungriest.0 < MOST_MEMORY, "{slowest:?}, {hungriest:?}");
}

fn swollen(seed: &[u8]) -> Vec<u8> {
    seed.iter().copied().cycle().take(if seed.is_empty() { 0 } else { MOST as usize }).collect()
}

fn makes_sense(pointer: &Pointer) -> bool {
    let fits = |text: &str| (1..=3 * MOST as usize).contains(&text.len()) && !text.contains('\0');
    pointer.targets.len() <= 5
        && pointer.targets.iter().all(|target| match target {
            Target::Path(text) | Target::Address(text) => fits(text),
            Target::Key { algorithm, key } => fits(algorithm) && fits(key),
        })
}

fn verdict(pointer: Option<&Pointer>) -> &'static str {
    match pointer {
        None => "none",
        Some(pointer) if pointer.targets.is_empty() => "leads nowhere",
        Some(_) => "leads somewhere",
    }
}

/// Lengths, offsets, flags, ends of strings, markers of text formats.
const AIMED: [&[u8]; 16] = [
    &[0xFF; 4],
    &[0xFF, 0xFF, 0xFF, 0x7F],
    &[0, 0, 0, 0],
    &[0x14, 0, 0, 0],
    &[0x1C, 0, 0, 0],
    &[0x24, 0, 0, 0],
    &[0x14, 0x03, 0, 0, 0x01, 0, 0, 0xA0],
    &[3, 0, 0, 0],
    &[0xFF, 0xFE],
    &[0x00, 0xD8],
    b"\n[InternetShortcut]\nURL=",
    b"file://",
    b"%00",
    b"\r\n",
    b"outs:\n- ",
    b"/annex/",
];

/// Half of the mutations are targeted.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0..=3 => {
            // Offsets are at every fourth byte of the header.
            let at = if random.below(2) == 0 { at & !3 } else { at };
            let aimed = AIMED[random.below(AIMED.len())];
            let end = (at + aimed.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&aimed[..end - at]);
        }
        4 => bytes[at] = random.next() as u8,
        5 => bytes[at] ^= 1 << random.below(8),
        6 => bytes.truncate(at),
        _ => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
    }
}
