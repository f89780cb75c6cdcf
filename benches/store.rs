//! A store of any size, as scanners and PacsOne would create it: one directory per day, series of
//! several modalities, headers of 120 to 200 elements with private groups before and after group
//! 0028, and pixel data as a sparse hole.

// Each crate that includes this module uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;

use clap::Parser;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use jiff::civil::{Date, date};
use serde_json::json;

use crate::instance;

#[derive(Parser)]
pub struct Store {
    pub directory: PathBuf,
    #[arg(long)]
    pub files: u64,
    #[arg(long, default_value_t = 100)]
    pub per_series: u64,
    #[arg(long, default_value_t = 2000)]
    pub per_day: u64,
    /// UIDs of the form 2.25.*, in no order, instead of those of scanners
    #[arg(long)]
    pub random_uids: bool,
    /// Files of a study that disagree, each series on its own set of attributes
    #[arg(long)]
    pub disagreeing: bool,
}

/// Attributes on which the files of a study disagree.
const DISAGREEING: [(Tag, VR); 12] = [
    (tags::STUDY_DESCRIPTION, VR::LO),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::STUDY_ID, VR::SH),
    (tags::NAME_OF_PHYSICIANS_READING_STUDY, VR::PN),
    (tags::SERIES_DESCRIPTION, VR::LO),
    (tags::PROTOCOL_NAME, VR::LO),
    (tags::BODY_PART_EXAMINED, VR::CS),
    (tags::STATION_NAME, VR::SH),
    (tags::INSTITUTION_NAME, VR::LO),
    (tags::OPERATORS_NAME, VR::PN),
    (tags::INSTITUTIONAL_DEPARTMENT_NAME, VR::LO),
];

const ROOT: &str = "1.3.6.1.4.1.32473.5";

/// Modality, SOP class, rows and columns, private elements before and after group 0028.
const KINDS: [(&str, &str, u16, u16, usize, usize); 5] = [
    ("CT", uids::CT_IMAGE_STORAGE, 512, 512, 40, 30),
    ("MR", uids::MR_IMAGE_STORAGE, 256, 256, 60, 60),
    ("CR", uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, 2048, 1760, 30, 20),
    ("US", uids::ULTRASOUND_IMAGE_STORAGE, 480, 640, 25, 25),
    ("MG", uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, 3328, 2560, 45, 30),
];

impl Store {
    pub fn of(directory: PathBuf, files: u64) -> Self {
        Store { directory, files, per_series: 100, per_day: 2000, random_uids: false, disagreeing: false }
    }

    /// Writes the files. Returns the number of series.
    pub fn make(&self) -> std::io::Result<u64> {
        let mut made = 0;
        let mut series = 0;
        while made < self.files {
            let count = self.per_series.min(self.files - made);
            make_series(self, series, made, count)?;
            (made, series) = (made + count, series + 1);
        }
        Ok(series)
    }
}

fn make_series(store: &Store, series: u64, first: u64, count: u64) -> std::io::Result<()> {
    let (modality, sop_class, rows, columns, before, after) = KINDS[(series % KINDS.len() as u64) as usize];
    let (study, patient) = (series / 3, series / 7);
    let day = date(2015, 1, 1).checked_add(jiff::Span::new().days((first / store.per_day) as i64)).unwrap_or(Date::MAX);
    let directory = store.directory.join(day.strftime("%Y-%m-%d-%a").to_string().to_uppercase());
    std::fs::create_dir_all(&directory)?;
    let da = day.strftime("%Y%m%d").to_string();
    let attributes = json!({
        "SpecificCharacterSet": "ISO_IR 100", "ImageType": "ORIGINAL\\PRIMARY\\AXIAL", "SOPClassUID": sop_class,
        "InstanceCreationDate": da, "InstanceCreationTime": "081500", "StudyDate": da, "SeriesDate": da,
        "AcquisitionDate": da, "ContentDate": da, "StudyTime": "080000.123", "SeriesTime": "080500",
        "AcquisitionTime": "080510.5", "ContentTime": "080511", "AccessionNumber": format!("A{study:08}"),
        "Modality": modality, "Manufacturer": "Example Imaging", "InstitutionName": "Example Hospital",
        "ReferringPhysicianName": "Weber^Ute", "StationName": format!("{modality}01"),
        "StudyDescription": "Follow-up, chest and abdomen", "SeriesDescription": format!("series {series}"),
        "InstitutionalDepartmentName": "Radiology", "OperatorsName": "Keller^Max",
        "NameOfPhysiciansReadingStudy": "Stein^Eva", "ManufacturerModelName": "Model 7",
        "PatientName": format!("Patient{patient}^Given{}", patient % 97), "PatientID": format!("P{patient:07}"),
        "PatientBirthDate": "19610314", "PatientSex": if patient % 2 == 0 { "F" } else { "M" },
        "PatientAge": "060Y", "PatientSize": "1.72", "PatientWeight": "70.5", "BodyPartExamined": "CHEST",
        "SliceThickness": "1.25", "KVP": "120", "ProtocolName": "standard", "SoftwareVersions": "7.1",
        "PatientPosition": "HFS", "StudyInstanceUID": uid(store, &format!("{ROOT}.{study}")),
        "SeriesInstanceUID": uid(store, &format!("{ROOT}.{study}.{series}")), "StudyID": study.to_string(),
        "SeriesNumber": (series % 3 + 1).to_string(), "SamplesPerPixel": "1", "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows.to_string(), "Columns": columns.to_string(), "PixelSpacing": "0.7\\0.7", "BitsAllocated": "16",
        "BitsStored": "12", "HighBit": "11", "PixelRepresentation": "0", "WindowCenter": "40", "WindowWidth": "400",
        "RescaleIntercept": "-1024", "RescaleSlope": "1", "RequestingPhysician": "Brandt^Ina",
        "PerformedProcedureStepStartDate": da, "PerformedProcedureStepDescription": "examination",
        "RequestAttributesSequence": [{"ScheduledProcedureStepDescription": "examination", "RequestedProcedureID": "R1"}],
    });
    let mut object = instance::data_set(attributes.as_object().expect("an object"));
    private_elements(&mut object, 0x0009, before);
    private_elements(&mut object, 0x0029, after);
    let pixels = u32::from(rows) * u32::from(columns) * 2;
    for n in 0..count {
        let sop_instance_uid = uid(store, &format!("{ROOT}.{study}.{series}.{n}"));
        let text = |tag, vr, text: String| DataElement::new(tag, vr, PrimitiveValue::from(text));
        object.put(text(tags::SOP_INSTANCE_UID, VR::UI, sop_instance_uid.clone()));
        object.put(text(tags::INSTANCE_NUMBER, VR::IS, (n + 1).to_string()));
        object.put(text(tags::IMAGE_POSITION_PATIENT, VR::DS, format!("-170\\-170\\{n}")));
        object.put(text(tags::SLICE_LOCATION, VR::DS, n.to_string()));
        if store.disagreeing {
            disagree(&mut object, series, n);
        }
        let header =
            instance::file(object.clone(), uids::EXPLICIT_VR_LITTLE_ENDIAN, Some("SCANNER"), Default::default());
        instance::write_with_hole(&directory.join(&sop_instance_uid), &header, pixels)?;
    }
    Ok(())
}

/// Alters the attributes on which the files of a series disagree. Each series has its own set of
/// them.
fn disagree(object: &mut dicom_object::InMemDicomObject, series: u64, n: u64) {
    let chosen = series.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    for (bit, (tag, vr)) in DISAGREEING.into_iter().enumerate() {
        if chosen >> bit & 1 == 1 {
            object.put(DataElement::new(tag, vr, PrimitiveValue::from(format!("TEXT {}", n % 7))));
        }
    }
}

fn private_elements(object: &mut dicom_object::InMemDicomObject, group: u16, count: usize) {
    object.put(DataElement::new(Tag(group, 0x0010), VR::LO, PrimitiveValue::from("EXAMPLE PRIVATE")));
    for n in 0..count {
        let value = format!("private value {n} of group {group:04x}");
        object.put(DataElement::new(Tag(group, 0x1000 + n as u16), VR::LO, PrimitiveValue::from(value)));
    }
}

/// Returns the same UID for the same name in every run.
fn uid(store: &Store, name: &str) -> String {
    if !store.random_uids {
        return name.to_owned();
    }
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (name, salt).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    format!("2.25.{}", half(0) << 64 | half(1))
}
