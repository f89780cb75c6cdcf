//! The encoding of the data set, and the declared transfer syntax.

use std::io::Write;

use dicom_dictionary_std::uids;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{Case, Values, cut_short, indexed, rejected};
use crate::support::draft::{Draft, PATIENT_NAME, ROWS, deflated, part10};
use crate::support::writer::BIG_ENDIAN;

const IMPLICIT: Values = &[("image.xfersyntax", "1.2.840.10008.1.2")];
const BIG: Values = &[("image.xfersyntax", "1.2.840.10008.1.2.2")];
const DEFLATED: &str = uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
const OF_DEFLATED: Values = &[("image.xfersyntax", "1.2.840.10008.1.2.1.99")];
const PRIVATE: Values = &[("image.xfersyntax", "1.2.840.113619.5.2")];

pub fn cases() -> Vec<Case> {
    [declared(), binary_values(), contradicted(), deflate()].into_iter().flatten().collect()
}

fn declared() -> Vec<Case> {
    let of = |syntax| Draft::of(syntax).file();
    vec![
        indexed("implicit VR little endian", of(uids::IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT),
        indexed("explicit VR little endian", of(uids::EXPLICIT_VR_LITTLE_ENDIAN), &[]),
        indexed("explicit VR big endian", of(BIG_ENDIAN), BIG),
        indexed("deflated", of(DEFLATED), OF_DEFLATED),
        indexed("a private transfer syntax", Draft::plain().declaring("1.2.840.113619.5.2").file(), PRIVATE),
        indexed("an empty transfer syntax", Draft::plain().declaring("").file(), &[]),
        indexed(
            "an empty transfer syntax, implicit",
            Draft::of(uids::IMPLICIT_VR_LITTLE_ENDIAN).declaring("").file(),
            IMPLICIT,
        ),
    ]
}

/// Numbers whose bytes have another meaning in the other byte order.
fn binary_values() -> Vec<Case> {
    const NUMBERS: Values = &[
        ("image.samplesperpixel", "3"),
        ("image.numrows", "600"),
        ("image.numcolumns", "800"),
        ("image.bitsallocated", "16"),
        ("image.bitsstored", "10"),
        ("image.pixelrepresentation", "1"),
    ];
    const BIG_NUMBERS: Values = &[
        ("image.xfersyntax", "1.2.840.10008.1.2.2"),
        ("image.samplesperpixel", "3"),
        ("image.numrows", "600"),
        ("image.numcolumns", "800"),
        ("image.bitsallocated", "16"),
        ("image.bitsstored", "10"),
        ("image.pixelrepresentation", "1"),
    ];
    let numbers = |syntax| {
        let draft = Draft::of(syntax).short((0x28, 2), 3).short(ROWS, 600).short((0x28, 0x11), 800);
        draft.short((0x28, 0x100), 16).short((0x28, 0x101), 10).short((0x28, 0x103), 1).file()
    };
    vec![
        indexed("binary numbers, little endian", numbers(uids::EXPLICIT_VR_LITTLE_ENDIAN), NUMBERS),
        indexed("binary numbers, big endian", numbers(BIG_ENDIAN), BIG_NUMBERS),
    ]
}

/// The declared syntax is stored; the bytes are decoded in their actual encoding.
fn contradicted() -> Vec<Case> {
    let file = |is, declares: &str| Draft::of(is).declaring(declares).file();
    let (explicit, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let empty_charset = Draft::plain().text((8, 5), "CS", "").declaring(implicit).file();
    vec![
        indexed("declares explicit, is implicit", file(implicit, explicit), &[]),
        indexed("declares implicit, is explicit", file(explicit, implicit), IMPLICIT),
        indexed("declares implicit, is explicit and begins with an empty element", empty_charset, IMPLICIT),
        indexed("declares big endian, is little", file(explicit, BIG_ENDIAN), BIG),
        indexed("declares little endian, is big", file(BIG_ENDIAN, explicit), &[]),
        indexed("declares implicit, is big endian", file(BIG_ENDIAN, implicit), IMPLICIT),
        indexed("declares big endian, is implicit", file(implicit, BIG_ENDIAN), BIG),
    ]
}

/// A file whose data set is deflated with the header and the checksum of zlib.
fn zlib(draft: &Draft, compression: Compression) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), compression);
    encoder.write_all(&draft.data_set()).unwrap();
    part10(&draft.meta(Some), &encoder.finish().unwrap())
}

fn deflate() -> Vec<Case> {
    let declaring = Draft::plain().declaring(DEFLATED);
    // Stored blocks, so that the damage affects the intended bytes.
    let stored = |draft: &Draft| part10(&draft.meta(Some), &deflated(&draft.data_set(), Compression::none()));
    let whole = stored(&declaring);
    let start = whole.len() - deflated(&declaring.data_set(), Compression::none()).len();
    let mut no_block = whole.clone();
    no_block[start] = 0xFF;
    let position =
        |draft: &Draft, tag| start + 5 + draft.cut_in(tag, 0).len() - (draft.file().len() - draft.data_set().len());
    let cut_in_rows = whole[..position(&declaring, ROWS) + 4].to_vec();
    let cut_in_name = whole[..position(&declaring, PATIENT_NAME) + 4].to_vec();
    // The damaged bytes are returned by the same read as the header.
    let mut damaged_behind = deflated(&declaring.data_set(), Compression::none());
    damaged_behind[0] = 0;
    damaged_behind.push(0xFF);
    let damaged_behind = part10(&declaring.meta(Some), &damaged_behind);
    const WITHOUT_ROWS: Values = &[
        ("image.xfersyntax", "1.2.840.10008.1.2.1.99"),
        ("image.numrows", "-"),
        ("image.numcolumns", "-"),
        ("image.bitsstored", "-"),
    ];
    let headed = |header: &[u8], trailer: &[u8]| {
        let deflated = deflated(&declaring.data_set(), Compression::default());
        part10(&declaring.meta(Some), &[header, &deflated, trailer].concat())
    };
    let mut all_fields = b"\x1F\x8B\x08\x1E\0\0\0\0\0\x03\x05\0extra".to_vec();
    all_fields.extend(b"name\0comment\0\x12\x34");
    vec![
        indexed("deflated with a header of zlib", zlib(&declaring, Compression::default()), OF_DEFLATED),
        indexed("deflated with a header of zlib, best", zlib(&declaring, Compression::best()), OF_DEFLATED),
        indexed("deflated with a header of zlib, fast", zlib(&declaring, Compression::fast()), OF_DEFLATED),
        indexed("deflated with a header of zlib, stored", zlib(&declaring, Compression::none()), OF_DEFLATED),
        indexed("deflated with a header of zlib, a small window", headed(&[0x58, 0x85], &[]), OF_DEFLATED),
        indexed("deflated with a header of gzip", headed(b"\x1F\x8B\x08\0\0\0\0\0\0\x03", &[0; 8]), OF_DEFLATED),
        indexed("deflated with a header of gzip, every field", headed(&all_fields, &[0; 8]), OF_DEFLATED),
        rejected("deflated with a header of zlib alone", part10(&declaring.meta(Some), &[0x78, 0x9C]), "missing-uid"),
        indexed("deflated into stored blocks", whole, OF_DEFLATED),
        rejected("a deflate stream without a block", no_block, "deflate"),
        rejected("a deflate stream that ends before the UIDs", cut_in_name, "cut"),
        cut_short("a deflate stream that ends behind the UIDs", cut_in_rows, WITHOUT_ROWS),
        indexed("a deflate stream that is damaged behind the header", damaged_behind, OF_DEFLATED),
        indexed("declares deflated, is not", declaring.file(), OF_DEFLATED),
    ]
}
