//! The indexed attributes: one table from DICOM tag to index column.
//!
//! To index another attribute, add a line to [`ATTRIBUTES`]. Columns that no tag feeds (`path`, `received`, flags)
//! stand in `index::columns`. Column names and their tags follow the PacsOne convention; tags are those of PS3.6.

// Retired attributes stay in archives.
#![allow(deprecated)]

use std::sync::LazyLock;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

/// The information level that an attribute belongs to (PS3.4 C.6), one index table each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    Patient,
    Study,
    Series,
    Instance,
}

/// How a value is written into its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A UID, NUL and blanks trimmed.
    Uid,
    /// The Patient ID: a key, so the empty string when it is missing.
    PatientId,
    /// Text, decoded, insignificant blanks trimmed, several values kept as they stand with `\`.
    Text,
    /// A person name that stays whole, with `^` and `=`.
    PersonName,
    /// Text whose leading blanks count (ST, LT, UT).
    LongText,
    /// A code string that the index expects in upper case.
    UpperCase,
    /// A component of the alphabetic group of a person name, counted from 0 (PS3.5 6.2.1).
    NameComponent(usize),
    /// A whole group of a person name: 1 is ideographic, 2 phonetic.
    NameGroup(usize),
    /// `YYYY-MM-DD`.
    Date,
    /// `HH:MM:SS`.
    Time,
    /// `YYYY-MM-DD HH:MM:SS`.
    DateTime,
    /// An integer written as text (IS).
    Integer,
    /// A binary unsigned short (US).
    Unsigned,
    /// Number of Frames: NULL unless there is more than one, as the PACS keeps it.
    Frames,
    /// The first of decimal strings (DS).
    Decimal,
    /// An age string as a number of years (AS).
    Years,
}

/// An attribute of the data set, or of an item of a top-level sequence, and the column that it feeds.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    pub level: Level,
    pub column: &'static str,
    pub tag: Tag,
    /// The sequence whose last item holds the attribute.
    pub within: Option<Tag>,
    pub form: Form,
}

const fn at(level: Level, column: &'static str, tag: Tag, form: Form) -> Attribute {
    Attribute { level, column, tag, within: None, form }
}

use Form::*;
use Level::*;

/// Every column that a tag feeds.
pub const ATTRIBUTES: &[Attribute] = &[
    at(Patient, "origid", tags::PATIENT_ID, PatientId),
    at(Patient, "lastname", tags::PATIENT_NAME, NameComponent(0)),
    at(Patient, "firstname", tags::PATIENT_NAME, NameComponent(1)),
    at(Patient, "middlename", tags::PATIENT_NAME, NameComponent(2)),
    at(Patient, "prefix", tags::PATIENT_NAME, NameComponent(3)),
    at(Patient, "suffix", tags::PATIENT_NAME, NameComponent(4)),
    at(Patient, "ideographic", tags::PATIENT_NAME, NameGroup(1)),
    at(Patient, "phonetic", tags::PATIENT_NAME, NameGroup(2)),
    at(Patient, "birthdate", tags::PATIENT_BIRTH_DATE, Date),
    at(Patient, "birthtime", tags::PATIENT_BIRTH_TIME, Time),
    at(Patient, "sex", tags::PATIENT_SEX, Text),
    at(Patient, "otherid", tags::OTHER_PATIENT_I_DS, Text),
    at(Patient, "othername", tags::OTHER_PATIENT_NAMES, PersonName),
    at(Patient, "ethnicgroup", tags::ETHNIC_GROUP, Text),
    at(Patient, "institution", tags::INSTITUTION_NAME, Text),
    at(Patient, "address", tags::PATIENT_ADDRESS, Text),
    at(Patient, "comments", tags::PATIENT_COMMENTS, LongText),
    at(Patient, "age", tags::PATIENT_AGE, Years),
    at(Patient, "height", tags::PATIENT_SIZE, Decimal),
    at(Patient, "weight", tags::PATIENT_WEIGHT, Decimal),
    at(Patient, "occupation", tags::OCCUPATION, Text),
    at(Patient, "history", tags::ADDITIONAL_PATIENT_HISTORY, LongText),
    at(Patient, "issuer", tags::ISSUER_OF_PATIENT_ID, Text),
    at(Patient, "speciesdescr", tags::PATIENT_SPECIES_DESCRIPTION, Text),
    at(Patient, "sexneutered", tags::PATIENT_SEX_NEUTERED, Text),
    at(Patient, "breeddescr", tags::PATIENT_BREED_DESCRIPTION, Text),
    at(Patient, "respperson", tags::RESPONSIBLE_PERSON, PersonName),
    at(Patient, "resppersonrole", tags::RESPONSIBLE_PERSON_ROLE, Text),
    at(Patient, "resppersonorg", tags::RESPONSIBLE_ORGANIZATION, Text),
    at(Study, "uuid", tags::STUDY_INSTANCE_UID, Uid),
    at(Study, "id", tags::STUDY_ID, Text),
    at(Study, "patientid", tags::PATIENT_ID, PatientId),
    at(Study, "studydate", tags::STUDY_DATE, Date),
    at(Study, "studytime", tags::STUDY_TIME, Time),
    at(Study, "accessionnum", tags::ACCESSION_NUMBER, Text),
    at(Study, "referringphysician", tags::REFERRING_PHYSICIAN_NAME, PersonName),
    at(Study, "description", tags::STUDY_DESCRIPTION, Text),
    at(Study, "readingphysician", tags::NAME_OF_PHYSICIANS_READING_STUDY, PersonName),
    at(Study, "admittingdiagnoses", tags::ADMITTING_DIAGNOSES_DESCRIPTION, Text),
    at(Study, "interpretationauthor", tags::INTERPRETATION_AUTHOR, PersonName),
    at(Study, "requestingphysician", tags::REQUESTING_PHYSICIAN, PersonName),
    at(Study, "sourceae", tags::SOURCE_APPLICATION_ENTITY_TITLE, Text),
    at(Series, "uuid", tags::SERIES_INSTANCE_UID, Uid),
    at(Series, "studyuid", tags::STUDY_INSTANCE_UID, Uid),
    at(Series, "description", tags::SERIES_DESCRIPTION, Text),
    at(Series, "seriesdate", tags::SERIES_DATE, Date),
    at(Series, "seriestime", tags::SERIES_TIME, Time),
    at(Series, "modality", tags::MODALITY, UpperCase),
    at(Series, "bodypart", tags::BODY_PART_EXAMINED, Text),
    at(Series, "seriesnumber", tags::SERIES_NUMBER, Integer),
    at(Series, "protocolname", tags::PROTOCOL_NAME, Text),
    at(Series, "institution", tags::INSTITUTION_NAME, Text),
    at(Series, "stationname", tags::STATION_NAME, Text),
    at(Series, "department", tags::INSTITUTIONAL_DEPARTMENT_NAME, Text),
    at(Series, "operatorname", tags::OPERATORS_NAME, PersonName),
    at(Instance, "uuid", tags::SOP_INSTANCE_UID, Uid),
    at(Instance, "sopclass", tags::SOP_CLASS_UID, Uid),
    at(Instance, "seriesuid", tags::SERIES_INSTANCE_UID, Uid),
    at(Instance, "xfersyntax", tags::TRANSFER_SYNTAX_UID, Uid),
    at(Instance, "instancedate", tags::INSTANCE_CREATION_DATE, Date),
    at(Instance, "instancetime", tags::INSTANCE_CREATION_TIME, Time),
    at(Instance, "instance", tags::INSTANCE_NUMBER, Integer),
    at(Instance, "samplesperpixel", tags::SAMPLES_PER_PIXEL, Unsigned),
    at(Instance, "numrows", tags::ROWS, Unsigned),
    at(Instance, "numcolumns", tags::COLUMNS, Unsigned),
    at(Instance, "bitsallocated", tags::BITS_ALLOCATED, Unsigned),
    at(Instance, "bitsstored", tags::BITS_STORED, Unsigned),
    at(Instance, "pixelrepresentation", tags::PIXEL_REPRESENTATION, Unsigned),
    at(Instance, "photometric", tags::PHOTOMETRIC_INTERPRETATION, Text),
    at(Instance, "completion", tags::COMPLETION_FLAG, Text),
    at(Instance, "description", tags::COMPLETION_FLAG_DESCRIPTION, Text),
    at(Instance, "verification", tags::VERIFICATION_FLAG, Text),
    at(Instance, "contentdate", tags::CONTENT_DATE, Date),
    at(Instance, "contenttime", tags::CONTENT_TIME, Time),
    at(Instance, "observationdatetime", tags::OBSERVATION_DATE_TIME, DateTime),
    Attribute {
        within: Some(tags::VERIFYING_OBSERVER_SEQUENCE),
        ..at(Instance, "verificationdatetime", tags::VERIFICATION_DATE_TIME, DateTime)
    },
    at(Instance, "doseproduct", tags::IMAGE_AND_FLUOROSCOPY_AREA_DOSE_PRODUCT, Decimal),
    at(Instance, "numframes", tags::NUMBER_OF_FRAMES, Frames),
    at(Instance, "mimetype", tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, Text),
];

/// How much of a value is kept. Columns hold 64 to 128 characters, of at most four bytes and an escape sequence each
/// where sets alternate; what is longer is cut there.
const VALUE_LIMIT: usize = 1024;

/// The longest text of an indexed attribute is an LT of 10,240 characters (PS3.5 6.2).
const LONG_VALUE_LIMIT: usize = 48 * 1024;

/// Where an attribute stands in [`ATTRIBUTES`].
pub const fn position(level: Level, column: &str) -> usize {
    let mut i = 0;
    while i < ATTRIBUTES.len() {
        if ATTRIBUTES[i].level as u8 == level as u8 && same(ATTRIBUTES[i].column, column) {
            return i;
        }
        i += 1;
    }
    panic!("no such column in the table of indexed attributes")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// One wanted place in a data set; attributes that share a tag share its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub within: Option<Tag>,
    pub tag: Tag,
}

/// The wanted places in tag order, which is the order of a data set, so that a scan is a merge.
pub struct Wanted {
    /// Top-level places (no sequence) first, each part in tag order.
    pub places: Vec<Place>,
    /// How many of them are top-level.
    pub top: usize,
    /// The sequences that a scan enters.
    pub sequences: Vec<Tag>,
    /// For each attribute its slot in `places`.
    pub slots: Vec<usize>,
    /// Whether the slot's value is binary.
    pub binary: Vec<bool>,
    /// How much of the slot's value is kept.
    pub limits: Vec<usize>,
    /// A scan may stop after this top-level tag.
    pub last: Tag,
    pub charset: usize,
    pub media_storage_sop_class: usize,
}

pub static WANTED: LazyLock<Wanted> = LazyLock::new(|| {
    let top = |tag| Place { within: None, tag };
    let attribute = |a: &Attribute| Place { within: a.within, tag: a.tag };
    // These two are needed to read a file, not as columns.
    let mut places = vec![top(tags::SPECIFIC_CHARACTER_SET), top(tags::MEDIA_STORAGE_SOP_CLASS_UID)];
    places.extend(ATTRIBUTES.iter().map(attribute));
    places.sort();
    places.dedup();
    let slot = |place: Place| places.binary_search(&place).expect("every place is in the list");
    let slots: Vec<usize> = ATTRIBUTES.iter().map(|a| slot(attribute(a))).collect();
    let mut binary = vec![false; places.len()];
    let mut limits = vec![VALUE_LIMIT; places.len()];
    for (a, slot) in ATTRIBUTES.iter().zip(&slots) {
        binary[*slot] = a.form == Unsigned;
        limits[*slot] = if a.form == LongText { LONG_VALUE_LIMIT } else { VALUE_LIMIT };
    }
    let mut sequences: Vec<Tag> = ATTRIBUTES.iter().filter_map(|a| a.within).collect();
    sequences.dedup();
    let count = places.iter().filter(|p| p.within.is_none()).count();
    Wanted {
        charset: slot(top(tags::SPECIFIC_CHARACTER_SET)),
        media_storage_sop_class: slot(top(tags::MEDIA_STORAGE_SOP_CLASS_UID)),
        last: places[count - 1].tag.max(sequences.iter().copied().max().unwrap_or(Tag(0, 0))),
        top: count,
        sequences,
        slots,
        binary,
        limits,
        places,
    }
});
