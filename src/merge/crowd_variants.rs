//! The rows with a suffix of a Patient ID that has too many names for memory.

use std::collections::BTreeSet;
use std::io;
use std::iter::Peekable;
use std::sync::Arc;

use super::crowd::{SORTED_IN_MEMORY, SortedCrowd};
use super::decided::{Decided, OwnSuffixed};
use super::identities::identities_of;
use super::known_row::Patient;
use super::own_rows;
use super::patient_row::State;
use super::settle::{RoleOfVariant, role_of};
use super::writer::Writer;
use crate::dicom::{Level, Table};
use crate::disk::key;
use crate::disk::runs::{Runs, Sorter};
use crate::index::patient_name::{self, Name};
use crate::index::{Existing, Failure, Look, Show, View};

/// The existing rows whose Patient ID is the ID of the crowd with a suffix.
pub(super) struct CrowdVariants {
    /// The ID in the row with a name, by the number of the name.
    by_name: Runs,
    /// The IDs in rows that an earlier run inserted, by their collation key.
    own: Runs,
    /// The collation keys of the rows of an earlier run that are used again.
    used: Sorter,
    /// Whether the values of all files of the patients are known, so that rows of an earlier run
    /// are grouped again.
    is_gathered: bool,
}

impl CrowdVariants {
    /// Reads the rows. `is_included` contains for each name whether the name takes part in the
    /// decision.
    pub(super) fn read(
        writer: &mut Writer,
        crowd: &SortedCrowd,
        patient: &Patient,
        is_included: &[bool],
    ) -> Result<Self, Failure> {
        let directory = crowd.directory.clone();
        let sorter = || Sorter::new(&directory, SORTED_IN_MEMORY);
        let mut variants = CrowdVariants {
            by_name: Runs::new(&directory),
            own: Runs::new(&directory),
            used: sorter(),
            is_gathered: patient.ours && (patient.history.is_some() || writer.is_interleaved),
        };
        let is_asked = crowd.has_studies || patient.ours || crowd.displaced.is_some();
        if writer.was_empty[Level::Patient as usize] || !is_asked {
            return Ok(variants);
        }
        let (mut rows, mut own) = (sorter(), sorter());
        let mut after = String::new();
        loop {
            let page = writer.patiently(|writer| {
                let mut page = writer.index.variants_after(&patient.id, &after)?;
                own_rows::learn_histories(writer, Level::Patient, &mut page)?;
                Ok(page)
            })?;
            let Some(last) = page.last() else { break };
            after = last.key.clone();
            variants.sort_page(writer, &crowd.base, page, &mut rows, &mut own)?;
        }
        variants.own = own.finish();
        let by_name = join_names(rows, crowd, is_included, sorter());
        variants.by_name = by_name.map_err(Failure::of_temporary_file)?;
        Ok(variants)
    }

    fn sort_page(
        &self,
        writer: &mut Writer,
        base: &str,
        page: Vec<Existing>,
        rows: &mut Sorter,
        own: &mut Sorter,
    ) -> Result<(), Failure> {
        let bases: BTreeSet<&str> = page.iter().map(|row| patient_name::base(&row.key)).collect();
        let identities = identities_of(writer, bases)?;
        for row in &page {
            if identities.get(patient_name::base(&row.key)).is_none_or(|identity| **identity != *base) {
                continue;
            }
            let pushed = match role_of(writer, row, self.is_gathered) {
                RoleOfVariant::Own => own.push(row.identity.as_bytes(), row.key.as_bytes()),
                RoleOfVariant::NoPart => Ok(()),
                RoleOfVariant::Variant => push_row(rows, row),
            };
            pushed.map_err(Failure::of_temporary_file)?;
        }
        Ok(())
    }

    /// Returns the rows that have a name, in the order of the names.
    pub(super) fn rows_of_names(&self) -> io::Result<RowsOfNames> {
        let entries = self.by_name.entries()?.map(|entry| {
            let entry = entry?;
            let n = entry.key().iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
            Ok((n, key::text(entry.value()).into_owned()))
        });
        let entries: NumberedRows = Box::new(entries);
        Ok(RowsOfNames(entries.peekable()))
    }

    /// Treats patients with a suffix whose rows an earlier run inserted like those of this run.
    pub(super) fn take_own(&mut self, writer: &mut Writer, decided: &mut Decided) -> Result<(), Failure> {
        if self.own.is_empty() {
            return Ok(());
        }
        let new = decided.patients.iter().filter(|patient| matches!(patient.state, State::New));
        let new: Vec<Arc<str>> = new.map(|patient| patient.id.clone()).collect();
        let ids: Vec<&str> = new.iter().map(|id| &**id).collect();
        let identities = identities_of(writer, ids.iter().copied())?;
        let found = writer.patiently(|writer| {
            let mut found = writer.index.find(Table::Patient, &ids, Look { view: View::Begun, show: Show::Nothing })?;
            own_rows::learn_histories(writer, Level::Patient, &mut found)?;
            Ok(found)
        })?;
        let own = found.into_iter().filter(|row| matches!(role_of(writer, row, self.is_gathered), RoleOfVariant::Own));
        let own: OwnSuffixed = own.map(|row| (row.identity.clone(), row)).collect();
        for identity in own.keys() {
            self.used.push(identity.as_bytes(), &[]).map_err(Failure::of_temporary_file)?;
        }
        let identity = |id: &str| identities.get(id).map(|identity| identity.to_string());
        writer.inserted.patients += decided.take_suffixed(own, identity, |id| writer.has_given(id));
        Ok(())
    }

    /// Returns the IDs in rows of an earlier run that no name needs any more.
    pub(super) fn abandoned(self) -> io::Result<Vec<String>> {
        let mut used = self.used.finish().entries()?.peekable();
        let mut abandoned = Vec::new();
        for entry in self.own.entries()? {
            let entry = entry?;
            let is_before = |used: &io::Result<crate::disk::runs::Entry>| {
                used.as_ref().map_or(true, |used| used.key() < entry.key())
            };
            while let Some(used) = used.next_if(is_before) {
                used?;
            }
            if !matches!(used.peek(), Some(Ok(used)) if used.key() == entry.key()) {
                abandoned.push(key::text(entry.value()).into_owned());
            }
        }
        Ok(abandoned)
    }
}

/// The IDs in rows, each with the number of a name that the row has.
pub(super) struct RowsOfNames(Peekable<NumberedRows>);

type NumberedRows = Box<dyn Iterator<Item = io::Result<(u32, String)>>>;

impl RowsOfNames {
    /// Returns the ID in the row that has a name. Names must be requested in their order.
    pub(super) fn of_name(&mut self, n: u32) -> io::Result<Option<String>> {
        while let Some(row) = self.0.next_if(|row| row.as_ref().map_or(true, |(of, _)| *of <= n)) {
            let (of, id) = row?;
            if of == n {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// Adds a row, sorted by the name in the row.
fn push_row(rows: &mut Sorter, row: &Existing) -> io::Result<()> {
    let Some([last, first]) = row.name.as_ref().map(Name::folded) else { return Ok(()) };
    rows.push(&key::encode([&*last, &*first, "0"]), row.key.as_bytes())
}

/// Finds the row for each name. If several rows have a name, the row whose ID sorts last is used.
/// `by_folded` contains the rows.
fn join_names(
    mut by_folded: Sorter,
    crowd: &SortedCrowd,
    is_included: &[bool],
    mut by_name: Sorter,
) -> io::Result<Runs> {
    let mut before = None;
    for member in crowd.members()? {
        let member = member?;
        if before != Some(member.n) && is_included[member.n as usize] {
            let [last, first] = member.name.folded();
            by_folded.push(&key::encode([&*last, &*first, "1"]), &member.n.to_be_bytes())?;
        }
        before = Some(member.n);
    }
    let mut row: Option<([String; 2], String)> = None;
    for entry in by_folded.finish().entries()? {
        let entry = entry?;
        let mut texts = key::decode(entry.key()).into_iter();
        let folded = [(); 2].map(|()| texts.next().unwrap_or_default());
        let is_row = texts.next().as_deref() == Some("0");
        if is_row {
            row = Some((folded, key::text(entry.value()).into_owned()));
        } else if let Some((_, id)) = row.as_ref().filter(|(of, _)| *of == folded) {
            by_name.push(entry.value(), id.as_bytes())?;
        }
    }
    Ok(by_name.finish())
}
