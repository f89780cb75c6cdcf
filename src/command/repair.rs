//! `pacs-index repair`: applies the plan of an audit, or takes a repair back. Each row must still be what the plan has seen.

#![allow(clippy::disallowed_methods, reason = "plans and undo files")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::consent::agrees;
use super::insert::{self, Keys};
use super::say;
use crate::archive::locator::Rules;
use crate::archive::{Locator, PathMap, Roots};
use crate::audit::plan::{self, Action, Step};
use crate::dicom::{Level, Table};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::index::Failure;
use crate::index::location::Access;
use crate::index::mend::{Mender, SETTABLE, WholeRow};
use crate::index::server::Server;
use crate::new_file::{self, Readers};
use crate::{cli, settings};

/// A line of an undo file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    Set {
        table: String,
        key: String,
        column: String,
        from: Option<String>,
        to: Option<String>,
    },
    PutBack {
        table: String,
        row: WholeRow,
    },
    /// A row that was inserted, as it was then.
    Remove {
        table: String,
        key: String,
        row: WholeRow,
    },
    /// Columns, each with what it was set to and what it was before.
    Restore {
        table: String,
        key: String,
        columns: BTreeMap<String, [Option<String>; 2]>,
    },
}

#[derive(Default)]
struct Did {
    set: u64,
    removed: u64,
    put_back: u64,
    inserted: u64,
    skipped: Vec<String>,
}

pub fn run(typed: &cli::Repair) -> Result<Exit> {
    let location = settings::location(&typed.index)?;
    let path_map = settings::path_map(&typed.path_map)?;
    if location.file().is_some_and(|file| !file.exists()) {
        return Err(Error::usage(format!("the index {} is not there", location.shown()), "Name it with --index."));
    }
    super::warn_of_unverified(None, [location.tls_warning()]);
    if let Some(server) = Server::of(&location)? {
        server.check(Access::Write, typed.allow_replica)?;
    }
    let tables = location.prepare(Access::Write)?;
    let mut repair = Repair {
        mender: Mender::new(&location, &tables)?,
        path_map,
        did: Did::default(),
        index: location.shown(),
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
    path_map: PathMap,
    did: Did,
    index: String,
    /// The names of those that the index has.
    tables: Vec<String>,
}

impl Repair {
    fn apply(&mut self, plan: &Path, undo_file: &Path, typed: &cli::Repair) -> Result<()> {
        let unusable = |why: String| {
            Error::usage(format!("{}: {why}", plan.display()), "Name a plan that audit --plan has written.")
        };
        let file = File::open(plan).map_err(|error| unusable(error.to_string()))?;
        let (head, steps) = plan::read(BufReader::new(file)).map_err(unusable)?;
        if head.index != self.index {
            return Err(unusable(format!("it is for the index {}, and not for {}", head.index, self.index)));
        }
        let steps: Vec<(Step, Option<Table>)> =
            steps.into_iter().map(|step| checked(step).map_err(unusable)).collect::<Result<_>>()?;
        let enabled = steps.iter().filter(|(step, _)| step.enabled).count();
        let removes =
            steps.iter().filter(|(step, _)| step.enabled && matches!(step.action, Action::RemoveImage { .. })).count();
        let is_insert = |step: &Step| step.enabled && matches!(step.action, Action::Insert { .. });
        let inserts = steps.iter().filter(|(step, _)| is_insert(step)).count();
        say(&format!(
            "{enabled} of {} steps are enabled: {} values to set, {removes} rows to remove, {inserts} instances to insert\n",
            steps.len(),
            enabled - removes - inserts
        ));
        if enabled == 0 {
            return Ok(());
        }
        if inserts > 0 && typed.roots.is_empty() {
            return Err(Error::usage(
                "the plan inserts instances, and no root is named",
                "Name the roots of the archive: --root ROOT.",
            ));
        }
        ask(typed.yes)?;
        let mut undo = new_file::create(undo_file, "the undo file", "--undo-file", false, Readers::Owner)?;
        let mut files = Vec::new();
        for (step, table) in steps.into_iter().filter(|(step, _)| step.enabled) {
            match step.action {
                Action::Insert { file, .. } => files.push(file),
                action => self.step(action, table, &mut undo)?,
            }
        }
        if files.is_empty() { Ok(()) } else { self.insert(&files, typed, &mut undo) }
    }

    /// Instances without a row, all at once.
    fn insert(&mut self, files: &[PathBuf], typed: &cli::Repair, undo: &mut File) -> Result<()> {
        let roots = Roots::check(&typed.roots, false)?;
        let locator = Locator::new(&roots, &self.path_map, Rules::default());
        let keys = Keys::of(files, &locator);
        let before = keys.rows(&mut self.mender, &self.tables).map_err(|failure| self.failed(failure))?;
        insert::insert(files, typed)?;
        let after = keys.rows(&mut self.mender, &self.tables).map_err(|failure| self.failed(failure))?;
        let lines = insert::undo(&before, &after);
        self.did.inserted +=
            lines.iter().filter(|line| matches!(line, Undo::Remove { table, .. } if table == "image")).count() as u64;
        lines.iter().try_for_each(|line| note(undo, line))
    }

    fn step(&mut self, action: Action, table: Option<Table>, undo: &mut File) -> Result<()> {
        match (action, table) {
            (Action::Set { table: name, key, column, from, to }, Some(table)) => {
                let now = self.mender.value(table, &key, &column).map_err(|failure| self.failed(failure))?;
                if now != Some(from.clone()) {
                    self.did.skipped.push(format!("{name} {key}: {column} is not what the plan has seen"));
                    return Ok(());
                }
                // Before it is done; taking back what was not done does nothing.
                let line = Undo::Set {
                    table: name.clone(),
                    key: key.clone(),
                    column: column.clone(),
                    from: to.clone(),
                    to: from.clone(),
                };
                note(undo, &line)?;
                let done = self.mender.set(table, &key, &column, from.as_deref(), to.as_deref());
                match done.map_err(|failure| self.failed(failure))? {
                    true => self.did.set += 1,
                    false => self.did.skipped.push(format!("{name} {key}: {column} is not what the plan has seen")),
                }
            }
            (Action::RemoveImage { key, path }, _) => {
                // It may have come back.
                let is_there = self.path_map.from_index(&path).is_none_or(|path| path.symlink_metadata().is_ok());
                let row = self.mender.row(Table::Image, &key).map_err(|failure| self.failed(failure))?;
                let Some(row) = row.filter(|_| !is_there) else {
                    self.did.skipped.push(format!("image {key}: its row is gone, or its file is there"));
                    return Ok(());
                };
                note(undo, &Undo::PutBack { table: "image".into(), row })?;
                match self.mender.remove_image(&key, &path).map_err(|failure| self.failed(failure))? {
                    true => self.did.removed += 1,
                    false => self.did.skipped.push(format!("image {key}: its path is not what the plan has seen")),
                }
            }
            (Action::Set { .. }, None) | (Action::Insert { .. }, _) => {}
        }
        Ok(())
    }

    /// The last first.
    fn take_back(&mut self, file: &Path, yes: bool) -> Result<()> {
        let unusable =
            |why: String| Error::usage(format!("--undo {}: {why}", file.display()), "Name the undo file of a repair.");
        let lines = BufReader::new(File::open(file).map_err(|error| unusable(error.to_string()))?).lines();
        let lines = lines.enumerate().map(|(n, line)| {
            let line = line.map_err(|error| unusable(error.to_string()))?;
            serde_json::from_str(&line).map_err(|error| unusable(format!("line {}: {}", n + 1, plan::not_json(&error))))
        });
        let lines: Vec<Undo> = lines.collect::<Result<_>>()?;
        say(&format!("{} changes to take back\n", lines.len()));
        ask(yes)?;
        for line in lines.into_iter().rev() {
            match line {
                Undo::Set { table, key, column, from, to } => {
                    let known = settable(&table, &column).map_err(unusable)?;
                    let done = self.mender.set(known, &key, &column, from.as_deref(), to.as_deref());
                    match done.map_err(|failure| self.failed(failure))? {
                        true => self.did.set += 1,
                        false => {
                            self.did.skipped.push(format!("{table} {key}: {column} is not what the repair has set"))
                        }
                    }
                }
                Undo::PutBack { table, row } if table == "image" => {
                    match self.mender.put_back(Table::Image, &row).map_err(|failure| self.failed(failure))? {
                        true => self.did.put_back += 1,
                        false => self.did.skipped.push("a row that was removed is there again".into()),
                    }
                }
                Undo::Remove { table, key, row } => {
                    let known = insert::table(&table).ok_or_else(|| unusable(format!("`{table}` is no table")))?;
                    match self.mender.remove(known, &key, &row).map_err(|failure| self.failed(failure))? {
                        true => self.did.removed += 1,
                        false => self.did.skipped.push(skipped(&table, &key)),
                    }
                }
                Undo::Restore { table, key, columns } => {
                    let known = insert::table(&table).ok_or_else(|| unusable(format!("`{table}` is no table")))?;
                    match self.mender.restore(known, &key, &columns).map_err(|failure| self.failed(failure))? {
                        true => self.did.set += columns.len() as u64,
                        false => self.did.skipped.push(skipped(&table, &key)),
                    }
                }
                Undo::PutBack { table, .. } => return Err(unusable(format!("rows of `{table}` are not put back"))),
            }
        }
        Ok(())
    }

    fn tell(&self) -> Exit {
        let Did { set, removed, put_back, inserted, skipped } = &self.did;
        let mut text = format!(
            "{inserted} images inserted, {set} values set, {removed} rows removed, {put_back} rows put back, {} steps skipped\n",
            skipped.len()
        );
        skipped.iter().for_each(|why| text += &format!("  skipped: {why}\n"));
        say(&text);
        if skipped.is_empty() { Exit::Clean } else { Exit::Findings }
    }

    fn failed(&self, failure: Failure) -> Error {
        Error::unfinished(
            format!("the index {} cannot be written: {failure}", self.index),
            "What was done until then stands in the undo file. Mend the database, audit it, and go on with a new plan.",
        )
    }
}

/// A plan may be edited by hand: what it sets must be among what may be set.
fn checked(step: Step) -> Result<(Step, Option<Table>), String> {
    let table = match &step.action {
        Action::Set { table, column, .. } => Some(settable(table, column)?),
        Action::RemoveImage { .. } | Action::Insert { .. } => None,
    };
    Ok((step, table))
}

/// The key of a patient is a patient's data.
fn skipped(table: &str, key: &str) -> String {
    let key = insert::table(table).filter(|table| table.level() != Level::Patient).map_or("(of a patient)", |_| key);
    format!("{table} {key}: its row is not what the repair has left, or rows hang below it")
}

fn settable(table: &str, column: &str) -> Result<Table, String> {
    let known = SETTABLE.into_iter().find(|(known, settable)| known.name() == table && *settable == column);
    known.map(|(table, _)| table).ok_or_else(|| format!("`{table}.{column}` is nothing that a repair may set"))
}

/// Written down so that it outlives the machine.
fn note(undo: &mut File, line: &Undo) -> Result<()> {
    let text = serde_json::to_string(line).map_err(io::Error::from);
    let written = text.and_then(|text| undo.write_all((text + "\n").as_bytes())).and_then(|()| undo.sync_data());
    written.map_err(|error| {
        Error::unfinished(
            format!("the undo file cannot be written: {error}"),
            "Nothing is changed that does not stand in it. Make room, audit again, and go on with a new plan.",
        )
    })
}

fn ask(yes: bool) -> Result<()> {
    let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if yes || can_ask && agrees(&mut io::stdin().lock(), &mut io::stderr()) {
        return Ok(());
    }
    Err(Error::usage("nobody has agreed; nothing was written", "Read the plan, and add --yes."))
}
