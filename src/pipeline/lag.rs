//! One thread a replica asks it twice a second how far it is behind.

use std::time::Duration;

use super::Run;
use crate::index::replica::Replica;

/// A replica says whole seconds.
const INTERVAL: Duration = Duration::from_millis(500);

impl Run<'_> {
    /// Reports to the gate until the run ends.
    pub(super) fn follow(&self, number: usize, mut replica: Replica) {
        while self.gate.rest(INTERVAL) {
            let lag = replica.ask(&|| !self.gate.has_ended()).clone();
            self.gate.report(number, lag);
        }
        replica.close();
    }
}
