//! Parse, run, exit.

use std::process::ExitCode;

use clap::Parser;
use pacs_index::cli::{Cli, Command};
use pacs_index::command;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Reindex(typed) => command::reindex::run(&typed),
        Command::Init(typed) => command::init::run(&typed),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            command::complain(&error);
            error.exit().into()
        }
    }
}
