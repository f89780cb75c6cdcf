//! One thread a replica asks it twice a second how far it is behind.

use std::time::Duration;

use super::Run;
use crate::index::replica::Replica;

/// A replica says whole seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reports to the gate until the run ends.
pub(super) fn follow(run: &Run<'_>, number: usize, mut replica: Replica) {
    while run.gate.rest(INTERVAL) {
        let lag = replica.ask(&|| !run.gate.has_ended()).clone();
        run.gate.report(number, lag);
    }
    replica.close();
}
