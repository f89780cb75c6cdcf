//! Creates a store for measurements: see `store`.
//!
//!     cargo run --release --example generate -- DIRECTORY --files 20000 \
//!         [--per-series 100] [--per-day 2000] [--random-uids] [--disagreeing]

#![allow(clippy::disallowed_methods)]
#![recursion_limit = "256"]

#[path = "../tests/support/instance.rs"]
mod instance;
mod store;

use clap::Parser;

fn main() -> std::io::Result<()> {
    let store = store::Store::parse();
    let series = store.make()?;
    println!("{} files in {series} series below {}", store.files, store.directory.display());
    Ok(())
}
