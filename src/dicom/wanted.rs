//! The wanted elements of a data set, derived from the table of indexed attributes, in the order in
//! which a scan finds them.

use std::sync::LazyLock;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::{ATTRIBUTES, Attribute, Form, Item};

/// The number of bytes that are kept of a value. Columns store 64 to 128 characters, each of at
/// most four bytes, with an escape sequence where character sets alternate. Longer values would be
/// truncated there.
const VALUE_LIMIT: usize = 1024;

/// The number of bytes that are kept of a long text. The longest text of an indexed attribute is an
/// LT of 10,240 characters (PS3.5 6.2).
const LONG_VALUE_LIMIT: usize = 48 * 1024;

/// The first group of radiotherapy. Retired groups follow those of radiotherapy (PS3.6).
const RADIOTHERAPY: u16 = 0x3002;

/// The maximum number of sequences: a scan records in a `u32` which of them it has found.
const MOST_SEQUENCES: usize = 32;

/// A wanted place in a file. Attributes that share a place share its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The sequences around the element, outermost first.
    sequences: &'static [Tag],
    tag: Tag,
}

/// The action of a scan at a wanted element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Keeps the value in this slot.
    Value(usize),
    /// Enters the sequence, by its position in [`Wanted::sequences`].
    Sequence(usize),
}

/// The wanted elements of a data set or of an item, in tag order, so that a scan is a merge.
pub type Elements = Vec<(Tag, Aim)>;

/// A sequence that a scan enters.
pub struct Sequence {
    pub item: Item,
    pub elements: Elements,
}

pub fn find(elements: &[(Tag, Aim)], tag: Tag) -> Option<Aim> {
    elements.binary_search_by_key(&tag, |(tag, _)| *tag).ok().map(|found| elements[found].1)
}

pub struct Wanted {
    /// The elements of the data set, including the file meta group.
    pub elements: Elements,
    pub sequences: Vec<Sequence>,
    /// The slot of the value of each attribute.
    pub slots: Vec<usize>,
    /// Whether the value of each slot is binary.
    pub binary: Vec<bool>,
    /// Whether the value of each slot is a number, in text or binary.
    pub numbers: Vec<bool>,
    /// The number of bytes that are kept of the value of each slot.
    pub limits: Vec<usize>,
    /// A scan may stop after this top-level tag.
    pub last: Tag,
    /// Only retired attributes are wanted behind this tag.
    pub last_in_use: Tag,
    pub charset: usize,
    pub media_storage_sop_class: usize,
}

pub static WANTED: LazyLock<Wanted> = LazyLock::new(|| {
    let top = |tag| Place { sequences: &[], tag };
    // These two are needed to read a file, but are not columns.
    let mut places = vec![top(tags::SPECIFIC_CHARACTER_SET), top(tags::MEDIA_STORAGE_SOP_CLASS_UID)];
    places.extend(ATTRIBUTES.iter().map(place));
    places.sort();
    places.dedup();
    let slot = |place: Place| places.binary_search(&place).expect("every place is in the list");
    let slots: Vec<usize> = ATTRIBUTES.iter().map(|a| slot(place(a))).collect();
    let mut binary = vec![false; places.len()];
    let mut numbers = vec![false; places.len()];
    let mut limits = vec![VALUE_LIMIT; places.len()];
    for (a, slot) in ATTRIBUTES.iter().zip(&slots) {
        binary[*slot] = a.form == Form::Unsigned;
        numbers[*slot] = matches!(a.form, Form::Integer | Form::Unsigned | Form::Frames | Form::Decimal);
        limits[*slot] = if a.form == Form::LongText { LONG_VALUE_LIMIT } else { VALUE_LIMIT };
    }
    let paths = paths();
    assert!(paths.len() <= MOST_SEQUENCES);
    let elements = |sequences| elements(sequences, &places, &paths);
    let of_data_set = elements(&[]);
    let last_below = |group: u16| {
        let below = of_data_set.iter().rfind(|(tag, _)| tag.group() < group);
        below.map_or(Tag(0, 0), |(tag, _)| *tag)
    };
    Wanted {
        charset: slot(top(tags::SPECIFIC_CHARACTER_SET)),
        media_storage_sop_class: slot(top(tags::MEDIA_STORAGE_SOP_CLASS_UID)),
        last: last_below(u16::MAX),
        last_in_use: last_below(RADIOTHERAPY),
        elements: of_data_set,
        sequences: paths.iter().map(|(path, item)| Sequence { item: *item, elements: elements(path) }).collect(),
        slots,
        binary,
        numbers,
        limits,
    }
});

fn place(attribute: &Attribute) -> Place {
    Place { sequences: attribute.within.map_or(&[], |path| path.sequences), tag: attribute.tag }
}

/// Returns the path to each sequence that is entered, including the sequences around others.
fn paths() -> Vec<(&'static [Tag], Item)> {
    let mut paths: Vec<(&'static [Tag], Item)> = Vec::new();
    for path in ATTRIBUTES.iter().filter_map(|attribute| attribute.within) {
        for depth in 1..=path.sequences.len() {
            let way = &path.sequences[..depth];
            match paths.iter().find(|(known, _)| *known == way) {
                Some((_, item)) => assert!(*item == path.item, "of a sequence one item counts"),
                None => paths.push((way, path.item)),
            }
        }
    }
    paths
}

/// Returns the wanted elements directly inside these sequences.
fn elements(sequences: &[Tag], places: &[Place], paths: &[(&'static [Tag], Item)]) -> Elements {
    let values = places.iter().enumerate().filter(|(_, place)| place.sequences == sequences);
    let inner = paths.iter().enumerate().filter_map(|(i, (path, _))| match path.split_last() {
        Some((tag, around)) if around == sequences => Some((*tag, Aim::Sequence(i))),
        _ => None,
    });
    let mut elements: Elements = values.map(|(slot, place)| (place.tag, Aim::Value(slot))).chain(inner).collect();
    elements.sort_by_key(|(tag, _)| *tag);
    elements
}
