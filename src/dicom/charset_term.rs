//! The terms of (0008,0005) Specific Character Set, in the spellings that writers use.
//!
//! Defined terms (PS3.3 C.12.1.1.2) are recognized by their registration number, other terms as
//! labels of the WHATWG Encoding Standard or as code pages. Case, blanks, `_`, `-` and other
//! punctuation are ignored.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7,
    ISO_8859_8, ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, ISO_8859_16, SHIFT_JIS, UTF_8, WINDOWS_874,
    WINDOWS_1254, X_USER_DEFINED,
};

/// The character set of bytes from 0x80 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum G1 {
    None,
    /// ISO 8859-1. encoding_rs has no table for this set: its table of that name is windows-1252.
    Latin1,
    /// JIS X 0201 (IR 13).
    Katakana,
    Table(&'static Encoding),
    /// An encoding without code extensions, in a text that contains escape sequences.
    Whole(&'static Encoding),
}

/// One value of (0008,0005).
#[derive(Clone, Copy, Debug)]
pub(super) enum Term {
    /// ASCII, or an empty value.
    Ascii,
    /// A set that escape sequences can extend.
    Extended(G1),
    /// An encoding of all text, without code extensions.
    Whole(&'static Encoding),
    Unknown,
}

impl Term {
    pub fn parse(term: &str) -> Term {
        match term.trim_matches([' ', '\0']) {
            "" => Term::Ascii,
            "ISO_IR 100" => Term::Extended(G1::Latin1),
            "ISO_IR 192" => Term::Whole(UTF_8),
            other => Term::spelled(&compact(other)),
        }
    }

    fn spelled(compact: &str) -> Term {
        if matches!(compact, "ascii" | "usascii" | "ansix341968" | "iso646us") {
            return Term::Ascii;
        }
        registered(compact)
            .or_else(|| labelled(compact).map(Term::from))
            .or_else(|| misspelled(compact))
            .unwrap_or(Term::Unknown)
    }

    /// Returns the set with an ISO registration number.
    fn of_registration(number: u32) -> Option<Term> {
        Some(match number {
            6 | 14 => Term::Ascii,
            100 => Term::Extended(G1::Latin1),
            13 => Term::Extended(G1::Katakana),
            58 => Term::Extended(G1::Table(GBK)),
            149 => Term::Extended(G1::Table(EUC_KR)),
            87 | 159 => Term::Extended(G1::None),
            192 => Term::Whole(UTF_8),
            other => Term::Extended(G1::Table(single_byte(other)?)),
        })
    }
}

impl From<&'static Encoding> for Term {
    fn from(encoding: &'static Encoding) -> Self {
        match encoding.is_single_byte() {
            true => Term::Extended(G1::Table(encoding)),
            false => Term::Whole(encoding),
        }
    }
}

/// Returns the letters and digits of a term, in lower case.
fn compact(term: &str) -> String {
    term.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Parses a registration number, with or without the words in front of it: "ISO_IR 100",
/// "ISO 2022 IR 100", "100".
fn registered(compact: &str) -> Option<Term> {
    let digits = ["iso2022ir", "iso2022", "isoir", "iso", "ir"].iter().find_map(|words| compact.strip_prefix(words));
    Term::of_registration(digits.unwrap_or(compact).parse().ok()?)
}

/// Returns the encoding that a label names.
fn labelled(compact: &str) -> Option<&'static Encoding> {
    let label = |label: &str| Encoding::for_label_no_replacement(label.as_bytes());
    let punctuated = || LABELS.iter().find(|punctuated| is_same(punctuated, compact)).and_then(|found| label(found));
    let part_of_8859 = || {
        let part = &compact[compact.find("8859")?..];
        let year = ["1987", "1988", "1989"].iter().find_map(|year| part.strip_suffix(year));
        label(&format!("iso{}", year.unwrap_or(part)))
    };
    let behind_words = || ["iso2022", "isoir"].iter().find_map(|words| compact.strip_prefix(words)).and_then(&label);
    let found = label(compact).or_else(punctuated).or_else(part_of_8859).or_else(|| code_page(compact));
    // The user-defined set maps bytes to private use characters, which cannot be displayed.
    found.or_else(behind_words).filter(|encoding| *encoding != X_USER_DEFINED)
}

/// The labels that encoding_rs does not recognize without their punctuation. Separate rules cover
/// families of labels: `iso-ir-100`, `iso_8859-1:1987`, `windows-1252`, `x-cp1252`.
const LABELS: [&str; 37] = [
    "asmo-708",
    "big5-hkscs",
    "cn-big5",
    "ecma-114",
    "ecma-118",
    "elot_928",
    "euc-jp",
    "euc-kr",
    "gb_2312-80",
    "iso-10646-ucs-2",
    "iso-2022-jp",
    "iso-8859-16",
    "iso-8859-6-e",
    "iso-8859-6-i",
    "iso-8859-8-e",
    "iso-8859-8-i",
    "koi8-r",
    "koi8-ru",
    "koi8-u",
    "ks_c_5601-1987",
    "ks_c_5601-1989",
    "ms_kanji",
    "shift_jis",
    "sun_eu_greek",
    "tis-620",
    "ucs-2",
    "utf-16",
    "utf-16be",
    "utf-16le",
    "x-euc-jp",
    "x-gbk",
    "x-mac-cyrillic",
    "x-mac-roman",
    "x-mac-ukrainian",
    "x-sjis",
    "x-unicode20utf8",
    "x-x-big5",
];

fn is_same(label: &str, compact: &str) -> bool {
    label.bytes().filter(u8::is_ascii_alphanumeric).eq(compact.bytes())
}

/// Returns the encoding of a code page of Windows or DOS: "Windows 1251", "CP1251", "x-cp1251",
/// "cp936".
fn code_page(compact: &str) -> Option<&'static Encoding> {
    let number = ["windows", "win", "xcp", "cp", "dos", "ibm", "ms"].iter().find_map(|name| compact.strip_prefix(name));
    match number? {
        "932" | "31j" => Some(SHIFT_JIS),
        "936" => Some(GBK),
        "949" => Some(EUC_KR),
        "950" => Some(BIG5),
        "54936" => Some(GB18030),
        "65001" => Some(UTF_8),
        number => Encoding::for_label(format!("windows-{number}").as_bytes()),
    }
}

/// Recognizes a known set in a term with a typing error or an addition: "IS_IR 100",
/// "GB18030-2005".
fn misspelled(compact: &str) -> Option<Term> {
    if compact == "utf" {
        return Some(Term::Whole(UTF_8));
    }
    let contained = [("utf8", UTF_8), ("gb18030", GB18030), ("gb2312", GBK), ("gbk", GBK), ("big5", BIG5)];
    // HZ encodes GB 2312 in seven bits.
    let contained = contained.into_iter().find(|(name, _)| compact.contains(name) && !compact.starts_with("hz"));
    let contained = contained.map(|(_, set)| Term::Whole(set));
    contained.or_else(|| {
        let digits = compact.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        // Smaller numbers may have another meaning, as in "ISO Latin 6".
        let number = digits.parse().ok().filter(|number| compact.starts_with("is") && *number > 14)?;
        Term::of_registration(number)
    })
}

/// Returns the table of a registered set of 96 characters.
pub(super) fn single_byte(registration: u32) -> Option<&'static Encoding> {
    Some(match registration {
        101 => ISO_8859_2,
        109 => ISO_8859_3,
        110 => ISO_8859_4,
        144 => ISO_8859_5,
        127 => ISO_8859_6,
        126 => ISO_8859_7,
        138 => ISO_8859_8,
        148 => WINDOWS_1254,
        157 => ISO_8859_10,
        166 => WINDOWS_874,
        179 => ISO_8859_13,
        199 => ISO_8859_14,
        203 => ISO_8859_15,
        226 => ISO_8859_16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_recognized_with_any_punctuation() {
        let more = ["windows-1258", "x-cp1250", "dos-874", "iso_8859-9:1989", "iso-8859-6-e", "iso-8859-8-i", "l5"];
        let more = more.into_iter().chain(["csisolatin2", "cskoi8r", "csksc56011987", "x-unicode20utf8", "x-sjis"]);
        for label in LABELS.into_iter().chain(more).chain(["x-x-big5", "windows-31j", "unicode-1-1-utf-8"]) {
            let meant = Encoding::for_label(label.as_bytes()).unwrap();
            for spelled in [label.into(), label.to_uppercase(), label.replace(['-', '_'], " "), compact(label)] {
                assert_eq!(labelled(&compact(&spelled)), Some(meant), "{spelled}");
            }
        }
    }

    #[test]
    fn a_term_without_a_meaning_is_unknown() {
        for term in ["IS", "ISO 2022", "ISO_IR", "ISO_IR 999", "UTF-7", "UTF-32", "HZ-GB-2312", "ISO Latin 6", "?", "1"]
        {
            assert!(matches!(Term::parse(term), Term::Unknown), "{term}: {:?}", Term::parse(term));
        }
    }
}
