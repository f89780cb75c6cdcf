//! The end of the data of a file, as the header declares it. A shorter file was cut off, by an
//! interrupted transfer or a full disk.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::{Table, position};
use super::instance::{Instance, Value};

/// The end of the data of a file, as the header reader finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataEnd {
    /// The file was read by an earlier version of this program, which did not record the end.
    #[default]
    Unknown,
    /// All elements were read, and none of them is pixel data.
    WithoutPixels,
    /// The position of the first byte behind native pixel data.
    At(u64),
    /// The position of the first byte behind a bulk element, which other elements may follow.
    Beyond(u64),
    /// A delimiter ends the element, as with encapsulated pixel data (PS3.5 A.4), or the data set
    /// is deflated.
    Delimited,
}

/// Whether a file has all of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Complete,
    Incomplete,
    /// Only the rest of the file shows whether it is complete.
    Undetermined,
}

/// Returns whether an element contains the pixels of an image (PS3.3 C.7.6.3, C.7.6.24).
pub(super) fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

const ROWS: usize = position(Table::Image, "numrows");

const CUT: u8 = 1;
const AT: u8 = 2;
const DELIMITED: u8 = 4;
const WITHOUT_PIXELS: u8 = 8;
const BEYOND: u8 = 16;

impl DataEnd {
    /// Returns the end of the element behind which the header reader stops. `position` is that of
    /// its value.
    pub(super) fn of_element(tag: Tag, position: u64, length: Option<u64>) -> Self {
        match length.map(|length| position.saturating_add(length)) {
            None => DataEnd::Delimited,
            Some(end) if is_pixel_data(tag) => DataEnd::At(end),
            Some(end) => DataEnd::Beyond(end),
        }
    }

    /// Packs the end, and whether the file ended within its header. An unknown end is packed like
    /// the values of earlier versions of this program, which did not record ends.
    pub(super) fn pack(self, is_cut: bool, into: &mut Vec<u8>) {
        let cut = if is_cut { CUT } else { 0 };
        let (kind, end) = match self {
            DataEnd::Unknown => (0, None),
            DataEnd::WithoutPixels => (WITHOUT_PIXELS, None),
            DataEnd::Delimited => (DELIMITED, None),
            DataEnd::At(end) => (AT, Some(end)),
            DataEnd::Beyond(end) => (BEYOND, Some(end)),
        };
        into.push(cut | kind);
        end.iter().for_each(|end| into.extend(end.to_le_bytes()));
    }

    /// Takes a packed end from the front. Also returns whether the file ended within its header.
    pub(super) fn unpack(from: &mut &[u8]) -> Option<(Self, bool)> {
        let kind = *from.split_off_first()?;
        let mut end = || Some(u64::from_le_bytes(*from.split_off(..8)?.first_chunk()?));
        let data_end = match kind & !CUT {
            0 => DataEnd::Unknown,
            WITHOUT_PIXELS => DataEnd::WithoutPixels,
            DELIMITED => DataEnd::Delimited,
            AT => DataEnd::At(end()?),
            BEYOND => DataEnd::Beyond(end()?),
            _ => return None,
        };
        Some((data_end, kind & CUT != 0))
    }
}

impl Instance {
    /// Returns whether a file of this instance and size has all of its data, as far as the header
    /// shows.
    pub fn completeness(&self, size: u64) -> Completeness {
        if self.cut || size < self.least_size() {
            return Completeness::Incomplete;
        }
        let reaches = |end: u64, then: Completeness| if size < end { Completeness::Incomplete } else { then };
        match self.data_end {
            DataEnd::Unknown => Completeness::Complete,
            // The file of an image was cut off in front of its pixels.
            DataEnd::WithoutPixels if self.get(ROWS) != Value::Null => Completeness::Incomplete,
            DataEnd::WithoutPixels => Completeness::Complete,
            DataEnd::At(end) => reaches(end, Completeness::Complete),
            DataEnd::Beyond(end) => reaches(end, Completeness::Undetermined),
            DataEnd::Delimited => Completeness::Undetermined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_packed_with_the_mark_of_a_cut_header() {
        let ends =
            [DataEnd::Unknown, DataEnd::WithoutPixels, DataEnd::At(1 << 40), DataEnd::Beyond(7), DataEnd::Delimited];
        for end in ends {
            for is_cut in [false, true] {
                let mut packed = Vec::new();
                end.pack(is_cut, &mut packed);
                let mut rest = packed.as_slice();
                assert_eq!(DataEnd::unpack(&mut rest), Some((end, is_cut)));
                assert!(rest.is_empty());
            }
        }
        // The value that earlier versions packed.
        assert_eq!(DataEnd::unpack(&mut [1_u8].as_slice()), Some((DataEnd::Unknown, true)));
        assert_eq!(DataEnd::unpack(&mut [32_u8].as_slice()), None);
    }
}
