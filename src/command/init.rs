//! `pacs-index init`: creates the tables of an index in an empty database.

use super::say;
use crate::error::Result;
use crate::exit::Exit;
use crate::{cli, index, settings};

pub fn run(typed: &cli::Init) -> Result<Exit> {
    let location = settings::location(&typed.index)?;
    super::warn_of_unverified(None, [location.tls_warning()]);
    index::init::init(&location, typed.not_the_pacsone_installer)?;
    say(&format!("{} is an empty index now. To fill it: pacs-index reindex\n", location.shown()));
    Ok(Exit::Clean)
}
