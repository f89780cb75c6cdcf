//! The attributes whose values a packed instance contains, by name, so that later versions of this
//! program can read the instance.

use super::attributes::ATTRIBUTES;
use super::flaw::Flaws;
use super::instance::REVISION;

/// The order of the values in packed instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedForm {
    /// The position of each packed value in [`ATTRIBUTES`], or `None` for an attribute that this
    /// program does not index.
    positions: Vec<Option<usize>>,
    is_current: bool,
}

impl PackedForm {
    /// Returns the form in which this program packs instances.
    pub fn current() -> Self {
        PackedForm { positions: (0..ATTRIBUTES.len()).map(Some).collect(), is_current: true }
    }

    /// Returns the form of instances that another version of this program has packed.
    pub fn of(revision: u32, names: &[String]) -> Self {
        let known = PackedForm::names();
        let positions = names.iter().map(|name| known.iter().position(|known| known == name)).collect();
        PackedForm { positions, is_current: revision == REVISION && names == known }
    }

    /// Returns the names of the attributes of this program: table and column.
    pub fn names() -> Vec<String> {
        ATTRIBUTES.iter().map(|attribute| format!("{}.{}", attribute.table.name(), attribute.column)).collect()
    }

    /// Returns whether this program reads the same values from a file as the program that packed
    /// its instance.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// Returns whether packed instances contain values of attributes that this program does not
    /// index.
    pub fn has_unknown_attributes(&self) -> bool {
        self.positions.contains(&None)
    }

    pub(super) fn positions(&self) -> &[Option<usize>] {
        &self.positions
    }

    /// Converts flaws to the positions of attributes in this program.
    pub(super) fn flaws(&self, packed: Flaws) -> Flaws {
        match self.is_current {
            true => packed,
            false => packed.moved(&self.positions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Instance, Table};
    use super::*;

    #[test]
    fn an_instance_of_another_form_keeps_the_attributes_that_are_known() {
        let keys = [(Table::Image, "uuid", "1.1"), (Table::Series, "uuid", "1.2"), (Table::Study, "uuid", "1.3")];
        let name = (Table::Patient, "lastname", "Testmann");
        let instance = Instance::with_texts(&[&keys[..], &[name, (Table::Patient, "sex", "F")]].concat());
        let mut packed = Vec::new();
        instance.pack(&mut packed);
        let mut names = PackedForm::names();
        assert!(PackedForm::of(REVISION, &names).is_current());
        assert!(!PackedForm::of(REVISION + 1, &names).is_current());
        let sex = names.iter().position(|name| name == "patient.sex").unwrap();
        names[sex] = "patient.unknown".into();
        let form = PackedForm::of(REVISION, &names);
        let mut rest = packed.as_slice();
        let found = Instance::unpack(&mut rest, &form).unwrap();
        assert!(rest.is_empty() && !form.is_current());
        let expected = Instance::with_texts(&[&keys[..], &[name]].concat());
        (0..ATTRIBUTES.len()).for_each(|n| assert_eq!(found.get(n), expected.get(n), "{}", PackedForm::names()[n]));
    }
}
