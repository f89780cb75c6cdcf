//! Files that media contain beside their images: texts, and viewers with all of their files. An
//! import skips such files. In an archive they are findings, since only images belong there.

use std::path::Path;

use super::skip::{Rule, is_uid};

/// The extensions that writers of media give to images.
const IMAGE_ENDINGS: [&str; 4] = ["dcm", "dicom", "dic", "ima"];

/// The extensions of ZIP files that belong to Java and to office programs. Other ZIP files may
/// contain images.
const PROGRAM_ARCHIVES: [&str; 8] = ["jar", "war", "apk", "xpi", "docx", "xlsx", "pptx", "odt"];

/// The magic bytes of programs, documents, fonts, sounds and films.
const PROGRAMS: [&[u8]; 37] = [
    b"MZ",
    b"\x7FELF",
    b"\xCF\xFA\xED\xFE",
    b"\xCE\xFA\xED\xFE",
    b"\xFE\xED\xFA\xCE",
    b"\xFE\xED\xFA\xCF",
    b"\xCA\xFE\xBA\xBE",
    b"%PDF-",
    b"ITSF",
    b"?_\x03\0",
    b"MSCF",
    b"ISc(",
    b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
    b"\0\0\x01\0",
    b"\0\0\x02\0",
    b"\0\x01\0\0",
    b"OTTO",
    b"true",
    b"ttcf",
    b"wOFF",
    b"wOF2",
    b"ID3",
    b"OggS",
    b"FLV",
    b"FWS",
    b"CWS",
    b"ZWS",
    b"bplist00",
    b"icns",
    b"8BPS",
    b"SQLite format 3\0",
    b"\x1A\x45\xDF\xA3",
    b"\0\0\x01\xBA",
    b"\0\0\x01\xB3",
    b"\xDE\x12\x04\x95",
    b"\x95\x04\x12\xDE",
    b"\x3C\xB8\x64\x18",
];

/// The rule by which an import skips a file without DICOM, from its name and its first bytes.
/// `None` if the file has the name of an image: such a file should be an image, whatever it
/// contains.
pub fn rule(path: &Path, head: &[u8]) -> Option<Rule> {
    if is_named_as_image(path) {
        None
    } else if is_program(path, head) {
        Some(Rule::Program)
    } else {
        is_text(head).then_some(Rule::Text)
    }
}

fn is_named_as_image(path: &Path) -> bool {
    let is_image_ending = |ending: &&str| IMAGE_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    path.extension().and_then(|ending| ending.to_str()).filter(is_image_ending).is_some()
        || path.file_name().and_then(|name| name.to_str()).is_some_and(|name| is_uid(name) || is_numbered(name))
}

/// Whether a name without an extension is one that writers of media give to images: `IM000001`,
/// `I10`, `MR-0001`. ISO 9660 appends a version, `;1`.
fn is_numbered(name: &str) -> bool {
    let name = name.split_once(';').map_or(name, |(name, _)| name).trim_end_matches('.');
    let number = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = name.len() - number.len();
    let digits = number.strip_prefix(['-', '_']).unwrap_or(number);
    (1..=3).contains(&letters) && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_program(path: &Path, head: &[u8]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_program_archive = || PROGRAM_ARCHIVES.iter().any(|known| ending.eq_ignore_ascii_case(known));
    let is_film = head.get(4..8) == Some(b"ftyp") || head.starts_with(b"RIFF");
    PROGRAMS.iter().any(|magic| head.starts_with(magic))
        || is_film
        || head.starts_with(b"PK\x03\x04") && is_program_archive()
}

/// Whether bytes are text in UTF-16 with a byte order mark, in UTF-8, or in another character set
/// that contains ASCII.
fn is_text(head: &[u8]) -> bool {
    if let [0xFF, 0xFE, rest @ ..] | [0xFE, 0xFF, rest @ ..] = head {
        return !rest.is_empty() && rest.as_chunks().0.iter().all(|pair| *pair != [0, 0]);
    }
    // Ctrl-Z ends a text of DOS, and ISO 2022 switches character sets with ESC.
    let is_control = |byte: &u8| byte.is_ascii_control() && !b"\t\n\r\x0C\x1A\x1B".contains(byte);
    let ascii = head.iter().filter(|byte| byte.is_ascii_graphic()).count();
    // Erased storage reads as one repeated value, which is not text. The head may end within a
    // character.
    let is_utf8 = || std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    ascii > 0 && !head.iter().any(is_control) && (is_utf8() || ascii * 4 >= head.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_recognised_in_any_character_set() {
        let texts: [&[u8]; 6] = [
            b"plain\r\n",
            "Größe 日本\n".as_bytes(),
            b"\xFF\xFEa\0b\0",
            b"caf\xE9 au lait",
            b"\x1B$B%F%9%H\x1B(B",
            b"end\x1A",
        ];
        for text in texts {
            assert_eq!(rule(Path::new("README"), text), Some(Rule::Text), "{text:?}");
        }
        let others: [&[u8]; 5] = [b"", b"\0\0\0\0", b"\xFF\xFF\xFF\xFF", b"abc\0def", b"\x08\x00\x05\x00"];
        for other in others {
            assert_eq!(rule(Path::new("IM000001"), other), None, "{other:?}");
        }
    }

    #[test]
    fn a_text_that_the_head_cuts_within_a_character_is_text() {
        for text in ["年月日。\u{3000}読んでください。", "Ωμέγα ", "🙂🙃"] {
            let long = text.repeat(400).into_bytes();
            for length in long.len() - 4..=long.len() {
                assert_eq!(
                    rule(Path::new("LIESMICH"), &[b"x ", &long[..length]].concat()),
                    Some(Rule::Text),
                    "{length}"
                );
            }
        }
        let bytes = [b"x ", &b"\xE5\x61\xE5\xE5"[..], &[0xE5; 100]].concat();
        assert_eq!(rule(Path::new("LIESMICH"), &bytes), None, "invalid in the middle");
    }

    #[test]
    fn what_is_named_as_an_image_is_never_skipped() {
        let usual = ["IM000001", "I10", "IM2", "im-0001", "IMG_0001", "MR1", "IM000001.;1", "I0000012;1"];
        let others = ["README", "A1B", "IMAGE12", "1", "viewer2", "I10.TXT"];
        for name in others {
            assert_eq!(rule(Path::new(name), b"MZ\x90\0"), Some(Rule::Program), "{name}");
        }
        for name in ["1.2.840.113619.2", "x.dcm", "X.DCM", "x.IMA"].iter().chain(&usual) {
            assert_eq!(rule(Path::new(name), b"MZ\x90\0"), None, "{name}");
            assert_eq!(rule(Path::new(name), b"404 Not Found"), None, "{name}");
        }
        assert_eq!(rule(Path::new("viewer.jar"), b"PK\x03\x04"), Some(Rule::Program));
        assert_eq!(rule(Path::new("study.zip"), b"PK\x03\x04\0"), None, "it may hold images");
    }
}
