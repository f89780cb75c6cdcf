//! Measures how long it takes to rebuild an index, from the first directory to the last row:
//!
//!     benches/run reindex [--files 20000] [--store DIRECTORY]
//!
//! into SQLite and into MariaDB, compared with two others on the same files: a floor, which opens
//! every file, reads its beginning and discards it, and a peer, Debian's dicomtocsv with LOAD DATA,
//! which loads the same attributes into one table.

#![allow(clippy::disallowed_methods)]
#![recursion_limit = "256"]

mod measure;
mod peer;
mod store;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::path::{Path, PathBuf};

use clap::Parser;
use crossbeam_channel::Receiver;
use pacs_index::archive::walk::FILES_PER_MESSAGE;
use pacs_index::cli::{Cli, Command};
use pacs_index::settings::Reindex;
use walkdir::WalkDir;

use measure::{Contender, Cost, REPETITIONS, Samples, floor, print_table};
use peer::Peer;
use store::Store;
use support::{Index, Site, instance, walk};

#[derive(Parser)]
struct Arguments {
    /// An existing store
    #[arg(long)]
    store: Option<PathBuf>,
    /// Number of files in a store that is created
    #[arg(long, default_value_t = 20_000)]
    files: u64,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The result of a contender.
pub struct Run {
    pub cost: Cost,
    /// The number of images in the index at the end; the floor has none.
    pub images: Option<u64>,
}

fn main() {
    let arguments = Arguments::parse();
    println!("An index from a store, from the page cache\n{}", measure::machine());
    let site = Site::new();
    let store = arguments.store.unwrap_or_else(|| {
        let store = site.path("store");
        Store::of(store.clone(), arguments.files).make().expect("a store is written");
        store
    });
    let files = walk(&store).len();
    let threads = default_threads(&store);
    println!("{files} files; {threads} threads read; {REPETITIONS} repetitions");
    let server = std::env::var("PACS_INDEX_BENCH_MARIADB").ok();
    let peer = server.as_deref().and_then(|server| Peer::find(&site, server));
    if server.is_none() {
        println!("*** No MariaDB, which benches/run starts where it is installed: its lines are LEFT OUT. ***");
    }
    println!();

    let mut contenders = vec![
        Contender::new("floor: walk, open, fstat, read 8 KiB, close", || floor_of_store(&store, threads)),
        Contender::new("pacs-index, SQLite", || reindex(&site, &store, &fresh_sqlite(&site))),
    ];
    if let Some(server) = &server {
        contenders
            .push(Contender::new("pacs-index, MariaDB", || reindex(&site, &store, &Index::mariadb_on(server, &site))));
    }
    if let Some(peer) = &peer {
        contenders.push(Contender::new("dicomtocsv", || peer.read(&store)));
        contenders.push(Contender::new("LOAD DATA", || peer.load()));
    }
    let mut names: Vec<String> = contenders.iter().map(|contender| contender.name.clone()).collect();
    let mut runs = measure::rounds(&mut contenders);
    if peer.is_some()
        && let [.., read, load] = &runs[..]
    {
        let both = read.iter().zip(load);
        let both = both.map(|(read, load)| Run { cost: read.cost.then(load.cost), images: load.images }).collect();
        names.push("dicomtocsv, then LOAD DATA".into());
        runs.push(both);
    }
    print(&names, &runs, files);
    println!("  peak MiB: of a program, and never less than the {} of this one", mebibytes(measure::own_memory()));
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1024.0 / 1024.0)
}

fn print(names: &[String], runs: &[Vec<Run>], files: usize) {
    let wall =
        |runs: &[Run]| runs.iter().map(|run| run.cost.wall.as_secs_f64() * 1e6 / files as f64).collect::<Vec<_>>();
    let row = |(name, runs_of): (&String, &Vec<Run>)| {
        let each = wall(runs_of);
        let (own, ratio) = (Samples::new(each.clone()), Samples::ratios(&each, &wall(&runs[0])));
        let cpu = Samples::new(runs_of.iter().map(|run| run.cost.cpu.as_secs_f64() * 1e6 / files as f64));
        let memory = runs_of.iter().filter_map(|run| run.cost.peak_memory).max();
        let images = runs_of.iter().filter_map(|run| run.images).min();
        vec![
            name.clone(),
            format!("{:.1}", own.median()),
            format!("{:.1}", own.min()),
            format!("{:.1}", own.max()),
            format!("{:.2}", ratio.median()),
            format!("{:.0}", 1e6 / own.median()),
            format!("{:.1}", cpu.median()),
            memory.map_or("-".into(), mebibytes),
            images.map_or("-".into(), |images| images.to_string()),
        ]
    };
    let rows: Vec<_> = names.iter().zip(runs).map(row).collect();
    print_table(
        &["µs a file", "median", "min", "max", "of floor", "files/s", "client CPU", "peak MiB", "images"],
        &rows,
    );
}

/// Returns the default number of threads of a run.
fn default_threads(store: &Path) -> usize {
    let Command::Reindex(typed) = Cli::parse_from(["pacs-index".as_ref(), "reindex".as_ref(), store]).command else {
        unreachable!("it is what was typed")
    };
    Reindex::resolve(&typed).unwrap_or_else(|error| panic!("{error}")).io_threads
}

fn floor_of_store(store: &Path, threads: usize) -> Run {
    let cost = Cost::of(|| {
        let (sender, receiver) = crossbeam_channel::bounded(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let receiver: Receiver<Vec<PathBuf>> = receiver.clone();
                scope.spawn(move || receiver.iter().flatten().for_each(|path| drop(floor(&path))));
            }
            let entries = WalkDir::new(store).into_iter().filter_map(Result::ok);
            let mut files = entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path());
            loop {
                let message: Vec<PathBuf> = files.by_ref().take(FILES_PER_MESSAGE).collect();
                if message.is_empty() {
                    break drop(sender);
                }
                sender.send(message).expect("readers wait for more");
            }
        });
    });
    Run { cost, images: None }
}

fn fresh_sqlite(site: &Site) -> Index {
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(site.path(file));
    }
    site.sqlite()
}

/// Measures a first run, without the state of former ones.
fn reindex(site: &Site, store: &Path, index: &Index) -> Run {
    let _ = std::fs::remove_dir_all(site.path("state"));
    let mut command = site.reindexing(store, index, &[]);
    let (cost, exit) = Cost::of_program(command.stdout(std::process::Stdio::null()));
    assert!(matches!(exit, Some(0 | 1)), "{command:?} ended with {exit:?}");
    Run { cost, images: Some(index.count("image")) }
}
