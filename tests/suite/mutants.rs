//! Random damage: any file is read or rejected, quickly and with little memory.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use dicom_core::VR;

use crate::sequences;
use crate::support::headers::{read, verdict};
use crate::support::random::Random;
use crate::support::writer::SYNTAXES;
use crate::support::{description, encoded_instance_file, memory, pydicom};

/// A file to damage, and the offsets of its VRs, which precede lengths.
struct Seed {
    bytes: Vec<u8>,
    vrs: Vec<usize>,
    deflated: bool,
}

/// The number of bytes kept of a file. Headers are much shorter.
const KEPT: usize = 256 * 1024;

/// The maximum memory that reading a file may use; the inflater has additional tables.
const MOST_MEMORY: usize = 384 * 1024;
const MOST_MEMORY_DEFLATED: usize = 512 * 1024;

fn seeds() -> Vec<Seed> {
    let mut files: Vec<Vec<u8>> =
        description::files(include_str!("../../fixtures/archive.json")).into_values().collect();
    // These files contain every sequence that the reader enters.
    files.extend(SYNTAXES.map(|syntax| encoded_instance_file(sequences::report_on_an_animal(), syntax)));
    files.extend(pydicom::files().into_iter().map(|path| fs::read(path).unwrap()));
    files.into_iter().filter(|bytes| !bytes.is_empty()).map(seed).collect()
}

fn seed(mut bytes: Vec<u8>) -> Seed {
    bytes.truncate(KEPT);
    let vrs = (0..bytes.len() - 1).filter(|&at| VR::from_binary([bytes[at], bytes[at + 1]]).is_some()).collect();
    let deflated = bytes.windows(22).any(|window| window == b"1.2.840.10008.1.2.1.99");
    Seed { bytes, vrs, deflated }
}

#[test]
fn a_header_is_read_however_short_it_is_cut() {
    let files = description::files(include_str!("../../fixtures/archive.json"));
    let mut counts = BTreeMap::new();
    for bytes in files.values() {
        for end in 0..bytes.len().min(3000) {
            *counts.entry(verdict(&read(&bytes[..end]))).or_insert(0) += 1;
        }
    }
    println!("{counts:?}");
    assert!(
        ["cut", "indexed", "indexed, cut", "empty"].iter().all(|verdict| counts.contains_key(verdict)),
        "{counts:?}"
    );
}

#[test]
fn mutated_headers_are_read_or_rejected() {
    let seeds = seeds();
    let rounds = if std::env::var_os("PACS_INDEX_TEST_LONG").is_some() { 1_000_000 } else { 20_000 };
    let mut random = Random(0x5EED);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, 0, 0);
    let mut hungriest = [(0, 0, 0); 2];
    for round in 0..rounds {
        let number = random.below(seeds.len());
        let seed = &seeds[number];
        let mut bytes = seed.bytes.clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &seed.vrs, &mut random);
        }
        let started = Instant::now();
        let (outcome, peak) = memory::peak(|| catch_unwind(AssertUnwindSafe(|| read(&bytes))));
        let outcome = outcome.unwrap_or_else(|_| panic!("mutant {round}, of seed {number}"));
        *counts.entry(verdict(&outcome)).or_default() += 1;
        slowest = slowest.max((started.elapsed(), round, number));
        let hungry = &mut hungriest[usize::from(seed.deflated)];
        *hungry = (*hungry).max((peak, round, number));
    }
    println!("{rounds} mutants of {} seeds: {counts:?}", seeds.len());
    println!("the slowest took {:?} (mutant {}, of seed {})", slowest.0, slowest.1, slowest.2);
    for (kind, (peak, round, number)) in ["not deflated", "deflated"].into_iter().zip(hungriest) {
        println!("most memory, {kind}: {peak} bytes (mutant {round}, of seed {number})");
    }
    assert!(slowest.0.as_secs() < 5, "{slowest:?}");
    assert!(hungriest[0].0 < MOST_MEMORY && hungriest[1].0 < MOST_MEMORY_DEFLATED, "{hungriest:?}");
    let indexed = counts["indexed"] + counts["indexed, cut"];
    assert!(indexed > rounds / 10 && indexed < rounds * 9 / 10, "{indexed} of {rounds} mutants are still indexed");
}

/// Lengths, delimiters, VRs, character sets.
const AIMED: [&[u8]; 12] = [
    &[0xFF; 4],
    &[0xF0, 0xFF, 0xFF, 0xFF],
    &[0, 0, 0, 0],
    b"SQ\0\0\xFF\xFF\xFF\xFF",
    b"UN\0\0\xFF\xFF\xFF\xFF",
    b"UT\0\0\xF0\xFF\xFF\xFF",
    b"??",
    b"OB",
    &[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0xFE, 0xFF, 0xDD, 0xE0, 0x00, 0x00, 0x00, 0x00],
    b"\x1B$B",
    b"\\ISO 2022 IR 149",
];

/// Half of the mutations are targeted, most of these at a VR or the length after it.
fn mutate(bytes: &mut Vec<u8>, vrs: &[usize], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    // Headers are at the beginning.
    let within = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(8 * 1024) };
    let at = random.below(within);
    match random.below(6) {
        0..=2 => {
            let aimed = AIMED[random.below(AIMED.len())];
            let vr = vrs.get(random.below(vrs.len().clamp(1, 300))).map(|vr| vr + 2 * random.below(2));
            let at = vr.filter(|at| *at < bytes.len() && random.below(4) != 0).unwrap_or(at);
            let end = (at + aimed.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&aimed[..end - at]);
        }
        3 => bytes[at] = random.next() as u8,
        4 => bytes.truncate(at),
        _ => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
    }
}
