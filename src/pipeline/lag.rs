//! Replica lag: one thread per replica queries the lag of its replica twice a second.

use std::time::Duration;

use super::Run;
use crate::index::replica::Replica;

/// Poll interval. A replica reports its lag in whole seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reports the lag of a replica to the gate until the run ends.
pub(super) fn follow(run: &Run<'_>, number: usize, mut replica: Replica) {
    while run.gate.rest(INTERVAL) {
        let lag = replica.ask(&|| !run.gate.has_ended()).clone();
        run.gate.report(number, lag);
    }
    replica.close();
}
