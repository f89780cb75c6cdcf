//! Character sets: decodes text according to (0008,0005) Specific Character Set (PS3.3 C.12.1.1.2,
//! PS3.5 6.1.2).
//!
//! encoding_rs provides the tables, and `charset_term` parses the terms. This module separates ISO
//! 2022 segments, because a value may switch sets by escape sequences, and a multi-byte character
//! may contain a byte that looks like a delimiter.

use std::borrow::Cow;

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

use super::charset_term::{G1, Term, single_byte};

const ESC: u8 = 0x1B;

/// The byte order mark of UTF-8. No text of another character set begins with these bytes.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The character set of bytes below 0x80.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum G0 {
    /// ISO IR 6, and IR 14, which differs from it in two characters that DICOM does not allow to
    /// differ.
    Ascii,
    /// JIS X 0208 (IR 87), two bytes a character.
    Kanji,
    /// JIS X 0212 (IR 159), two bytes a character.
    SupplementaryKanji,
}

/// The way in which the text of one file is decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Repertoire {
    /// One encoding for the whole text, without code extensions.
    Whole(&'static Encoding),
    /// ISO 2022, with the set of bytes from 0x80 on that is active at the start of each part.
    Extended(G1),
    /// No declared set defines bytes from 0x80 on. They are UTF-8 if they are valid UTF-8, and
    /// otherwise ISO 8859-1.
    Undeclared,
}

/// The character sets of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charset {
    repertoire: Repertoire,
    /// Whether UTF-8 is declared behind a single-byte set, where PS3.3 does not allow UTF-8. Few
    /// texts in a single-byte set are valid UTF-8.
    may_be_utf8: bool,
    /// Whether every declared term is known.
    pub is_understood: bool,
}

impl Default for Charset {
    fn default() -> Self {
        Charset { repertoire: Repertoire::Undeclared, may_be_utf8: false, is_understood: true }
    }
}

/// The kind of a text. A person name has additional delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Name,
    Text,
}

/// Decoded text, and whether a part of it could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    pub damaged: bool,
}

impl Charset {
    /// Parses the raw value of (0008,0005).
    pub fn from_raw(raw: &[u8]) -> Self {
        let declared = String::from_utf8_lossy(raw);
        let terms: Vec<Term> = declared.split('\\').map(Term::parse).collect();
        let is_understood = !terms.iter().any(|term| matches!(term, Term::Unknown));
        let may_be_utf8 = terms.iter().any(|term| matches!(term, Term::Whole(encoding) if *encoding == UTF_8));
        Charset { repertoire: Repertoire::of(&terms), may_be_utf8, is_understood }
    }

    /// Returns whether text may be UTF-16, in which a NUL is half a character.
    pub fn is_wide(&self) -> bool {
        matches!(self.repertoire, Repertoire::Whole(encoding) if is_utf16(encoding))
    }

    pub fn decode<'a>(&self, raw: &'a [u8], kind: Kind) -> Decoded<'a> {
        if raw.is_ascii() && !raw.contains(&ESC) && !(self.is_wide() && raw.contains(&0)) {
            let text = str::from_utf8(raw).expect("ASCII is UTF-8");
            return Decoded { text: Cow::Borrowed(text), damaged: false };
        }
        if let Some(marked) = raw.strip_prefix(BYTE_ORDER_MARK)
            && str::from_utf8(marked).is_ok()
            && !(self.is_wide() && raw.contains(&0))
        {
            return Charset { repertoire: Repertoire::Whole(UTF_8), ..*self }.decode(marked, kind);
        }
        match self.repertoire {
            Repertoire::Whole(encoding) if !raw.contains(&ESC) || has_own_escapes(encoding) => {
                decode_whole(encoding, raw)
            }
            _ => match (self.initial(raw), str::from_utf8(raw)) {
                (g1, Ok(text)) if g1 == G1::Whole(UTF_8) && !raw.contains(&ESC) => {
                    Decoded { text: Cow::Borrowed(text), damaged: false }
                }
                (g1, _) => segments(raw, g1, kind),
            },
        }
    }

    /// Returns the set of the bytes from 0x80 on that no escape sequence designates, in a text with
    /// code extensions. If no such set is declared, text that is valid UTF-8 is UTF-8.
    fn initial(&self, raw: &[u8]) -> G1 {
        match self.repertoire {
            Repertoire::Whole(encoding) => G1::Whole(encoding),
            Repertoire::Extended(g1) if g1 != G1::None && !self.may_be_utf8 => g1,
            _ if str::from_utf8(raw).is_ok() => G1::Whole(UTF_8),
            Repertoire::Extended(g1) => g1,
            Repertoire::Undeclared => G1::Latin1,
        }
    }
}

impl Repertoire {
    fn of(terms: &[Term]) -> Self {
        let Some((first, rest)) = terms.split_first() else { return Repertoire::Undeclared };
        match first {
            Term::Whole(encoding) => return Repertoire::Whole(encoding),
            Term::Extended(g1) if *g1 != G1::None => return Repertoire::Extended(*g1),
            _ => {}
        }
        if let Some(Term::Whole(encoding)) = rest.iter().find(|term| matches!(term, Term::Whole(_))) {
            return Repertoire::Whole(encoding);
        }
        // Writers that declare one further set and omit its escape sequences mean that set from the
        // start.
        let mut further = rest.iter().filter_map(|term| match term {
            Term::Extended(g1) if *g1 != G1::None => Some(*g1),
            _ => None,
        });
        match (further.next(), further.next()) {
            (Some(only), None) => Repertoire::Extended(only),
            // ASCII, or unknown terms: no set defines bytes from 0x80 on.
            _ if !terms.iter().any(|term| matches!(term, Term::Extended(_))) => Repertoire::Undeclared,
            _ => Repertoire::Extended(G1::None),
        }
    }
}

fn is_utf16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

/// Returns whether the ESC byte is a part of the encoding itself, and not of an ISO 2022 escape
/// sequence.
fn has_own_escapes(encoding: &'static Encoding) -> bool {
    is_utf16(encoding) || encoding == ISO_2022_JP
}

/// Decodes text of one encoding. A data set that declares UTF-16 may also contain text in ASCII or
/// UTF-8.
fn decode_whole<'a>(encoding: &'static Encoding, raw: &'a [u8]) -> Decoded<'a> {
    if is_utf16(encoding)
        && !raw.contains(&0)
        && let Ok(text) = str::from_utf8(raw)
    {
        return Decoded { text: Cow::Borrowed(text), damaged: false };
    }
    let (text, damaged) = encoding.decode_with_bom_removal(raw);
    Decoded { text, damaged }
}

/// Returns the length of an escape sequence without ESC, and the set that the sequence designates
/// (PS3.3 C.12.1.1.2, tables C.12-3 and C.12-4).
fn designation(after_esc: &[u8]) -> Option<(usize, Result<G0, G1>)> {
    Some(match after_esc {
        [b'(', b'B' | b'J', ..] => (2, Ok(G0::Ascii)),
        [b'$', b'(', b'B', ..] => (3, Ok(G0::Kanji)),
        [b'$', b'(', b'D', ..] => (3, Ok(G0::SupplementaryKanji)),
        [b'$', b'B' | b'@', ..] => (2, Ok(G0::Kanji)),
        [b'$', b')', b'C', ..] => (3, Err(G1::Table(EUC_KR))),
        [b'$', b')', b'A', ..] => (3, Err(G1::Table(GBK))),
        [b')', b'I', ..] => (2, Err(G1::Katakana)),
        [b'-', b'A', ..] => (2, Err(G1::Latin1)),
        [b'-', set, ..] => {
            let registration = match set {
                b'B' => 101,
                b'C' => 109,
                b'D' => 110,
                b'L' => 144,
                b'G' => 127,
                b'F' => 126,
                b'H' => 138,
                b'M' => 148,
                b'T' => 166,
                b'b' => 203,
                _ => return None,
            };
            (2, Err(G1::Table(single_byte(registration)?)))
        }
        _ => return None,
    })
}

/// Decodes text with code extensions. The sets that are active at the start are active again after
/// each delimiter (PS3.5 6.1.2.5.3).
fn segments(raw: &[u8], initial: G1, kind: Kind) -> Decoded<'static> {
    let mut text = String::with_capacity(raw.len() * 2);
    let mut damaged = false;
    let (mut g0, mut g1) = (G0::Ascii, initial);
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        let used = match byte {
            ESC => match designation(after) {
                Some((length, set)) => {
                    match set {
                        Ok(set) => g0 = set,
                        Err(set) => g1 = set,
                    }
                    1 + length
                }
                None => {
                    damaged = true;
                    text.push(char::REPLACEMENT_CHARACTER);
                    1
                }
            },
            0x00..=0x1F => {
                (g0, g1) = (G0::Ascii, initial);
                text.push(byte as char);
                1
            }
            0x20..=0x7F if g0 == G0::Ascii || byte == b' ' => {
                if byte == b'\\' || (kind == Kind::Name && matches!(byte, b'^' | b'=')) {
                    g1 = initial;
                }
                text.push(byte as char);
                1
            }
            0x20..=0x7F => {
                damaged |= push_kanji(&mut text, g0, byte, after.first().copied());
                2
            }
            // In these encodings, a byte that looks like a delimiter may end a character.
            0x80.. if g0 == G0::Ascii && matches!(g1, G1::Whole(_)) => {
                let run = rest.iter().take_while(|b| **b >= 0x20).count();
                damaged |= push_g1(&mut text, g1, &rest[..run]);
                run
            }
            0x80.. => {
                let run = rest.iter().take_while(|b| **b >= 0x80).count();
                damaged |= push_g1(&mut text, g1, &rest[..run]);
                run
            }
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    Decoded { text: Cow::Owned(text), damaged }
}

/// Appends a two-byte character of G0. EUC-JP has the same table with the high bits set. Returns
/// whether the character is damaged.
fn push_kanji(text: &mut String, set: G0, lead: u8, trail: Option<u8>) -> bool {
    let Some(trail) = trail else {
        text.push(char::REPLACEMENT_CHARACTER);
        return true;
    };
    let pair = [0x8F, lead | 0x80, trail | 0x80];
    let bytes = if set == G0::SupplementaryKanji { &pair[..] } else { &pair[1..] };
    let (decoded, damaged) = EUC_JP.decode_without_bom_handling(bytes);
    text.push_str(&decoded);
    damaged
}

/// Appends a run of bytes from 0x80 on. Returns whether any of them are damaged.
fn push_g1(text: &mut String, set: G1, run: &[u8]) -> bool {
    match set {
        G1::None => {
            text.extend(run.iter().map(|_| char::REPLACEMENT_CHARACTER));
            true
        }
        G1::Latin1 => {
            text.push_str(&encoding_rs::mem::decode_latin1(run));
            false
        }
        G1::Katakana => {
            let katakana = |byte: &u8| match byte {
                0xA1..=0xDF => char::from_u32(0xFF61 + u32::from(byte - 0xA1)).unwrap_or(char::REPLACEMENT_CHARACTER),
                _ => char::REPLACEMENT_CHARACTER,
            };
            text.extend(run.iter().map(katakana));
            run.iter().any(|byte| !(0xA1..=0xDF).contains(byte))
        }
        G1::Table(encoding) | G1::Whole(encoding) => {
            let (decoded, damaged) = encoding.decode_without_bom_handling(run);
            text.push_str(&decoded);
            damaged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(charset: &str, raw: &[u8]) -> String {
        Charset::from_raw(charset.as_bytes()).decode(raw, Kind::Name).text.into_owned()
    }

    #[test]
    fn a_trailing_byte_that_looks_like_a_delimiter_is_none() {
        // The last byte of the character is that of a backslash in GB18030, and of an equals sign
        // in JIS X 0208.
        assert_eq!(decode("GB18030", b"\x81\x5c\\B"), "乗\\B");
        assert_eq!(decode("\\ISO 2022 IR 87", b"\x1b$B!=\x1b(B^X"), "―^X");
    }

    #[test]
    fn what_cannot_be_read_is_replaced_and_noted() {
        let utf8 = Charset::from_raw(b"ISO_IR 192");
        assert!(utf8.decode(b"a\xff", Kind::Text).damaged);
        assert_eq!(utf8.decode(b"a\xff", Kind::Text).text, "a\u{fffd}");
        let japanese = Charset::from_raw(b"\\ISO 2022 IR 87");
        assert!(japanese.decode(b"\x1b$B;", Kind::Text).damaged);
        assert!(japanese.decode(b"\x1bxy", Kind::Text).damaged);
    }

    #[test]
    fn only_a_name_has_delimiters_of_its_own() {
        let charset = Charset::from_raw(b"ISO 2022 IR 100\\ISO 2022 IR 144");
        assert_eq!(charset.decode(b"\x1b-L\xbb=\xbb^\xbb\\\xbb", Kind::Text).text, "Л=Л^Л\\»");
        assert_eq!(charset.decode(b"\x1b-L\xbb=\xbb", Kind::Name).text, "Л=»");
    }

    #[test]
    fn undeclared_bytes_are_utf8_if_they_can_be() {
        assert_eq!(decode("", "Jérôme".as_bytes()), "Jérôme");
        assert_eq!(decode("", b"J\xe9r\xf4me"), "Jérôme");
    }

    #[test]
    fn utf8_that_is_not_declared_is_read_with_escape_sequences_in_it() {
        for declared in ["", "ISO_IR 6", "ISO 2022 IR 6", "\\ISO 2022 IR 87", "ISO_IR 100\\ISO_IR 192", "FOO"] {
            assert_eq!(decode(declared, "\x1b(BJérôme^王".as_bytes()), "Jérôme^王", "{declared}");
            assert_eq!(decode(declared, "Jérôme=\x1b$B;3\x1b(B".as_bytes()), "Jérôme=山", "{declared}");
        }
        assert_eq!(decode("", b"\x1b-A\xc3\xa9"), "Ã©", "an escape sequence has designated ISO 8859-1");
        assert_eq!(decode("", b"\x1b(BJ\xe9r\xf4me"), "Jérôme");
    }
}
