//! What the audit before has found, so that this one can tell what is new, what is still there and what has gone: a hash of
//! each finding, without a value of its row.

#![allow(clippy::disallowed_methods, reason = "a file of this program's own")]

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::finding::Finding;

/// How findings compare with those of the audit before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub new: u64,
    pub still: u64,
    pub gone: u64,
}

pub struct Last(HashSet<u64>);

impl Last {
    /// `None`: there was no audit before, or what it found cannot be read.
    pub fn read(file: &Path) -> Option<Self> {
        let bytes = std::fs::read(file).ok()?;
        let hashes = bytes.strip_prefix(MAGIC)?.chunks_exact(8);
        Some(Last(hashes.map(|hash| u64::from_le_bytes(hash.try_into().expect("eight bytes"))).collect()))
    }

    pub fn had(&self, finding: &Finding) -> bool {
        self.0.contains(&hash(finding))
    }

    pub fn since(&self, findings: &[Finding]) -> Since {
        let still = findings.iter().filter(|finding| self.had(finding)).count() as u64;
        let now: HashSet<u64> = findings.iter().map(hash).collect();
        Since { new: findings.len() as u64 - still, still, gone: self.0.difference(&now).count() as u64 }
    }
}

const MAGIC: &[u8] = b"pacs-index audit 1\n";

/// Takes the place of the audit before, as a whole or not at all.
pub fn write(file: &Path, findings: &[Finding]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(MAGIC)?;
    findings.iter().try_for_each(|finding| new.write_all(&hash(finding).to_le_bytes()))?;
    new.persist(file)?;
    Ok(())
}

/// What is found of a row or a file is one finding, however its detail is worded.
fn hash(finding: &Finding) -> u64 {
    let Finding { check, uid, path, detail, .. } = finding;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    // Of a patient only the detail tells.
    let detail = if uid.is_none() && path.is_none() { detail } else { "" };
    xxh3_64(format!("{check}\0{}\0{}\0{detail}", text(uid), text(path)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::finding::Severity;

    #[test]
    fn findings_are_new_still_there_or_gone() {
        let finding = |uid: &str| Finding {
            check: "missing-file",
            severity: Severity::Error,
            uid: Some(uid.into()),
            path: None,
            detail: String::new(),
            mend: None,
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("made/audit");
        assert!(Last::read(&file).is_none());
        write(&file, &["1.2.1", "1.2.2"].map(finding)).unwrap();
        let last = Last::read(&file).unwrap();
        assert_eq!(last.since(&["1.2.2", "1.2.3", "1.2.4"].map(finding)), Since { new: 2, still: 1, gone: 1 });
    }
}
