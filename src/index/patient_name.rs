//! The name of a patient, and the suffixes of Patient IDs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Last, first and middle name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(pub [Box<str>; 3]);

impl Name {
    /// The words of all parts, without regard to case. A comma stands for a blank.
    pub fn words(&self) -> Words {
        self.0.iter().flat_map(|part| part.split([' ', ','])).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    }

    /// The one's words are among the other's, and both or neither are blank.
    pub fn agrees(&self, other: &Name) -> bool {
        agree(&self.words(), &other.words())
    }

    /// First and last name without regard to case.
    pub fn folded(&self) -> [String; 2] {
        [0, 1].map(|n| self.0[n].to_lowercase())
    }
}

pub type Words = BTreeSet<String>;

/// The number of words up to which a name is compared with names that have fewer: all subsets of its words are looked up. Text with
/// more words is hardly a name.
pub(crate) const MOST_WORDS: usize = 10;

/// Whether the words of one name are among those of the other, and both names or neither are blank.
pub(crate) fn agree(one: &Words, other: &Words) -> bool {
    let (fewer, more) = if one.len() < other.len() { (one, other) } else { (other, one) };
    match fewer.len() == more.len() {
        true => fewer == more,
        false => !fewer.is_empty() && more.len() <= MOST_WORDS && fewer.is_subset(more),
    }
}

/// The part of a Patient ID that files know: PacsOne's suffix, if there is one, left out.
pub fn base(patient_id: &str) -> &str {
    match patient_id.strip_suffix(']').and_then(|rest| rest.rfind('[')) {
        Some(at) => &patient_id[..at],
        None => patient_id,
    }
}

/// Whether an ID ends in a suffix as this program gives: what a study bears until the closing step, too.
pub fn has_own_suffix(patient_id: &str) -> bool {
    let suffix = &patient_id[base(patient_id).len()..];
    let digits = suffix.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    digits.is_some_and(|digits| digits.len() == 2 * SUFFIX && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Bytes of a digest: no patient has so many names that two would share them.
pub(crate) const SUFFIX: usize = 6;

/// `[` and twelve hexadecimal digits that the name alone determines, and `]`.
pub fn suffix(name: &Name) -> String {
    let digest = Sha256::digest(name.0.join("^").as_bytes());
    let digits: String = digest.iter().take(SUFFIX).map(|byte| format!("{byte:02x}")).collect();
    format!("[{digits}]")
}
