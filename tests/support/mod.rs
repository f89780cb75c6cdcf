//! Test helpers for the steps of a user: create an archive, run the program, query the index.

pub mod description;
pub mod draft;
pub mod failing_disk;
pub mod file_set;
pub mod headers;
mod index;
pub mod instance;
pub mod memory;
pub mod newer_program;
pub mod pacs;
pub mod pydicom;
pub mod random;
mod server;
mod small;
pub mod stubs;
pub mod terminal;
pub mod virtual_archive;
pub mod volatile;
pub mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dicom_dictionary_std::uids;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

pub use index::{Connected, Index, TABLES, server_of};
pub use server::{Cluster, Server};
pub use small::Small;

pub const ROOT_UID: &str = "1.3.6.1.4.1.32473.7";
pub const PASSWORD: &str = "pacs-test";

/// The lines of the summary that count files. Every file found is counted in one of them.
pub const FATES: [&str; 11] = [
    "inserted",
    "updated",
    "unchanged",
    "duplicates not chosen",
    "rejected",
    "unreadable or vanished",
    "links within the archive",
    "stubs not read",
    "skipped by rule",
    "left to the PACS (young)",
    "not reached",
];

/// Returns the directory of the fixtures in the repository.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Copies the archive of the fixtures with the modification times of its original files: the PACS
/// received them some time ago, and the second file of an instance arrived together with the first.
pub fn fixture_archive(site: &Site) -> PathBuf {
    let archive = fixtures().join("archive");
    let at = |text: &str| std::time::SystemTime::from(text.parse::<jiff::Timestamp>().unwrap());
    for entry in walk(&archive) {
        let target = site.archive().join(entry.strip_prefix(&archive).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&entry, &target).unwrap();
        let is_second = target.ends_with("a second file of an instance");
        let modified = at(if is_second { "2021-11-12T11:00:00Z" } else { "2021-11-20T12:00:00Z" });
        fs::OpenOptions::new().write(true).open(&target).unwrap().set_modified(modified).unwrap();
    }
    site.archive()
}

/// Returns all files below a directory.
pub fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A directory with the archive, the index and the state of one test.
pub struct Site {
    directory: TempDir,
}

/// The exit code and the output of a run of the program.
pub struct Said {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::new(command.output().unwrap())
    }

    pub fn new(output: Output) -> Self {
        Said {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns a figure of the summary, by its label.
    pub fn figure(&self, label: &str) -> u64 {
        let line = self.out.lines().find(|line| line.trim_start().starts_with(label));
        let line = line.unwrap_or_else(|| panic!("no {label} in:\n{}\n{}", self.out, self.err));
        line.split_whitespace().next_back().unwrap().replace(',', "").parse().unwrap()
    }

    /// Asserts the exit code; if it differs, prints the whole output.
    #[track_caller]
    pub fn exits(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl Site {
    pub fn new() -> Self {
        let site = Site { directory: TempDir::with_prefix("pacs-index-test").unwrap() };
        fs::create_dir(site.archive()).unwrap();
        site
    }

    /// A site in memory, where directories list the newest entries first.
    pub fn in_memory() -> Self {
        let directory = tempfile::Builder::new().prefix("pacs-index-test").tempdir_in("/dev/shm");
        let site = Site { directory: directory.unwrap() };
        fs::create_dir(site.archive()).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("archive")
    }

    /// Returns the list of rejected files.
    pub fn listing(&self) -> Vec<Json> {
        let text = fs::read_to_string(self.path("rejected.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the lines of the list about rows and files of a kind: the reason, and the UID or the
    /// name of the file; sorted.
    pub fn findings(&self, what: &str) -> Vec<String> {
        let name = |line: &Json| match line["uid"].as_str() {
            Some(uid) => uid.to_owned(),
            None => Path::new(line["path"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned(),
        };
        let of_kind = self.listing().into_iter().filter(|line| line["what"] == what);
        let mut found: Vec<String> =
            of_kind.map(|line| format!("{} {}", line["reason"].as_str().unwrap(), name(&line))).collect();
        found.sort();
        found
    }

    /// Returns `what` and `reason` of the lines in the list about files with a name.
    pub fn listed(&self, name: &str) -> Vec<(String, String)> {
        let text = |line: &Json, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let of_name = self.listing().into_iter().filter(|line| text(line, "path").ends_with(name));
        of_name.map(|line| (text(&line, "what"), text(&line, "reason"))).collect()
    }

    /// Adds an instance to the archive; `change` adds or alters attributes.
    pub fn add(&self, path: &str, change: Json) {
        self.write(path, &instance_file(change));
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.archive().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        // Like files of an archive, these were written some time ago, so that a change is visible.
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    /// Adds a series of instances to a directory of the archive.
    pub fn add_series(&self, directory: &str, study: u32, series: u32, count: u32) {
        for n in 1..=count {
            let uid = format!("{ROOT_UID}.{study}.{series}.{n}");
            let change = json!({
                "PatientID": format!("T{study}"), "StudyInstanceUID": format!("{ROOT_UID}.{study}"),
                "SeriesInstanceUID": format!("{ROOT_UID}.{study}.{series}"), "SOPInstanceUID": uid,
                "InstanceNumber": n.to_string(), "SeriesNumber": series.to_string(),
            });
            self.add(&format!("{directory}/{uid}"), change);
        }
    }

    /// Returns a command for the program, with an empty environment and a new list of rejected
    /// files.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pacs-index"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("PACS_INDEX_PASSWORD")
            .env_remove("PACS_INDEX_STATE")
            .env_remove("STATE_DIRECTORY")
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Returns a command for the program under a user who is not root. The program is copied,
    /// because that user may not have access to the build directory.
    pub fn program_as_nobody(&self, arguments: &[&str]) -> Command {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        let program = self.path("pacs-index");
        if !program.exists() {
            // `cp` makes the copy: a file that this process has open for writing cannot be executed
            // while another thread starts a child.
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pacs-index")).arg(&program).status().unwrap();
            assert!(copied.success());
            fs::set_permissions(self.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path()).env("TZ", "UTC").stdin(Stdio::null());
        command.env_remove("PACS_INDEX_STATE").env_remove("STATE_DIRECTORY");
        command.env("XDG_STATE_HOME", self.path("state")).env("PACS_INDEX_PASSWORD", PASSWORD);
        // SAFETY: geteuid only returns a number.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(65534).gid(65534);
        }
        command
    }

    /// Returns the file or directory below the state directory `state` whose name begins with
    /// `kind`: `journal`, `import`, `audit`. A catalogue is a journal, too.
    pub fn kept(&self, state: &str, kind: &str) -> PathBuf {
        self.kept_by_now(state, kind).unwrap_or_else(|| panic!("{state} contains no {kind}"))
    }

    /// Like [`Self::kept`], but returns `None` if the entry does not exist yet. Panics if there is
    /// more than one.
    pub fn kept_by_now(&self, state: &str, kind: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(self.path(state)).ok()?.map(|entry| entry.unwrap().path());
        let is_of_kind = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_catalogue = kind == "journal" && name.starts_with("catalogue-");
            (is_catalogue || name.starts_with(&format!("{kind}-"))) && !name.contains("damaged")
        };
        let found: Vec<PathBuf> = entries.filter(is_of_kind).collect();
        assert!(found.len() <= 1, "{state} contains more than one {kind}: {found:?}");
        found.into_iter().next()
    }

    /// Returns the path of a file of the journal in the state directory `journal`.
    pub fn journal(&self, name: &str) -> PathBuf {
        self.kept("journal", "journal").join(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::new(self.program(arguments).output().unwrap())
    }

    /// Returns a `reindex` command for the archive of this site, with the list of rejected files in
    /// the site. `tests/run` may set the number of files per transaction.
    pub fn reindexing(&self, root: &Path, index: &Index, more: &[&str]) -> Command {
        let _ = fs::remove_file(self.path("rejected.jsonl"));
        let mut command = self.program(&["reindex", root.to_str().unwrap(), "--index", &index.url, "--quiet"]);
        command.args(["--rejected", "rejected.jsonl"]).args(more).env("PACS_INDEX_PASSWORD", PASSWORD);
        if !more.contains(&"--min-age") {
            // The files of tests are always new.
            command.args(["--min-age", "0s"]);
        }
        if let Some(portion) = std::env::var_os("PACS_INDEX_TEST_PORTION").filter(|_| !more.contains(&"--portion")) {
            command.arg("--portion").arg(portion);
        }
        command
    }

    pub fn reindex(&self, index: &Index, more: &[&str]) -> Said {
        self.reindex_root(&self.archive(), index, more)
    }

    pub fn reindex_root(&self, root: &Path, index: &Index, more: &[&str]) -> Said {
        Said::new(self.reindexing(root, index, more).output().unwrap())
    }

    /// Starts a run that prints its progress as lines.
    pub fn start_shown(&self, index: &Index, more: &[&str]) -> Running {
        let mut command = self.program(&["reindex", "archive", "--index", &index.url, "--progress", "lines"]);
        self.start(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD))
    }

    /// Starts a run in the background.
    pub fn start_reindex(&self, index: &Index, more: &[&str]) -> Running {
        self.start(&mut self.reindexing(&self.archive(), index, more))
    }

    pub fn start(&self, command: &mut Command) -> Running {
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn sqlite(&self) -> Index {
        let path = self.path("index.db");
        Index::sqlite(path)
    }
}

pub struct Running(std::process::Child);

impl Running {
    /// Returns whether the process uses CPU time within `time`.
    pub fn works_within(&self, time: std::time::Duration) -> bool {
        let used = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
            // User and system time, after the name in parentheses (proc(5)).
            let fields: Vec<String> = stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect();
            fields.get(11..13).map(<[String]>::to_vec)
        };
        let before = used();
        std::thread::sleep(time);
        used() != before
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn interrupt(&self) {
        // SAFETY: kill has no memory effects; the child is not reaped yet, so the number is still
        // its own.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub fn end(self) -> Said {
        Said::new(self.0.wait_with_output().unwrap())
    }

    /// Waits for the end and returns the peak memory in bytes. The peak is polled while the program
    /// runs, because the system's figure for a finished process includes the memory of its parent.
    pub fn end_with_peak(mut self) -> (Said, u64) {
        let mut peak = 0;
        while !self.is_over() {
            // Until the program is executed, the new process shows the memory of this one.
            let program = std::fs::read_link(format!("/proc/{}/exe", self.id())).ok();
            if program != std::env::current_exe().ok() {
                peak = peak.max(memory::peak_of(self.id()));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        (self.end(), peak)
    }
}

/// Returns the bytes of a small CT instance with changed attributes.
pub fn instance_file(change: Json) -> Vec<u8> {
    encoded_instance_file(change, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// Returns the bytes of a small CT instance with changed attributes, in the given transfer syntax.
pub fn encoded_instance_file(change: Json, transfer_syntax: &str) -> Vec<u8> {
    let mut all = json!({
        "SOPClassUID": uids::CT_IMAGE_STORAGE, "SOPInstanceUID": format!("{ROOT_UID}.1.1.1"),
        "StudyInstanceUID": format!("{ROOT_UID}.1"), "SeriesInstanceUID": format!("{ROOT_UID}.1.1"),
        "PatientID": "T1", "PatientName": "Testmann^Theo", "PatientBirthDate": "19700101", "PatientSex": "M",
        "StudyDate": "20211112", "StudyTime": "101500", "Modality": "CT", "SeriesNumber": "1", "InstanceNumber": "1",
        "Rows": "4", "Columns": "2", "BitsStored": "12",
    });
    let all = all.as_object_mut().unwrap();
    for (keyword, value) in change.as_object().unwrap() {
        match value {
            Json::Null => all.remove(keyword),
            value => all.insert(keyword.clone(), value.clone()),
        };
    }
    instance::file(instance::data_set(all), transfer_syntax, Some("TEST"), Default::default())
}

/// Runs a check on both kinds of index.
pub fn on_both_databases(check: impl Fn(&Site, &Index)) {
    let site = Site::new();
    check(&site, &site.sqlite());
    let site = Site::new();
    check(&site, &Index::mariadb(&site));
}

/// Returns the lines of one list that the other does not contain.
pub fn beyond(one: &[String], other: &[String]) -> Vec<String> {
    let mut rest = other.to_vec();
    let is_beyond = |line: &&String| rest.iter().position(|other| other == *line).map(|n| rest.remove(n)).is_none();
    one.iter().filter(is_beyond).cloned().collect()
}
