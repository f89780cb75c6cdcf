//! Completes files to the Part 10 format (PS3.10 7.1): adds preamble, prefix and file meta
//! information in front of a data set whose bytes are unchanged.

use std::io;

use dicom_dictionary_std::tags;

use super::attributes::{Table, position};
use super::element::Elements;
use super::encoding;
use super::header::Header;
use super::instance::{Instance, Value};
use super::scan::Scan;
use super::start::{self, Start};
use super::window::{Source, Trouble, WINDOW, Window};

const PREAMBLE: [u8; 128] = [0; 128];
const MAGIC: &[u8] = b"DICM";

/// A UID for this program (PS3.7 D.3.3.2), derived from a UUID (PS3.5 B.2).
const IMPLEMENTATION_CLASS_UID: &str = "2.25.251842380573169467312946410398213417226";
const IMPLEMENTATION_VERSION_NAME: &str = "PACS_INDEX";

/// The bytes that replace the first bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    pub written: Vec<u8>,
    /// The number of bytes of the file that `written` replaces.
    pub instead_of: u64,
}

/// Why a file cannot be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// The file does not declare its SOP class.
    NoClass,
    /// The pixel data is compressed, but the file does not declare a transfer syntax.
    Compressed,
}

impl Incomplete {
    pub fn describe(self) -> &'static str {
        match self {
            Incomplete::NoClass => "it has no SOP Class UID (0008,0016)",
            Incomplete::Compressed => "its pixel data is compressed, and nothing in it says how",
        }
    }
}

/// Returns the bytes that complete a file to the Part 10 format. `None` if the file has this format
/// already.
pub fn completion(source: impl Source, instance: &Instance) -> io::Result<Option<Result<Completion, Incomplete>>> {
    let (mut buffer, mut header) = (Vec::new(), Header::default());
    header.clear();
    let mut window = Window::new(source, &mut buffer);
    let first = window.peek(WINDOW).map_err(io_error)?;
    let Start { offset, .. } = start::locate(first).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let start = usize::try_from(offset).unwrap_or(first.len()).min(first.len());
    let has_meta = start::is_explicit_meta(&first[start..]);
    if has_meta && start == PREAMBLE.len() + MAGIC.len() && first[..start].ends_with(MAGIC) {
        return Ok(None);
    }
    let preamble = first[..start].first_chunk().unwrap_or(&PREAMBLE);
    let mut written = [preamble, MAGIC].concat();
    if has_meta {
        return Ok(Some(Ok(Completion { written, instead_of: offset })));
    }
    window.advance(offset);
    let mut scan = Scan::new(Elements::new(window), &mut header);
    // A command, and file meta information in another encoding, are not allowed in the format.
    if scan.front().is_err() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let instead_of = scan.elements.window.position();
    let Some(meta) = meta(instance) else { return Ok(Some(Err(Incomplete::NoClass))) };
    if scan.header.declared_transfer_syntax().is_none() && is_compressed(&mut scan.elements) {
        return Ok(Some(Err(Incomplete::Compressed)));
    }
    written.extend(meta);
    Ok(Some(Ok(Completion { written, instead_of })))
}

/// Returns whether Pixel Data (7FE0,0010) has an undefined length (PS3.5 A.4). If so, its transfer
/// syntax cannot be guessed.
fn is_compressed<S: Source>(elements: &mut Elements<'_, S>) -> bool {
    let Ok(encoding) = encoding::of_data_set(&mut elements.window, None) else { return false };
    while let Ok(element) = elements.next(encoding) {
        if element.tag == tags::PIXEL_DATA {
            return element.length.is_none();
        }
        if elements.skip(&element, encoding).is_err() {
            break;
        }
    }
    false
}

fn io_error(trouble: Trouble) -> io::Error {
    match trouble {
        Trouble::Io(error) => error,
        Trouble::Limit => io::ErrorKind::InvalidData.into(),
    }
}

/// Returns the file meta information, which is always explicit VR little endian.
fn meta(instance: &Instance) -> Option<Vec<u8>> {
    let text = |attribute: usize| match instance.get(attribute) {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    let class = text(const { position(Table::Image, "sopclass") })?;
    let syntax = text(const { position(Table::Image, "xfersyntax") })?;
    let mut group = Vec::new();
    group.extend([2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1]);
    let elements = [
        (0x02, b"UI", Some(class)),
        (0x03, b"UI", Some(instance.sop_instance_uid())),
        (0x10, b"UI", Some(syntax)),
        (0x12, b"UI", Some(IMPLEMENTATION_CLASS_UID)),
        (0x13, b"SH", Some(IMPLEMENTATION_VERSION_NAME)),
        // The instance has this value only if the file has file meta information in another
        // encoding.
        (0x16, b"AE", text(const { position(Table::Study, "sourceae") })),
    ];
    for (element, vr, value) in elements.into_iter().filter_map(|(element, vr, value)| Some((element, vr, value?))) {
        let padding: &[u8] = match value.len() % 2 {
            0 => b"",
            _ if vr == b"UI" => b"\0",
            _ => b" ",
        };
        group.extend([2, 0, element, 0]);
        group.extend(vr);
        group.extend(((value.len() + padding.len()) as u16).to_le_bytes());
        group.extend(value.as_bytes());
        group.extend(padding);
    }
    let mut meta = vec![2, 0, 0, 0, b'U', b'L', 4, 0];
    meta.extend((group.len() as u32).to_le_bytes());
    meta.extend(group);
    Some(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::HeaderReader;
    use crate::dicom::uid;

    /// Returns a data set in explicit VR little endian: class, instance, study, series.
    fn data_set() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (group, element, uid) in [
            (8u16, 0x16u16, "1.2.840.10008.5.1.4.1.1.2\0"),
            (8, 0x18, "1.21"),
            (0x20, 0xD, "1.25"),
            (0x20, 0xE, "1.27"),
        ] {
            bytes.extend(group.to_le_bytes());
            bytes.extend(element.to_le_bytes());
            bytes.extend(b"UI");
            bytes.extend((uid.len() as u16).to_le_bytes());
            bytes.extend(uid.as_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Instance {
        HeaderReader::new().read(bytes).and_then(Instance::from_header).unwrap()
    }

    fn completed(bytes: &[u8]) -> Vec<u8> {
        let Completion { mut written, instead_of } = completion(bytes, &read(bytes)).unwrap().unwrap().unwrap();
        written.extend(&bytes[instead_of as usize..]);
        written
    }

    #[test]
    fn a_data_set_alone_gets_what_is_missing_and_keeps_its_bytes() {
        let bare = data_set();
        let whole = completed(&bare);
        assert!(whole.ends_with(&bare));
        let instance = read(&whole);
        assert_eq!(instance.sop_instance_uid(), "1.21");
        let syntax = instance.get(position(Table::Image, "xfersyntax"));
        assert_eq!(syntax, Value::Text(uid::EXPLICIT_VR_LITTLE_ENDIAN));
        assert_eq!(completion(&whole[..], &instance).unwrap(), None, "nothing is missing any more");
        let object = dicom_object::from_reader(std::io::Cursor::new(&whole)).unwrap();
        assert_eq!(object.meta().media_storage_sop_instance_uid(), "1.21");
        assert_eq!(object.meta().implementation_class_uid(), IMPLEMENTATION_CLASS_UID);
    }

    #[test]
    fn parts_that_are_there_are_kept() {
        let whole = completed(&data_set());
        let mut marked = whole.clone();
        marked[7] = 42;
        assert_eq!(completion(&marked[..], &read(&marked)).unwrap(), None);
        assert_eq!(completed(&whole[128..]), whole, "without preamble");
        assert_eq!(completed(&whole[132..]), whole, "without preamble and prefix");
        let without_meta = [&marked[..132], &data_set()].concat();
        assert_eq!(completed(&without_meta), marked);
    }

    #[test]
    fn what_does_not_say_its_class_cannot_be_completed() {
        let bytes = &data_set()[34..];
        assert_eq!(completion(bytes, &read(bytes)).unwrap(), Some(Err(Incomplete::NoClass)));
    }

    #[test]
    fn how_pixel_data_is_compressed_is_not_made_up() {
        let mut bytes = data_set();
        bytes.extend(*b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
        assert_eq!(completion(&bytes[..], &read(&bytes)).unwrap(), Some(Err(Incomplete::Compressed)));
    }
}
