//! Parses the command line, runs the command, and returns its exit code.

use std::process::ExitCode;

use clap::Parser;
use pacs_index::cli::{Cli, Command};
use pacs_index::exit::Exit;
use pacs_index::{command, error, settings};

/// Replaces the allocator of glibc, which has an arena for each thread that grows with the archive,
/// and which takes more CPU time.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            command::complain(&error);
            error.exit().into()
        }
    }
}

fn run() -> error::Result<Exit> {
    let arguments = settings::file::complete(std::env::args_os().collect())?;
    match Cli::parse_from(arguments).command {
        Command::Reindex(typed) => command::reindex::run(&typed),
        Command::Audit(typed) => command::audit::run(&typed),
        Command::Repair(typed) => command::repair::run(&typed),
        Command::Import(typed) => command::import::run(&typed),
        Command::Init(typed) => command::init::run(&typed),
    }
}
