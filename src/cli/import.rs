//! The options of `import`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, ValueEnum};
use jiff::SignedDuration;
use jiff::civil::Date;

use super::{Reindex, Writing, values};
use crate::archive::Layout;

/// The options of `import`. Each one is also a key of the settings file.
#[derive(Debug, Args)]
pub struct Import {
    /// Directories to import: media, restored folders, other archives
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,

    /// Archive to copy to [default: the directory that the PACS is configured with]
    #[arg(long, value_name = "DIR", conflicts_with = "in_place")]
    pub archive: Option<PathBuf>,

    /// Layout of the archive [default: as the PACS is configured; flat for an SQLite index]
    ///
    /// flat and hierarchical: by the day of the import; study: by study; combination: by both; patient: by Patient ID and
    /// Study Date.
    #[arg(long, value_name = "NAME", value_parser = layouts(), conflicts_with = "in_place")]
    pub layout: Option<Layout>,

    /// Index the files in place; copy nothing
    #[arg(long)]
    pub in_place: bool,

    /// Remove each source file once its copy is verified and its row is committed
    #[arg(long = "move", conflicts_with = "in_place")]
    pub moves: bool,

    /// Add a missing preamble or missing file meta information to the copies (PS3.10, 7.1)
    #[arg(long, conflicts_with = "in_place")]
    pub part10: bool,

    /// Number of files to copy at the same time [default: 1 from optical disks, 2 with hard disks, else 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub copies_at_a_time: Option<u16>,

    /// List the studies in the sources and whether the index has them; write nothing
    #[arg(long, conflicts_with_all = ["in_place", "moves", "part10"])]
    pub list: bool,

    /// With --list: also print the UIDs of studies and series
    #[arg(long, requires = "list")]
    pub wide: bool,

    /// With --list: format of the list
    #[arg(long, value_enum, default_value_t = ListFormat::Text, requires = "list")]
    pub format: ListFormat,

    /// Import only instances with this Patient ID (repeatable)
    #[arg(long, value_name = "ID")]
    pub patient: Vec<String>,

    /// Import only instances with this Study Instance UID (repeatable)
    #[arg(long, value_name = "UID")]
    pub study: Vec<String>,

    /// Import only instances with this Accession Number (repeatable)
    #[arg(long, value_name = "NUMBER")]
    pub accession: Vec<String>,

    /// Import only instances with this Modality, e.g. CT (repeatable)
    #[arg(long, value_name = "CODE")]
    pub modality: Vec<String>,

    /// Import only studies with this Study Date or a later one, e.g. 2021-11-12
    #[arg(long, value_parser = values::date, value_name = "DATE")]
    pub study_since: Option<Date>,

    #[command(flatten)]
    pub writing: Writing,
}

/// The format of a list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// Parses the name of a layout.
fn layouts() -> impl TypedValueParser<Value = Layout> {
    PossibleValuesParser::new(Layout::ALL.map(Layout::name))
        .try_map(|name| Layout::named(&name).ok_or("no such layout"))
}

impl Import {
    /// Returns the options of a `reindex` of these directories with the same settings.
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
        // Copies are complete: the PACS is not writing them.
        reindex.min_age = Some(SignedDuration::ZERO);
        reindex
    }
}
