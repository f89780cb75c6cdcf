//! The closing step: what can only be known when all instances are in the index.
//!
//! `study.received` is the latest of its instances. Until now it is that of the first one.

use super::Failure;
use super::batch::Writer;
use super::entry::date_time_text;

/// Studies per transaction.
const PER_TRANSACTION: usize = 200;

impl Writer {
    /// How many studies [`close`](Self::close) has to do.
    pub fn to_close(&self) -> u64 {
        self.studies_to_close().len() as u64
    }

    /// Derives what is left to derive. `done` is called as it goes, with the number of rows.
    pub fn close(&mut self, mut done: impl FnMut(u64)) -> Result<(), Failure> {
        for part in self.studies_to_close().chunks(PER_TRANSACTION) {
            self.in_transaction(|writer| {
                let set = |key: &Box<str>| {
                    let received = date_time_text(writer.studies[key].latest);
                    writer.index.set_received(key, &received)
                };
                part.iter().try_for_each(set)
            })?;
            done(part.len() as u64);
        }
        Ok(())
    }

    /// Sorted, so that two writers take locks in one order.
    fn studies_to_close(&self) -> Vec<Box<str>> {
        let late = self.studies.iter().filter(|(_, study)| study.ours && study.latest > study.written);
        let mut keys: Vec<Box<str>> = late.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }
}
