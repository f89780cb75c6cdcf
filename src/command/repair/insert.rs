//! Inserts the instances of a plan by running `reindex` on these files alone, and derives the undo
//! lines from the rows before and after the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::consent::Consent;
use super::super::interrupt::stop_on_interrupt;
use super::super::reindex::FilesFrom;
use super::super::stored_paths::StoredPaths;
use super::super::{consent, reindex};
use super::undo::Undo;
use crate::cli;
use crate::dicom::{Instance, Table};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::full_disk;
use crate::index::Failure;
use crate::index::mend::{Mender, WholeRow};
use crate::pipeline::Stop;
use crate::settings::repair::Scope;
use crate::settings::{Reindex, StateDirectory};

/// Rows that an insert may touch, by table and key.
pub type Rows = BTreeMap<(u8, String), Option<WholeRow>>;

/// Tables in the order in which their rows are removed.
const TABLES: [Table; 8] = [
    Table::ConceptName,
    Table::Image,
    Table::Series,
    Table::Study,
    Table::SpeciesCode,
    Table::BreedCode,
    Table::BreedRegistration,
    Table::Patient,
];

/// The keys of the rows that the instances of files belong to.
pub struct Keys {
    patients: BTreeSet<String>,
    others: BTreeSet<(u8, String)>,
}

impl Keys {
    pub fn of<'i>(instances: impl Iterator<Item = &'i Instance>) -> Self {
        let (mut patients, mut others) = (BTreeSet::new(), BTreeSet::new());
        for instance in instances {
            patients.insert(instance.patient_id().to_owned());
            let keys = [
                (1, instance.sop_instance_uid()),
                (2, instance.series_instance_uid()),
                (3, instance.study_instance_uid()),
                (0, instance.sop_instance_uid()),
            ];
            others.extend(keys.map(|(table, key)| (table, key.to_owned())));
        }
        Keys { patients, others }
    }

    /// Returns the current values of these rows. Companion tables that the index does not have are
    /// left out.
    pub fn rows(&self, mender: &mut Mender, tables: &[String]) -> Result<Rows, Failure> {
        let patients: Vec<&str> = self.patients.iter().map(String::as_str).collect();
        let patients = mender.patients(&patients)?;
        let of_patients = patients.into_iter().flat_map(|id| [4, 5, 6, 7].map(|table| (table, id.clone())));
        let mut rows = Rows::new();
        for (table, key) in self.others.iter().cloned().chain(of_patients) {
            let known = TABLES[usize::from(table)];
            if tables.iter().any(|name| name == known.name()) {
                rows.insert((table, key.clone()), mender.row(known, &key)?);
            }
        }
        Ok(rows)
    }
}

/// Returns the undo lines of an insert, in the order of the undo file, which is reverted from its
/// end.
pub fn undo(before: &Rows, after: &Rows) -> Vec<Undo> {
    let mut undo = Vec::new();
    for ((table, key), row) in after {
        let name = TABLES[usize::from(*table)].name().to_owned();
        match (before.get(&(*table, key.clone())).cloned().flatten(), row) {
            (None, Some(row)) => undo.push(Undo::Remove { table: name, key: key.clone(), row: row.clone() }),
            (Some(before), Some(row)) => {
                let changed = row.iter().filter(|(column, now)| before.get(*column) != Some(now));
                let changed =
                    changed.map(|(column, now)| (column.clone(), [now.clone(), before.get(column).cloned().flatten()]));
                let columns: BTreeMap<_, _> = changed.collect();
                if !columns.is_empty() {
                    undo.push(Undo::Restore { table: name, key: key.clone(), columns });
                }
            }
            (_, None) => {}
        }
    }
    // An undo file is reverted from its end.
    undo.reverse();
    undo
}

/// Returns the UIDs of images that have no row.
pub fn images_without_row(rows: &Rows) -> impl Iterator<Item = &str> {
    let images = rows.iter().filter(|((table, _), row)| TABLES[usize::from(*table)] == Table::Image && row.is_none());
    images.map(|((_, key), _)| key.as_str())
}

/// A prepared run of `reindex` over the files of a plan.
pub struct Inserter {
    settings: Reindex,
    /// Contains the list of rejected files.
    scratch: TempDir,
}

impl Inserter {
    /// Resolves the settings of the run. An error in the settings file ends the repair before
    /// anything is written.
    pub fn new(scope: &Scope, typed: &cli::Repair) -> Result<Self> {
        let scratch = tempfile::tempdir().map_err(scratch_failed)?;
        let settings = scope.inserting(typed, scratch.path())?;
        settings.kept_in.as_ref().map_or(Ok(()), StateDirectory::make)?;
        Ok(Inserter { settings, scratch })
    }

    /// Connects to the replicas that the run waits for. An error ends the repair before anything is
    /// written.
    pub fn connect(self, paths: StoredPaths) -> Result<ConnectedInserter> {
        let consent = consent::compared(&self.settings, paths)?;
        Ok(ConnectedInserter { settings: self.settings, scratch: self.scratch, consent })
    }
}

/// A prepared run that is connected to the replicas.
pub struct ConnectedInserter {
    settings: Reindex,
    scratch: TempDir,
    consent: Consent,
}

impl ConnectedInserter {
    /// Inserts the instances of the files. The list of rejected files is kept if it is not empty.
    pub fn insert(mut self, files: Vec<PathBuf>) -> Result<Exit> {
        self.settings.files = Some(files);
        let stop = Stop::default();
        stop_on_interrupt(&stop)?;
        let exit = reindex::index(&self.settings, self.consent, &stop, FilesFrom::Archive);
        let has_rejected = self.settings.rejected.metadata().is_ok_and(|list| list.len() > 0);
        self.scratch.disable_cleanup(has_rejected);
        exit
    }
}

fn scratch_failed(error: std::io::Error) -> Error {
    let error = full_disk::named(&std::env::temp_dir(), error);
    Error::usage(format!("no temporary file can be made: {error}"), "Make room in the directory for them (TMPDIR).")
}

/// Returns the table that an undo file names.
pub fn table(name: &str) -> Option<Table> {
    TABLES.into_iter().find(|table| table.name() == name)
}
