//! What a database cannot hold of an instance is made to fit before it is sent: a strict server would refuse the row.

use super::column::{Column, Kind};
use super::{Refusal, Tables, Value, table};
use crate::dicom::{ATTRIBUTES, Instance, Level, Table};

/// What was changed to make an instance fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// Texts that were cut.
    pub cut: u64,
    /// Numbers that are out of a column's range, and texts where it takes numbers: now NULL.
    pub unusable: u32,
    /// Columns whose text has characters that they cannot hold, now substituted.
    pub substituted: Vec<String>,
}

impl Tables {
    /// Makes the instance fit. Keys and links are never changed: an instance whose keys do not fit is refused.
    pub fn fit(&self, instance: &mut Instance) -> Result<Fitted, Refusal> {
        let mut fitted = Fitted::default();
        for (n, attribute) in ATTRIBUTES.iter().enumerate() {
            let value = instance.get(n);
            let Some(column) = self.of_attribute(n) else {
                // What is not written makes no difference either.
                if attribute.table != Table::Image {
                    instance.set(n, Value::Null);
                }
                continue;
            };
            match (value, column.kind) {
                (Value::Null, _) => {}
                // A companion that cannot hold the key costs no instance: it is looked at when its row is written.
                (_, _) if column.exact && !attribute.table.is_core() => {}
                (Value::Text(text), _) if column.exact => column.take(attribute.level(), text)?,
                (Value::Text(text), kind) if !is_text_for(kind) => {
                    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                    fitted.unusable += u32::from(number.is_none());
                    instance.set(n, number.map_or(Value::Null, Value::Real));
                }
                (Value::Text(text), _) if text.len() <= column.least_room() && text.is_ascii() => {}
                (Value::Text(text), _) => {
                    let room = column.cut(text);
                    fitted.cut += u64::from(room.len() < text.len());
                    let held = column.repertoire.fit(room);
                    if let std::borrow::Cow::Owned(_) = held {
                        fitted.substituted.push(format!("{}.{}", attribute.table.name(), column.name));
                    }
                    if held != text {
                        let held = held.into_owned();
                        instance.set(n, Value::Text(&held));
                    }
                }
                (Value::Integer(number), Kind::Integer { least, most }) if !(least..=most).contains(&number) => {
                    fitted.unusable += 1;
                    instance.set(n, Value::Null);
                }
                (Value::Real(number), Kind::Real { single: true }) => {
                    instance.set(n, Value::Real((number as f32).into()));
                }
                _ => {}
            }
        }
        Ok(fitted)
    }

    /// Whether a path stands in its column as it is.
    pub fn check_path(&self, path: &str) -> Result<(), Refusal> {
        match self.of(Level::Instance).column("path") {
            Some(column) => column.take(Level::Instance, path),
            None => Ok(()),
        }
    }
}

impl Column {
    /// A text that is never changed.
    fn take(&self, level: Level, text: &str) -> Result<(), Refusal> {
        let refusal =
            |code, what: &str| Err(Refusal { code, detail: format!("{what} {}.{} holds", table(level), self.name) });
        if self.cut(text).len() < text.len() {
            return refusal("too-long", "longer than");
        }
        if !self.holds(text) {
            return refusal("not-in-charset", "has characters other than those that");
        }
        Ok(())
    }

    /// A text of so many bytes is never too long.
    fn least_room(&self) -> usize {
        self.characters.min(self.bytes)
    }
}

fn is_text_for(kind: Kind) -> bool {
    !matches!(kind, Kind::Integer { .. } | Kind::Real { .. } | Kind::Year)
}
