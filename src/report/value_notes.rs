//! Notes on files that end within their header, or whose values are not all stored as the file has
//! them. A note names columns, never a value.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::listing::Listing;
use crate::dicom::flaw::{AttributeSet, Flaw};
use crate::dicom::{ATTRIBUTES, Instance};

/// Maximum number of lines per reason in one list. A device that writes the same fault to each of
/// its millions of files would fill the disk; the list then has enough examples, and the summary
/// the total.
const MOST_LINES: u64 = 10_000;

const UNKNOWN_CHARSET: usize = Flaw::ALL.len();
const CUT_HEADER: usize = UNKNOWN_CHARSET + 1;

/// The number of notes listed, by reason.
#[derive(Debug, Default)]
pub struct ValueNotes {
    listed: [AtomicU64; CUT_HEADER + 1],
}

impl ValueNotes {
    /// Lists a file if it ends within its header, and once for each kind of flaw in its values.
    pub fn list(&self, listing: &Listing, path: &Path, instance: &Instance) {
        if instance.cut {
            let detail = "the file ends within its header, or the header cannot be read to its end: no value was taken \
                          from what follows";
            self.add(listing, path, CUT_HEADER, "cut-header", detail);
        }
        let flaws = &instance.flaws;
        if flaws.has_unknown_charset {
            let detail = "a term of Specific Character Set (0008,0005) is not known: text was read by the other terms, or \
                          as if none were declared";
            self.add(listing, path, UNKNOWN_CHARSET, "unknown-charset", detail);
        }
        for flaw in Flaw::ALL {
            let attributes = flaws.of(flaw);
            if !attributes.is_empty() {
                let (reason, text) = describe(flaw);
                self.add(listing, path, flaw as usize, reason, &format!("{text}: {}", columns(attributes)));
            }
        }
    }

    fn add(&self, listing: &Listing, path: &Path, kind: usize, reason: &str, detail: &str) {
        match self.listed[kind].fetch_add(1, Relaxed) + 1 {
            MOST_LINES => {
                let detail = format!("{detail}; further files with this reason are only counted in the summary");
                listing.add("note", path, reason, &detail);
            }
            n if n < MOST_LINES => listing.add("note", path, reason, detail),
            _ => {}
        }
    }
}

/// Returns the reason code of a flaw, and the beginning of its detail.
fn describe(flaw: Flaw) -> (&'static str, &'static str) {
    match flaw {
        Flaw::Invalid => ("invalid-value", "no value was taken where values are invalid or out of range"),
        Flaw::Undecodable => ("undecodable-text", "bytes that the character set does not have became U+FFFD"),
        Flaw::Repaired => {
            ("repaired-value", "values that break the rules of DICOM were read, because they have one meaning only")
        }
        Flaw::Partial => ("partial-value", "values were stored in part, or two values in one"),
    }
}

fn columns(attributes: AttributeSet) -> String {
    let name = |attribute: usize| format!("{}.{}", ATTRIBUTES[attribute].table.name(), ATTRIBUTES[attribute].column);
    attributes.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_most_files_have_does_not_fill_the_list() {
        let directory = tempfile::tempdir().unwrap();
        let listing = Listing::create(&directory.path().join("list"), false).unwrap();
        let mut instance = Instance::with_texts(&[]);
        instance.flaws.add(Flaw::Repaired, 0);
        let notes = ValueNotes::default();
        for _ in 0..MOST_LINES + 5 {
            notes.list(&listing, Path::new("/a"), &instance);
        }
        instance.flaws.has_unknown_charset = true;
        notes.list(&listing, Path::new("/b"), &instance);
        assert_eq!(listing.lines().unwrap().1.notes, MOST_LINES + 1);
    }
}
