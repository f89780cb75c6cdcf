//! The files of a batch that may become those of their instances. Rows above the images are
//! inserted for these files alone: a file that is not indexed determines no row.

use super::entry_batch::Batch;
use super::indexed_instance;
use super::writer::Writer;
use crate::dicom::{Instance, Level};
use crate::index::{Entry, Existing};

impl Batch<'_> {
    /// Chooses the candidates among the files of each instance. `may_win` returns whether a file
    /// may replace the file that the row of the instance names.
    fn choose_candidates(
        &mut self,
        may_win: impl Fn(&Entry, &Existing) -> bool,
        names: impl Fn(&Entry, &Existing) -> bool,
    ) {
        let mut candidates = vec![false; self.entries.len()];
        for (key, files) in self.images() {
            let row = self.there.get(key);
            candidates[files[0]] = row.is_none_or(|row| may_win(&self.entries[files[0]], row));
            for n in files {
                candidates[*n] |= row.is_some_and(|row| names(&self.entries[*n], row));
            }
        }
        self.candidates = candidates;
    }

    /// Makes the next best file of each instance a candidate if the database rejected all of its
    /// previous candidates. Returns whether there are any new candidates.
    pub fn choose_next_candidates(&mut self) -> bool {
        let is_lost = |n: &usize| !self.candidates[*n] || self.is_refused(*n);
        let instances = self.images().filter(|(_, files)| files.iter().any(|n| self.is_refused(*n)));
        let next = instances.filter(|(_, files)| files.iter().all(is_lost));
        let next: Vec<usize> =
            next.filter_map(|(_, files)| files.iter().copied().find(|n| !self.candidates[*n])).collect();
        next.iter().for_each(|n| self.candidates[*n] = true);
        !next.is_empty()
    }
}

/// Chooses the files of a batch that may become those of their instances.
pub(super) fn choose_candidates(writer: &Writer, batch: &mut Batch<'_>) {
    let files = &writer.policy.files;
    let names = |entry: &Entry, row: &Existing| files.is_named_by(entry, &row.path);
    let is_of_this_run = |row: &Existing| writer.known.lock().has_named(&row.key, &row.path);
    let may_win = |entry: &Entry, row: &Existing| {
        files.archive.is_unmapped(&row.path, &entry.path)
            || files.archive.stored(&row.path).is_none_or(|stored| files.is_better(entry, &stored, &row.path))
            || !is_of_this_run(row) && files.archive.is_stale(&row.path, &row.key)
    };
    batch.choose_candidates(may_win, names);
}

/// Records the files that rows of earlier runs are about to be pointed to. The link of such a row
/// changes with the file.
pub(super) fn learn_own_images(writer: &Writer, batch: &mut Batch<'_>) {
    for n in (0..batch.entries.len()).filter(|n| batch.candidates[*n]) {
        let entry = &batch.entries[n];
        let Some(row) = batch.there.get(entry.key(Level::Instance)) else { continue };
        let is_linked = row.link == entry.link(Level::Instance);
        if is_linked || writer.policy.files.is_named_by(entry, &row.path) {
            continue;
        }
        let is_own = |indexed: &Instance| indexed.series_instance_uid() == row.link;
        batch.are_own_images[n] = indexed_instance::instance_of_own_row(writer, row).as_ref().is_some_and(is_own);
    }
}
