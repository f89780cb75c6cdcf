//! Where the data of a file end, as far as the header declares it: a file that is shorter was cut off, by a transfer that was
//! interrupted or a full disk.

use super::instance::Instance;

/// The end of the element behind which the header reader stops: pixel data, waveforms or spectra.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataEnd {
    /// The header declares no end, or all elements were read.
    #[default]
    Unknown,
    /// The position of the first byte behind the element.
    At(u64),
    /// A delimiter ends the element, as that of encapsulated pixel data (PS3.5 A.4), or the data set is deflated: only the rest
    /// of the file shows whether the data are complete.
    Delimited,
}

/// Whether a file has all of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Complete,
    Incomplete,
    /// Only the rest of the file shows it.
    Undetermined,
}

const CUT: u8 = 1;
const AT: u8 = 2;
const DELIMITED: u8 = 4;

impl DataEnd {
    /// Packs the end, and whether the file ended within its header. The value of an end that is unknown is that of earlier
    /// versions of this program, which did not record ends.
    pub(super) fn pack(self, is_cut: bool, into: &mut Vec<u8>) {
        let cut = if is_cut { CUT } else { 0 };
        match self {
            DataEnd::Unknown => into.push(cut),
            DataEnd::Delimited => into.push(cut | DELIMITED),
            DataEnd::At(end) => {
                into.push(cut | AT);
                into.extend(end.to_le_bytes());
            }
        }
    }

    /// Takes what was packed from the front. Returns also whether the file ended within its header.
    pub(super) fn unpack(from: &mut &[u8]) -> Option<(Self, bool)> {
        let kind = *from.split_off_first()?;
        let end = match kind & !CUT {
            0 => DataEnd::Unknown,
            DELIMITED => DataEnd::Delimited,
            AT => DataEnd::At(u64::from_le_bytes(*from.split_off(..8)?.first_chunk()?)),
            _ => return None,
        };
        Some((end, kind & CUT != 0))
    }
}

impl Instance {
    /// Whether a file of this instance and size has all of its data, as far as the header shows it.
    pub fn completeness(&self, size: u64) -> Completeness {
        let is_incomplete =
            self.cut || size < self.least_size() || matches!(self.data_end, DataEnd::At(end) if size < end);
        match self.data_end {
            _ if is_incomplete => Completeness::Incomplete,
            DataEnd::Delimited => Completeness::Undetermined,
            DataEnd::Unknown | DataEnd::At(_) => Completeness::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_packed_with_the_mark_of_a_cut_header() {
        for end in [DataEnd::Unknown, DataEnd::At(1 << 40), DataEnd::Delimited] {
            for is_cut in [false, true] {
                let mut packed = Vec::new();
                end.pack(is_cut, &mut packed);
                let mut rest = packed.as_slice();
                assert_eq!(DataEnd::unpack(&mut rest), Some((end, is_cut)));
                assert!(rest.is_empty());
            }
        }
        // As earlier versions packed it.
        assert_eq!(DataEnd::unpack(&mut [1_u8].as_slice()), Some((DataEnd::Unknown, true)));
        assert_eq!(DataEnd::unpack(&mut [9_u8].as_slice()), None);
    }
}
