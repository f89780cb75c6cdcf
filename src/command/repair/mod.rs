//! `pacs-index repair`: applies the plan of an audit, or reverts a repair. A row that has changed
//! since then is skipped.

#![allow(clippy::disallowed_methods, reason = "plans and undo files")]

mod insert;
mod step;
mod undo;
mod undo_file;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::path_evidence::MapSource;
use super::stored_paths::StoredPaths;
use super::{consent, say, stored_paths, warn_of_unverified};
use crate::audit::plan;
use crate::dicom::{Level, Table};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::index::galera;
use crate::index::location::Access;
use crate::index::mend::{Mender, WholeRow};
use crate::index::server::Server;
use crate::index::{Failure, Location, RunLock};
use crate::settings::repair::Scope;
use crate::{cli, settings};
use insert::{ConnectedInserter, Inserter, Keys};
use step::{Step, StepFault, objection, objection_to_removal};
use undo::{Revert, Undo};
use undo_file::UndoFile;

#[derive(Default)]
struct Did {
    set: u64,
    removed: u64,
    put_back: u64,
    inserted: u64,
    /// The exit code of the run that inserts instances.
    insert_exit: Option<Exit>,
    skipped: Vec<String>,
}

pub fn run(typed: &cli::Repair) -> Result<Exit> {
    let location = settings::location(&typed.index)?;
    if location.file().is_some_and(|file| !file.exists()) {
        return Err(Error::usage(format!("the index {} is not there", location.shown()), "Name it with --index."));
    }
    warn_of_unverified(None, [location.tls_warning()]);
    if let Some(server) = Server::of(&location)? {
        server.check(Access::Write, typed.allow_replica)?;
        galera::check(&location, Access::Write, typed.allow_unreplicated_tables)?;
    }
    let tables = location.prepare(Access::Write)?;
    let mut repair = Repair {
        mender: Mender::new(&location, &tables)?,
        did: Did::default(),
        index: location.shown(),
        name: settings::name(&location),
        location,
        tables: tables.names(),
    };
    match (&typed.plan, &typed.undo_file, &typed.undo) {
        (_, _, Some(undo)) => repair.take_back(undo, typed.yes)?,
        (Some(plan), Some(undo_file), _) => repair.apply(plan, undo_file, typed)?,
        _ => return Err(Error::usage("neither a plan nor an undo file is named", "Name PLAN and --undo-file FILE.")),
    }
    Ok(repair.tell())
}

struct Repair {
    mender: Mender,
    did: Did,
    location: Location,
    /// The name of the index in messages.
    index: String,
    /// The name of the index in plans and undo files.
    name: String,
    /// The names of the tables that the index has.
    tables: Vec<String>,
}

impl Repair {
    fn apply(&mut self, plan: &Path, undo_file: &Path, typed: &cli::Repair) -> Result<()> {
        let refused = |why: String, advice: &str| Error::usage(format!("{}: {why}", plan.display()), advice);
        let unusable = |why: String| refused(why, "Name a plan that audit --plan has written.");
        let file = File::open(plan).map_err(|error| unusable(error.to_string()))?;
        let (head, steps) = plan::read(BufReader::new(file)).map_err(unusable)?;
        if !settings::is_named(&self.location, &head.index) {
            let why = format!("it is for the index {}, and not for {}", head.index, self.name);
            return Err(refused(why, "Name the index of the plan with --index."));
        }
        let scope = Scope::resolve(typed, plan, &head)?;
        let all = steps.len();
        let (mut enabled, mut impossible) = (Vec::new(), Vec::new());
        for (line, step) in steps {
            let key = step.action.key().to_owned();
            match Step::check(step.action, &scope) {
                Err(StepFault::Malformed(why)) => return Err(unusable(format!("line {line}: {why}"))),
                _ if !step.enabled => {}
                Err(StepFault::Impossible(why)) => impossible.push(format!("image {key}: {why}")),
                Ok(step) => enabled.push(step),
            }
        }
        if !head.incomplete_because.is_empty() {
            say(&format!("the audit of this plan was not complete: {}\n", head.incomplete_because.join("; ")));
        }
        say(&announcement(&enabled, impossible.len(), all));
        self.did.skipped = impossible;
        if enabled.is_empty() {
            return Ok(());
        }
        let inserts = enabled.iter().any(|step| matches!(step, Step::Insert { .. }));
        let inserter = inserts.then(|| Inserter::new(&scope, typed)).transpose()?;
        if inserts {
            consent::report_purging(&self.location, None)?;
        }
        let paths = self.compare_paths(&enabled, &scope, typed)?;
        consent::to_repair(typed.yes)?;
        let inserter = inserter.map(|inserter| inserter.connect(paths)).transpose()?;
        let mut undo = UndoFile::create(undo_file, &self.name)?;
        let done = self.do_steps(enabled, &scope, inserter, &mut undo);
        self.print_if_failed(done)
    }

    fn do_steps(
        &mut self,
        steps: Vec<Step>,
        scope: &Scope,
        inserter: Option<ConnectedInserter>,
        undo: &mut UndoFile,
    ) -> Result<()> {
        let lock = self.lock()?;
        let mut files = Vec::new();
        for step in steps {
            match step {
                Step::Insert { key, file } => files.push((key, file)),
                step => self.step(step, scope, undo)?,
            }
        }
        // The run that inserts instances takes the lock on its own connection.
        drop(lock);
        inserter.map_or(Ok(()), |inserter| self.insert(files, scope, inserter, undo))
    }

    /// Locks the index against other runs and repairs.
    fn lock(&self) -> Result<RunLock> {
        RunLock::take(&self.location, || false, || {})
    }

    /// Prints the summary of a repair that fails, before its error.
    fn print_if_failed(&self, done: Result<()>) -> Result<()> {
        done.inspect_err(|_| {
            self.tell();
        })
    }

    /// Compares the paths that the steps store with the archive directories of the PACS. If the
    /// plan removes rows, compares the paths of all files below the roots too: a file counts as
    /// missing only if the roots are the archive of the PACS.
    fn compare_paths(&self, steps: &[Step], scope: &Scope, typed: &cli::Repair) -> Result<StoredPaths> {
        let files: Vec<PathBuf> = steps.iter().filter_map(Step::stored_file).cloned().collect();
        let removes = steps.iter().any(|step| matches!(step, Step::RemoveImage { .. }));
        let named = (!files.is_empty()).then_some(Some(files.as_slice()));
        let request = |files| stored_paths::Request {
            location: &self.location,
            roots: &scope.roots,
            path_map: &scope.path_map,
            files,
            access: Access::Write,
            map_source: if scope.has_maps_of_plan { MapSource::Plan } else { MapSource::Options },
            locator: &scope.locator,
            allow_unmapped: typed.allow_unmapped_paths,
            progress: None,
        };
        let requests: Vec<_> = removes.then_some(None).into_iter().chain(named).map(request).collect();
        let paths = stored_paths::check_all(&requests)?;
        if named.is_some() {
            paths.examples.iter().for_each(|example| say(&format!("{}\n", stored_paths::line(example))));
        }
        Ok(paths)
    }

    /// Inserts the instances of all files in one run.
    fn insert(
        &mut self,
        files: Vec<(String, PathBuf)>,
        scope: &Scope,
        inserter: ConnectedInserter,
        undo: &mut UndoFile,
    ) -> Result<()> {
        let index = &self.index;
        let failed = |failure: Failure| failed(index, &failure);
        let mut instances = Vec::new();
        for (key, file) in files {
            match Content::of(&file, &scope.locator) {
                Content::Instance(instance) if instance.sop_instance_uid() == key => {
                    match self.mender.row(Table::Image, &key).map_err(failed)? {
                        None => instances.push((file, *instance)),
                        Some(_) => self.did.skipped.push(format!("image {key}: it already has a row")),
                    }
                }
                _ => self.did.skipped.push(format!("image {key}: its file does not hold this instance")),
            }
        }
        if instances.is_empty() {
            return Ok(());
        }
        let keys = Keys::of(instances.iter().map(|(_, instance)| instance));
        let files: Vec<PathBuf> = instances.into_iter().map(|(file, _)| file).collect();
        let before = keys.rows(&mut self.mender, &self.tables).map_err(failed)?;
        // A run that fails may have inserted rows before its failure, so they are recorded in any
        // case.
        let inserted = inserter.insert(files);
        let recorded = self.record_inserted(&keys, &before, undo);
        self.did.insert_exit = Some(inserted?);
        recorded
    }

    /// Records the rows that differ from those before the insert, and counts the new images.
    fn record_inserted(&mut self, keys: &Keys, before: &insert::Rows, undo: &mut UndoFile) -> Result<()> {
        let index = &self.index;
        let failed = |failure: Failure| failed(index, &failure);
        let after = keys.rows(&mut self.mender, &self.tables).map_err(failed)?;
        let lines = insert::undo(before, &after);
        self.did.inserted +=
            lines.iter().filter(|line| matches!(line, Undo::Remove { table, .. } if table == "image")).count() as u64;
        let rejected = insert::images_without_row(&after);
        self.did.skipped.extend(rejected.map(|key| format!("image {key}: it was not inserted")));
        lines.iter().try_for_each(|line| undo.record(line))
    }

    fn step(&mut self, step: Step, scope: &Scope, undo: &mut UndoFile) -> Result<()> {
        match step {
            Step::SetPath { key, from, to, file } => {
                let too_long = (!self.mender.holds_path(&to)).then_some("the new path is too long for the column");
                match too_long.or_else(|| objection(&key, &file, from.as_deref(), &scope.locator)) {
                    Some(why) => self.did.skipped.push(format!("image {key}: {why}")),
                    None => self.set((Table::Image, "path"), &key, from, Some(to), undo)?,
                }
            }
            Step::SetCount { key, from, to } => {
                let count = self.mender.count_images(&key).map_err(|failure| failed(&self.index, &failure))?;
                match count.to_string() == to {
                    true => self.set((Table::Series, "instances"), &key, from, Some(to), undo)?,
                    false => self.did.skipped.push(format!("series {key}: it has another number of images")),
                }
            }
            Step::SetFlag { column, key, from, to } => self.set((Table::Study, column), &key, from, to, undo)?,
            Step::RemoveImage { key, path, file } => self.remove(key, &path, &file, scope, undo)?,
            Step::Insert { .. } => {}
        }
        Ok(())
    }

    /// Sets a column of a row that still has the value that the audit found.
    fn set(
        &mut self,
        (table, column): (Table, &'static str),
        key: &str,
        from: Option<String>,
        to: Option<String>,
        undo: &mut UndoFile,
    ) -> Result<()> {
        let skipped = format!("{} {key}: {column} has changed since the audit", table.name());
        let index = &self.index;
        let failed = |failure: Failure| failed(index, &failure);
        if self.mender.value(table, key, column).map_err(failed)? != Some(from.clone()) {
            self.did.skipped.push(skipped);
            return Ok(());
        }
        // The undo line is written before the change, because reverting a change that was not made
        // has no effect.
        let (key_of_line, column_of_line) = (key.to_owned(), column.to_owned());
        let line = Undo::Set {
            table: table.name().to_owned(),
            key: key_of_line,
            column: column_of_line,
            from: to.clone(),
            to: from.clone(),
        };
        undo.record(&line)?;
        match self.mender.set(table, key, column, from.as_deref(), to.as_deref()).map_err(failed)? {
            true => self.did.set += 1,
            false => self.did.skipped.push(skipped),
        }
        Ok(())
    }

    fn remove(&mut self, key: String, path: &str, file: &Path, scope: &Scope, undo: &mut UndoFile) -> Result<()> {
        let index = &self.index;
        let failed = |failure: Failure| failed(index, &failure);
        if let Some(why) = objection_to_removal(file, scope) {
            self.did.skipped.push(format!("image {key}: {why}"));
            return Ok(());
        }
        let Some(row) = self.mender.row(Table::Image, &key).map_err(failed)? else {
            self.did.skipped.push(format!("image {key}: its row is gone"));
            return Ok(());
        };
        if let Some(column) = self.mender.lossy_column(Table::Image, &key).map_err(failed)? {
            let why = "holds bytes that an undo file cannot hold, so that the row could not be put back";
            self.did.skipped.push(format!("image {key}: its column `{column}` {why}"));
            return Ok(());
        }
        let orphan = !self.mender.has_series(&row).map_err(failed)?;
        undo.record(&Undo::PutBack { table: "image".into(), row, orphan })?;
        match self.mender.remove_image(&key, path).map_err(failed)? {
            true => self.did.removed += 1,
            false => self.did.skipped.push(format!("image {key}: its path has changed since the audit")),
        }
        Ok(())
    }

    /// Reverts a repair, the last change first.
    fn take_back(&mut self, file: &Path, yes: bool) -> Result<()> {
        let failed = |failure| failed(&self.index, &failure);
        let reverts = undo::read(file, &self.location, &mut self.mender, failed)?;
        say(&format!("{} changes to revert\n", reverts.len()));
        consent::to_undo(yes)?;
        let _lock = self.lock()?;
        let done = reverts.into_iter().try_for_each(|revert| self.revert(revert));
        self.print_if_failed(done)
    }

    fn revert(&mut self, revert: Revert) -> Result<()> {
        let (mender, did) = (&mut self.mender, &mut self.did);
        if let Revert::PutBack { row, orphan: false } = &revert
            && !mender.has_series(row).map_err(|failure| failed(&self.index, &failure))?
        {
            did.skipped.push(format!("image {}: its series is missing", key_of(mender, row)));
            return Ok(());
        }
        let done = match &revert {
            Revert::Set { table, key, column, from, to } => {
                mender.set(*table, key, column, from.as_deref(), to.as_deref())
            }
            Revert::PutBack { row, .. } => mender.put_back(Table::Image, row),
            Revert::Remove { table, key, row } => mender.remove(*table, key, row),
            Revert::Restore { table, key, columns } => mender.restore(*table, key, columns),
        };
        let is_done = done.map_err(|failure| failed(&self.index, &failure))?;
        match (revert, is_done) {
            (Revert::Set { .. }, true) => did.set += 1,
            (Revert::PutBack { .. }, true) => did.put_back += 1,
            (Revert::Remove { .. }, true) => did.removed += 1,
            (Revert::Restore { columns, .. }, true) => did.set += columns.len() as u64,
            (Revert::Set { table, key, column, .. }, false) => {
                did.skipped.push(format!("{} {key}: {column} has changed since the repair", table.name()));
            }
            (Revert::PutBack { row, .. }, false) => {
                did.skipped.push(format!("image {}: its row is there again", key_of(mender, &row)));
            }
            (Revert::Remove { table, key, .. } | Revert::Restore { table, key, .. }, false) => {
                did.skipped.push(skipped(table, &key));
            }
        }
        Ok(())
    }

    fn tell(&self) -> Exit {
        let Did { set, removed, put_back, inserted, insert_exit, skipped } = &self.did;
        let mut text = format!(
            "{inserted} images inserted, {set} values set, {removed} rows removed, {put_back} rows put back, {} steps skipped\n",
            skipped.len()
        );
        skipped.iter().for_each(|why| text += &format!("  skipped: {why}\n"));
        say(&text);
        match insert_exit {
            None | Some(Exit::Clean) if skipped.is_empty() => Exit::Clean,
            None | Some(Exit::Clean) => Exit::Findings,
            Some(exit) => *exit,
        }
    }
}

fn failed(index: &str, failure: &Failure) -> Error {
    Error::unfinished(
        format!("the index {index} cannot be written: {failure}"),
        "The undo file lists all changes up to that point. Repair the database, audit it, and continue with a new plan.",
    )
}

/// Describes the enabled steps of a plan, by kind.
fn announcement(enabled: &[Step], impossible: usize, all: usize) -> String {
    let removes = enabled.iter().filter(|step| matches!(step, Step::RemoveImage { .. })).count();
    let inserts = enabled.iter().filter(|step| matches!(step, Step::Insert { .. })).count();
    let (possible, sets) = (enabled.len(), enabled.len() - removes - inserts);
    let skipped = if impossible > 0 { format!(", {impossible} to skip") } else { String::new() };
    format!(
        "{} of {all} steps are enabled: {sets} values to set, {removes} rows to remove, {inserts} instances to insert{skipped}\n",
        possible + impossible
    )
}

/// Returns the key of the row of an image.
fn key_of<'r>(mender: &Mender, row: &'r WholeRow) -> &'r str {
    row.get(mender.key(Table::Image)).and_then(Option::as_deref).unwrap_or_default()
}

/// Describes a skipped row, without the key of a patient, which is patient data.
fn skipped(table: Table, key: &str) -> String {
    let key = if table.level() == Level::Patient { "(of a patient)" } else { key };
    format!("{} {key}: its row has changed since the repair, or has rows below it", table.name())
}
