//! `pacs-index init`: the core tables in an empty database.

use crate::error::Result;
use crate::exit::Exit;
use crate::{cli, index, settings};

pub fn run(typed: &cli::Init) -> Result<Exit> {
    let location = settings::location(&typed.index)?;
    index::init::init(&location, typed.not_the_pacsone_installer)?;
    println!(
        "{} is an empty index now; fill it with: pacs-index reindex ROOT --index {}",
        location.shown(),
        typed.index.url
    );
    Ok(Exit::Clean)
}
