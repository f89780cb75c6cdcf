//! The format of an undo file: JSON Lines, of which the first names the index. Each line ends with
//! a hash of its own text and of the previous hash, so that only the lines that a repair wrote, in
//! their order, are accepted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::index::Location;
use crate::{full_disk, new_file, settings};

/// The version of the format.
const FORM: u32 = 2;

/// The key of the hash in each line, with the text before the hash.
const CHECKSUM: &str = r#","checksum":""#;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileHead {
    undo_file: u32,
    index: String,
}

/// The undo file of a running repair. Each line survives a crash of the machine.
pub struct UndoFile {
    path: PathBuf,
    file: File,
    chain: HashChain,
}

impl UndoFile {
    /// Creates the file, with the line that names the index.
    pub fn create(path: &Path, index: &str) -> Result<Self> {
        let file = new_file::create(path, "the undo file", "--undo-file", false)?;
        let mut undo = UndoFile { path: path.to_owned(), file, chain: HashChain::default() };
        undo.record(&FileHead { undo_file: FORM, index: index.to_owned() })?;
        Ok(undo)
    }

    /// Appends a line, and syncs it to disk before returning.
    pub fn record(&mut self, line: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(line).map_err(io::Error::from);
        let written = text.and_then(|text| self.file.write_all(self.chain.seal(&text).as_bytes()));
        written.and_then(|()| self.file.sync_data()).map_err(|error| {
            let error = full_disk::named_by_file(&self.path, error);
            Error::unfinished(
                format!("the undo file cannot be written: {error}"),
                "The repair changes nothing that it cannot record there. Make room, audit again, and go on with a new plan.",
            )
        })
    }
}

/// Returns the lines of an undo file of this index, each with its number and without its hash. An
/// incomplete last line, which a killed repair leaves, is dropped: the change that it describes was
/// not made.
pub fn read(file: &Path, location: &Location) -> Result<Vec<(usize, String)>, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let mut chain = HashChain::default();
    let mut lines = Vec::new();
    for (n, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match chain.open(line) {
            Some(line) => lines.push((n + 1, line)),
            None if is_incomplete(line) => {}
            None if n == 0 => {
                return Err(
                    "line 1 is not the one that a repair writes: the file was edited, or an earlier version wrote it"
                        .into(),
                );
            }
            None => {
                return Err(format!("line {} is not the one that a repair wrote there: the file was edited", n + 1));
            }
        }
    }
    if lines.is_empty() {
        return Err("it records no change".into());
    }
    let (_, head) = lines.remove(0);
    let head: FileHead = serde_json::from_str(&head).map_err(|_| "line 1 does not name an index")?;
    match head {
        FileHead { undo_file, .. } if undo_file != FORM => Err("line 1: another version wrote this undo file".into()),
        FileHead { index, .. } if !settings::is_named(location, &index) => {
            Err(format!("line 1: it is for the index {index}, and not for {}", settings::name(location)))
        }
        _ => Ok(lines),
    }
}

/// Whether a line was cut off while it was written.
fn is_incomplete(line: &[u8]) -> bool {
    !line.ends_with(b"\n") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err()
}

/// The hash of all lines so far.
#[derive(Default)]
struct HashChain(String);

impl HashChain {
    /// Appends the hash to a JSON object, and a line feed.
    fn seal(&mut self, object: &str) -> String {
        let open = object.strip_suffix('}').unwrap_or(object);
        self.0 = self.next(open);
        format!("{open}{CHECKSUM}{}\"}}\n", self.0)
    }

    /// Returns the object of a line, or `None` if the line is not the next one of the chain.
    fn open(&mut self, line: &[u8]) -> Option<String> {
        let line = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
        let (open, hash) = line.strip_suffix("\"}")?.rsplit_once(CHECKSUM)?;
        let expected = self.next(open);
        (hash == expected).then(|| {
            self.0 = expected;
            format!("{open}}}")
        })
    }

    fn next(&self, open: &str) -> String {
        let digest = Sha256::new().chain_update(&self.0).chain_update(open).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
