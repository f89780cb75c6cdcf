//! The characters that a column can store, by the name of its character set.
//!
//! A strict server rejects a whole statement for one character that the column's character set
//! lacks. Therefore the text is converted before, and the lost characters are counted and listed.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// Replaces a character that a column cannot store, as in MySQL's own conversions.
const SUBSTITUTE: char = '?';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repertoire {
    /// All of Unicode, or a character set that only the server knows.
    Full,
    Ascii,
    /// `utf8` before MySQL 8.0: no characters beyond the Basic Multilingual Plane.
    ThreeBytes,
    Encoded(&'static Encoding),
}

/// MySQL character sets, and the encodings with the same characters.
const SETS: [(&str, &Encoding); 24] = [
    ("latin1", encoding_rs::WINDOWS_1252),
    ("latin2", encoding_rs::ISO_8859_2),
    ("latin5", encoding_rs::WINDOWS_1254),
    ("latin7", encoding_rs::ISO_8859_13),
    ("greek", encoding_rs::ISO_8859_7),
    ("hebrew", encoding_rs::ISO_8859_8),
    ("cp1250", encoding_rs::WINDOWS_1250),
    ("cp1251", encoding_rs::WINDOWS_1251),
    ("cp1256", encoding_rs::WINDOWS_1256),
    ("cp1257", encoding_rs::WINDOWS_1257),
    ("cp866", encoding_rs::IBM866),
    ("koi8r", encoding_rs::KOI8_R),
    ("koi8u", encoding_rs::KOI8_U),
    ("macroman", encoding_rs::MACINTOSH),
    ("tis620", encoding_rs::WINDOWS_874),
    ("big5", encoding_rs::BIG5),
    ("gb2312", encoding_rs::GBK),
    ("gbk", encoding_rs::GBK),
    ("gb18030", encoding_rs::GB18030),
    ("euckr", encoding_rs::EUC_KR),
    ("sjis", encoding_rs::SHIFT_JIS),
    ("cp932", encoding_rs::SHIFT_JIS),
    ("ujis", encoding_rs::EUC_JP),
    ("eucjpms", encoding_rs::EUC_JP),
];

impl Repertoire {
    pub fn of(character_set: &str) -> Self {
        match character_set {
            "ascii" => Repertoire::Ascii,
            "utf8" | "utf8mb3" | "ucs2" => Repertoire::ThreeBytes,
            set => SETS
                .iter()
                .find(|(name, _)| *name == set)
                .map_or(Repertoire::Full, |(_, encoding)| Repertoire::Encoded(encoding)),
        }
    }

    /// Returns the text with a substitute for each character that the column cannot store.
    pub fn fit(self, text: &str) -> Cow<'_, str> {
        if text.is_ascii() || text.chars().all(|c| self.has(c)) {
            return Cow::Borrowed(text);
        }
        text.chars().map(|c| if self.has(c) { c } else { SUBSTITUTE }).collect()
    }

    fn has(self, c: char) -> bool {
        match self {
            Repertoire::Full => true,
            Repertoire::Ascii => c.is_ascii(),
            Repertoire::ThreeBytes => c.len_utf8() <= 3,
            Repertoire::Encoded(encoding) => {
                let mut bytes = [0; 4];
                c.is_ascii() || !encoding.encode(c.encode_utf8(&mut bytes)).2
            }
        }
    }

    /// Returns the defined term (PS3.3 C.12.1.1.2) by which the front end decodes text from such a
    /// column.
    pub fn term(self) -> &'static str {
        match self {
            Repertoire::Encoded(encoding) if encoding == encoding_rs::WINDOWS_1252 => "ISO_IR 100",
            _ => "ISO_IR 192",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_hold_is_substituted_character_by_character() {
        assert_eq!(Repertoire::of("latin1").fit("Müller 山田"), "Müller ??");
        assert_eq!(Repertoire::of("utf8").fit("山田 𠮷"), "山田 ?");
        assert_eq!(Repertoire::of("utf8mb4").fit("山田 𠮷"), "山田 𠮷");
        assert_eq!(Repertoire::of("ascii").fit("Müller"), "M?ller");
        assert_eq!(Repertoire::of("cp1251").fit("Люкceмбypг ü"), "Люкceмбypг ?");
    }
}
