//! Flaws: the ways in which the stored values of an instance differ from the values in its file.

use super::attributes::ATTRIBUTES;

/// A way in which a stored value differs from the value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The value is invalid, or its column cannot store it. The value is not stored.
    Invalid,
    /// Bytes that are invalid in the character set are replaced by U+FFFD.
    Undecodable,
    /// The value breaks the rules of DICOM, but has only one meaning and was read.
    Repaired,
    /// A part of the value is lost, behind a NUL or as a second value, or two values are mixed.
    Partial,
}

impl Flaw {
    pub const ALL: [Flaw; 4] = [Flaw::Invalid, Flaw::Undecodable, Flaw::Repaired, Flaw::Partial];
}

/// A set of attributes, by their positions in [`ATTRIBUTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeSet(u128);

const _: () = assert!(ATTRIBUTES.len() <= u128::BITS as usize);

impl AttributeSet {
    pub fn insert(&mut self, attribute: usize) {
        self.0 |= 1 << attribute;
    }

    /// Removes an attribute. Returns whether the set contained it.
    pub fn remove(&mut self, attribute: usize) -> bool {
        let before = self.0;
        self.0 &= !(1 << attribute);
        self.0 != before
    }

    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..ATTRIBUTES.len()).filter(move |attribute| self.0 >> attribute & 1 == 1)
    }
}

/// The flaws of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// The attributes with each flaw. Boxed, because most instances have no flaws and are moved
    /// often.
    attributes: Option<Box<[AttributeSet; Flaw::ALL.len()]>>,
    /// Whether a declared character set is unknown.
    pub has_unknown_charset: bool,
}

impl Flaws {
    /// Adds a flaw. An invalid value is not stored, and thus counts neither as repaired nor as
    /// partial.
    pub fn add(&mut self, flaw: Flaw, attribute: usize) {
        let sets = self.attributes.get_or_insert_default();
        sets[flaw as usize].insert(attribute);
        if flaw == Flaw::Invalid {
            sets[Flaw::Repaired as usize].remove(attribute);
            sets[Flaw::Partial as usize].remove(attribute);
        }
    }

    /// Removes a flaw. Returns whether the attribute had it.
    pub(super) fn remove(&mut self, flaw: Flaw, attribute: usize) -> bool {
        self.attributes.as_mut().is_some_and(|sets| sets[flaw as usize].remove(attribute))
    }

    /// Returns the attributes that have a flaw.
    pub fn of(&self, flaw: Flaw) -> AttributeSet {
        self.attributes.as_ref().map_or(AttributeSet::default(), |attributes| attributes[flaw as usize])
    }

    /// Returns the flaws with other positions of the attributes. Flaws of attributes without a
    /// position are omitted.
    pub(super) fn moved(&self, positions: &[Option<usize>]) -> Self {
        let mut moved = Flaws { has_unknown_charset: self.has_unknown_charset, attributes: None };
        for flaw in Flaw::ALL {
            let set = self.of(flaw);
            let present = positions.iter().enumerate().filter(|(n, _)| set.0 >> n & 1 == 1);
            present.filter_map(|(_, position)| *position).for_each(|position| moved.add(flaw, position));
        }
        moved
    }

    /// Appends the flaws to a buffer: a byte that shows which sets follow, and then these sets.
    /// Most instances have no flaws.
    pub(super) fn pack(&self, into: &mut Vec<u8>) {
        let sets = Flaw::ALL.map(|flaw| self.of(flaw));
        let present = sets.iter().enumerate().map(|(n, set)| u8::from(!set.is_empty()) << n).sum::<u8>();
        into.push(present | u8::from(self.has_unknown_charset) << UNKNOWN_CHARSET);
        into.extend(sets.iter().filter(|set| !set.is_empty()).flat_map(|set| set.0.to_le_bytes()));
    }

    /// Takes packed flaws from the front of a buffer.
    pub(super) fn unpack(from: &mut &[u8]) -> Option<Self> {
        let head = *from.split_off_first()?;
        let mut flaws = Flaws { has_unknown_charset: head >> UNKNOWN_CHARSET & 1 == 1, attributes: None };
        for flaw in Flaw::ALL.into_iter().filter(|flaw| head >> *flaw as u8 & 1 == 1) {
            let packed = from.split_off(..size_of::<u128>())?.try_into().ok()?;
            flaws.attributes.get_or_insert_default()[flaw as usize] = AttributeSet(u128::from_le_bytes(packed));
        }
        Some(flaws)
    }
}

/// The bit of the first packed byte behind those of [`Flaw::ALL`].
const UNKNOWN_CHARSET: usize = Flaw::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_stored_counts_as_invalid_alone() {
        let mut flaws = Flaws::default();
        flaws.add(Flaw::Repaired, 3);
        flaws.add(Flaw::Partial, 3);
        flaws.add(Flaw::Repaired, 4);
        flaws.add(Flaw::Invalid, 3);
        let found = Flaw::ALL.map(|flaw| flaws.of(flaw).iter().collect::<Vec<_>>());
        assert_eq!(found, [vec![3], vec![], vec![4], vec![]]);
    }

    #[test]
    fn packed_flaws_come_back_whole_or_not_at_all() {
        let mut flaws = Flaws { has_unknown_charset: true, ..Flaws::default() };
        flaws.add(Flaw::Repaired, ATTRIBUTES.len() - 1);
        flaws.add(Flaw::Partial, 0);
        let mut packed = Vec::new();
        flaws.pack(&mut packed);
        assert_eq!(Flaws::unpack(&mut packed.as_slice()), Some(flaws.clone()));
        assert_eq!(flaws.of(Flaw::Repaired).iter().collect::<Vec<_>>(), [ATTRIBUTES.len() - 1]);
        for length in 0..packed.len() {
            assert_eq!(Flaws::unpack(&mut &packed[..length]), None);
        }
    }
}
