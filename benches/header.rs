//! Measures how long it takes to read a header, and how much of the file is read:
//!
//!     cargo bench --bench header -- [DIRECTORY] [--files 4000]
//!
//! on the files of a store, or of one that is created for the purpose. The contenders read one file
//! after the other, from the page cache.

#![allow(clippy::disallowed_methods)]
#![recursion_limit = "256"]

mod measure;
mod special;
mod store;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use dicom_dictionary_std::tags;
use dicom_object::OpenFileOptions;
use pacs_index::archive::file::Location;
use pacs_index::archive::locator::Rules;
use pacs_index::archive::{FoundFile, Locator, OpenFile, PathMap, Roots, Standing};
use pacs_index::dicom::window::Source;
use pacs_index::dicom::{HeaderReader, Instance, Rejection};
use tempfile::TempDir;

use measure::{Contender, Cost, REPETITIONS, Samples, floor, print_table};
use store::Store;
use support::{instance, walk};

#[derive(Parser)]
struct Arguments {
    /// An existing store
    directory: Option<PathBuf>,
    /// Number of files in a store that is created
    #[arg(long, default_value_t = 4000)]
    files: u64,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    println!("Headers, one after the other, from the page cache\n{}", measure::machine());
    let scratch = TempDir::with_prefix("pacs-index-bench")?;
    let directory = match arguments.directory {
        Some(directory) => directory,
        None => {
            let directory = scratch.path().join("store");
            Store::of(directory.clone(), arguments.files).make()?;
            directory
        }
    };
    compare_readers(&walk(&directory))?;
    count_reads(&special::make(&scratch.path().join("special"))?)
}

fn compare_readers(paths: &[PathBuf]) -> io::Result<()> {
    let files: Vec<FoundFile> = paths.iter().cloned().map(FoundFile::named).collect();
    let mut reader = HeaderReader::new();
    let locator = &locator(paths);
    // Detecting where the data is stored is a row of its own.
    let located: Vec<Location> = files.iter().filter_map(|file| located(locator, file).ok()).collect();
    let instances = located.iter().filter(|location| read(&mut reader, location).is_ok()).count();
    let sizes = paths.iter().map(|path| header_size(path)).collect::<io::Result<Vec<u64>>>()?;
    let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64;
    println!(
        "{} files, {instances} of them instances, {mean:.0} bytes before Pixel Data on average; {REPETITIONS} repetitions\n",
        paths.len()
    );
    let mut telling = [
        Contender::new("floor: lstat", || each_of(paths, |path| drop(black_box(path.symlink_metadata())))),
        Contender::new("telling where the bytes are", || each_of(&files, |file| drop(black_box(locator.look(file))))),
    ];
    print_rounds(&mut telling, paths.len());
    println!();
    let mut contenders = [
        Contender::new("floor: open, fstat, read 8 KiB, close", || each_of(paths, |path| drop(floor(path)))),
        Contender::new("pacs-index", || each_of(&located, |file| drop(black_box(read(&mut reader, file))))),
        Contender::new("dicom-object, until Pixel Data", || each_of(paths, |path| drop(black_box(peer(path))))),
    ];
    print_rounds(&mut contenders, paths.len());
    Ok(())
}

fn print_rounds(contenders: &mut [Contender<'_, Cost>], files: usize) {
    let costs = measure::rounds(contenders);
    let each = |costs: &[Cost], time: fn(&Cost) -> Duration| {
        costs.iter().map(|cost| time(cost).as_secs_f64() * 1e6 / files as f64).collect::<Vec<f64>>()
    };
    let row = |(contender, own): (&Contender<Cost>, &Vec<Cost>)| {
        let wall = Samples::new(each(own, |cost| cost.wall));
        let cpu = Samples::new(each(own, |cost| cost.cpu));
        let ratio = |time| Samples::ratios(&each(own, time), &each(&costs[0], time)).median();
        let figures = [wall.median(), wall.min(), wall.max(), ratio(|c| c.wall), cpu.median(), ratio(|c| c.cpu)];
        [contender.name.clone()].into_iter().chain(figures.map(|figure| format!("{figure:.2}"))).collect()
    };
    let rows: Vec<Vec<String>> = contenders.iter().zip(&costs).map(row).collect();
    print_table(&["µs a file", "median", "min", "max", "of floor", "CPU", "of floor"], &rows);
}

/// Measures reading all files.
fn each_of<F>(files: &[F], read: impl FnMut(&F)) -> Cost {
    Cost::of(|| files.iter().for_each(read))
}

/// Reads a file like the read stage of a run.
fn read(reader: &mut HeaderReader, location: &Location) -> Result<Instance, Rejection> {
    let open = open(location).map_err(Rejection::Unreadable)?;
    reader.read(&open).and_then(Instance::from_header)
}

fn located<'f>(locator: &Locator, file: &'f FoundFile) -> io::Result<Location<'f>> {
    match locator.look(file)?.standing {
        Standing::Readable(location) => Ok(location),
        _ => Err(io::Error::other("it is not online")),
    }
}

fn open(location: &Location) -> io::Result<OpenFile> {
    location.open()?.ok_or_else(|| io::Error::other("it changed"))
}

/// A locator for files that are all stored in the archive.
fn locator(paths: &[PathBuf]) -> Locator {
    let directory = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
    let roots = Roots::check(&[directory.into()], false).expect("the store is there");
    Locator::new(&roots, &PathMap::default(), Rules::default())
}

fn peer(path: &Path) -> Result<dicom_object::DefaultDicomObject, dicom_object::ReadError> {
    OpenFileOptions::new().read_until(tags::PIXEL_DATA).open_file(path)
}

/// Returns the number of bytes before Pixel Data in a little endian file, or its length, at most 64
/// KiB.
fn header_size(path: &Path) -> io::Result<u64> {
    let mut bytes = vec![0; 64 * 1024];
    let length = std::fs::File::open(path)?.read_at(&mut bytes, 0)?;
    let pixel_data = [0xE0, 0x7F, 0x10, 0x00];
    Ok(bytes[..length].windows(4).position(|window| window == pixel_data).unwrap_or(length) as u64)
}

/// An open file that counts its reads.
struct Counted<'a> {
    file: &'a OpenFile,
    reads: &'a mut u64,
    bytes: &'a mut u64,
}

impl Source for Counted<'_> {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = Source::read_at(&mut self.file, buffer, offset)?;
        *self.reads += 1;
        *self.bytes += read as u64;
        Ok(read)
    }

    fn size(&self) -> Option<u64> {
        Source::size(&self.file)
    }
}

/// The system calls per file besides the reads.
const STAT_OPEN_FSTAT_CLOSE: u64 = 4;

fn count_reads(files: &[(&str, PathBuf)]) -> io::Result<()> {
    let mut reader = HeaderReader::new();
    let mut rows = Vec::new();
    let locator = &locator(&files.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>());
    for (what, path) in files {
        let (mut reads, mut bytes) = (0, 0);
        let file = FoundFile::named(path.clone());
        let open = open(&located(locator, &file)?)?;
        let source = Counted { file: &open, reads: &mut reads, bytes: &mut bytes };
        let verdict = reader.read(source).and_then(Instance::from_header);
        rows.push(vec![
            what.to_string(),
            open.state.size.to_string(),
            bytes.to_string(),
            (reads + STAT_OPEN_FSTAT_CLOSE).to_string(),
            verdict.map_or_else(|rejection| rejection.code(), |_| "indexed").to_owned(),
        ]);
    }
    println!("What is read of a file by pacs-index\n");
    print_table(&["", "size", "bytes read", "system calls", "verdict"], &rows);
    Ok(())
}
