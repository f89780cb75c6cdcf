//! Rules for files in an archive that are not instances. A rule applies to the name, before a file
//! is opened, or to the first bytes, once the header reader has found no DICOM in them. Skipped
//! files are counted by rule; no other file is skipped.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

/// The reason why a file is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// A file-set directory (PS3.10 8.6), by its SOP class.
    Dicomdir,
    /// A converted or extracted copy that PacsOne keeps beside the instance.
    Sidecar,
    /// A file that an operating system leaves in a directory.
    OperatingSystem,
    /// A picture or a web page, by its first bytes.
    PictureOrPage,
    /// A FIFO, a socket or a device.
    Special,
    /// A copy that an import has begun.
    UnfinishedCopy,
    /// A file that is not in the selection of an import.
    NotSelected,
    /// A text on a medium.
    Text,
    /// A program on a medium, or a document, a font, a sound or a film that comes with one.
    Program,
    /// A file below a directory that no walk searches, named in a list of files.
    SkippedDirectory,
}

impl Rule {
    pub fn describe(self) -> &'static str {
        match self {
            Rule::Dicomdir => "DICOMDIR",
            Rule::Sidecar => "sidecar of the PACS",
            Rule::OperatingSystem => "operating-system file",
            Rule::PictureOrPage => "picture or web page",
            Rule::Special => "FIFO, socket or device",
            Rule::UnfinishedCopy => "unfinished copy",
            Rule::NotSelected => "not selected",
            Rule::Text => "text",
            Rule::Program => "program or document",
            Rule::SkippedDirectory => "in a directory that is not searched",
        }
    }
}

const SIDECARS: [&str; 5] = [".ls", ".ly", ".rle", ".j2k", ".encap"];

/// The beginning and the end of the name of a copy until the copy is complete.
pub const COPY_BEGINS: &str = ".pacs-index-";
pub const COPY_ENDS: &str = ".part";

const SYSTEM_FILES: [&str; 4] = ["Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store"];

/// The rule for a file name. A sidecar has the name of its instance, which is a UID; any other file
/// with that extension is read.
pub fn by_name(name: &OsStr) -> Option<Rule> {
    let name = name.to_str()?;
    if let Some(stem) = SIDECARS.iter().find_map(|ending| name.strip_suffix(ending))
        && is_uid(stem)
    {
        return Some(Rule::Sidecar);
    }
    if name.starts_with(COPY_BEGINS) && name.ends_with(COPY_ENDS) {
        return Some(Rule::UnfinishedCopy);
    }
    SYSTEM_FILES.iter().any(|file| name.eq_ignore_ascii_case(file)).then_some(Rule::OperatingSystem)
}

/// Whether a name is that of an instance.
pub fn is_uid(stem: &str) -> bool {
    stem.contains('.') && stem.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The rule for the first bytes of a file in which no DICOM was found.
pub fn by_content(first: &[u8]) -> Option<Rule> {
    const PICTURES: [&[u8]; 6] = [b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1A\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"];
    // The two letters alone could be text. The four reserved bytes of a bitmap are zero.
    let bitmap = first.starts_with(b"BM") && first.get(6..10) == Some(&[0; 4]);
    // AppleDouble: the resource fork that a Macintosh leaves beside a file.
    if first.starts_with(b"\x00\x05\x16\x07") {
        return Some(Rule::OperatingSystem);
    }
    let text = first.trim_ascii_start().to_ascii_lowercase();
    let page = text.starts_with(b"<!doctype html") || text.starts_with(b"<html");
    let picture = bitmap || PICTURES.iter().any(|magic| first.starts_with(magic));
    (page || picture).then_some(Rule::PictureOrPage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_an_instance_s_name_is_a_sidecar() {
        let rule = |name: &str| by_name(OsStr::new(name));
        assert_eq!(rule("1.2.840.1.ls"), Some(Rule::Sidecar));
        assert_eq!(rule("1.2.840.1.encap"), Some(Rule::Sidecar));
        assert_eq!(rule("brain.j2k"), None);
        assert_eq!(rule("1.2.840.1"), None);
        assert_eq!(rule("thumbs.DB"), Some(Rule::OperatingSystem));
    }

    #[test]
    fn pictures_and_pages_are_known_by_their_first_bytes() {
        assert_eq!(by_content(b"\xFF\xD8\xFF\xE0"), Some(Rule::PictureOrPage));
        assert_eq!(by_content(b"\n <!DOCTYPE HTML>"), Some(Rule::PictureOrPage));
        assert_eq!(by_content(b"\x00\x05\x16\x07\x00"), Some(Rule::OperatingSystem));
        assert_eq!(by_content(b"hello"), None);
    }
}
