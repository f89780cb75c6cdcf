//! Files that change while they are read: the row describes one state, or none is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pacs_index::archive::locator::Rules;
use pacs_index::archive::{FoundFile, Locator, OpenFile, PathMap, Roots, Standing};
use pacs_index::dicom::window::Source;
use pacs_index::dicom::{HeaderReader, Instance, Rejection};

use crate::support::draft::{Draft, PATIENT_NAME, ROWS, STUDY_INSTANCE_UID, Tag};
use crate::support::headers::{column, verdict};
use crate::support::writer::Writer;
use crate::support::{Running, Site};

const PRIVATE: Tag = (0x0009, 0x1001);

/// An instance that takes two reads: the patient's attributes are far behind the first UIDs.
fn long(patient: &str) -> Draft {
    Draft::plain().element(PRIVATE, "OB", &[7; 20_000]).text((0x0010, 0x0020), "LO", patient)
}

fn read(source: impl Source) -> Result<Instance, Rejection> {
    HeaderReader::new().read(source).and_then(Instance::from_header)
}

/// A file that is in the next state at each read. `None` is an unreadable state.
struct Changing(Vec<Option<Vec<u8>>>, usize);

impl Source for Changing {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = &self.0[self.1.min(self.0.len() - 1)];
        self.1 += 1;
        let bytes = state.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))?;
        bytes.as_slice().read_at(buffer, offset)
    }

    fn size(&self) -> Option<u64> {
        self.0[0].as_ref().map(|bytes| bytes.len() as u64)
    }
}

#[test]
fn a_source_that_changes_is_read_or_rejected() {
    let whole = long("T1").file();
    let cut = |tag| long("T1").cut_in(tag, 9);
    let cases = [
        ("unchanged", Some(whole.clone()), "indexed"),
        ("grows", Some([&whole[..], &[0; 5000]].concat()), "indexed"),
        ("shrinks behind the UIDs", Some(cut(ROWS)), "indexed, cut"),
        ("shrinks before the UIDs", Some(cut(STUDY_INSTANCE_UID)), "cut"),
        ("shrinks to what was read", Some(whole[..8192].to_vec()), "missing-uid"),
        ("is emptied", Some(vec![]), "missing-uid"),
        ("is overwritten with zeros", Some(vec![0; whole.len()]), "missing-uid"),
        ("cannot be read any more", None, "unreadable"),
    ];
    for (change, after, expected) in cases {
        let outcome = read(Changing(vec![Some(whole.clone()), after], 0));
        assert_eq!(verdict(&outcome), expected, "{change}");
    }
    let growing = read(Changing(vec![Some(cut(ROWS)), Some(whole.clone())], 0));
    assert_eq!(verdict(&growing), "indexed, cut", "what came after the opening is left to the next run");
}

/// A file on disk that is changed between the first read and the second.
struct Meddled<'a, S: Source, F: FnMut()>(S, usize, &'a mut F);

impl<S: Source, F: FnMut()> Source for Meddled<'_, S, F> {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1 += 1;
        if self.1 == 2 {
            (self.2)();
        }
        self.0.read_at(buffer, offset)
    }

    fn size(&self) -> Option<u64> {
        self.0.size()
    }
}

fn opened(archive: &Path, path: PathBuf) -> OpenFile {
    let roots = Roots::check(&[archive.into()], false).unwrap();
    let locator = Locator::new(&roots, &PathMap::default(), Rules::default());
    match locator.look(&FoundFile::named(path)).unwrap().standing {
        Standing::Readable(location) => location.open().unwrap().unwrap(),
        _ => panic!("it is not online"),
    }
}

/// Reads a file while it changes. Returns the result, and whether the change was detected.
fn meddle(change: impl FnOnce(&Path)) -> (Result<Instance, Rejection>, bool) {
    let site = Site::new();
    site.write("file", &long("OLD").file());
    let path = site.archive().join("file");
    let open = opened(&site.archive(), path.clone());
    let mut change = Some(change);
    let mut once = || change.take().into_iter().for_each(|change| change(&path));
    let outcome = read(Meddled(&open, 0, &mut once));
    (outcome, open.may_be_mixed())
}

#[test]
fn a_file_on_disk_that_changes_is_told_from_one_that_does_not() {
    let append =
        |path: &Path, bytes: &[u8]| OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    let (unchanged, mixed) = meddle(|_| ());
    assert_eq!((column(&unchanged.unwrap(), "patient.origid"), mixed), ("OLD".into(), false));
    let (removed, mixed) = meddle(|path| fs::remove_file(path).unwrap());
    assert_eq!((column(&removed.unwrap(), "patient.origid"), mixed), ("OLD".into(), false));
    let (replaced, mixed) = meddle(|path| {
        fs::write(path.with_extension("new"), long("NEW").file()).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    });
    assert_eq!((column(&replaced.unwrap(), "patient.origid"), mixed), ("OLD".into(), false));
    let (grown, mixed) = meddle(|path| append(path, &[0; 100]));
    assert_eq!((verdict(&grown), mixed), ("indexed", true));
    let (shrunk, mixed) = meddle(|path| OpenOptions::new().write(true).open(path).unwrap().set_len(9000).unwrap());
    assert_eq!((verdict(&shrunk), mixed), ("missing-uid", true));
    let (overwritten, mixed) = meddle(|path| fs::write(path, long("NEWER").without(PATIENT_NAME).file()).unwrap());
    // A mix of both states, which the content alone does not reveal.
    assert_eq!((verdict(&overwritten), mixed), ("indexed", true));
}

/// Stops the run while it has the file open. Returns `false` if the run was too fast.
fn is_stopped_within(running: &mut Running, file: &Path) -> bool {
    let descriptors = format!("/proc/{}/fd", running.id());
    let is_open = || {
        let open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path == file)
    };
    while !running.is_over() {
        if is_open() {
            signal(running, libc::SIGSTOP);
            // The signal takes effect with a delay.
            std::thread::sleep(std::time::Duration::from_millis(20));
            if is_open() {
                return true;
            }
            signal(running, libc::SIGCONT);
        }
    }
    false
}

fn signal(running: &Running, signal: libc::c_int) {
    // SAFETY: kill has no memory effects; the child is not reaped yet, so the process ID is still
    // its own.
    unsafe { libc::kill(running.id() as i32, signal) };
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_changes_while_a_run_reads_it_has_no_row_until_the_next_run() {
    let tiny = Writer::EXPLICIT.element(PRIVATE, "CS", b"").repeat(1_500_000);
    let file = Draft::plain().before(PATIENT_NAME, &tiny).file();
    for _ in 0..20 {
        let site = Site::new();
        let index = site.sqlite();
        site.write("file", &file);
        let path = site.archive().join("file").canonicalize().unwrap();
        let mut running = site.start_reindex(&index, &[]);
        if !is_stopped_within(&mut running, &path) {
            continue;
        }
        fs::write(&path, [&file[..], &[0; 10]].concat()).unwrap();
        signal(&running, libc::SIGCONT);
        let said = running.end().exits(1);
        assert_eq!((said.figure("unreadable or vanished"), said.figure("inserted")), (1, 0));
        assert_eq!(site.listing()[0]["detail"], "the file changed while it was read");
        assert_eq!(site.reindex(&index, &[]).exits(0).figure("inserted"), 1);
        return;
    }
    panic!("no run was caught while it read the file");
}
