//! Values as real writers write them: UIDs, dates, times, numbers.

use super::{Case, Values, indexed, rejected};
use crate::support::draft::{Draft, ROWS, STUDY_INSTANCE_UID, Tag};
use crate::support::writer::BIG_ENDIAN;

const SOP_CLASS: Tag = (0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = (0x0008, 0x0018);
const SERIES_INSTANCE_UID: Tag = (0x0020, 0x000E);
const STUDY_UID: &[u8] = b"1.3.6.1.4.1.32473.7.1";

pub fn cases() -> Vec<Case> {
    [missing_uids(), uids(), dates(), times(), numbers(), binary_numbers(), decimals(), texts()]
        .into_iter()
        .flatten()
        .collect()
}

fn with(tag: Tag, vr: &str, value: &str) -> Vec<u8> {
    Draft::plain().text(tag, vr, value).file()
}

fn missing_uids() -> Vec<Case> {
    let without = |tag| Draft::plain().without(tag).file();
    let empty = |tag| Draft::plain().element(tag, "UI", b"").file();
    vec![
        rejected("no SOP Instance UID", without(SOP_INSTANCE_UID), "missing-uid"),
        rejected("no Study Instance UID", without(STUDY_INSTANCE_UID), "missing-uid"),
        rejected("no Series Instance UID", without(SERIES_INSTANCE_UID), "missing-uid"),
        rejected("an empty SOP Instance UID", empty(SOP_INSTANCE_UID), "missing-uid"),
        rejected("an empty Study Instance UID", empty(STUDY_INSTANCE_UID), "missing-uid"),
        rejected("an empty Series Instance UID", empty(SERIES_INSTANCE_UID), "missing-uid"),
        rejected("a Study Instance UID of NULs", with(STUDY_INSTANCE_UID, "UI", "\0\0\0\0"), "missing-uid"),
        indexed("no SOP Class UID", without(SOP_CLASS), &[("image.sopclass", "-")]),
    ]
}

fn uids() -> Vec<Case> {
    let study = |value: &[u8]| Draft::plain().element(STUDY_INSTANCE_UID, "UI", value).file();
    let padded = |padding: &[u8]| study(&[STUDY_UID, padding].concat());
    const LONGEST: &str = "1.2.3456789012345678901234567890123456789012345678901234567890.1";
    assert_eq!(LONGEST.len(), 64);
    vec![
        indexed("a UID without padding", padded(b""), &[]),
        indexed("a UID padded with NUL", padded(b"\0"), &[]),
        indexed("a UID padded with a blank", padded(b" "), &[]),
        indexed("a UID padded with many NULs and blanks", padded(b"\0 \0 \0"), &[]),
        indexed("a UID behind a blank", study(&[b" ", STUDY_UID].concat()), &[]),
        indexed("a UID of 64 characters", study(LONGEST.as_bytes()), &[("study.uuid", LONGEST)]),
        rejected("a UID of 65 characters", study(format!("{LONGEST}1").as_bytes()), "invalid-uid"),
        rejected("a UID with a letter", study(b"1.2.x3"), "invalid-uid"),
        rejected("a UID with a blank inside", study(b"1.2 .3"), "invalid-uid"),
        rejected("a UID with bytes beyond ASCII", study(b"1.2.\xe43"), "invalid-uid"),
        rejected("a UID of one dot", study(b"."), "invalid-uid"),
        rejected("a UID with an empty component", study(b"1..2"), "invalid-uid"),
        rejected("a UID with a dot at the end", study(b"1.2.3."), "invalid-uid"),
        rejected("a UID with a dot first", study(b".1.2.3"), "invalid-uid"),
        indexed("a UID with leading zeros", study(b"1.02.003"), &[("study.uuid", "1.02.003")]),
        indexed(
            "a SOP Class UID with an empty component",
            with(SOP_CLASS, "UI", "1.2..840"),
            &[("image.sopclass", "-"), ("unusable", "1")],
        ),
        rejected("two UIDs", study(b"1.2\\1.3 "), "invalid-uid"),
        indexed(
            "a SOP Class UID that is none",
            with(SOP_CLASS, "UI", "CT Image"),
            &[("image.sopclass", "-"), ("unusable", "1")],
        ),
    ]
}

fn dates() -> Vec<Case> {
    const NONE: Values = &[("study.studydate", "-"), ("unusable", "1")];
    const ABSENT: Values = &[("study.studydate", "-")];
    const OTHER: Values = &[("study.studydate", "1993-04-05")];
    const REPAIRED: Values = &[("study.studydate", "1993-04-05"), ("repaired", "1")];
    let date = |value| with((8, 0x20), "DA", value);
    vec![
        indexed("a date YYYY.MM.DD", date("1993.04.05"), OTHER),
        indexed("a date YYYY-MM-DD", date("1993-04-05"), REPAIRED),
        indexed("a date YYYY/MM/DD", date("1993/04/05"), REPAIRED),
        indexed("a date YYYY/M/D", date("1993/4/5"), REPAIRED),
        indexed("a date with a time behind it", date("19930405103000"), REPAIRED),
        indexed("a date with a time of minutes behind it", date("199304051030"), REPAIRED),
        indexed("a date with a fraction behind it", date("19930405103000.123"), REPAIRED),
        indexed("a date with a time behind a blank", date("19930405 10:30"), REPAIRED),
        indexed("a date with a time behind a T", date("1993-04-05T10:30:00"), REPAIRED),
        indexed("a date with a time and an offset", date("19930405103000+0100"), REPAIRED),
        indexed("a date with slashes and a time", date("1993/04/05 10:30:00"), REPAIRED),
        indexed(
            "a day that can be no month, first",
            date("25/04/1993"),
            &[("study.studydate", "1993-04-25"), ("repaired", "1")],
        ),
        indexed(
            "a day that can be no month, second",
            date("04/25/1993"),
            &[("study.studydate", "1993-04-25"), ("repaired", "1")],
        ),
        indexed("a day that is its month", date("05.05.1993"), &[("study.studydate", "1993-05-05"), ("repaired", "1")]),
        indexed("a date that is two dates", date("12/01/2019"), NONE),
        indexed("a dotted date that is two dates", date("12.01.2019"), NONE),
        indexed("a date with a year of two digits", date("19/01/12"), NONE),
        indexed("a date with two separators", date("1993/04-05"), NONE),
        indexed("a date with an impossible time behind it", date("19930405996000"), NONE),
        indexed("a date with a digit behind it", date("199304051"), NONE),
        indexed("a date with a word behind it", date("19930405 noon"), NONE),
        indexed("a date before an open range", date("19930405-"), NONE),
        indexed("a date behind blanks", date("  19930405"), OTHER),
        indexed(
            "two dates: the first",
            date("19930405\\20000101"),
            &[("study.studydate", "1993-04-05"), ("partial", "1")],
        ),
        indexed("a leap day", date("20240229"), &[("study.studydate", "2024-02-29")]),
        indexed("a leap day that was none", date("20230229"), NONE),
        indexed("a date 20051399", date("20051399"), NONE),
        indexed("a date of zeros", date("00000000"), NONE),
        indexed("a month", date("200511"), NONE),
        indexed("a range of dates", date("20050101-20051231"), NONE),
        indexed("a date of words", date("unknown"), NONE),
        indexed("a blank date", date("        "), ABSENT),
        indexed("an empty date", date(""), ABSENT),
    ]
}

fn times() -> Vec<Case> {
    const NONE: Values = &[("study.studytime", "-"), ("unusable", "1")];
    const REPAIRED: Values = &[("study.studytime", "07:08:09"), ("repaired", "1")];
    const MOMENT: Values = &[("image.observationdatetime", "2024-01-02 03:04:05"), ("repaired", "1")];
    let time = |value| with((8, 0x30), "TM", value);
    let date_time = |value| with((0x40, 0xA032), "DT", value);
    vec![
        indexed("a time HH", time("07"), &[("study.studytime", "07:00:00")]),
        indexed("a time HHMM", time("0708"), &[("study.studytime", "07:08:00")]),
        indexed("a time HHMMSS", time("070809"), &[("study.studytime", "07:08:09")]),
        indexed("a time HHMMSS.ffffff", time("070809.999999"), &[("study.studytime", "07:08:09")]),
        indexed("a time HH:MM:SS", time("07:08:09"), &[("study.studytime", "07:08:09")]),
        indexed("a time HH:MM", time("07:08"), &[("study.studytime", "07:08:00")]),
        indexed("the last second of a day", time("235959"), &[("study.studytime", "23:59:59")]),
        indexed("a leap second", time("235960"), &[("study.studytime", "23:59:59"), ("repaired", "1")]),
        indexed("a time HH.MM.SS", time("07.08.09"), REPAIRED),
        indexed("a time HH.MM.SS.ff", time("07.08.09.50"), REPAIRED),
        indexed("a time H:MM:SS", time("7:08:09"), REPAIRED),
        indexed("a time with a comma", time("070809,5"), REPAIRED),
        indexed("a time HH:MM:SS with a comma", time("07:08:09,5"), REPAIRED),
        indexed("a time with a dot and no fraction", time("070809."), REPAIRED),
        indexed("a time with an offset", time("070809.5+0100"), REPAIRED),
        indexed("a time with its date", time("20211112070809"), REPAIRED),
        indexed("a time HH:MM:SS.ff", time("07:08:09.50"), &[("study.studytime", "07:08:09")]),
        indexed("a time of hour and dot", time("10.11"), NONE),
        indexed("a time of minutes with a fraction", time("1011.5"), NONE),
        indexed("a time of two separators", time("10:11.12"), NONE),
        indexed("a time of minutes between dashes", time("10-11-12"), NONE),
        indexed("a time 24:00", time("24:00"), NONE),
        indexed("a time of five digits", time("71530"), NONE),
        indexed("a time of three digits", time("715"), NONE),
        indexed("a time with stray colons", time("1:0:1:5:3:0"), NONE),
        indexed("a time with a letter behind", time("101530x"), NONE),
        indexed("a time with a fraction of letters", time("101530.abc"), NONE),
        indexed("a time with a zone of its own", time("101530Z"), NONE),
        indexed("a time with a negative offset or end", time("101530-0500"), NONE),
        indexed("a time 240000", time("240000"), NONE),
        indexed("a time 2380", time("2380"), NONE),
        indexed("a range of times", time("0700-0800"), NONE),
        indexed("a blank time", time("      "), &[("study.studytime", "-")]),
        indexed(
            "a date and time with offset",
            date_time("20240102030405.5+0100"),
            &[("image.observationdatetime", "2024-01-02 03:04:05")],
        ),
        indexed(
            "a date and time without time",
            date_time("20240102"),
            &[("image.observationdatetime", "2024-01-02 00:00:00")],
        ),
        indexed("a date and time with separators", date_time("2024-01-02 03:04:05"), MOMENT),
        indexed("a date and time as in ISO 8601", date_time("2024-01-02T03:04:05Z"), MOMENT),
        indexed("a date and time with slashes", date_time("2024/01/02 03:04:05"), MOMENT),
        indexed("a date and time with an offset of hours", date_time("20240102030405+01:00"), MOMENT),
        indexed("a date and time of 13 digits", date_time("2024010203040"), &[("unusable", "1")]),
        indexed("a date and time with an impossible offset", date_time("20240102030405+9900"), &[("unusable", "1")]),
        indexed("a range of dates as date and time", date_time("20240101-20240202"), &[("unusable", "1")]),
        indexed("a date and the hour 24", date_time("20240102240000"), &[("unusable", "1")]),
        indexed("a year as date and time", date_time("2024"), &[("unusable", "1")]),
    ]
}

fn numbers() -> Vec<Case> {
    const NONE: Values = &[("image.instance", "-"), ("unusable", "1")];
    let number = |value| with((0x20, 0x13), "IS", value);
    let frames = |value| with((0x28, 8), "IS", value);
    vec![
        indexed("an integer between blanks", number(" 7  "), &[("image.instance", "7")]),
        indexed("an integer with a sign", number("+7"), &[("image.instance", "7")]),
        indexed("a negative integer", number("-7"), &[("image.instance", "-7")]),
        indexed("an integer with leading zeros", number("007"), &[("image.instance", "7")]),
        indexed("an integer with a fraction of zeros", number("7.000"), &[("image.instance", "7"), ("repaired", "1")]),
        indexed("an integer with a comma and zeros", number("7,0"), &[("image.instance", "7"), ("repaired", "1")]),
        indexed("an integer that may be seven thousand", number("7,000"), NONE),
        indexed("an integer with a fraction", number("7.5"), NONE),
        indexed("several integers: the first", number("7\\8\\9"), &[("image.instance", "7"), ("partial", "1")]),
        indexed("an integer behind none", number("\\8"), NONE),
        indexed("the greatest integer", number("2147483647"), &[("image.instance", "2147483647")]),
        indexed("an integer too great", number("2147483648"), NONE),
        indexed("an integer of words", number("seven"), NONE),
        indexed("an integer with NUL behind", number("7\0ab"), &[("image.instance", "7"), ("partial", "1")]),
        indexed("the greatest short", Draft::plain().short(ROWS, 65535).file(), &[("image.numrows", "65535")]),
        indexed("no frame", frames("0"), &[("unusable", "1")]),
        indexed("fewer frames than none", frames("-1"), &[("unusable", "1")]),
        indexed("frames of words", frames("many"), &[("unusable", "1")]),
        indexed("one frame", frames("1"), &[("image.numframes", "1")]),
        indexed("forty-two frames", frames("42"), &[("image.numframes", "42")]),
    ]
}

/// Numbers with a binary VR other than that of the attribute.
fn binary_numbers() -> Vec<Case> {
    let big = |tag, vr, value: &[u8]| Draft::of(BIG_ENDIAN).element(tag, vr, value).file();
    let of = |tag, vr, value: &[u8]| Draft::plain().element(tag, vr, value).file();
    let (instance, frames, weight) = ((0x20, 0x13), (0x28, 0x08), (0x10, 0x1030));
    const NUMBER: Values = &[("image.instance", "300")];
    const NEGATIVE: Values = &[("image.instance", "-3")];
    const FRAMES: Values = &[("image.numframes", "300")];
    const NO_ROWS: Values = &[("image.numrows", "-"), ("unusable", "1")];
    const NO_NUMBER: Values = &[("image.instance", "-"), ("unusable", "1")];
    const WEIGHT: Values = &[("patient.weight", "70.5")];
    let rows = |vr, value: &[u8]| of(ROWS, vr, value);
    vec![
        indexed("an instance number as US", of(instance, "US", &300u16.to_le_bytes()), NUMBER),
        indexed("an instance number as SS", of(instance, "SS", &(-3i16).to_le_bytes()), NEGATIVE),
        indexed("an instance number as SL", of(instance, "SL", &(-3i32).to_le_bytes()), NEGATIVE),
        indexed("an instance number as SL of two bytes", of(instance, "SL", &[3, 0]), NO_NUMBER),
        indexed("an instance number as FL", of(instance, "FL", &300f32.to_le_bytes()), NUMBER),
        indexed("an instance number as FD with a fraction", of(instance, "FD", &7.5f64.to_le_bytes()), NO_NUMBER),
        indexed("several instance numbers as SS: the first", of(instance, "SS", &[44, 1, 7, 0]), NUMBER),
        indexed("frames as SL", of(frames, "SL", &300i32.to_le_bytes()), FRAMES),
        indexed("frames as SS", of(frames, "SS", &300i16.to_le_bytes()), FRAMES),
        indexed("frames as FD", of(frames, "FD", &300f64.to_le_bytes()), FRAMES),
        indexed("frames as SV", of(frames, "SV", &300i64.to_le_bytes()), FRAMES),
        indexed("a weight as FL", of(weight, "FL", &70.5f32.to_le_bytes()), WEIGHT),
        indexed("a weight as FD", of(weight, "FD", &70.5f64.to_le_bytes()), WEIGHT),
        indexed(
            "a weight that is infinite as FD",
            of(weight, "FD", &f64::INFINITY.to_le_bytes()),
            &[("unusable", "1")],
        ),
        indexed("rows as FL", rows("FL", &300f32.to_le_bytes()), &[("image.numrows", "300")]),
        indexed("rows as FD", rows("FD", &300f64.to_le_bytes()), &[("image.numrows", "300")]),
        indexed("rows as FL with a fraction", rows("FL", &300.5f32.to_le_bytes()), NO_ROWS),
        indexed("rows as UV", rows("UV", &300u64.to_le_bytes()), &[("image.numrows", "300")]),
        indexed("rows as UV, too great", rows("UV", &u64::MAX.to_le_bytes()), NO_ROWS),
        indexed(
            "rows as FL, big endian",
            big(ROWS, "FL", &300f32.to_be_bytes()),
            &[("image.numrows", "300"), ("image.xfersyntax", BIG_ENDIAN)],
        ),
        indexed(
            "an instance number as SL, big endian",
            big(instance, "SL", &(-3i32).to_be_bytes()),
            &[("image.instance", "-3"), ("image.xfersyntax", BIG_ENDIAN)],
        ),
        indexed("a Patient ID with the VR FD", of((0x10, 0x20), "FD", b"T1234567"), &[("patient.origid", "T1234567")]),
    ]
}

fn decimals() -> Vec<Case> {
    let weight = |value| with((0x10, 0x1030), "DS", value);
    let age = |value| with((0x10, 0x1010), "AS", value);
    vec![
        indexed("a decimal", weight("70.5"), &[("patient.weight", "70.5")]),
        indexed("a decimal with exponent", weight("7.05E+1"), &[("patient.weight", "70.5")]),
        indexed("several decimals: the first", weight("70.5\\71.5"), &[("patient.weight", "70.5"), ("partial", "1")]),
        indexed("a decimal that no FLOAT holds", weight("1e300"), &[("unusable", "1")]),
        indexed("a decimal that is infinite", weight("inf"), &[("unusable", "1")]),
        indexed("a decimal that is no number", weight("NaN"), &[("unusable", "1")]),
        indexed("a decimal with a comma", weight("70,5"), &[("patient.weight", "70.5"), ("repaired", "1")]),
        indexed(
            "a decimal with a comma and a sign",
            weight("-0,500"),
            &[("patient.weight", "-0.5"), ("repaired", "1")],
        ),
        indexed("a decimal that may be a thousand", weight("1,500"), &[("unusable", "1")]),
        indexed("a decimal with two commas", weight("1,500,000"), &[("unusable", "1")]),
        indexed("a decimal with a comma and a dot", weight("1.500,5"), &[("unusable", "1")]),
        indexed("a decimal with a unit", weight("70.5 kg"), &[("unusable", "1")]),
        indexed("an age in years", age("061Y"), &[("patient.age", "61")]),
        indexed("an age without a unit", age("61"), &[("patient.age", "61"), ("repaired", "1")]),
        indexed("an age in months", age("006M"), &[("patient.age", "0.5")]),
        indexed("an age of words", age("old"), &[("unusable", "1")]),
    ]
}

fn texts() -> Vec<Case> {
    let description = |value| with((8, 0x1030), "LO", value);
    let name = |value| with((0x10, 0x10), "PN", value);
    const NOBODY_COUNTED: Values = &[("patient.lastname", ""), ("patient.firstname", ""), ("partial", "1")];
    const FIVE: Values = &[
        ("patient.lastname", "Adams"),
        ("patient.firstname", "John Robert"),
        ("patient.middlename", "Quincy"),
        ("patient.prefix", "Rev."),
        ("patient.suffix", "B.A. M.Div."),
    ];
    vec![
        indexed("a text between blanks", description("  knee "), &[("study.description", "knee")]),
        indexed("several texts", description("knee\\left"), &[("study.description", "knee\\left")]),
        indexed(
            "a text with rubbish behind NUL",
            description("knee\0xyz"),
            &[("study.description", "knee"), ("partial", "1")],
        ),
        indexed("a text with NUL first", description("\0knee"), &[("partial", "1")]),
        indexed("a name with NUL first", name("\0Adams^John"), NOBODY_COUNTED),
        indexed("a text with NULs and blanks behind", description("knee \0 \0"), &[("study.description", "knee")]),
        indexed(
            "two names of one patient: the first",
            name("Adams^John\\Baker^Jane"),
            &[("patient.lastname", "Adams"), ("patient.firstname", "John"), ("partial", "1")],
        ),
        indexed(
            "two names of one physician",
            with((8, 0x90), "PN", "Adams^John\\Baker^Jane"),
            &[("study.referringphysician", "Adams^John\\Baker^Jane"), ("partial", "1")],
        ),
        indexed(
            "two operators",
            with((8, 0x1070), "PN", "Adams^John\\Baker^Jane"),
            &[("series.operatorname", "Adams^John\\Baker^Jane")],
        ),
        indexed(
            "two modalities: the first",
            with((8, 0x60), "CS", "MR\\CT"),
            &[("series.modality", "MR"), ("partial", "1")],
        ),
        indexed(
            "a comment with leading blanks",
            with((0x10, 0x4000), "LT", "  knee\r\nleft  "),
            &[("patient.comments", "  knee\r\nleft")],
        ),
        indexed("a modality in lower case", with((8, 0x60), "CS", "mr"), &[("series.modality", "MR")]),
        indexed("a name of five components", name("Adams^John Robert^Quincy^Rev.^B.A. M.Div."), FIVE),
        indexed(
            "a name without components",
            name("Testmann Theo"),
            &[("patient.lastname", "Testmann Theo"), ("patient.firstname", "")],
        ),
        indexed("an empty name", name(""), &[("patient.lastname", ""), ("patient.firstname", "")]),
        indexed("an empty Patient ID", with((0x10, 0x20), "LO", ""), &[("patient.origid", "")]),
        indexed("no Patient ID", Draft::plain().without((0x10, 0x20)).file(), &[("patient.origid", "")]),
    ]
}
