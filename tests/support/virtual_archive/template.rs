//! Generates the header of any file within microseconds: one header per modality is encoded once,
//! and the fields that differ between files are overwritten, since all of them have a fixed length.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::uids;
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value as Json, json};

use super::super::instance;
use super::tree::{Level, Shape, Tree};

/// Modality, SOP class, rows and columns, private elements before and after group 0028.
const KINDS: [(&str, &str, u16, u16, u16, u16); 5] = [
    ("CT", uids::CT_IMAGE_STORAGE, 512, 512, 40, 30),
    ("MR", uids::MR_IMAGE_STORAGE, 256, 256, 60, 60),
    ("CR", uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, 2048, 1760, 30, 20),
    ("US", uids::ULTRASOUND_IMAGE_STORAGE, 480, 640, 25, 25),
    ("MG", uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, 3328, 2560, 45, 30),
];

/// A field that differs between files.
#[derive(Clone, Copy, Debug)]
enum Field {
    StudyDate,
    StudyUid,
    SeriesUid,
    InstanceUid,
    PatientId,
    PatientName,
    AccessionNumber,
    StudyId,
    SeriesNumber,
    InstanceNumber,
}

const FIELDS: [Field; 10] = [
    Field::StudyDate,
    Field::StudyUid,
    Field::SeriesUid,
    Field::InstanceUid,
    Field::PatientId,
    Field::PatientName,
    Field::AccessionNumber,
    Field::StudyId,
    Field::SeriesNumber,
    Field::InstanceNumber,
];

impl Field {
    /// Spaces after text or before a number are not part of the value (PS3.5 6.2).
    fn text(self, tree: &Tree, file: u64) -> String {
        match self {
            Field::StudyDate => tree.study_date(file).strftime("%Y%m%d").to_string(),
            Field::StudyUid => tree.uid(Level::Study, file),
            Field::SeriesUid => tree.uid(Level::Series, file),
            Field::InstanceUid => tree.uid(Level::Instance, file),
            Field::PatientId => format!("P{:010}", tree.patient_id(file)),
            Field::PatientName => format!("Patient{:010}^Given", tree.patient(file)),
            Field::AccessionNumber => format!("A{:010}", tree.study(file)),
            Field::StudyId => format!("{:<10}", tree.study(file)),
            Field::SeriesNumber => format!("{:>10}", tree.place(file).0),
            Field::InstanceNumber => format!("{:>10}", tree.place(file).1),
        }
    }

    /// A placeholder as long as any text of the field, which occurs nowhere else in a header.
    fn stand_in(self, tree: &Tree) -> String {
        let mark = char::from(0x10 + self as u8);
        self.text(tree, 0).chars().map(|_| mark).collect()
    }
}

struct Template {
    bytes: Vec<u8>,
    places: Vec<(usize, Field)>,
    pixels: u64,
}

pub struct Templates {
    tree: Tree,
    of_kind: Vec<Template>,
}

impl Templates {
    pub fn new(tree: Tree) -> Self {
        Templates { tree, of_kind: KINDS.map(|kind| Template::new(&tree, kind)).into() }
    }

    pub fn size(&self, file: u64) -> u64 {
        let template = self.of(file);
        template.bytes.len() as u64 + template.pixels
    }

    /// Returns a range of the bytes of a file. Its pixels are zeros.
    pub fn read(&self, file: u64, offset: u64, length: usize) -> Vec<u8> {
        let rest = self.size(file).saturating_sub(offset);
        let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if self.tree.shape == Shape::Rejected {
            return vec![b'x'; length];
        }
        let header = usize::try_from(offset).ok().filter(|at| *at < self.of(file).bytes.len());
        let mut bytes = header.map_or(Vec::new(), |at| self.header(file).split_off(at));
        bytes.resize(length, 0);
        bytes
    }

    fn header(&self, file: u64) -> Vec<u8> {
        let file = self.tree.content(file);
        let template = self.of(file);
        let mut bytes = template.bytes.clone();
        let texts = FIELDS.map(|field| field.text(&self.tree, file));
        for (at, field) in &template.places {
            let text = &texts[*field as usize];
            bytes[*at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        bytes
    }

    fn of(&self, file: u64) -> &Template {
        &self.of_kind[(self.tree.series(self.tree.content(file)) % KINDS.len() as u64) as usize]
    }
}

impl Template {
    fn new(tree: &Tree, kind: (&str, &str, u16, u16, u16, u16)) -> Self {
        let (.., rows, columns, before, after) = kind;
        let mut object = instance::data_set(&attributes(tree, kind));
        private_elements(&mut object, 0x0009, before);
        private_elements(&mut object, 0x0029, after);
        let mut bytes = instance::file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN, Some("SCANNER"), Default::default());
        let pixels = u32::from(rows) * u32::from(columns) * 2;
        bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
        bytes.extend(pixels.to_le_bytes());
        let mut places = Vec::new();
        for field in FIELDS {
            let stand_in = field.stand_in(tree).into_bytes();
            let found = bytes.windows(stand_in.len()).enumerate().filter(|(_, window)| *window == stand_in);
            let before = places.len();
            places.extend(found.map(|(at, _)| (at, field)));
            assert!(places.len() > before, "{field:?} stands in the header");
        }
        Template { bytes, places, pixels: u64::from(pixels) }
    }
}

fn attributes(tree: &Tree, kind: (&str, &str, u16, u16, u16, u16)) -> Map<String, Json> {
    let (modality, sop_class, rows, columns, ..) = kind;
    let day = Field::StudyDate.stand_in(tree);
    let mut attributes = Map::new();
    let mut put = |values: Json| attributes.extend(values.as_object().expect("an object").clone());
    put(json!({
        "PatientID": Field::PatientId.stand_in(tree), "PatientName": Field::PatientName.stand_in(tree),
        "PatientBirthDate": "19610314", "PatientSex": "F", "PatientAge": "060Y", "PatientWeight": "70.5",
        "SpecificCharacterSet": "ISO_IR 100", "InstitutionName": "Example Hospital", "Manufacturer": "Example Imaging",
        "InstitutionalDepartmentName": "Radiology", "ManufacturerModelName": "Model 7", "SoftwareVersions": "7.1",
    }));
    put(json!({
        "StudyInstanceUID": Field::StudyUid.stand_in(tree), "StudyID": Field::StudyId.stand_in(tree),
        "AccessionNumber": Field::AccessionNumber.stand_in(tree), "StudyDate": day, "StudyTime": "080000.123",
        "StudyDescription": "Follow-up, chest and abdomen", "ReferringPhysicianName": "Weber^Ute",
        "RequestingPhysician": "Brandt^Ina", "NameOfPhysiciansReadingStudy": "Stein^Eva",
        "PerformedProcedureStepStartDate": day, "PerformedProcedureStepDescription": "examination",
        "RequestAttributesSequence": [{"ScheduledProcedureStepDescription": "examination", "RequestedProcedureID": "R1"}],
    }));
    put(json!({
        "SeriesInstanceUID": Field::SeriesUid.stand_in(tree), "SeriesNumber": Field::SeriesNumber.stand_in(tree),
        "Modality": modality, "SeriesDate": day, "SeriesTime": "080500", "SeriesDescription": "axial",
        "StationName": format!("{modality}01"), "OperatorsName": "Keller^Max", "BodyPartExamined": "CHEST",
        "ProtocolName": "standard", "PatientPosition": "HFS", "SliceThickness": "1.25", "KVP": "120",
    }));
    put(json!({
        "SOPClassUID": sop_class, "SOPInstanceUID": Field::InstanceUid.stand_in(tree),
        "InstanceNumber": Field::InstanceNumber.stand_in(tree), "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
        "InstanceCreationDate": day, "InstanceCreationTime": "081500", "AcquisitionDate": day, "ContentDate": day,
        "AcquisitionTime": "080510.5", "ContentTime": "080511", "ImagePositionPatient": "-170\\-170\\25",
        "SamplesPerPixel": "1", "PhotometricInterpretation": "MONOCHROME2", "Rows": rows.to_string(),
        "Columns": columns.to_string(), "PixelSpacing": "0.7\\0.7", "BitsAllocated": "16", "BitsStored": "12",
        "HighBit": "11", "PixelRepresentation": "0", "WindowCenter": "40", "WindowWidth": "400",
        "RescaleIntercept": "-1024", "RescaleSlope": "1",
    }));
    attributes
}

fn private_elements(object: &mut InMemDicomObject, group: u16, count: u16) {
    object.put(DataElement::new(Tag(group, 0x0010), VR::LO, PrimitiveValue::from("EXAMPLE PRIVATE")));
    for n in 0..count {
        let value = format!("private value {n} of group {group:04x}");
        object.put(DataElement::new(Tag(group, 0x1000 + n), VR::LO, PrimitiveValue::from(value)));
    }
}
