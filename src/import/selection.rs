//! The selection of instances by the values in their headers.

use jiff::civil::Date;

use crate::dicom::attributes::position;
use crate::dicom::{Instance, Table, Value};

/// A selection of instances. An instance must match one value of each list that is not empty.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Patient ID (0010,0020).
    pub patients: Vec<String>,
    /// Study Instance UID (0020,000D).
    pub studies: Vec<String>,
    /// Accession Number (0008,0050).
    pub accessions: Vec<String>,
    /// Modality (0008,0060).
    pub modalities: Vec<String>,
    /// Study Date (0008,0020): from this day on.
    pub since: Option<Date>,
}

impl Selection {
    pub fn is_all(&self) -> bool {
        let Selection { patients, studies, accessions, modalities, since } = self;
        [patients, studies, accessions, modalities].into_iter().all(Vec::is_empty) && since.is_none()
    }

    pub fn takes(&self, instance: &Instance) -> bool {
        let accession = text(instance, const { position(Table::Study, "accessionnum") });
        let modality = text(instance, const { position(Table::Series, "modality") });
        let date = text(instance, const { position(Table::Study, "studydate") });
        let fits = |named: &[String], value: &str| named.is_empty() || named.iter().any(|name| name == value);
        fits(&self.patients, instance.patient_id())
            && fits(&self.studies, instance.study_instance_uid())
            && fits(&self.accessions, accession)
            && (self.modalities.is_empty() || self.modalities.iter().any(|name| name.eq_ignore_ascii_case(modality)))
            && self.since.is_none_or(|since| date.parse::<Date>().is_ok_and(|date| date >= since))
    }
}

/// Returns the text of an attribute, or an empty text if the attribute is missing.
pub fn text(instance: &Instance, attribute: usize) -> &str {
    match instance.get(attribute) {
        Value::Text(text) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_taken_that_fits_one_of_each_that_are_named() {
        let ct = Instance::with_texts(&[
            (Table::Patient, "origid", "P1"),
            (Table::Study, "uuid", "1.2"),
            (Table::Study, "accessionnum", "A7"),
            (Table::Study, "studydate", "2021-11-12"),
            (Table::Series, "modality", "CT"),
        ]);
        let named = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let all = Selection::default();
        assert!(all.is_all() && all.takes(&ct));
        let cases = [
            (Selection { patients: named(&["P2", "P1"]), ..all.clone() }, true),
            (Selection { patients: named(&["p1"]), ..all.clone() }, false),
            (Selection { studies: named(&["1.2"]), modalities: named(&["ct"]), ..all.clone() }, true),
            (Selection { studies: named(&["1.2"]), modalities: named(&["MR"]), ..all.clone() }, false),
            (Selection { accessions: named(&["A7"]), ..all.clone() }, true),
            (Selection { since: Some(jiff::civil::date(2021, 11, 12)), ..all.clone() }, true),
            (Selection { since: Some(jiff::civil::date(2021, 11, 13)), ..all.clone() }, false),
        ];
        for (selection, takes) in cases {
            assert!(!selection.is_all());
            assert_eq!(selection.takes(&ct), takes, "{selection:?}");
        }
        let undated = Instance::with_texts(&[(Table::Patient, "origid", "P1")]);
        assert!(!Selection { since: Some(jiff::civil::date(1900, 1, 1)), ..all }.takes(&undated));
    }
}
