//! Patient names, and the suffixes of Patient IDs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The last, first and middle name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(pub [Box<str>; 3]);

impl Name {
    /// Returns the words of all parts in lower case. A comma separates words, as a space does.
    pub fn words(&self) -> Words {
        self.0.iter().flat_map(|part| part.split([' ', ','])).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    }

    /// Returns whether the words of one name are a subset of the other's, and both or neither are
    /// blank.
    pub fn agrees(&self, other: &Name) -> bool {
        agree(&self.words(), &other.words())
    }

    /// Returns the first and the last name in lower case.
    pub fn folded(&self) -> [String; 2] {
        [0, 1].map(|n| self.0[n].to_lowercase())
    }
}

pub type Words = BTreeSet<String>;

/// The maximum number of words in a name that is compared with shorter names, since all subsets of
/// its words are looked up. A text with more words is unlikely to be a name.
pub(crate) const MOST_WORDS: usize = 10;

/// Returns whether the words of one name are a subset of the other's, and both or neither are
/// blank.
pub(crate) fn agree(one: &Words, other: &Words) -> bool {
    let (fewer, more) = if one.len() < other.len() { (one, other) } else { (other, one) };
    match fewer.len() == more.len() {
        true => fewer == more,
        false => !fewer.is_empty() && more.len() <= MOST_WORDS && fewer.is_subset(more),
    }
}

/// Returns the Patient ID as files contain it, without a suffix from PacsOne.
pub fn base(patient_id: &str) -> &str {
    match patient_id.strip_suffix(']').and_then(|rest| rest.rfind('[')) {
        Some(at) => &patient_id[..at],
        None => patient_id,
    }
}

/// Returns whether an ID ends in a suffix in the format of this program, which a study's Patient ID
/// also has until the closing step.
pub fn has_own_suffix(patient_id: &str) -> bool {
    let suffix = &patient_id[base(patient_id).len()..];
    let digits = suffix.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    digits.is_some_and(|digits| digits.len() == 2 * SUFFIX && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The length of a suffix in bytes of the digest. The names of a single patient are too few for two
/// to share a suffix.
pub(crate) const SUFFIX: usize = 6;

/// Returns the suffix for a name: `[`, twelve hexadecimal digits that depend on the name alone, and
/// `]`.
pub fn suffix(name: &Name) -> String {
    let digest = Sha256::digest(name.0.join("^").as_bytes());
    let digits: String = digest.iter().take(SUFFIX).map(|byte| format!("{byte:02x}")).collect();
    format!("[{digits}]")
}
