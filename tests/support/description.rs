//! Builds the files of an archive from a JSON description: the patients, studies and series with
//! their special attributes, and the other files in the archive.

use std::collections::BTreeMap;

use dicom_dictionary_std::uids;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::instance::{self, Format};

type Attributes = Map<String, Json>;

#[derive(Deserialize)]
struct Description {
    patients: Vec<Patient>,
    others: Vec<Other>,
    damaged: Vec<Damaged>,
    dicomdir: String,
}

#[derive(Deserialize)]
struct Patient {
    attributes: Attributes,
    studies: Vec<Study>,
}

#[derive(Deserialize)]
struct Study {
    directory: String,
    uid: String,
    attributes: Attributes,
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    modality: String,
    sop_class: String,
    count: usize,
    attributes: Attributes,
    transfer_syntax: Option<String>,
    format: Option<String>,
    source_ae: Option<String>,
    pixels: Option<bool>,
}

#[derive(Deserialize)]
struct Other {
    path: String,
    hex: Option<String>,
    text: Option<String>,
    zeros: Option<usize>,
}

#[derive(Deserialize)]
struct Damaged {
    copy_of: String,
    path: String,
    keep: usize,
}

/// Returns all files of the archive, by path.
pub fn files(description: &str) -> BTreeMap<String, Vec<u8>> {
    let description: Description = serde_json::from_str(description).expect("a description");
    let mut files = BTreeMap::new();
    for patient in &description.patients {
        for study in &patient.studies {
            for (n, series) in study.series.iter().enumerate() {
                for instance in 1..=series.count {
                    let (uid, bytes) = write(patient, study, n + 1, series, instance);
                    files.insert(format!("{}/{uid}", study.directory.replace("{study}", &study.uid)), bytes);
                }
            }
        }
    }
    for damaged in &description.damaged {
        let name = format!("/{}", damaged.copy_of);
        let original = files.iter().find(|(path, _)| path.ends_with(&name)).expect("an instance").1;
        let bytes = original[..damaged.keep.min(original.len())].to_vec();
        files.insert(damaged.path.clone(), bytes);
    }
    for other in description.others {
        let bytes = match (other.hex, other.text, other.zeros) {
            (Some(hex), ..) => instance::bytes_of(&hex),
            (_, Some(text), _) => text.into_bytes(),
            (.., zeros) => vec![0; zeros.expect("hex, text or zeros")],
        };
        files.insert(other.path, bytes);
    }
    files.insert(description.dicomdir, dicomdir());
    files
}

fn write(patient: &Patient, study: &Study, number: usize, series: &Series, instance: usize) -> (String, Vec<u8>) {
    let series_uid = format!("{}.{number}", study.uid);
    let uid = format!("{series_uid}.{instance}");
    let mut all = json!({
        "SOPClassUID": series.sop_class, "SOPInstanceUID": uid, "StudyInstanceUID": study.uid,
        "SeriesInstanceUID": series_uid, "Modality": series.modality, "InstanceNumber": instance.to_string(),
    });
    let all = all.as_object_mut().expect("an object");
    let pixels = series.pixels.unwrap_or(true);
    if pixels {
        let image = json!({
            "SamplesPerPixel": "1", "PhotometricInterpretation": "MONOCHROME2", "Rows": "4", "Columns": "2",
            "BitsAllocated": "16", "BitsStored": "12", "HighBit": "11", "PixelRepresentation": "0",
        });
        all.extend(image.as_object().expect("an object").clone());
    }
    for more in [&patient.attributes, &study.attributes, &series.attributes] {
        all.extend(more.clone());
    }
    let mut object = instance::data_set(all);
    let syntax = series.transfer_syntax.as_deref().unwrap_or(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    // dicom-object cannot write an unknown transfer syntax: the file is written in a known one of
    // the same encoding, and the syntax is renamed afterwards.
    let known = if syntax == PRIVATE_SYNTAX { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { syntax };
    if pixels {
        instance::put_pixels(&mut object, known);
    }
    let format = match series.format.as_deref() {
        Some("no-meta") => Format::NoMeta,
        Some("no-preamble") => Format::NoPreamble,
        _ => Format::Part10,
    };
    let mut bytes = instance::file(object, known, series.source_ae.as_deref(), format);
    if syntax == PRIVATE_SYNTAX {
        rename_syntax(&mut bytes, known, syntax);
    }
    (uid, bytes)
}

/// A private transfer syntax of a vendor. Its encoding is explicit VR little endian, as in most
/// private syntaxes.
const PRIVATE_SYNTAX: &str = "1.2.840.113619.5.2";

fn rename_syntax(bytes: &mut [u8], from: &str, to: &str) {
    let mut padded = from.as_bytes().to_vec();
    padded.resize(from.len() + from.len() % 2, 0);
    let at = bytes.windows(padded.len()).position(|window| window == padded).expect("the syntax");
    assert!(to.len() <= padded.len(), "{to} must fit in the place of {from}");
    bytes[at..at + padded.len()].fill(0);
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// Returns a DICOMDIR without records.
fn dicomdir() -> Vec<u8> {
    let attributes = json!({
        "SOPClassUID": uids::MEDIA_STORAGE_DIRECTORY_STORAGE, "SOPInstanceUID": "1.3.6.1.4.1.32473.1.9",
        "FileSetID": "EXAMPLE",
    });
    let object = instance::data_set(attributes.as_object().expect("an object"));
    instance::file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN, None, Format::Part10)
}
