//! A DICOMDIR: the files that a medium should contain, according to its Directory Record Sequence
//! (PS3.3 F.3.2.2). A DICOMDIR is read like any header: in one window, without recursion, each
//! element once.

use dicom_dictionary_std::tags;

use super::element::{Element, Elements, Encoding, End, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION};
use super::encoding;
use super::header::{Header, trim_uid};
use super::rejection::Rejection;
use super::scan::Scan;
use super::start::{self, Start};
use super::window::{Source, WINDOW, Window};

/// A directory record that references a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Referenced File ID (0004,1500): directories and a file name, relative to the directory of
    /// the DICOMDIR.
    pub file: Vec<String>,
    /// Referenced SOP Instance UID in File (0004,1511), empty if it is missing.
    pub sop_instance_uid: String,
}

/// The contents of a DICOMDIR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSet {
    pub records: Vec<Record>,
    /// Whether the DICOMDIR is cut off, or larger than any real one.
    pub is_cut: bool,
}

/// The maximum length of a value in bytes. The standard allows eight components of eight characters
/// (PS3.10 8.2), but not all writers observe this.
const LONGEST_VALUE: u64 = 1024;

impl FileSet {
    pub fn read(source: impl Source) -> Result<Self, Rejection> {
        let (mut buffer, mut header) = (Vec::new(), Header::default());
        header.clear();
        let mut window = Window::new(source, &mut buffer);
        let first = window.peek(WINDOW)?;
        let Start { offset, .. } = start::locate(first)?;
        window.advance(offset);
        let mut scan = Scan::new(Elements::new(window), &mut header);
        match scan.front() {
            Err(End::Io(error)) => return Err(Rejection::Unreadable(error)),
            Err(_) => return Ok(FileSet { is_cut: true, ..FileSet::default() }),
            Ok(()) => {}
        }
        let declared = scan.header.declared_transfer_syntax().map(str::to_owned);
        let encoding = encoding::of_data_set(&mut scan.elements.window, declared.as_deref())?;
        let mut reading = Reading { elements: scan.elements, encoding, record: None, set: FileSet::default() };
        let end = reading.all();
        reading.record_ends();
        match end {
            End::Reached => Ok(reading.set),
            End::Io(error) => Err(Rejection::Unreadable(error)),
            End::Cut | End::Limit => Ok(FileSet { is_cut: true, ..reading.set }),
        }
    }
}

struct Reading<'b, S> {
    elements: Elements<'b, S>,
    encoding: Encoding,
    record: Option<Record>,
    set: FileSet,
}

impl<S: Source> Reading<'_, S> {
    fn all(&mut self) -> End {
        loop {
            let element = match self.elements.next(self.encoding) {
                Ok(element) => element,
                Err(end) => return end,
            };
            match self.take(&element) {
                Ok(()) => {}
                // The file ends within the value.
                Err(End::Reached) => return End::Cut,
                Err(end) => return end,
            }
        }
    }

    /// Reads an element. Sequences in records, such as icons, are skipped, so that every item is a
    /// record.
    fn take(&mut self, element: &Element) -> Result<(), End> {
        match element.tag {
            ITEM => {
                self.record_ends();
                self.record = Some(Record::default());
                Ok(())
            }
            tags::DIRECTORY_RECORD_SEQUENCE | ITEM_DELIMITATION | SEQUENCE_DELIMITATION => Ok(()),
            tags::REFERENCED_FILE_ID => {
                let text = self.value(element)?;
                self.record.get_or_insert_default().file = components(&text);
                Ok(())
            }
            tags::REFERENCED_SOP_INSTANCE_UID_IN_FILE => {
                let uid = self.value(element)?;
                self.record.get_or_insert_default().sop_instance_uid = uid;
                Ok(())
            }
            _ => self.elements.skip(element, self.encoding),
        }
    }

    fn value(&mut self, element: &Element) -> Result<String, End> {
        let length = element.length.ok_or(End::Cut)?;
        let value = self.elements.window.peek(length.min(LONGEST_VALUE) as usize)?;
        let text = String::from_utf8_lossy(trim_uid(value)).into_owned();
        self.elements.skip_bytes(length)?;
        Ok(text)
    }

    fn record_ends(&mut self) {
        self.set.records.extend(self.record.take().filter(|record| !record.file.is_empty()));
    }
}

/// Returns the components of a Referenced File ID. Some writers separate them with `/`, or put a
/// drive, a separator, or `.` for the directory of the DICOMDIR in front.
fn components(file_id: &str) -> Vec<String> {
    let names = file_id.split(['\\', '/']).map(|name| name.trim_matches(|c: char| c.is_whitespace() || c == '\0'));
    let is_drive = |name: &str| matches!(name.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    let mut names = names.filter(|name| !matches!(*name, "" | ".")).peekable();
    names.next_if(|name| is_drive(name));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::Tag;

    fn element(bytes: &mut Vec<u8>, tag: Tag, vr: &[u8; 2], value: &[u8]) {
        bytes.extend(tag.group().to_le_bytes());
        bytes.extend(tag.element().to_le_bytes());
        bytes.extend(vr);
        match vr {
            b"SQ" => bytes.extend([0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
            _ => bytes.extend((value.len() as u16).to_le_bytes()),
        }
        bytes.extend(value);
    }

    /// Returns the positions at which an element outside of an icon ends. A file that ends there is
    /// not recognized as cut off.
    fn ends_of_elements(all: &[u8]) -> Vec<usize> {
        let (mut at, mut ends, mut is_in_icon) = (132, Vec::new(), false);
        while at < all.len() {
            let tag = Tag(u16::from_le_bytes([all[at], all[at + 1]]), u16::from_le_bytes([all[at + 2], all[at + 3]]));
            at += match (tag, &all[at + 4..at + 6]) {
                (Tag(0xFFFE, _), _) => 8,
                (_, b"SQ") => 12,
                _ => 8 + usize::from(u16::from_le_bytes([all[at + 6], all[at + 7]])),
            };
            is_in_icon = (is_in_icon && tag != SEQUENCE_DELIMITATION) || tag == tags::ICON_IMAGE_SEQUENCE;
            ends.extend((!is_in_icon).then_some(at));
        }
        ends
    }

    fn item(bytes: &mut Vec<u8>, tag: u16) {
        bytes.extend([0xFE, 0xFF]);
        bytes.extend(tag.to_le_bytes());
        bytes.extend(if tag == 0xE000 { [0xFF; 4] } else { [0; 4] });
    }

    fn dicomdir() -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        element(&mut bytes, tags::TRANSFER_SYNTAX_UID, b"UI", b"1.2.840.10008.1.2.1\0");
        element(&mut bytes, tags::FILE_SET_ID, b"CS", b"TEST");
        element(&mut bytes, tags::DIRECTORY_RECORD_SEQUENCE, b"SQ", b"");
        for (file, uid) in [("", ""), ("PT00\\IM01", "1.2.3\0"), ("PT00\\IM02 ", "1.2.34")] {
            item(&mut bytes, 0xE000);
            element(&mut bytes, tags::DIRECTORY_RECORD_TYPE, b"CS", b"IMAGE ");
            if !file.is_empty() {
                element(&mut bytes, tags::REFERENCED_FILE_ID, b"CS", file.as_bytes());
                element(&mut bytes, tags::REFERENCED_SOP_INSTANCE_UID_IN_FILE, b"UI", uid.as_bytes());
            }
            element(&mut bytes, tags::ICON_IMAGE_SEQUENCE, b"SQ", b"");
            item(&mut bytes, 0xE000);
            element(&mut bytes, tags::REFERENCED_FILE_ID, b"CS", b"NO\\FILE ");
            item(&mut bytes, 0xE00D);
            item(&mut bytes, 0xE0DD);
            item(&mut bytes, 0xE00D);
        }
        item(&mut bytes, 0xE0DD);
        bytes
    }

    #[test]
    fn components_are_separated_as_writers_of_media_do() {
        for file_id in
            [r"PT0\IM1", "PT0/IM1", r".\PT0\IM1", "./PT0//IM1", r"\PT0\IM1 ", r"d:\PT0\.\IM1", "PT0 \\ IM1\0"]
        {
            assert_eq!(components(file_id), ["PT0", "IM1"], "{file_id}");
        }
        assert_eq!(components(r"..\IM1"), ["..", "IM1"], "no directory of a medium has this name");
    }

    #[test]
    fn the_files_that_a_medium_should_hold_are_listed() {
        let record =
            |name: &str, uid: &str| Record { file: vec!["PT00".into(), name.into()], sop_instance_uid: uid.into() };
        let set = FileSet::read(dicomdir().as_slice()).unwrap();
        assert_eq!(set, FileSet { records: vec![record("IM01", "1.2.3"), record("IM02", "1.2.34")], is_cut: false });
    }

    #[test]
    fn a_dicomdir_that_is_cut_keeps_the_records_before_the_cut() {
        let all = dicomdir();
        let whole = FileSet::read(all.as_slice()).unwrap();
        let uid_of = |record: &Record| record.sop_instance_uid.clone();
        let mut kept = 0;
        for length in 140..all.len() {
            let set = FileSet::read(&all[..length]).unwrap();
            let is_boundary = ends_of_elements(&all).contains(&length);
            assert_eq!(set.is_cut, !is_boundary, "{length} bytes");
            let (last, before) =
                set.records.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
            assert_eq!(before, &whole.records[..before.len()], "{length} bytes");
            let place = before.len();
            assert!(last.is_none_or(|last| last.file == whole.records[place].file), "{length} bytes");
            let is_prefix = |last: &Record| ["".to_owned(), uid_of(&whole.records[place])].contains(&uid_of(last));
            assert!(last.is_none_or(is_prefix), "{length} bytes");
            assert!(set.records.len() >= kept, "{length} bytes");
            kept = set.records.len();
        }
        assert_eq!(kept, 2);
    }
}
