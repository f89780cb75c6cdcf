//! The beginning and the end of a run in the log, and the killed runs that it resumes.

use std::collections::{HashMap, HashSet};
use std::io;

use super::batch::Batch;
use super::begun::{self, Begun, LoggedRun, RunKind, Span};
use super::claim::sync_directory;
use super::log::{Frame, HEAD, Kind};
use super::record::{self, encode};
use super::shard_log::ShardEnd;
use super::states::Noted;
use super::{Journal, STATES, State, compact, frames, states};
use crate::full_disk;
use crate::sorted::{Note, Sorter};

impl Journal {
    /// Begins a run, or resumes the earlier runs that it may resume and that have not finalized
    /// their rows. Returns whether it resumes any. Runs over other roots, and runs of another kind,
    /// stay open.
    ///
    /// A walk with other settings than the last walk decides about all files again, because those
    /// settings might have produced other rows.
    pub fn begin(&mut self, now: Begun) -> bool {
        let distrusted = self.frames.iter().rfind(|frame| frame.kind == Kind::Distrusted).map(|frame| frame.at);
        self.distrusted = self.distrusted.max(distrusted.unwrap_or(0));
        let runs = self.runs();
        if let Some(last) = runs.iter().rfind(|run| run.begun.kind == RunKind::Walk) {
            self.walk_settings = last.begun.settings;
        }
        let open = runs.iter().filter(|run| run.is_open);
        let (continued, left): (Vec<_>, Vec<_>) = open.partition(|run| now.continues(&run.begun));
        self.may_settle = continued.iter().all(|run| now.covers(&run.begun));
        let is_new_walk = now.kind == RunKind::Walk && continued.is_empty();
        if is_new_walk && self.has_other_settings(&now, &runs) {
            self.distrust();
        } else if now.kind == RunKind::Walk {
            (self.continued, self.left_open) = (spans(&continued), spans(&left));
        }
        if now.kind == RunKind::Walk {
            self.walk_settings = now.settings;
        }
        let Some(first) = continued.first() else {
            self.append_begun(now);
            return false;
        };
        let now = Begun { with_empty_index: first.begun.with_empty_index, ..now };
        match runs
            .last()
            .is_some_and(|last| last.is_open && last.begun.roots == now.roots && now.continues(&last.begun))
        {
            true => (self.begun_at, self.begun) = (first.span.start, now),
            false => {
                self.append_begun(now);
                self.continued.push(Span { start: self.begun_at, end: u64::MAX });
            }
        }
        true
    }

    /// Returns whether the last walk had other settings.
    fn has_other_settings(&self, now: &Begun, runs: &[LoggedRun]) -> bool {
        match runs.iter().rfind(|run| run.begun.kind == RunKind::Walk) {
            Some(last) => !now.has_settings_of(&last.begun),
            None => ![0, now.settings, now.former_settings].contains(&self.walk_settings),
        }
    }

    fn runs(&self) -> Vec<LoggedRun> {
        begun::runs(&self.log, &self.frames)
    }

    /// Resumes a run that had ended, and all later runs over the same roots, because the index has
    /// lost their last commits: a database was restored, or failed over to a server that lacks
    /// commits. `at` is the offset of a batch of the run. Returns whether the run is resumed. If it
    /// is not, its files are written again.
    pub fn reopen(&mut self, at: u64) -> io::Result<bool> {
        self.frames = self.log.frames(HEAD)?;
        let mut runs = self.runs();
        let before = runs.iter().take_while(|run| run.span.start <= at).count().saturating_sub(1);
        let later = runs.split_off(before);
        let Some(first) = later.first().filter(|run| run.span.contains(at)) else { return Ok(false) };
        if !self.begun.continues(&first.begun) || !self.begun.covers(&first.begun) {
            self.left_open.push(first.span);
            return Ok(false);
        }
        self.learn_lost();
        let with_empty_index = first.begun.with_empty_index;
        let may_continue = |run: &&LoggedRun| self.begun.continues(&run.begun) && self.begun.covers(&run.begun);
        self.continued = spans(&later.iter().filter(may_continue).collect::<Vec<_>>());
        self.begun.with_empty_index = with_empty_index;
        Ok(true)
    }

    /// Invalidates the outcomes of files that were recorded before.
    pub fn distrust(&mut self) {
        self.log.append(Kind::Distrusted, &[]);
        self.distrusted = self.log.end();
    }

    pub(super) fn append_begun(&mut self, now: Begun) {
        self.begun_at = self.log.end();
        let before = self.continued.iter_mut().chain(&mut self.left_open);
        before.for_each(|span| span.end = span.end.min(self.begun_at));
        self.log.append(Kind::Begun, &encode(&now));
        self.begun = now;
    }

    /// Returns whether the index contained no image when this run began, or when the run that it
    /// resumes began.
    pub fn began_with_empty_index(&self) -> bool {
        self.begun.with_empty_index
    }

    pub fn is_continued(&self) -> bool {
        !self.continued.is_empty()
    }

    /// Returns whether another run has written to the log since the start of the first run that
    /// this one resumes. Such a run may have finished rows of the resumed one.
    pub fn is_interleaved(&self) -> bool {
        let Some(first) = self.continued.iter().map(|span| span.start).min() else { return false };
        let is_other = |run: &LoggedRun| run.span.start > first && !self.is_in_continued(run.span.start);
        self.runs().iter().any(is_other)
    }

    /// Returns whether an offset of the log belongs to a run that this one resumes.
    fn is_in_continued(&self, at: u64) -> bool {
        self.continued.iter().any(|span| span.contains(at))
    }

    /// Returns whether this run walks all directories of the runs that it resumes. Only then may it
    /// finalize their rows.
    pub fn may_settle(&self) -> bool {
        self.may_settle
    }

    /// Returns the offset from which on the next run needs the frames. All runs before it have
    /// finalized their rows.
    fn settled(&self) -> Option<u64> {
        let ended = self.frames.iter().rfind(|frame| matches!(frame.kind, Kind::Closed | Kind::Distrusted))?.end();
        let open = self.runs().into_iter().find(|run| run.is_open);
        Some(open.map_or(ended, |run| run.span.start.min(ended)))
    }

    /// Returns the last batch of each writer of the last run, if its commit is in doubt, regardless
    /// of the command that started the run. Must be called before the next run begins.
    pub fn in_doubt(&self) -> Vec<Batch> {
        let begun = self.frames.iter().rfind(|frame| frame.kind == Kind::Begun).map_or(0, Frame::start);
        self.last_batches(false, self.with_commits().into_iter().filter(|(frame, _)| frame.start() >= begun))
    }

    fn last_batches(&self, committed: bool, frames: impl Iterator<Item = (Frame, bool)>) -> Vec<Batch> {
        let mut last = HashMap::new();
        for (frame, is_committed) in frames.filter(|(frame, _)| frame.kind == Kind::Batch) {
            let Ok(writer) = self.writer_of(&frame) else { continue };
            if is_committed == committed {
                last.insert(writer, frame);
            } else if is_committed {
                last.remove(&writer);
            }
        }
        // A torn batch is left out: no commit followed it.
        last.into_values().filter_map(|frame| self.batch_at(&frame).ok()).collect()
    }

    fn batch_at(&self, frame: &Frame) -> io::Result<Batch> {
        Batch::decode(&self.log.payload(frame)?, frame.at, self.log.form_at(frame.at)?)
    }

    fn writer_of(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        self.log.read(frame.at, 4)
    }

    /// Updates the states from the log. The error names the directory.
    pub fn update(&mut self) -> io::Result<()> {
        self.bring_up().map_err(|error| {
            let named = full_disk::named(&self.directory, error);
            io::Error::new(named.kind(), format!("{}: {named}", self.directory.display()))
        })
    }

    fn bring_up(&mut self) -> io::Result<()> {
        self.add_to_states()?;
        self.ledger.add_appended(&self.log, &self.directory)?;
        compact::compact(self)
    }

    pub(super) fn add_to_states(&mut self) -> io::Result<()> {
        let settled = self.states.as_ref().map_or(HEAD, |states| states.note[Noted::Settled as usize]);
        let known = self.frames.last().map_or(settled, Frame::end);
        let appended = self.log.frames(known)?;
        self.frames.extend(appended);
        self.learn_lost();
        let noted = |n: Noted| self.states.as_ref().map_or(0, |states| states.note[n as usize]);
        let mut sorter = Sorter::new(&self.directory);
        let mut new = 0;
        for (frame, is_committed) in self.with_commits() {
            if frame.at < noted(Noted::Covered) || !is_committed {
                continue;
            }
            // The files in a damaged frame are read again.
            for state in frames::states(&self.log, &frame).unwrap_or_default() {
                new += 1;
                sorter.push(state.encode())?;
            }
        }
        if new == 0 {
            return Ok(());
        }
        let settled = self.settled().unwrap_or(HEAD).max(noted(Noted::Settled));
        let appended = noted(Noted::Appended) + new;
        let note: Note = [self.log.id, self.log.end(), settled, self.distrusted, self.walk_settings, appended];
        let new = tempfile::Builder::new().prefix(STATES).tempfile_in(&self.directory)?;
        let table = sorter.finish(self.states.as_slice(), states::KEY, note, new.reopen()?)?;
        new.as_file().sync_data()?;
        new.persist(self.directory.join(STATES)).map_err(|error| error.error)?;
        sync_directory(&self.directory)?;
        self.states = Some(table);
        Ok(())
    }

    /// Records that the index has lost a batch. The files of the batch are written again.
    pub fn record_lost(&self, batch: &Batch) {
        self.log.append(Kind::Lost, &batch.at.to_le_bytes());
    }

    /// Returns whether the index has lost a batch, or a part of one.
    pub fn has_lost_batches(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Finds the batches that the index has lost, in the order of the log.
    fn learn_lost(&mut self) {
        let marks = self.frames.iter().filter(|frame| frame.kind == Kind::Lost);
        let places = marks.filter_map(|frame| self.log.payload(frame).ok()?.try_into().ok());
        let places: HashSet<u64> = places.map(u64::from_le_bytes).collect();
        let frames = self.frames.iter().filter(|frame| places.contains(&frame.at));
        self.lost = frames.copied().collect();
    }

    /// Returns whether the outcome of a file was part of a batch that the index has lost.
    pub(super) fn was_lost(&self, state: &State) -> bool {
        let next = self.lost.partition_point(|frame| frame.at <= state.at);
        next.checked_sub(1).is_some_and(|frame| state.at < self.lost[frame].end())
    }

    /// Returns the frames with records, and whether the outcomes in them are committed. Batches
    /// that the index has lost are left out.
    fn with_commits(&self) -> Vec<(Frame, bool)> {
        let mut all = self.all_with_commits();
        all.retain(|(frame, _)| self.lost.binary_search_by_key(&frame.at, |lost| lost.at).is_err());
        all
    }

    fn all_with_commits(&self) -> Vec<(Frame, bool)> {
        let mut all: Vec<(Frame, bool)> = Vec::new();
        let mut pending: HashMap<Vec<u8>, usize> = HashMap::new();
        for frame in &self.frames {
            match (frame.kind, self.writer_of(frame)) {
                (Kind::Batch, Ok(writer)) => {
                    pending.insert(writer, all.len());
                    all.push((*frame, false));
                }
                (Kind::Committed, Ok(writer)) => {
                    pending.remove(&writer).into_iter().for_each(|n| all[n].1 = true);
                }
                (Kind::Noted | Kind::Kept, _) => all.push((*frame, true)),
                // Each run numbers its writers from the start.
                (Kind::Begun | Kind::Closed | Kind::Distrusted, _) => pending.clear(),
                _ => {}
            }
        }
        all
    }

    fn of_this_run(&self) -> impl Iterator<Item = (Frame, bool)> {
        self.with_commits().into_iter().filter(|(frame, _)| self.is_in_continued(frame.at))
    }

    /// Passes each batch that the resumed run has committed to `each`.
    pub fn replay<E>(&self, mut each: impl FnMut(Batch) -> Result<(), E>) -> Result<(), E> {
        self.replay_frames(Kind::Batch, |frame| self.batch_at(frame).map_or(Ok(()), &mut each))
    }

    /// Like [`Journal::replay`], but starts with the last batch.
    pub fn replay_backwards<E>(&self, mut each: impl FnMut(Batch) -> Result<(), E>) -> Result<(), E> {
        let committed = self.of_this_run().filter(|(frame, is_committed)| frame.kind == Kind::Batch && *is_committed);
        let frames: Vec<Frame> = committed.map(|(frame, _)| frame).collect();
        frames.iter().rev().try_for_each(|frame| self.batch_at(frame).map_or(Ok(()), &mut each))
    }

    fn replay_frames<E>(&self, kind: Kind, mut each: impl FnMut(&Frame) -> Result<(), E>) -> Result<(), E> {
        let committed = self.of_this_run().filter(|(frame, is_committed)| frame.kind == kind && *is_committed);
        for (frame, _) in committed {
            each(&frame)?;
        }
        Ok(())
    }

    /// Records the suffixed IDs of the patients that the closing step is about to insert.
    pub fn gives(&self, ids: &[&str]) -> Result<(), String> {
        if ids.is_empty() {
            return Ok(());
        }
        self.log.append(Kind::Given, &encode(&ids));
        self.sync()
    }

    /// Returns the IDs that the resumed run has assigned to patients. The rows of these patients
    /// did not exist before that run.
    pub fn given(&self) -> impl Iterator<Item = String> {
        let given = self.frames.iter().filter(|frame| frame.kind == Kind::Given && self.is_in_continued(frame.at));
        given.filter_map(|frame| record::decode::<Vec<String>>(&self.log.payload(frame).ok()?).ok()).flatten()
    }

    /// Records that a file of this size, in bytes, is about to be recalled.
    pub fn recalls(&self, size: u64) {
        self.log.append(Kind::Recalled, &size.to_le_bytes());
    }

    /// Returns the number and the total bytes of the files that the resumed run has recalled.
    pub fn recalled(&self) -> (u64, u64) {
        let recalled =
            self.frames.iter().filter(|frame| frame.kind == Kind::Recalled && self.is_in_continued(frame.at));
        let sizes = recalled.map(|frame| self.log.payload(frame).ok().and_then(|size| size.try_into().ok()));
        sizes.fold((0, 0), |(files, bytes), size| {
            (files + 1, u64::saturating_add(bytes, size.map_or(0, u64::from_le_bytes)))
        })
    }

    /// Records that the run has finalized all of its rows. The next run resumes a run that could
    /// not record this.
    pub fn close(&self) -> Result<(), String> {
        self.log.append(Kind::Closed, &[]);
        self.sync()
    }

    /// Records that all files of a shard have been read, and the counts of the files and
    /// directories that were left out.
    pub fn close_shard(&self, end: ShardEnd) -> Result<(), String> {
        self.log.append(Kind::Closed, &encode(&end));
        self.sync()
    }

    /// Returns whether the outcome of a file was recorded with the settings of this run.
    pub fn is_of_these_settings(&self, state: &State) -> bool {
        state.at >= self.distrusted
    }
}

fn spans(runs: &[&LoggedRun]) -> Vec<Span> {
    runs.iter().map(|run| run.span).collect()
}
