//! Groups of names that belong to one patient, numbered in bounded memory. A placeholder in place
//! of a Patient ID may have millions of names.
//!
//! Names are processed in order. A name joins the first group in which all names agree with it, or
//! starts a new group. Two names agree if the words of one are a subset of the words of the other.
//! An external sort of the words of each name, and of their subsets, finds such pairs. Only numbers
//! are kept in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::disk::key;
use crate::disk::runs::{Entry, Runs, Sorter};
use crate::index::patient_name::{MOST_WORDS, Words};

/// Terminates the words of a name. Sorts before each further word.
const END: [u8; 2] = [0, 0];

/// Marks words that are all words of a name.
const WHOLE: u8 = 0;

/// Marks words that are a proper subset of the words of a name.
const SUBSET: u8 = 1;

/// The number of bytes of the kind and the number that follow the words.
const TAIL: usize = 5;

/// The number of the group that agrees with the name in an existing row, if there is such a row.
pub(super) const OF_ROW: u32 = 0;

/// Collects names in their order.
pub(super) struct NameGrouper {
    words: Sorter,
    /// For each name whether it agrees with the name in the row.
    agree_with_row: Vec<bool>,
    /// Whether the group [`OF_ROW`] is reserved for names that agree with the name in a row.
    /// Otherwise its number has no special meaning.
    has_row: bool,
}

impl NameGrouper {
    /// Creates an empty grouper. More than `limit` bytes of words are written to temporary files in
    /// a directory.
    pub(super) fn new(directory: &Path, limit: usize, has_row: bool) -> Self {
        NameGrouper { words: Sorter::new(directory, limit), agree_with_row: Vec::new(), has_row }
    }

    /// Adds the next name.
    pub(super) fn add(&mut self, words: &Words, agrees_with_row: bool) -> io::Result<()> {
        let n = self.agree_with_row.len() as u32;
        self.agree_with_row.push(agrees_with_row);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.push(&words, WHOLE, n)?;
        if words.len() > MOST_WORDS {
            return Ok(());
        }
        let mut subset = Vec::with_capacity(words.len());
        for mask in 1..(1_u32 << words.len()) - 1 {
            subset.clear();
            subset.extend(words.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, word)| *word));
            self.push(&subset, SUBSET, n)?;
        }
        Ok(())
    }

    fn push(&mut self, words: &[&str], kind: u8, n: u32) -> io::Result<()> {
        let mut key = key::encode(words.iter().copied());
        key.extend(END);
        key.push(kind);
        key.extend(n.to_be_bytes());
        self.words.push(&key, &[])
    }

    /// Returns the number of the group of each name. Groups are numbered in the order of their
    /// first names.
    pub(super) fn finish(self, directory: &Path, limit: usize) -> io::Result<Vec<u32>> {
        let mut groups: Vec<u32> = (0..self.agree_with_row.len() as u32).collect();
        let mut pairs = Sorter::new(directory, limit);
        pair(&self.words.finish(), &mut groups, &mut pairs)?;
        Joining { agree_with_row: self.agree_with_row, has_row: self.has_row }.join(groups, &pairs.finish())
    }
}

/// Finds the first name with the same words as each name, and the pairs of names with different
/// words that agree. Each pair contains the later name and the earlier one.
fn pair(words: &Runs, first_alike: &mut [u32], pairs: &mut Sorter) -> io::Result<()> {
    let mut current: Option<(Entry, u32)> = None;
    for entry in words.entries()? {
        let entry = entry?;
        let (words, tail) = entry.key().split_at(entry.key().len() - TAIL);
        let n = number(&tail[1..]);
        let first =
            current.as_ref().filter(|(of, _)| of.key()[..of.key().len() - TAIL] == *words).map(|(_, first)| *first);
        match (first, tail[0]) {
            (Some(first), WHOLE) => first_alike[n as usize] = first,
            (Some(first), _) => pairs.push(&[n.max(first).to_be_bytes(), n.min(first).to_be_bytes()].concat(), &[])?,
            (None, WHOLE) => current = Some((entry.clone(), n)),
            // No name consists of these words.
            (None, _) => {}
        }
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The number of names with different words in each group. Nearly all groups have one name, and
/// such a group uses no memory.
struct GroupSizes {
    count: u32,
    of_several: BTreeMap<u32, u32>,
}

impl GroupSizes {
    fn size(&self, group: u32) -> u32 {
        self.of_several.get(&group).copied().unwrap_or(1)
    }

    /// Adds a name to a group, or to a new one. Returns the number of the group.
    fn add(&mut self, group: Option<u32>) -> u32 {
        let Some(group) = group else {
            self.count += 1;
            return self.count - 1;
        };
        *self.of_several.entry(group).or_insert(1) += 1;
        group
    }
}

/// Assigns each name to a group.
struct Joining {
    agree_with_row: Vec<bool>,
    has_row: bool,
}

impl Joining {
    /// `names` contains for each name the first name with the same words. Returns the groups of the
    /// names.
    fn join(&self, mut names: Vec<u32>, pairs: &Runs) -> io::Result<Vec<u32>> {
        let mut is_first = vec![false; names.len()];
        names.iter().zip(0..).for_each(|(first, n)| is_first[n as usize] = *first == n);
        let mut pairs = pairs.entries()?.peekable();
        let of_row = self.has_row.then_some((OF_ROW, 0));
        let mut groups = GroupSizes { count: self.has_row.into(), of_several: of_row.into_iter().collect() };
        for n in 0..names.len() {
            let mut agreeing: BTreeMap<u32, u32> = BTreeMap::new();
            if self.has_row && self.agree_with_row[n] {
                agreeing.insert(OF_ROW, 0);
            }
            let is_of_name =
                |pair: &io::Result<Entry>| pair.as_ref().map_or(true, |pair| number(&pair.key()[..4]) == n as u32);
            while let Some(pair) = pairs.next_if(is_of_name) {
                let earlier = number(&pair?.key()[4..]) as usize;
                if is_first[earlier] {
                    *agreeing.entry(names[earlier]).or_default() += 1;
                }
            }
            if !is_first[n] {
                names[n] = names[names[n] as usize];
                continue;
            }
            let may_join = |group: u32| !self.has_row || group != OF_ROW || self.agree_with_row[n];
            let joined = agreeing.into_iter().find(|(group, count)| may_join(*group) && groups.size(*group) == *count);
            let group = joined.map(|(group, _)| group);
            names[n] = groups.add(group);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::patient_name::agree;

    /// The rule itself, as a reference: each name is compared with all names of each group.
    fn group_slowly(names: &[Words], row: Option<&Words>) -> Vec<u32> {
        let mut groups: Vec<Vec<&Words>> = row.iter().map(|_| Vec::new()).collect();
        let mut numbers = Vec::new();
        for name in names {
            let may_join = |group: usize| row.is_none_or(|row| group > 0 || agree(row, name));
            let agrees = |group: usize| groups[group].iter().all(|member| agree(member, name));
            let group = (0..groups.len()).find(|group| may_join(*group) && agrees(*group)).unwrap_or(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(name);
            numbers.push(group as u32);
        }
        numbers
    }

    #[test]
    fn names_are_numbered_as_if_each_was_compared_with_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = 7_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for round in 0..600 {
            let mut words = |most: usize| (0..next(most + 1)).map(|_| format!("w{}", next(5))).collect::<Words>();
            let mut names: Vec<Words> = (0..30).map(|_| words(4)).collect();
            // These names have more words than the grouper compares with those of shorter names.
            let long = |words: std::ops::Range<u32>| words.map(|n| format!("w{n}")).collect::<Words>();
            names.extend([long(0..MOST_WORDS as u32), long(0..MOST_WORDS as u32 + 1), long(0..MOST_WORDS as u32 + 1)]);
            let row = (round % 2 == 0).then(|| words(3));
            let expected = group_slowly(&names, row.as_ref());
            for limit in [1000, usize::MAX] {
                let mut grouper = NameGrouper::new(directory.path(), limit, row.is_some());
                for name in &names {
                    grouper.add(name, row.as_ref().is_some_and(|row| agree(row, name))).unwrap();
                }
                assert_eq!(grouper.finish(directory.path(), limit).unwrap(), expected, "{names:?} {row:?}");
            }
        }
    }
}
