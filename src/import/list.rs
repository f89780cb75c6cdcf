//! Lists the content of the sources before an import: patients, studies and series, read from the
//! files themselves, and how many of their instances the index has.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded};
use xxhash_rust::xxh3::xxh3_64;

use super::candidate::{self, Candidate, Met};
use super::medium::{self, Compared, FoundInstance};
use super::selection;
use super::{Rows, Sources, poisoned};
use crate::archive::FoundFile;
use crate::archive::skip::Rule;
use crate::archive::walk::{Enough, Found, Walk};
use crate::audit::watch::Watch;
use crate::dicom::attributes::position;
use crate::dicom::{HeaderReader, Table, Value};
use crate::error::{Error, Result};
use crate::pipeline::Stop;
use crate::progress::Phase;

pub struct Plan<'a> {
    pub sources: &'a Sources,
    pub rows: &'a Rows,
    pub threads: usize,
    pub stop: &'a Stop,
    pub watch: &'a Watch,
}

/// The content of the sources.
#[derive(Debug, Default)]
pub struct Contents {
    /// By Patient ID.
    pub patients: BTreeMap<String, Patient>,
    /// The number of further files of instances that were already found.
    pub repeated: u64,
    pub not_selected: u64,
    pub skipped: BTreeMap<Rule, u64>,
    /// Files without a readable instance, by path, with the reason.
    pub rejected: BTreeMap<PathBuf, String>,
    /// Stubs that are not read, by path, with their kind.
    pub stubs: BTreeMap<PathBuf, String>,
    pub directories_unreadable: BTreeMap<PathBuf, String>,
    /// Recycle bins, snapshots and similar directories, each with its kind.
    pub directories_skipped: BTreeMap<PathBuf, String>,
    pub media: Vec<Medium>,
    met: HashSet<u64>,
}

/// The number and size of some instances, and how many of them the index has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub instances: u64,
    pub bytes: u64,
    pub indexed: u64,
}

#[derive(Debug, Default)]
pub struct Patient {
    pub name: String,
    pub studies: BTreeMap<String, Study>,
}

#[derive(Debug, Default)]
pub struct Study {
    pub date: String,
    pub description: String,
    pub accession: String,
    pub series: BTreeMap<String, Series>,
}

#[derive(Debug, Default)]
pub struct Series {
    pub number: String,
    pub modality: String,
    pub description: String,
    pub count: Count,
}

/// A DICOMDIR, compared with the files on its medium.
#[derive(Debug)]
pub struct Medium {
    pub dicomdir: PathBuf,
    pub compared: Result<Compared, String>,
    /// The number of instances below the directory of the DICOMDIR that it does not name.
    pub not_named: u64,
}

impl Count {
    /// Returns `new`, `partly` or `complete`.
    pub fn state(self) -> &'static str {
        match self.indexed {
            0 => "new",
            indexed if indexed < self.instances => "partly",
            _ => "complete",
        }
    }

    pub fn and(self, other: Count) -> Count {
        Count {
            instances: self.instances + other.instances,
            bytes: self.bytes + other.bytes,
            indexed: self.indexed + other.indexed,
        }
    }
}

impl Study {
    pub fn count(&self) -> Count {
        self.series.values().fold(Count::default(), |sum, series| sum.and(series.count))
    }
}

impl Patient {
    pub fn count(&self) -> Count {
        self.studies.values().fold(Count::default(), |sum, study| sum.and(study.count()))
    }
}

/// Capacity of the channel from the walk to the readers, in messages of several files each.
/// `PORTION` is the number of files that are looked up together.
const WAITING: usize = 64;
const PORTION: usize = 256;

/// Reads all headers below the sources.
pub fn contents(plan: &Plan<'_>) -> Result<Contents> {
    let contents = Mutex::new(Contents::default());
    let (dicomdirs, instances) = (Mutex::default(), Mutex::default());
    let gathered = Gathered { contents: &contents, dicomdirs: &dicomdirs, instances: &instances };
    plan.watch.begins(Phase::Comparing);
    std::thread::scope(|scope| {
        let (found, to_read) = bounded::<Vec<FoundFile>>(WAITING);
        let walk = scope.spawn(move || plan.walk(&found, gathered.contents));
        let readers: Vec<_> = (0..plan.threads)
            .map(|_| to_read.clone())
            .map(|to_read| scope.spawn(move || plan.read(&to_read, gathered)))
            .collect();
        drop(to_read);
        let results = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| Err(defect())));
        let results: Vec<Result<()>> = results.collect();
        walk.join().unwrap_or_else(|_| Err(defect()))?;
        results.into_iter().collect::<Result<()>>()
    })?;
    let mut contents = contents.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut instances: Vec<FoundInstance> = std::mem::take(&mut poisoned(&instances));
    // Sorts by path, so that the instances below a directory are adjacent.
    instances.sort();
    let dicomdirs: Vec<PathBuf> = std::mem::take(&mut poisoned(&dicomdirs));
    contents.media = dicomdirs.into_iter().map(|dicomdir| medium(plan, dicomdir, &instances)).collect();
    contents.media.sort_by(|a, b| a.dicomdir.cmp(&b.dicomdir));
    Ok(contents)
}

#[derive(Clone, Copy)]
struct Gathered<'a> {
    contents: &'a Mutex<Contents>,
    dicomdirs: &'a Mutex<Vec<PathBuf>>,
    /// All instances, chosen or not.
    instances: &'a Mutex<Vec<FoundInstance>>,
}

fn medium(plan: &Plan<'_>, dicomdir: PathBuf, instances: &[FoundInstance]) -> Medium {
    let mut compared =
        Compared::of(&plan.sources.locator, &dicomdir, plan.stop).map_err(|rejection| rejection.to_string());
    let base = dicomdir.parent().unwrap_or(&dicomdir);
    let below = &instances[instances.partition_point(|instance| instance.file.as_path() < base)..];
    let below = &below[..below.partition_point(|instance| instance.file.starts_with(base))];
    let not_named = match &mut compared {
        Ok(compared) => compared.find_renamed(below),
        Err(_) => below.len() as u64,
    };
    Medium { dicomdir, compared, not_named }
}

impl Plan<'_> {
    fn walk(&self, found: &crossbeam_channel::Sender<Vec<FoundFile>>, contents: &Mutex<Contents>) -> Result<()> {
        let sink = |what: Found| {
            match what {
                Found::Files(files) => {
                    self.watch.files.fetch_add(files.len() as u64, Relaxed);
                    found.send(files).map_err(|_| Enough)?;
                }
                Found::Special(_) => *poisoned(contents).skipped.entry(Rule::Special).or_default() += 1,
                Found::Unreadable { path, error } => {
                    poisoned(contents).rejected.insert(path, error.to_string());
                }
                Found::UnreadableDirectory { path, error } => {
                    poisoned(contents).directories_unreadable.insert(path, error.to_string());
                }
                Found::SkippedDirectory { path, reason } => {
                    poisoned(contents).directories_skipped.insert(path, reason.to_string());
                }
                Found::Directory { .. } | Found::Earlier(_) => {}
            }
            if self.stop.is_set() { Err(Enough) } else { Ok(()) }
        };
        let skipped = self.sources.locator.skipped_directories();
        Walk::new(self.sources.roots.paths(), self.threads.min(8), skipped).run(&sink).map_err(|error| {
            Error::unfinished(format!("no threads can be started: {error}"), "Set a smaller number of --io-threads.")
        })
    }

    /// Reads files until the channel is closed.
    fn read(&self, to_read: &Receiver<Vec<FoundFile>>, gathered: Gathered<'_>) -> Result<()> {
        let mut reader = HeaderReader::new();
        while let Ok(mut files) = to_read.recv() {
            while files.len() < PORTION
                && let Ok(more) = to_read.try_recv()
            {
                files.extend(more);
            }
            if self.stop.is_set() {
                continue;
            }
            let count = files.len() as u64;
            let chosen = files.into_iter().filter_map(|file| self.look(&mut reader, file, gathered));
            let chosen: Vec<Box<Candidate>> = chosen.collect();
            let uids: Vec<&str> = chosen.iter().map(|candidate| candidate.instance.sop_instance_uid()).collect();
            let Some(rows) = self.rows.paths(&uids)? else { continue };
            let mut contents = poisoned(gathered.contents);
            for candidate in chosen {
                let is_indexed = rows.contains_key(candidate.instance.sop_instance_uid());
                contents.add(&candidate, is_indexed);
            }
            self.watch.read.fetch_add(count, Relaxed);
        }
        Ok(())
    }

    fn look(&self, reader: &mut HeaderReader, file: FoundFile, gathered: Gathered<'_>) -> Option<Box<Candidate>> {
        let contents = || poisoned(gathered.contents);
        match candidate::look(&self.sources.locator, reader, &file) {
            Ok(Met::Instance(candidate)) => {
                let uid = medium::hash(candidate.instance.sop_instance_uid());
                poisoned(gathered.instances).push(FoundInstance { file: file.path().to_owned(), uid });
                if self.sources.selection.takes(&candidate.instance) {
                    return Some(candidate);
                }
                contents().not_selected += 1;
            }
            Ok(Met::Stub(stub) | Met::Elsewhere(stub)) => {
                contents().stubs.insert(file.into_path(), format!("{}: {}", stub.kind, stub.why));
            }
            Ok(Met::Skipped(rule)) => {
                if rule == Rule::Dicomdir {
                    poisoned(gathered.dicomdirs).push(file.path().to_owned());
                }
                *contents().skipped.entry(rule).or_default() += 1;
            }
            Err(rejection) => {
                contents().rejected.insert(file.into_path(), rejection.to_string());
            }
        }
        None
    }
}

impl Contents {
    fn add(&mut self, candidate: &Candidate, is_indexed: bool) {
        let instance = &candidate.instance;
        if !self.met.insert(xxh3_64(instance.sop_instance_uid().as_bytes())) {
            self.repeated += 1;
            return;
        }
        let text = |attribute: usize| selection::text(instance, attribute).to_owned();
        let patient = self.patients.entry(instance.patient_id().to_owned()).or_default();
        fill(&mut patient.name, || {
            let [last, first] = [position(Table::Patient, "lastname"), position(Table::Patient, "firstname")].map(text);
            format!("{last}^{first}").trim_end_matches('^').to_owned()
        });
        let study = patient.studies.entry(instance.study_instance_uid().to_owned()).or_default();
        fill(&mut study.date, || text(position(Table::Study, "studydate")));
        fill(&mut study.description, || text(position(Table::Study, "description")));
        fill(&mut study.accession, || text(position(Table::Study, "accessionnum")));
        let series = study.series.entry(instance.series_instance_uid().to_owned()).or_default();
        fill(&mut series.number, || match instance.get(position(Table::Series, "seriesnumber")) {
            Value::Integer(number) => number.to_string(),
            _ => String::new(),
        });
        fill(&mut series.modality, || text(position(Table::Series, "modality")));
        fill(&mut series.description, || text(position(Table::Series, "description")));
        let one = Count { instances: 1, bytes: candidate.open.state.size, indexed: is_indexed.into() };
        series.count = series.count.and(one);
    }

    pub fn count(&self) -> Count {
        self.patients.values().fold(Count::default(), |sum, patient| sum.and(patient.count()))
    }

    /// Whether the sources have problems that the user should check before an import.
    pub fn has_findings(&self) -> bool {
        let disagree = |medium: &Medium| !medium.compared.as_ref().is_ok_and(Compared::agrees);
        !self.rejected.is_empty()
            || !self.stubs.is_empty()
            || !self.directories_unreadable.is_empty()
            || self.media.iter().any(disagree)
    }
}

/// Sets a text that is still empty. The first file with a value counts.
fn fill(text: &mut String, with: impl FnOnce() -> String) {
    if text.is_empty() {
        *text = with();
    }
}

fn defect() -> Error {
    Error::unfinished("listing failed, which is a defect of this program", "Please report it. Nothing was written.")
}
