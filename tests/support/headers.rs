//! The result of the header reader for a file, as text.

use pacs_index::dicom::flaw::Flaw;
use pacs_index::dicom::instance::Value;
use pacs_index::dicom::{ATTRIBUTES, HeaderReader, Instance, Rejection};

pub fn read(bytes: &[u8]) -> Result<Instance, Rejection> {
    HeaderReader::new().read(bytes).and_then(Instance::from_header)
}

/// Returns `indexed`, `indexed, cut`, or the code of the rejection.
pub fn verdict(outcome: &Result<Instance, Rejection>) -> &'static str {
    match outcome {
        Ok(instance) if instance.cut => "indexed, cut",
        Ok(_) => "indexed",
        Err(rejection) => rejection.code(),
    }
}

/// Formats a value as text; NULL is `-`.
pub fn shown(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Null => "-".into(),
    }
}

/// Returns the value of a column, which is named `table.column`.
pub fn column(instance: &Instance, name: &str) -> String {
    columns(instance).into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no column {name}")).1
}

/// Returns all columns and the counters of the instance. A value that feeds several columns alike
/// is named after the first of them.
pub fn columns(instance: &Instance) -> Vec<(String, String)> {
    let same = |i: usize, j: usize| {
        let (a, b) = (&ATTRIBUTES[i], &ATTRIBUTES[j]);
        (a.tag, a.within, a.form) == (b.tag, b.within, b.form)
    };
    let first = |i: &usize| !(0..*i).any(|earlier| same(earlier, *i));
    let named = |i: usize| format!("{}.{}", ATTRIBUTES[i].table.name(), ATTRIBUTES[i].column);
    let values = (0..ATTRIBUTES.len()).filter(first).map(|i| (named(i), shown(instance.get(i))));
    let flaws = [
        ("unusable", Flaw::Invalid),
        ("undecodable", Flaw::Undecodable),
        ("repaired", Flaw::Repaired),
        ("partial", Flaw::Partial),
    ];
    values.chain(flaws.map(|(name, flaw)| (name.to_owned(), instance.flaws.of(flaw).len().to_string()))).collect()
}
