//! The closing step: what can only be known when all instances are in the index.
//!
//! `study.received` is the latest of its instances, `study.modalities` the distinct modalities of its series,
//! `series.instances` their number. Only rows below which this run inserted something are derived anew.

use std::collections::BTreeMap;

use super::Failure;
use super::batch::Writer;
use super::entry::date_time_text;

/// Studies or series per transaction.
const PER_TRANSACTION: usize = 200;

impl Writer {
    /// How many studies and series [`close`](Self::close) has to do.
    pub fn to_close(&self) -> u64 {
        (self.studies_to_close().len() + self.series_to_close().len()) as u64
    }

    /// Derives what is left to derive. `done` is called as it goes, with the number of rows.
    pub fn close(&mut self, mut done: impl FnMut(u64)) -> Result<(), Failure> {
        let (studies, series) = (self.studies_to_close(), self.series_to_close());
        for part in studies.chunks(PER_TRANSACTION) {
            self.in_transaction(|writer| writer.close_studies(part))?;
            done(part.len() as u64);
        }
        for part in series.chunks(PER_TRANSACTION) {
            let keys: Vec<&str> = part.iter().map(|key| &**key).collect();
            self.in_transaction(|writer| writer.index.count_instances(&keys))?;
            done(part.len() as u64);
        }
        Ok(())
    }

    /// Sorted, so that two writers take locks in one order.
    fn studies_to_close(&self) -> Vec<Box<str>> {
        let open = |study: &super::batch::Study| study.has_new_series || (study.ours && study.latest > study.written);
        let mut keys: Vec<Box<str>> =
            self.studies.iter().filter(|(_, study)| open(study)).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    fn series_to_close(&self) -> Vec<Box<str>> {
        let mut keys: Vec<Box<str>> =
            self.series.iter().filter(|(_, series)| series.has_new_instances).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    fn close_studies(&mut self, part: &[Box<str>]) -> Result<(), Failure> {
        let keys: Vec<&str> = part.iter().map(|key| &**key).collect();
        let mut modalities: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (study, modality) in self.index.modalities(&keys)? {
            modalities.entry(study).or_default().push(modality);
        }
        for key in keys {
            let mut distinct = modalities.remove(key).unwrap_or_default();
            distinct.sort();
            distinct.dedup();
            let study = self.studies[key];
            let received = (study.ours && study.latest > study.written).then(|| date_time_text(study.latest));
            self.index.derive_study(key, &distinct.join(" "), received.as_deref())?;
        }
        Ok(())
    }
}
