//! Looks up the rows of instances on a connection of its own, beside the writers. Lookups are
//! retried while the database restarts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::poisoned;
use crate::error::{Error, Result};
use crate::index::inspect::Inspector;
use crate::index::location::Access;
use crate::index::{Location, Tables};
use crate::pipeline::Stop;

pub struct Rows {
    location: Location,
    pub tables: Arc<Tables>,
    patience: Duration,
    stop: Stop,
    access: Access,
    inspector: Mutex<Option<Inspector>>,
}

const PAUSE: Duration = Duration::from_millis(500);

impl Rows {
    pub fn of(
        location: &Location,
        tables: &Arc<Tables>,
        access: Access,
        patience: Duration,
        stop: &Stop,
    ) -> Result<Self> {
        let (location, tables, stop) = (location.clone(), tables.clone(), stop.clone());
        let rows = Rows { location, tables, patience, stop, access, inspector: Mutex::default() };
        *poisoned(&rows.inspector) = Some(rows.connect()?);
        Ok(rows)
    }

    fn connect(&self) -> Result<Inspector> {
        match self.access {
            Access::Write => Inspector::beside_writers(&self.location, &self.tables),
            Access::DryRun => Inspector::new(&self.location, &self.tables),
        }
    }

    /// Closes the connection.
    pub fn close(&self) {
        if let Some(inspector) = poisoned(&self.inspector).take() {
            inspector.close();
        }
    }

    /// Returns the path in the row of each instance that has a row, by SOP Instance UID. `None`
    /// after an interruption. An error if the database does not answer within `patience`.
    pub fn paths(&self, sop_instance_uids: &[&str]) -> Result<Option<HashMap<String, String>>> {
        if sop_instance_uids.is_empty() {
            return Ok(Some(HashMap::new()));
        }
        let begun = Instant::now();
        let mut inspector = poisoned(&self.inspector);
        loop {
            let asked = match inspector.as_mut() {
                Some(inspector) => inspector.images(sop_instance_uids).map_err(|failure| failure.to_string()),
                None => Err("it does not answer".into()),
            };
            match asked {
                Ok(rows) => return Ok(Some(rows.into_iter().map(|row| (row.sop_instance_uid, row.path)).collect())),
                Err(_) if self.stop.is_set() => return Ok(None),
                Err(why) if begun.elapsed() >= self.patience => {
                    return Err(Error::unfinished(
                        format!("the index {} cannot be read: {why}", self.location.shown()),
                        "What was committed stays. Mend the database, then run the same command again: it goes on from \
                         there.",
                    ));
                }
                Err(_) => {
                    sleep(PAUSE);
                    *inspector = self.connect().ok();
                }
            }
        }
    }
}
