//! The indexed attributes: one table from DICOM tag to index column.
//!
//! To index another attribute, add a line to [`ATTRIBUTES`]. `index::columns` contains the columns
//! that are not filled from a tag (`path`, `received`, flags). Column names and their tags follow
//! the PacsOne convention; tags are those of PS3.6. `wanted` converts the table to the form that a
//! scan uses.

// Archives still contain retired attributes.
#![allow(deprecated)]

use std::sync::LazyLock;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

/// An information level (PS3.4 C.6). Each level has one core table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    Patient,
    Study,
    Series,
    Instance,
}

impl Level {
    /// Returns the core table of the level.
    pub const fn table(self) -> Table {
        Table::CORE[self as usize]
    }
}

/// A table of the index that is filled from files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    Patient,
    Study,
    Series,
    Image,
    /// The title of a structured report or key object selection.
    ConceptName,
    /// The species code of an animal.
    SpeciesCode,
    /// The breed code of an animal.
    BreedCode,
    /// The first registration of an animal.
    BreedRegistration,
}

impl Table {
    /// The tables of the levels. Every instance has a row in each.
    pub const CORE: [Table; 4] = [Table::Patient, Table::Study, Table::Series, Table::Image];

    /// The tables with at most one row for a row of a core table, and only if a file has a value
    /// for it.
    pub const COMPANIONS: [Table; 4] =
        [Table::ConceptName, Table::SpeciesCode, Table::BreedCode, Table::BreedRegistration];

    /// The number of tables.
    pub const COUNT: usize = Table::CORE.len() + Table::COMPANIONS.len();

    /// Returns whether every instance has a row in the table.
    pub const fn is_core(self) -> bool {
        matches!(self, Table::Patient | Table::Study | Table::Series | Table::Image)
    }

    /// Returns the level to whose rows the rows of the table belong, and whose key the table
    /// shares.
    pub const fn level(self) -> Level {
        match self {
            Table::Patient | Table::SpeciesCode | Table::BreedCode | Table::BreedRegistration => Level::Patient,
            Table::Study => Level::Study,
            Table::Series => Level::Series,
            Table::Image | Table::ConceptName => Level::Instance,
        }
    }

    /// Returns the name of the table in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Patient => "patient",
            Table::Study => "study",
            Table::Series => "series",
            Table::Image => "image",
            Table::ConceptName => "conceptname",
            Table::SpeciesCode => "patientspeciescode",
            Table::BreedCode => "patientbreedcode",
            Table::BreedRegistration => "breedregistration",
        }
    }

    /// Returns the primary key column.
    pub const fn key(self) -> &'static str {
        match self {
            Table::Patient => "origid",
            Table::Study | Table::Series | Table::Image | Table::ConceptName => "uuid",
            Table::SpeciesCode | Table::BreedCode | Table::BreedRegistration => "patientid",
        }
    }
}

impl From<Level> for Table {
    fn from(level: Level) -> Self {
        level.table()
    }
}

/// The format in which a value is stored in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A UID without NUL and blanks.
    Uid,
    /// The Patient ID. It is a key, so a missing one is stored as the empty string.
    PatientId,
    /// Decoded text without insignificant blanks. Several values are kept, separated by `\`.
    Text,
    /// A complete person name, with `^` and `=`.
    PersonName,
    /// Complete person names of an attribute that may have several, separated by `\`.
    PersonNames,
    /// Text whose leading blanks are significant (ST, LT, UT).
    LongText,
    /// A code string that the index expects in upper case.
    UpperCase,
    /// A component of the alphabetic group of a person name, counted from 0 (PS3.5 6.2.1).
    NameComponent(usize),
    /// A complete group of a person name: 1 is ideographic, 2 phonetic.
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
    /// The Number of Frames, at least 1. A PACS answers requests for a frame only if the column is
    /// set.
    Frames,
    /// The first of several decimal strings (DS).
    Decimal,
    /// An age string (AS), as a number of years.
    Years,
}

/// The item of a sequence whose values are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    First,
    Last,
}

/// The path to an attribute inside sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The sequences, outermost first. Each is inside an item of the one before it.
    pub sequences: &'static [Tag],
    /// The item that is used of each sequence.
    pub item: Item,
}

const CONCEPT_NAME: Path = first_item(&[tags::CONCEPT_NAME_CODE_SEQUENCE]);
const SPECIES: Path = first_item(&[tags::PATIENT_SPECIES_CODE_SEQUENCE]);
const BREED: Path = first_item(&[tags::PATIENT_BREED_CODE_SEQUENCE]);
const REGISTRATION: Path = first_item(&[tags::BREED_REGISTRATION_SEQUENCE]);
const REGISTRY: Path = first_item(&[tags::BREED_REGISTRATION_SEQUENCE, tags::BREED_REGISTRY_CODE_SEQUENCE]);
/// The last observer to verify a report determines the date of its verification.
const VERIFYING_OBSERVER: Path = Path { sequences: &[tags::VERIFYING_OBSERVER_SEQUENCE], item: Item::Last };

const fn first_item(sequences: &'static [Tag]) -> Path {
    Path { sequences, item: Item::First }
}

/// An attribute of the data set or of an item, and the column that it fills.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    pub table: Table,
    pub column: &'static str,
    pub tag: Tag,
    /// `None` for an attribute of the data set itself.
    pub within: Option<Path>,
    pub form: Form,
}

impl Attribute {
    pub const fn level(&self) -> Level {
        self.table.level()
    }

    const fn within(self, path: Path) -> Attribute {
        Attribute { within: Some(path), ..self }
    }
}

const fn at(table: Table, column: &'static str, tag: Tag, form: Form) -> Attribute {
    Attribute { table, column, tag, within: None, form }
}

use Form::*;
use Table::*;

/// All columns that are filled from a tag.
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
    at(Patient, "othername", tags::OTHER_PATIENT_NAMES, PersonNames),
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
    at(Study, "readingphysician", tags::NAME_OF_PHYSICIANS_READING_STUDY, PersonNames),
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
    at(Series, "operatorname", tags::OPERATORS_NAME, PersonNames),
    at(Image, "uuid", tags::SOP_INSTANCE_UID, Uid),
    at(Image, "sopclass", tags::SOP_CLASS_UID, Uid),
    at(Image, "seriesuid", tags::SERIES_INSTANCE_UID, Uid),
    at(Image, "xfersyntax", tags::TRANSFER_SYNTAX_UID, Uid),
    at(Image, "instancedate", tags::INSTANCE_CREATION_DATE, Date),
    at(Image, "instancetime", tags::INSTANCE_CREATION_TIME, Time),
    at(Image, "instance", tags::INSTANCE_NUMBER, Integer),
    at(Image, "samplesperpixel", tags::SAMPLES_PER_PIXEL, Unsigned),
    at(Image, "numrows", tags::ROWS, Unsigned),
    at(Image, "numcolumns", tags::COLUMNS, Unsigned),
    at(Image, "bitsallocated", tags::BITS_ALLOCATED, Unsigned),
    at(Image, "bitsstored", tags::BITS_STORED, Unsigned),
    at(Image, "pixelrepresentation", tags::PIXEL_REPRESENTATION, Unsigned),
    at(Image, "photometric", tags::PHOTOMETRIC_INTERPRETATION, Text),
    at(Image, "completion", tags::COMPLETION_FLAG, Text),
    at(Image, "description", tags::COMPLETION_FLAG_DESCRIPTION, Text),
    at(Image, "verification", tags::VERIFICATION_FLAG, Text),
    at(Image, "contentdate", tags::CONTENT_DATE, Date),
    at(Image, "contenttime", tags::CONTENT_TIME, Time),
    at(Image, "observationdatetime", tags::OBSERVATION_DATE_TIME, DateTime),
    at(Image, "verificationdatetime", tags::VERIFICATION_DATE_TIME, DateTime).within(VERIFYING_OBSERVER),
    at(Image, "doseproduct", tags::IMAGE_AND_FLUOROSCOPY_AREA_DOSE_PRODUCT, Decimal),
    at(Image, "numframes", tags::NUMBER_OF_FRAMES, Frames),
    at(Image, "mimetype", tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, Text),
    at(ConceptName, "uuid", tags::SOP_INSTANCE_UID, Uid),
    at(ConceptName, "value", tags::CODE_VALUE, Text).within(CONCEPT_NAME),
    at(ConceptName, "schemedesignator", tags::CODING_SCHEME_DESIGNATOR, Text).within(CONCEPT_NAME),
    at(ConceptName, "schemeversion", tags::CODING_SCHEME_VERSION, Text).within(CONCEPT_NAME),
    at(ConceptName, "meaning", tags::CODE_MEANING, Text).within(CONCEPT_NAME),
    at(SpeciesCode, "patientid", tags::PATIENT_ID, PatientId),
    at(SpeciesCode, "value", tags::CODE_VALUE, Text).within(SPECIES),
    at(SpeciesCode, "schemedesignator", tags::CODING_SCHEME_DESIGNATOR, Text).within(SPECIES),
    at(SpeciesCode, "schemeversion", tags::CODING_SCHEME_VERSION, Text).within(SPECIES),
    at(SpeciesCode, "meaning", tags::CODE_MEANING, Text).within(SPECIES),
    at(BreedCode, "patientid", tags::PATIENT_ID, PatientId),
    at(BreedCode, "value", tags::CODE_VALUE, Text).within(BREED),
    at(BreedCode, "schemedesignator", tags::CODING_SCHEME_DESIGNATOR, Text).within(BREED),
    at(BreedCode, "schemeversion", tags::CODING_SCHEME_VERSION, Text).within(BREED),
    at(BreedCode, "meaning", tags::CODE_MEANING, Text).within(BREED),
    at(BreedRegistration, "patientid", tags::PATIENT_ID, PatientId),
    at(BreedRegistration, "regnumber", tags::BREED_REGISTRATION_NUMBER, Text).within(REGISTRATION),
    at(BreedRegistration, "value", tags::CODE_VALUE, Text).within(REGISTRY),
    at(BreedRegistration, "schemedesignator", tags::CODING_SCHEME_DESIGNATOR, Text).within(REGISTRY),
    at(BreedRegistration, "schemeversion", tags::CODING_SCHEME_VERSION, Text).within(REGISTRY),
    at(BreedRegistration, "meaning", tags::CODE_MEANING, Text).within(REGISTRY),
];

/// Returns the position of an attribute in [`ATTRIBUTES`].
pub const fn position(table: Table, column: &str) -> usize {
    let mut i = 0;
    while i < ATTRIBUTES.len() {
        if ATTRIBUTES[i].table as u8 == table as u8 && same(ATTRIBUTES[i].column, column) {
            return i;
        }
        i += 1;
    }
    panic!("no such column in the table of indexed attributes")
}

/// Returns whether an attribute is a component or a group of a patient's name.
pub fn is_of_the_name(attribute: usize) -> bool {
    matches!(ATTRIBUTES[attribute].form, NameComponent(_) | NameGroup(_))
}

/// Returns the position of the first column that is part of the same value: the components and
/// groups of a name are one value, and so is a date with its time.
pub fn value_of(position: usize) -> usize {
    static VALUES: LazyLock<Vec<usize>> = LazyLock::new(|| (0..ATTRIBUTES.len()).map(first_of_value).collect());
    VALUES[position]
}

fn first_of_value(position: usize) -> usize {
    let attribute = &ATTRIBUTES[position];
    let is_same_value = |other: &Attribute| match attribute.form {
        NameComponent(_) | NameGroup(_) => other.tag == attribute.tag && other.within == attribute.within,
        Time => {
            let stem = attribute.column.strip_suffix("time");
            other.form == Date && stem.is_some() && other.column.strip_suffix("date") == stem
        }
        _ => false,
    };
    let first = ATTRIBUTES.iter().position(|other| other.table == attribute.table && is_same_value(other));
    first.unwrap_or(position)
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
