//! The closing step: what can only be known when all instances are in the index.
//!
//! `study.received` is the latest of its instances, `study.modalities` the distinct modalities of its series,
//! `series.instances` their number. The last two are derived below which this run inserted something, and filled where
//! they are NULL, as a run that was killed leaves them.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::Writer;
use super::entry::date_time_text;
use super::{Derive, Failure};

/// Rows per transaction.
const PER_TRANSACTION: usize = 500;

type Keys = Vec<Box<str>>;

impl Writer {
    /// How many studies and series [`close`](Self::close) looks at.
    pub fn to_close(&self) -> u64 {
        (self.studies.len() + self.series.len()) as u64
    }

    /// Derives what is left to derive. `done` is called as it goes, with the number of rows.
    pub fn close(&mut self, mut done: impl FnMut(u64)) -> Result<(), Failure> {
        let (open, others) = split(self.studies.iter().map(|(key, study)| (key, study.below.open)));
        for (keys, which) in [(open, Derive::All), (others, Derive::WhereNull)] {
            for part in keys.chunks(PER_TRANSACTION) {
                self.in_transaction(|writer| writer.close_studies(part, which))?;
                done(part.len() as u64);
            }
        }
        let (open, others) = split(self.series.iter().map(|(key, series)| (key, series.open)));
        for (keys, which) in [(open, Derive::All), (others, Derive::WhereNull)] {
            for part in keys.chunks(PER_TRANSACTION) {
                let part: Vec<&str> = part.iter().map(|key| &**key).collect();
                self.in_transaction(|writer| writer.index.count_instances(&part, which))?;
                done(part.len() as u64);
            }
        }
        Ok(())
    }

    fn close_studies(&mut self, part: &[Box<str>], which: Derive) -> Result<(), Failure> {
        let keys: Vec<&str> = part.iter().map(|key| &**key).collect();
        let mut modalities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (study, modality) in self.index.modalities(&keys, which)? {
            modalities.entry(study).or_default().insert(modality);
        }
        for (study, distinct) in modalities {
            self.index.set_modalities(&study, &Vec::from_iter(distinct).join(" "))?;
        }
        for key in keys {
            let study = self.studies[key];
            if study.below.ours && study.latest > study.written {
                self.index.set_received(key, &date_time_text(study.latest))?;
            }
        }
        Ok(())
    }
}

/// Keys whose flag is set, and the others; sorted, so that two writers take locks in one order.
fn split<'a>(keys: impl Iterator<Item = (&'a Box<str>, bool)>) -> (Keys, Keys) {
    let (set, others): (Vec<_>, Vec<_>) = keys.partition(|(_, flag)| *flag);
    let sorted = |keys: Vec<(&Box<str>, bool)>| {
        let mut keys: Keys = keys.into_iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    };
    (sorted(set), sorted(others))
}
