//! Text in every character set that DICOM defines, from the bytes of a file to its columns.
//! `--nocapture` prints it.
//!
//! Names are those of PS3.5 annexes H to K where these have one; other bytes were encoded with the
//! codecs of Python.

use pacs_index::dicom::Instance;
use pacs_index::dicom::flaw::Flaw;

use crate::support::draft::{Draft, PATIENT_NAME, Tag};
use crate::support::headers::{column, read};

const STUDY_DESCRIPTION: Tag = (0x0008, 0x1030);
const COMMENTS: Tag = (0x0010, 0x4000);

/// Specific Character Set, the bytes of a name, and `lastname|firstname|ideographic|phonetic`.
type Name = (&'static str, &'static [u8], &'static str);

/// Specific Character Set, the bytes of a text, and the text.
type Text = (&'static str, &'static [u8], &'static str);

/// Sets without code extensions (PS3.3 table C.12-2), and sets that cannot be combined with others
/// (C.12-5).
const SINGLE: [Name; 20] = [
    ("", b"Doe^Jane", "Doe|Jane|-|-"),
    ("ISO_IR 6", b"Doe^Jane", "Doe|Jane|-|-"),
    ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"),
    ("ISO_IR 101", b"Wa\xb3\xeasa^\xa6\xe6\xbf\xbc", "Wałęsa|Śćżź|-|-"),
    ("ISO_IR 109", b"\xa6erman^\xaco\xe6jo", "Ĥerman|Ĵoĉjo|-|-"),
    ("ISO_IR 110", b"B\xbarzi\xf1\xb9^J\xe0nis", "Bērziņš|Jānis|-|-"),
    ("ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг||-|-"),
    ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني|لنزار|-|-"),
    ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος||-|-"),
    ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון|דבורה|-|-"),
    ("ISO_IR 148", b"\xc7avu\xfeo\xf0lu^I\xfe\xfdl", "Çavuşoğlu|Işıl|-|-"),
    ("ISO_IR 203", b"\xbcuvray^\xb4an \xa4", "Œuvray|Žan €|-|-"),
    ("ISO_IR 166", b"\xb9\xd2\xc1\xca\xa1\xd8\xc5^\xaa\xd7\xe8\xcd", "นามสกุล|ชื่อ|-|-"),
    ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ|ﾀﾛｳ|-|-"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東=".as_bytes(), "Wang|XiaoDong|王^小東|-"),
    ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang|XiaoDong|王^小东|-"),
    ("GB18030", b"Wang^XiaoDong=\x81\x39\xee\x39^\xd0\xa1", "Wang|XiaoDong|㐀^小|-"),
    ("GBK", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang|XiaoDong|王^小东|-"),
    ("GB18030", b"\x81\x5c^\x81\x5c=\x81\x5c", "乗|乗|乗|-"),
    ("GBK", b"\x81\x5c^\x81\x5c=\x81\x5c", "乗|乗|乗|-"),
];

/// With code extensions (PS3.3 tables C.12-3 and C.12-4).
const EXTENDED: [Name; 24] = [
    ("ISO 2022 IR 6", b"Doe^Jane", "Doe|Jane|-|-"),
    ("ISO 2022 IR 100", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"),
    ("\\ISO 2022 IR 100", b"Buc^\x1b-AJ\xe9r\xf4me", "Buc|Jérôme|-|-"),
    ("\\ISO 2022 IR 101", b"\x1b-BWa\xb3\xeasa^\x1b-B\xa6\xe6", "Wałęsa|Ść|-|-"),
    ("\\ISO 2022 IR 109", b"\x1b-C\xa6erman^\x1b-C\xaco\xe6jo", "Ĥerman|Ĵoĉjo|-|-"),
    ("\\ISO 2022 IR 110", b"\x1b-DB\xbarzi\xf1\xb9^\x1b-DJ\xe0nis", "Bērziņš|Jānis|-|-"),
    ("\\ISO 2022 IR 144", b"\x1b-L\xbb\xee\xda", "Люк||-|-"),
    ("\\ISO 2022 IR 127", b"\x1b-G\xe2\xc8\xc7\xe6\xea", "قباني||-|-"),
    ("\\ISO 2022 IR 126", b"\x1b-F\xc4\xe9\xef\xed", "Διον||-|-"),
    ("\\ISO 2022 IR 138", b"\x1b-H\xf9\xf8\xe5\xef", "שרון||-|-"),
    ("\\ISO 2022 IR 148", b"\x1b-M\xc7avu\xfeo\xf0lu", "Çavuşoğlu||-|-"),
    ("\\ISO 2022 IR 203", b"\x1b-b\xbcuvray", "Œuvray||-|-"),
    ("\\ISO 2022 IR 166", b"\x1b-T\xb9\xd2\xc1", "นาม||-|-"),
    ("\\ISO 2022 IR 13", b"\x1b)I\xd4\xcf\xc0\xde^\x1b)I\xc0\xdb\xb3", "ﾔﾏﾀﾞ|ﾀﾛｳ|-|-"),
    (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada|Tarou|山田^太郎|やまだ^たろう",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ|ﾀﾛｳ|山田^太郎|やまだ^たろう",
    ),
    ("\\ISO 2022 IR 159", b"Ting=\x1b$(D0!\x1b(B^\x1b$(D0H\x1b(B", "Ting||丂^仡|-"),
    ("\\ISO 2022 IR 87\\ISO 2022 IR 159", b"A=\x1b$B;3\x1b$(D0!\x1b(B", "A||山丂|-"),
    (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong|Gildong|洪^吉洞|홍^길동",
    ),
    ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang|XiaoDong|张^小东|-"),
    // A character whose second byte equals a delimiter.
    ("\\ISO 2022 IR 87", b"A^B=\x1b$B0=\x1b(B^\x1b$B0^0\\\x1b(B", "A|B|綾^緯移|-"),
    // The initial set becomes active again after each delimiter.
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\x1b-L\xbb\xe9^\xe9=\x1b-L\xbb=\xe9", "Лщ|é|Л|é"),
    // Escape sequences that the declaration does not announce.
    ("", b"Yamada^Tarou=\x1b$B;3ED\x1b(B", "Yamada|Tarou|山田|-"),
    ("ISO_IR 100", b"Yamada^J\xe9=\x1b$B;3ED\x1b(B", "Yamada|Jé|山田|-"),
];

/// Defined terms as some writers misspell them.
const MISSPELT: [Name; 16] = [
    ("ISO-IR 100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO IR 100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO_IR_100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("iso_ir 100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO_IR 100   ", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO_IR 144 ", b"\xbb\xee", "Лю||-|-"),
    ("ISO 8859-1", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO8859-5", b"\xbb\xee", "Лю||-|-"),
    ("latin1", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO IR 192", "王^小".as_bytes(), "王|小|-|-"),
    ("iso_ir 192", "王^小".as_bytes(), "王|小|-|-"),
    ("ISO 2022 IR 192", "王^小".as_bytes(), "王|小|-|-"),
    ("\\ISO_IR 192", "王^小".as_bytes(), "王|小|-|-"),
    ("UTF-8", "王^小".as_bytes(), "王|小|-|-"),
    ("UTF8", "王^小".as_bytes(), "王|小|-|-"),
    // An extension is declared, but its escape sequences are missing.
    ("\\ISO 2022 IR 149", b"\xc8\xab^\xb1\xe6\xb5\xbf", "홍|길동|-|-"),
];

/// Escape sequences although the first set has no code extensions: each part is decoded in the set
/// that is active there.
const MIXED: [Name; 12] = [
    ("GB18030\\ISO 2022 IR 58", b"Li^Ming=\x1b$)A\xc0\xee^\x1b$)A\xc3\xf7=", "Li|Ming|李^明|-"),
    ("GBK\\ISO 2022 IR 58", b"\x1b$)A\xc0\xee\xc3\xf7", "李明||-|-"),
    ("GB2312", b"\x1b$)A\xc0\xee\xc3\xf7", "李明||-|-"),
    ("GB18030", b"\x81\x5c^\x1b$)A\xc3\xf7=\x81\x5c", "乗|明|乗|-"),
    ("ISO_IR 192\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B", "Yamada||山田|-"),
    ("ISO_IR 192", b"J\xc3\xa9=\x1b$B;3ED\x1b(B=\xe5\xb1\xb1", "Jé||山田|山"),
    ("ISO_IR 192", b"\x1b-A\xe9^\xc3\xa9", "é|é|-|-"),
    ("\\ISO_IR 192", b"\x1b$B;3ED\x1b(B^\xe5\xb1\xb1", "山田|山|-|-"),
    ("Big5", b"\xa7\xf5\xa5\x5c^\x1b$)A\xc3\xf7", "李功|明|-|-"),
    ("Shift_JIS", b"\x8e\x52=\x1b$B;3ED\x1b(B", "山||山田|-"),
    ("EUC-JP", b"\xbb\xb3=\x1b$B;3ED\x1b(B", "山||山田|-"),
    ("iso-2022-jp", b"Yamada=\x1b$B;3ED\x1b(B", "Yamada||山田|-"),
];

/// UTF-8 with a byte order mark, or a different declared set that cannot be right.
const MARKED: [Name; 9] = [
    ("", "\u{feff}Müller^Jürgen".as_bytes(), "Müller|Jürgen|-|-"),
    ("", b"\xef\xbb\xbfDoe^Jane", "Doe|Jane|-|-"),
    ("ISO_IR 192", "\u{feff}Müller".as_bytes(), "Müller||-|-"),
    ("ISO_IR 100", "\u{feff}Müller".as_bytes(), "Müller||-|-"),
    ("ISO 2022 IR 6\\ISO 2022 IR 87", "\u{feff}Müller".as_bytes(), "Müller||-|-"),
    ("utf-16", "\u{feff}Müller".as_bytes(), "Müller||-|-"),
    ("GB18030", "\u{feff}Müller".as_bytes(), "Müller||-|-"),
    ("ISO_IR 100\\ISO_IR 192", "Müller".as_bytes(), "Müller||-|-"),
    ("ISO_IR 100\\ISO_IR 192", b"M\xfcller", "Müller||-|-"),
];

#[test]
fn a_name_is_read_in_each_set_that_its_escape_sequences_name_and_without_its_byte_order_mark() {
    for row in [&MIXED[..], &MARKED].concat() {
        check(row, PATIENT_NAME, "PN", name);
    }
}

#[test]
fn an_escape_sequence_that_nothing_defines_is_counted_whatever_the_character_set() {
    for set in ["", "ISO_IR 192", "GB18030", "GBK", "Big5", "Shift_JIS", "EUC-JP", "iso-2022-jp", "ISO_IR 100"] {
        let draft = Draft::plain().text((0x0008, 0x0005), "CS", set);
        let instance = read(&draft.element(PATIENT_NAME, "PN", b"A\x1b%yB").file()).unwrap();
        assert!(!instance.flaws.of(Flaw::Undecodable).is_empty(), "{set}");
    }
}

/// Undeclared text is decoded as UTF-8 if it is valid, otherwise as ISO 8859-1; bytes that are
/// invalid in the declared set are replaced.
const WRONG: [Name; 8] = [
    ("", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"),
    ("", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"),
    ("ISO_IR 999", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"),
    ("ISO_IR 192", b"Buc^J\xe9r", "Buc|J\u{fffd}r|-|-"),
    ("ISO_IR 13", b"Buc^\xf0", "Buc|\u{fffd}|-|-"),
    ("\\ISO 2022 IR 87", b"Buc^J\xe9r", "Buc|J\u{fffd}r|-|-"),
    ("\\ISO 2022 IR 87", b"Buc=\x1b$B;", "Buc||\u{fffd}|-"),
    ("\\ISO 2022 IR 87", b"Buc^\x1b!A", "Buc|\u{fffd}!A|-|-"),
];

/// Labels of the WHATWG Encoding Standard, and other names of character sets that writers use in
/// place of a defined term.
const LABELS: [Name; 44] = [
    ("GB2312", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王|小东|-|-"),
    ("gb 2312", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王|小东|-|-"),
    ("GB_2312-80", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王|小东|-|-"),
    ("ISO 2022 GBK", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王|小东|-|-"),
    ("cp936", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王|小东|-|-"),
    ("Windows 1251", b"\xc8\xe2\xe0\xed\xee\xe2^\xdf", "Иванов|Я|-|-"),
    ("windows1251", b"\xc8\xe2\xe0\xed\xee\xe2^\xdf", "Иванов|Я|-|-"),
    ("WINDOWS_1251", b"\xc8\xe2\xe0\xed\xee\xe2^\xdf", "Иванов|Я|-|-"),
    ("CP-1251", b"\xc8\xe2\xe0\xed\xee\xe2^\xdf", "Иванов|Я|-|-"),
    ("win-1251", b"\xc8\xe2\xe0\xed\xee\xe2^\xdf", "Иванов|Я|-|-"),
    ("Windows 1250", b"Dvo\xf8\xe1k^\x8aimon", "Dvořák|Šimon|-|-"),
    ("Windows-1252", b"\x8aimon^J\xe9r\xf4me", "Šimon|Jérôme|-|-"),
    ("Windows 1253", b"\xc4\xe9\xef\xed", "Διον||-|-"),
    ("Windows 1256", b"\xde\xc8\xc7\xe4\xed", "قباني||-|-"),
    ("KOI8-R", b"\xe9\xd7\xc1\xce", "Иван||-|-"),
    ("koi8 r", b"\xe9\xd7\xc1\xce", "Иван||-|-"),
    ("KOI8U", b"\xe9\xd7\xc1\xce", "Иван||-|-"),
    ("IBM 866", b"\x88\xa2\xa0\xad", "Иван||-|-"),
    ("x mac cyrillic", b"\x88\xe2\xe0\xed", "Иван||-|-"),
    ("ISO-8859-5", b"\xbb\xee", "Лю||-|-"),
    ("iso_8859-5:1988", b"\xbb\xee", "Лю||-|-"),
    ("csISOLatinCyrillic", b"\xbb\xee", "Лю||-|-"),
    ("ISO 8859 2", b"Wa\xb3\xeasa^\xa6\xe6", "Wałęsa|Ść|-|-"),
    ("8859-2", b"Wa\xb3\xeasa^\xa6\xe6", "Wałęsa|Ść|-|-"),
    ("ISO 8859-13", b"B\xe7rzi\xf2\xf0", "Bērziņš||-|-"),
    ("ISO-IR-157", b"\xba\xaa", "šŠ||-|-"),
    ("ISO_IR100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("iso ir 100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO 2022 IR100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("ISO2022IR100", b"Buc^J\xe9", "Buc|Jé|-|-"),
    ("iso-2022-ir-144", b"\xbb\xee", "Лю||-|-"),
    ("ISO-IR-192", "王^小".as_bytes(), "王|小|-|-"),
    ("ISO IR192", "王^小".as_bytes(), "王|小|-|-"),
    ("unicode-1-1-utf-8", "王^小".as_bytes(), "王|小|-|-"),
    ("utf_8", "王^小".as_bytes(), "王|小|-|-"),
    ("Shift_JIS", b"\x8eR\x93c^\x91\xbe\x98Y", "山田|太郎|-|-"),
    ("shift jis", b"\x83\x5c^\x83\x5c", "ソ|ソ|-|-"),
    ("Windows-31J", b"\x8eR\x93c^\x91\xbe\x98Y", "山田|太郎|-|-"),
    ("EUC JP", b"\xbb\xb3\xc5\xc4^\xc2\xc0", "山田|太|-|-"),
    ("ISO-2022-JP", b"\x1b$B;3ED\x1b(B^\x1b$BB@\x1b(B", "山田|太|-|-"),
    ("EUC-KR", b"\xc8\xab^\xb1\xe6\xb5\xbf", "홍|길동|-|-"),
    ("ks_c_5601-1987", b"\xc8\xab^\xb1\xe6\xb5\xbf", "홍|길동|-|-"),
    ("Big5", b"\xa4\xfd^\xa4p", "王|小|-|-"),
    ("UTF-16LE", b"\x8b\x73^\0\x0f\x5c", "王|小|-|-"),
];

/// Declarations without a usable character set, which are treated like no declaration; and whether
/// the file counts as one with an unknown set.
const UNUSABLE: [(Name, bool); 14] = [
    (("ISO 2022 IR 6\\IS", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("ISO 2022 IR 6\\IS", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"), true),
    (("ISO 2022 IR 6\\", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), false),
    (("ISO 2022 IR 6\\ISO 2022 IR 6", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), false),
    (("ISO_IR 6\\ISO 2022", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("\\IS", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("IS", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("ISO_IR 999", b"Buc^J\xe9r\xf4me", "Buc|Jérôme|-|-"), true),
    (("ISO_IR 6", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), false),
    (("US-ASCII", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), false),
    (("UTF-7", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("x-user-defined", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), true),
    (("IS\\ISO 2022 IR 144", b"\xbb\xee", "Лю||-|-"), true),
    (("\\ISO 2022 IR 87", "Buc^Jérôme".as_bytes(), "Buc|Jérôme|-|-"), false),
];

/// Descriptions (LO), in which `^` and `=` have no special meaning.
const DESCRIPTIONS: [Text; 6] = [
    ("ISO_IR 100", b"Knie gr\xf6\xdfer", "Knie größer"),
    ("GB18030", b"\x81\x5c\\\x81\x5c", "乗\\乗"),
    ("GBK", b"\x81\x5c\\B", "乗\\B"),
    ("\\ISO 2022 IR 87", b"\x1b$B0\\0^\x1b(B\\B", "移緯\\B"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\x1b-L\xbb=\xbb^\xbb\\\xe9", "Л=Л^Л\\é"),
    ("ISO_IR 192", b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
];

/// Comments (LT): the initial sets become active again at control characters (PS3.5 6.1.2.5.3).
const COMMENTS_OF_LINES: [Text; 5] = [
    // Like the example of PS3.5 K.3.
    (
        "\\ISO 2022 IR 58",
        b"1. \x1b$)A\xb5\xda\xd2\xbb\xd0\xd0\xce\xc4\xd7\xd6\xa1\xa3\r\n2. \x1b$)A\xb5\xda\xb6\xfe\xd0\xd0\r\n",
        "1. 第一行文字。\r\n2. 第二行",
    ),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\x1b-L\xbb\r\n\xe9\x1b-L\xbb\t\xe9\x1b-L\xbb\x0c\xe9", "Л\r\néЛ\téЛ\u{c}é"),
    ("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B\r\n\x1b$BB@O:\x1b(B.", "山田\r\n太郎."),
    // The writer did not return to ASCII before the end of the line.
    ("\\ISO 2022 IR 87", b"\x1b$B;3ED\r\nplain", "山田\r\nplain"),
    ("ISO_IR 192", "Straße\r\n北京".as_bytes(), "Straße\r\n北京"),
];

fn name(instance: &Instance) -> String {
    ["lastname", "firstname", "ideographic", "phonetic"]
        .map(|part| column(instance, &format!("patient.{part}")))
        .join("|")
}

/// Reads a file with a text in a character set, and checks the stored columns.
fn check((set, raw, expected): Text, tag: Tag, vr: &str, stored: impl Fn(&Instance) -> String) -> Instance {
    let draft = Draft::plain().text((0x0008, 0x0005), "CS", set).element(tag, vr, raw);
    let instance = read(&draft.file()).unwrap();
    let found = stored(&instance);
    println!("{set:<34}{:<42} {}", expected.escape_debug(), found.escape_debug());
    assert_eq!(found, expected, "{set}");
    let undecodable = instance.flaws.of(Flaw::Undecodable).len();
    assert_eq!(undecodable, u32::from(expected.contains(char::REPLACEMENT_CHARACTER)), "{set}: {expected}");
    instance
}

#[test]
fn names_of_every_character_set_stand_in_their_columns() {
    for row in [&SINGLE[..], &EXTENDED, &MISSPELT, &WRONG].concat() {
        check(row, PATIENT_NAME, "PN", name);
    }
}

#[test]
fn a_character_set_is_found_by_any_of_its_labels_however_it_is_spelled() {
    for row in LABELS {
        assert!(!check(row, PATIENT_NAME, "PN", name).flaws.has_unknown_charset, "{}", row.0);
    }
}

#[test]
fn a_declaration_without_a_usable_character_set_is_read_as_if_nothing_were_declared() {
    for (row, is_unknown) in UNUSABLE {
        assert_eq!(check(row, PATIENT_NAME, "PN", name).flaws.has_unknown_charset, is_unknown, "{}", row.0);
    }
}

#[test]
fn texts_of_several_lines_and_values_are_read_to_their_end() {
    for row in DESCRIPTIONS {
        check(row, STUDY_DESCRIPTION, "LO", |instance| column(instance, "study.description"));
    }
    for row in COMMENTS_OF_LINES {
        check(row, COMMENTS, "LT", |instance| column(instance, "patient.comments"));
    }
}

#[test]
fn text_that_is_lost_behind_a_nul_is_counted_in_every_character_set() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let of =
        |text: &str| [("ISO_IR 192", text.as_bytes().to_vec()), ("utf-16", utf16(text)), ("UTF-16LE", utf16(text))];
    for (text, lost) in [("Grün\0wald", 1), ("Grün\0\0 wald", 1), ("Grün\0", 0), ("Grün\0 \0", 0), ("Grün", 0)] {
        for (set, raw) in of(text) {
            let draft = Draft::plain().text((0x0008, 0x0005), "CS", set).element(STUDY_DESCRIPTION, "LO", &raw);
            let instance = read(&draft.file()).unwrap();
            assert_eq!(column(&instance, "study.description"), "Grün", "{set}");
            assert_eq!(instance.flaws.of(Flaw::Partial).len(), lost, "{set}: {text:?}");
        }
    }
}
