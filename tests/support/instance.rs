//! Builds instances from attributes by keyword; dicom-object writes them.
//!
//! Shared by the fixtures, the tests and the stores of the benchmarks. All patients are invented;
//! all UIDs are below 1.3.6.1.4.1.32473, which RFC 5612 reserves for examples.

// Each crate that includes this module uses a part of it.
#![allow(dead_code)]

use std::io::Write;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::{DataSetSequence, PixelFragmentSequence, PrimitiveValue, Value};
use dicom_core::{DataElement, Length, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use serde_json::{Map, Value as Json};

/// How an instance is stored in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Preamble, file meta group, data set (PS3.10 7.1).
    #[default]
    Part10,
    /// The file meta group and the data set, without the preamble.
    NoPreamble,
    /// Only the data set.
    NoMeta,
}

/// Builds a data set from keywords: `{"PatientName": "Doe^Jane", "Rows": "4"}`. A list is a
/// sequence, `{"hex": "..."}` contains raw bytes.
pub fn data_set(attributes: &Map<String, Json>) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    for (keyword, value) in attributes {
        let entry = StandardDataDictionary.by_name(keyword).unwrap_or_else(|| panic!("no attribute {keyword}"));
        let (tag, vr) = (entry.tag(), entry.vr().relaxed());
        object.put(element(tag, vr, value));
    }
    object
}

fn element(tag: Tag, vr: VR, value: &Json) -> DataElement<InMemDicomObject> {
    match value {
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| data_set(item.as_object().expect("an item"))).collect();
            DataElement::new(tag, VR::SQ, Value::Sequence(DataSetSequence::new(items, Length::UNDEFINED)))
        }
        Json::Object(raw) => {
            DataElement::new(tag, vr, PrimitiveValue::U8(bytes_of(raw["hex"].as_str().expect("hex")).into()))
        }
        Json::String(text) => DataElement::new(tag, vr, primitive(vr, text)),
        other => panic!("{tag} cannot be {other}"),
    }
}

fn primitive(vr: VR, text: &str) -> PrimitiveValue {
    let numbers = || text.split('\\').map(|part| part.parse::<i64>().expect("a number"));
    match vr {
        VR::US => PrimitiveValue::U16(numbers().map(|n| n as u16).collect()),
        VR::UL => PrimitiveValue::U32(numbers().map(|n| n as u32).collect()),
        VR::OB | VR::OW | VR::UN => PrimitiveValue::U8(text.as_bytes().into()),
        _ => PrimitiveValue::Strs(text.split('\\').map(str::to_owned).collect()),
    }
}

pub fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

/// Adds sixteen pixels, or one fragment in their place if the syntax is encapsulated.
pub fn put_pixels(object: &mut InMemDicomObject, transfer_syntax: &str) {
    if is_encapsulated(transfer_syntax) {
        let fragment: Vec<u8> = vec![0xFF, 0xD8, 0xFF, 0xD9];
        let sequence = PixelFragmentSequence::new(vec![], vec![fragment]);
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(sequence)));
    } else {
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U8(vec![0; 16].into())));
    }
}

#[allow(deprecated)]
fn is_encapsulated(transfer_syntax: &str) -> bool {
    ![
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_BIG_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ]
    .contains(&transfer_syntax)
}

/// Returns the bytes of the file.
pub fn file(object: InMemDicomObject, transfer_syntax: &str, source_ae: Option<&str>, format: Format) -> Vec<u8> {
    let mut meta = FileMetaTableBuilder::new().transfer_syntax(transfer_syntax);
    if let Some(title) = source_ae {
        meta = meta.source_application_entity_title(title);
    }
    let object = object.with_meta(meta).expect("a SOP class and instance");
    let mut bytes = Vec::new();
    match format {
        Format::Part10 => object.write_all(&mut bytes).expect("an instance is written"),
        Format::NoPreamble => {
            object.write_meta(&mut bytes).expect("an instance is written");
            object.write_dataset(&mut bytes).expect("an instance is written");
        }
        Format::NoMeta => object.write_dataset(&mut bytes).expect("an instance is written"),
    }
    bytes
}

/// Writes a file whose pixel data is a hole, so that even a large store uses disk space only for
/// its headers.
pub fn write_with_hole(path: &std::path::Path, header: &[u8], pixels: u32) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut bytes = header.to_vec();
    bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
    bytes.extend(pixels.to_le_bytes());
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64 + u64::from(pixels))
}
