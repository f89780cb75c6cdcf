//! The directories and the name under which PacsOne files an instance (its `archiveformat`). A
//! value from a file becomes a name only if that name is safe on every system that may hold the
//! archive.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::{SkippedDirectories, skip};
use crate::dicom::attributes::position;
use crate::dicom::{Instance, Table, Value};

/// The directories of the archive. The file name is always the SOP Instance UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `2021-11-12-FRI/<SOP Instance UID>`, by the day of receipt.
    Flat,
    /// `2021/11/12/<SOP Instance UID>`, by the day of receipt.
    Hierarchical,
    /// `<Study Instance UID>/<SOP Instance UID>`.
    Study,
    /// `2021-11-12-FRI/<Study Instance UID>/<SOP Instance UID>`.
    Combination,
    /// `<Patient ID>/<study date as 20211112>/<SOP Instance UID>`.
    Patient,
}

impl Layout {
    /// All layouts, in the order of the numbers that PacsOne gives them.
    pub const ALL: [Layout; 5] =
        [Layout::Flat, Layout::Hierarchical, Layout::Study, Layout::Combination, Layout::Patient];

    /// Returns the layout for a value of `config.archiveformat`.
    pub fn of_pacsone(format: usize) -> Option<Self> {
        Self::ALL.get(format).copied()
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Layout::Flat => "flat",
            Layout::Hierarchical => "hierarchical",
            Layout::Study => "study",
            Layout::Combination => "combination",
            Layout::Patient => "patient",
        }
    }
}

/// The target directories of instances that are received on a given day.
#[derive(Clone, Debug)]
pub struct Filing {
    pub archive: PathBuf,
    pub layout: Layout,
    pub day: Date,
    /// No instance is filed in these directories, where no run would find it.
    pub skipped: SkippedDirectories,
}

/// The reason why an instance cannot be filed. Contains no value of a patient.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsafe {
    attribute: &'static str,
    why: &'static str,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.attribute, self.why)
    }
}

impl Filing {
    /// The directory of all instances of the day, if the layout has one; otherwise the archive.
    pub fn day_directory(&self) -> PathBuf {
        match self.layout {
            Layout::Flat | Layout::Combination => self.archive.join(self.flat_day()),
            Layout::Hierarchical => self.archive.join(self.day.strftime("%Y/%m/%d").to_string()),
            Layout::Study | Layout::Patient => self.archive.clone(),
        }
    }

    fn flat_day(&self) -> String {
        self.day.strftime("%Y-%m-%d-%a").to_string().to_uppercase()
    }

    /// The path under which an instance is filed, or the reason why it cannot be filed.
    pub fn place(&self, instance: &Instance) -> Result<PathBuf, Unsafe> {
        let named = |attribute, text: &str| match safe_name(text) {
            Ok(name) if self.skipped.are_named(name.as_ref()) => Err(Unsafe { attribute, why: SKIPPED }),
            name => name.map_err(|why| Unsafe { attribute, why }),
        };
        let study = || named("Study Instance UID (0020,000D)", instance.study_instance_uid());
        let mut path = self.day_directory();
        match self.layout {
            Layout::Flat | Layout::Hierarchical => {}
            Layout::Study | Layout::Combination => path.push(study()?),
            Layout::Patient => {
                path.push(named("Patient ID (0010,0020)", instance.patient_id())?);
                path.push(study_date(instance)?);
            }
        }
        path.push(named("SOP Instance UID (0008,0018)", instance.sop_instance_uid())?);
        Ok(path)
    }
}

fn study_date(instance: &Instance) -> Result<String, Unsafe> {
    match instance.get(const { position(Table::Study, "studydate") }) {
        Value::Text(date) => Ok(date.replace('-', "")),
        _ => Err(Unsafe { attribute: "Study Date (0008,0020)", why: "is missing or no date, and the layout needs it" }),
    }
}

const SKIPPED: &str = "is the name of a directory that every run skips";

/// The maximum length of a name on file systems, in bytes.
const LONGEST: usize = 255;

/// The names of devices on Windows, with any extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

/// Returns the text if it is a safe name for a file or directory, otherwise the reason why it is
/// not.
fn safe_name(text: &str) -> Result<String, &'static str> {
    let stem = text.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_number = |text: &str| text.chars().count() == 1 && text.chars().all(|c| "0123456789¹²³".contains(c));
    let is_numbered =
        |stem: &str| NUMBERED_DEVICES.iter().any(|device| stem.strip_prefix(device).is_some_and(is_number));
    if text.is_empty() {
        Err("is empty, and the layout needs it")
    } else if text.len() > LONGEST {
        Err("is too long for the name of a file")
    } else if text.starts_with('.') || text.ends_with(['.', ' ']) || text.starts_with(' ') {
        Err("begins or ends with a dot or a blank, which is not a safe file name")
    } else if text.chars().any(|c| c.is_control() || r#"/\:*?"<>|"#.contains(c)) {
        Err("holds a separator, a control character or one that names of files cannot have everywhere")
    } else if DEVICES.contains(&stem.as_str()) || is_numbered(&stem) {
        Err("is the name of a device on Windows")
    } else if skip::by_name(Path::new(text).as_os_str()).is_some() {
        Err("is the name of a file that every run skips")
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::received_on;
    use super::*;

    fn filing(layout: Layout) -> Filing {
        let skipped = SkippedDirectories::default();
        Filing { archive: "/dicom".into(), layout, day: jiff::civil::date(2021, 11, 12), skipped }
    }

    #[test]
    fn the_day_of_receipt_is_told_by_the_paths_of_the_layouts_that_carry_it() {
        let instance = Instance::with_texts(&[
            (Table::Image, "uuid", "1.2.3"),
            (Table::Study, "uuid", "1.2"),
            (Table::Patient, "origid", "P1"),
            (Table::Study, "studydate", "2020-01-31"),
        ]);
        let cases = [
            ("/dicom/2021-11-12-FRI/1.2.3", "2021-11-12"),
            ("/dicom/2021/11/12/1.2.3", "2021-11-12"),
            ("/dicom/1.2/1.2.3", "-"),
            ("/dicom/2021-11-12-FRI/1.2/1.2.3", "2021-11-12"),
            ("/dicom/P1/20200131/1.2.3", "-"),
        ];
        for (layout, (path, day)) in Layout::ALL.into_iter().zip(cases) {
            let placed = filing(layout).place(&instance).unwrap();
            assert_eq!(placed, Path::new(path));
            let received = received_on(Path::new("/dicom"), placed.parent().unwrap());
            assert_eq!(received.map_or("-".into(), |day| day.to_string()), day, "{path}");
        }
        let undated = Instance::with_texts(&[(Table::Image, "uuid", "1.2.3"), (Table::Patient, "origid", "P1")]);
        let why = filing(Layout::Patient).place(&undated).unwrap_err().to_string();
        assert!(why.starts_with("Study Date (0008,0020) is missing"), "{why}");
    }

    #[test]
    fn a_patient_whose_directory_would_be_skipped_cannot_be_filed() {
        let place = |id: &str| {
            let values = [
                (Table::Image, "uuid", "1.2.3"),
                (Table::Patient, "origid", id),
                (Table::Study, "studydate", "2020-01-31"),
            ];
            filing(Layout::Patient).place(&Instance::with_texts(&values))
        };
        for id in ["@eaDir", "$RECYCLE.BIN", "lost+found", "~snapshot"] {
            assert_eq!(place(id).unwrap_err().why, SKIPPED, "{id}");
        }
        assert!(["recycle", "RECYCLER", "snapshot"].into_iter().all(|id| place(id).is_ok()));
    }

    #[test]
    fn what_leads_elsewhere_or_cannot_be_stored_everywhere_is_no_name() {
        let long = "1".repeat(256);
        let bad = [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "../../etc/passwd",
            "a\\b",
            "C:",
            "a\0b",
            "a\nb",
            " a",
            "a ",
            "a.",
            "nul",
            "NUL.txt",
            "com1",
            "LPT9.x",
            "COM²",
            "con ",
            "a*",
            "Thumbs.db",
            &long,
        ];
        for name in bad {
            assert!(safe_name(name).is_err(), "{name:?}");
        }
        for name in ["1.2.840.10008", "P-1_x", "Müller 7", "日本", "COM10", "COMA", "nullah", "2021"] {
            assert_eq!(safe_name(name).as_deref(), Ok(name));
        }
    }
}
