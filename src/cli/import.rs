//! What can be typed to bring instances into an archive.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser};
use jiff::SignedDuration;
use jiff::civil::Date;

use super::{Reindex, Writing, values};
use crate::archive::Layout;

/// Each option is a key of the settings file too.
#[derive(Debug, Args)]
pub struct Import {
    /// Directories of media, of restored folders, of other archives
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,

    /// The archive that copies go to [default: the directory that the PACS is configured with]
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    pub archive: Option<PathBuf>,

    /// How instances are filed there: by the day of import (flat, hierarchical), by study, by both (combination), by Patient ID
    /// and Study Date (patient) [default: as the PACS is configured; flat for an SQLite index]
    #[arg(long, value_name = "NAME", value_parser = layouts(), conflicts_with = "in_place")]
    pub layout: Option<Layout>,

    /// Index files where they lie, and copy nothing
    #[arg(long)]
    pub in_place: bool,

    /// Remove each source file, once its copy is verified and its row is committed
    #[arg(long = "move", conflicts_with = "in_place")]
    pub moves: bool,

    /// Give files without preamble or file meta information what they lack (PS3.10 7.1)
    #[arg(long, conflicts_with = "in_place")]
    pub part10: bool,

    /// Files that are copied at a time [default: 1 from an optical disk, 2 where a disk has heads that move, else 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub copies_at_a_time: Option<u16>,

    /// Show what the sources hold, and what the index has of it; write nothing
    #[arg(long, conflicts_with_all = ["in_place", "moves", "part10"])]
    pub list: bool,

    /// With --list: the UIDs of studies and series as well
    #[arg(long, requires = "list")]
    pub wide: bool,

    /// With --list: as JSON
    #[arg(long, requires = "list", conflicts_with = "wide")]
    pub json: bool,

    /// Only instances of this Patient ID (repeatable)
    #[arg(long, value_name = "ID")]
    pub patient: Vec<String>,

    /// Only instances of this Study Instance UID (repeatable)
    #[arg(long, value_name = "UID")]
    pub study: Vec<String>,

    /// Only instances of this Accession Number (repeatable)
    #[arg(long, value_name = "NUMBER")]
    pub accession: Vec<String>,

    /// Only instances of this Modality, e.g. CT (repeatable)
    #[arg(long, value_name = "CODE")]
    pub modality: Vec<String>,

    /// Only instances of studies from this Study Date on, e.g. 2021-11-12
    #[arg(long, value_parser = values::date, value_name = "DATE")]
    pub since: Option<Date>,

    #[command(flatten)]
    pub writing: Writing,
}

/// By the names that the layouts have.
fn layouts() -> impl TypedValueParser<Value = Layout> {
    PossibleValuesParser::new(Layout::ALL.map(Layout::name))
        .try_map(|name| Layout::named(&name).ok_or("no such layout"))
}

impl Import {
    /// What is typed to index a directory with the same settings.
    pub fn as_reindex(&self, directories: &[PathBuf]) -> Reindex {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            reindex: Reindex,
        }
        let arguments = ["pacs-index", "--", "."].map(Into::into);
        let Alone { mut reindex } = Alone::parse_from::<_, std::ffi::OsString>(arguments);
        reindex.roots = directories.to_vec();
        reindex.writing = self.writing.clone();
        // What is brought is complete.
        reindex.settle = Some(SignedDuration::ZERO);
        reindex
    }
}
