//! Compares an index with its replica. The four core tables of both servers are compared by
//! checksums of pages of rows, and row by row in the pages that differ. Rows that differ are
//! rechecked after a delay, because a replica may lag.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::dicom::Table;
use crate::error::{Error, Result};
use crate::index::Failure;
use crate::index::inspect::Inspector;
use crate::pipeline::Stop;
use crate::progress::text;

/// Number of rows in a page.
const PAGE: usize = 5000;

/// A row that differs between the index and its replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub table: &'static str,
    /// `None` for a patient, whose key is patient data.
    pub key: Option<String>,
    pub what: &'static str,
}

#[derive(Debug, Default)]
pub struct Compared {
    /// The name of the replica.
    pub name: String,
    pub rows: u64,
    pub differences: Vec<Difference>,
    pub interrupted: bool,
}

/// How reports name the row of a patient, whose key is a Patient ID.
pub const A_PATIENT: &str = "(a patient)";

/// Formats the line of a report: `replica: 252 rows compared, 3 differ
/// (mysql://pacs@standby:3306/dicom)`.
impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, differ] = [self.rows, self.differences.len() as u64].map(text::count);
        write!(f, "replica: {rows} rows compared, {differ} differ ({})", self.name)
    }
}

/// A page of rows: the table, the key before the first row, and the key of the last row. The last
/// key is `None` if the page extends to the end of the table.
type Page = (Table, String, Option<String>);

pub struct Servers<'a> {
    pub master: &'a mut Inspector,
    pub replica: &'a mut Inspector,
    pub names: [String; 2],
}

pub fn compare(servers: &mut Servers<'_>, settle: Duration, stop: &Stop) -> Result<Compared> {
    let mut compared = Compared { name: servers.names[1].clone(), ..Compared::default() };
    let mut pages = Vec::new();
    for table in Table::CORE {
        let mut after = String::new();
        while !stop.is_set() {
            let keys = servers.master(|master| master.keys_after(table, &after, PAGE))?;
            // The last page has no end key, because the replica may have rows after the last key of
            // the master.
            let end = keys.last().filter(|_| keys.len() == PAGE).cloned();
            compared.rows += keys.len() as u64;
            let page = (table, after, end.clone());
            if servers.differ(&page)? {
                pages.push(page);
            }
            match end {
                Some(end) => after = end,
                None => break,
            }
        }
    }
    let mut suspects = BTreeMap::new();
    for page in &pages {
        suspects.extend(servers.rows_that_differ(page)?);
    }
    if !suspects.is_empty() {
        wait(settle, stop);
        // A row is reported only if it differs in both comparisons.
        for page in &pages {
            let now = servers.rows_that_differ(page)?;
            compared.differences.extend(now.into_iter().filter(|(row, _)| suspects.contains_key(row)).map(
                |((table, key), what)| {
                    let key = (table != Table::Patient.name()).then_some(key);
                    Difference { table, key, what }
                },
            ));
        }
    }
    compared.interrupted = stop.is_set();
    Ok(compared)
}

fn wait(settle: Duration, stop: &Stop) {
    let begun = Instant::now();
    while begun.elapsed() < settle && !stop.is_set() {
        std::thread::sleep(Duration::from_millis(100).min(settle));
    }
}

impl Servers<'_> {
    fn master<T>(&mut self, ask: impl FnOnce(&mut Inspector) -> Result<T, Failure>) -> Result<T> {
        ask(self.master).map_err(|failure| failed(&self.names[0], &failure))
    }

    fn replica<T>(&mut self, ask: impl FnOnce(&mut Inspector) -> Result<T, Failure>) -> Result<T> {
        ask(self.replica).map_err(|failure| failed(&self.names[1], &failure))
    }

    fn differ(&mut self, (table, after, end): &Page) -> Result<bool> {
        let columns = self.master(|master| master.columns(*table))?;
        let master = self.master(|master| master.checksum(*table, &columns, after, end.as_deref()))?;
        let replica = self.replica(|replica| replica.checksum(*table, &columns, after, end.as_deref()))?;
        Ok(master != replica)
    }

    /// Returns the rows that differ, by table and key, each with a description of the difference.
    fn rows_that_differ(
        &mut self,
        (table, after, end): &Page,
    ) -> Result<BTreeMap<(&'static str, String), &'static str>> {
        let columns = self.master(|master| master.columns(*table))?;
        let master = self.master(|master| master.checksums(*table, &columns, after, end.as_deref()))?;
        let mut replica = self.replica(|replica| replica.checksums(*table, &columns, after, end.as_deref()))?;
        let mut differ = BTreeMap::new();
        for (key, checksum) in master {
            match replica.remove(&key) {
                None => drop(differ.insert((table.name(), key), "is missing on the replica")),
                Some(other) if other != checksum => drop(differ.insert((table.name(), key), "differs on the replica")),
                Some(_) => {}
            }
        }
        differ.extend(replica.into_keys().map(|key| ((table.name(), key), "is on the replica only")));
        Ok(differ)
    }
}

fn failed(server: &str, failure: &Failure) -> Error {
    Error::unfinished(
        format!("{server} cannot be read: {failure}"),
        "Both servers must be reachable, with the same tables, and MySQL or MariaDB. Nothing was changed.",
    )
}
