//! The merged values of the instances of one patient, study or series.
//!
//! Instances of one study need not agree: a report lacks the patient's weight, or a technician
//! corrects a description between two series. For each attribute, the row has the non-empty value
//! of the instance that is last by time of receipt, SOP Instance UID and path. A name with all of
//! its components and groups is one attribute, and so is a date with its time: the columns of an
//! attribute come from one instance. This fold over all instances is associative, commutative and
//! idempotent, so the row does not depend on the order in which files are read.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::order;
use crate::dicom::attributes::{ATTRIBUTES, value_of};
use crate::dicom::{Level, Table, packed};
use crate::disk::bytes;
use crate::index::column::is_empty;
use crate::index::columns::Source;
use crate::index::entry::IDENTITY;
use crate::index::{Entry, Tables, Value};

/// The attributes whose values are merged into the rows of a level.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    attributes: Vec<usize>,
    /// The number of attributes that are stored in the level's own table. They come first.
    own: usize,
    values: ValuePlaces,
}

/// The first position of the same value, for each position of a shape. Empty if each position is a
/// value of its own.
type ValuePlaces = Arc<[u8]>;

impl Shape {
    /// Returns the shape of a level: the columns that contain DICOM attributes, without the key.
    /// The columns of a patient's companion tables, or the attributes that identify a study's
    /// patient, come last.
    pub fn of(tables: &Tables, level: Level) -> Self {
        let patient = IDENTITY[0];
        let attribute = |source| match source {
            Source::Attribute(n) if ATTRIBUTES[n].column != ATTRIBUTES[n].table.key() && n != patient => Some(n),
            _ => None,
        };
        let of = |table: Table| tables.of(table).columns.iter().filter_map(|column| attribute(column.source));
        let mut attributes = Vec::from_iter(of(level.table()));
        let own = attributes.len();
        match level {
            Level::Patient => attributes.extend(tables.companions(level).flat_map(of)),
            Level::Study => attributes.extend(IDENTITY),
            Level::Series | Level::Instance => {}
        }
        let same_value = |n: &usize| attributes.iter().position(|other| value_of(*other) == value_of(*n)).unwrap_or(0);
        let values = attributes.iter().map(|n| same_value(n) as u8).collect();
        Shape { attributes, own, values }
    }

    pub fn attributes(&self) -> &[usize] {
        &self.attributes
    }

    /// Returns the attributes that are stored in the level's own table.
    pub fn own(&self) -> &[usize] {
        &self.attributes[..self.own]
    }

    /// Encodes the values of an entry.
    pub fn pack(&self, entry: &Entry, into: &mut Vec<u8>) {
        into.clear();
        for attribute in &self.attributes {
            packed::put(entry.instance.get(*attribute), into);
        }
    }
}

/// The values of an instance, and its position in the order of [`order`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Layer {
    #[serde(with = "bytes")]
    order: Box<[u8]>,
    #[serde(with = "bytes")]
    values: Arc<[u8]>,
}

impl Layer {
    /// Sets the position. Reuses the allocation, because the length is mostly unchanged.
    fn set_order(&mut self, order: &[u8]) {
        match self.order.len() == order.len() {
            true => self.order.copy_from_slice(order),
            false => self.order = order.into(),
        }
    }
}

/// The merged values of all instances of one row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fold {
    /// The layers, the last one first. A layer is dropped if later layers have a value for each of
    /// its values. So there are never more layers than columns, and mostly there is one.
    layers: Vec<Layer>,
    /// A bit for each column, set if two instances have different values.
    disagreements: u64,
    /// Whether layers without values of their own are kept, so that the fold contains each set of
    /// values of an instance.
    keeps_all: bool,
    /// The values of instances in files that are not indexed, if the fold keeps all sets of values.
    /// They do not determine the values of the row.
    unchosen: Vec<Arc<[u8]>>,
    #[serde(with = "bytes::shared")]
    places: ValuePlaces,
}

/// The memory in bytes that a layer takes in addition to its values and its position.
const LAYER_OVERHEAD: usize = size_of::<Layer>() + 48;

/// The values that later instances have, by the first position of each value.
#[derive(Default)]
struct Covered(Vec<bool>);

impl Covered {
    /// Adds the values of an earlier instance. Returns the positions whose values no later instance
    /// has.
    fn add(&mut self, values: &[Value<'_>], places: &[u8]) -> Vec<usize> {
        let first = |n: usize| places.get(n).map_or(n, |first| usize::from(*first));
        self.0.resize(self.0.len().max(values.len()), false);
        let has_value: Vec<usize> = (0..values.len()).filter(|n| !is_empty(values[*n])).map(first).collect();
        let new = (0..values.len()).filter(|n| !self.0[first(*n)] && has_value.contains(&first(*n))).collect();
        has_value.into_iter().for_each(|first| self.0[first] = true);
        new
    }
}

impl Fold {
    /// Adds the values of an entry.
    pub fn add_entry(
        &mut self,
        shape: &Shape,
        entry: &Entry,
        order: &[u8],
        scratch: &mut Vec<u8>,
        written: Option<&Arc<[u8]>>,
    ) {
        shape.pack(entry, scratch);
        if self.layers.is_empty() {
            self.places = Arc::clone(&shape.values);
        }
        self.add(order, scratch, written);
    }

    /// Adds the values of a file that is not indexed, if the fold keeps all sets of values.
    pub fn add_unchosen(&mut self, packed: &[u8]) {
        if self.keeps_all && !self.unchosen.iter().any(|known| **known == *packed) {
            self.unchosen.push(packed.into());
        }
    }

    /// Returns the values of the last instance.
    pub fn last(&self) -> Option<&Arc<[u8]>> {
        self.layers.first().map(|last| &last.values)
    }

    /// Returns whether the fold contains no values of an indexed file.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        *self = Fold { keeps_all: self.keeps_all, ..Fold::default() };
    }

    /// Returns the approximate memory use of the fold in bytes.
    pub fn weight(&self) -> usize {
        let layers = self.layers.iter().map(|layer| layer.order.len() + layer.values.len() + LAYER_OVERHEAD);
        layers.sum::<usize>() + self.unchosen.iter().map(|values| values.len() + LAYER_OVERHEAD).sum::<usize>()
    }

    /// Adds the values of an instance. If `written` has equal values, the fold shares them.
    pub fn add(&mut self, order: &[u8], packed: &[u8], written: Option<&Arc<[u8]>>) {
        match self.layers.iter().position(|layer| *layer.values == *packed) {
            Some(n) if order::compare(&self.layers[n].order, order).is_ge() => return,
            // Most instances have the values of the previous instance, which is the last one so
            // far. No other layer becomes redundant then.
            Some(0) => return self.layers[0].set_order(order),
            Some(n) => {
                let mut layer = self.layers.remove(n);
                layer.set_order(order);
                self.put(layer);
            }
            None => {
                self.note_disagreements(packed);
                let shared = written.filter(|written| ***written == *packed);
                self.put(Layer { order: order.into(), values: shared.map_or_else(|| packed.into(), Arc::clone) });
            }
        }
        if self.layers.len() > 1 && !self.keeps_all {
            self.drop_covered();
        }
    }

    fn put(&mut self, layer: Layer) {
        if self.layers.is_empty() {
            self.layers.reserve_exact(1);
        }
        let at = self.layers.partition_point(|other| order::compare(&other.order, &layer.order) == Ordering::Greater);
        self.layers.insert(at, layer);
    }

    fn note_disagreements(&mut self, packed: &[u8]) {
        if self.layers.is_empty() {
            return;
        }
        let mut differing = 0;
        for (n, (mine, theirs)) in self.values().into_iter().zip(packed::values(packed)).enumerate().take(64) {
            if !is_empty(mine) && !is_empty(theirs) && mine != theirs {
                differing |= 1 << n;
            }
        }
        self.disagreements |= differing;
    }

    fn drop_covered(&mut self) {
        let (mut covered, places) = (Covered::default(), &self.places);
        self.layers.retain(|layer| {
            let values: Vec<Value> = packed::values(&layer.values).collect();
            let is_first = covered.0.is_empty();
            !covered.add(&values, places).is_empty() || is_first
        });
    }

    /// Returns the values of the columns of the level's own table, which come first. The result is
    /// empty if no instance has values.
    pub(super) fn own_values(&self, shape: &[usize]) -> Vec<Value<'_>> {
        let mut values = self.values();
        values.truncate(shape.len());
        values
    }

    /// Returns the values of the row.
    pub fn values(&self) -> Vec<Value<'_>> {
        let mut layers = self.layers.iter();
        let Some(last) = layers.next() else { return Vec::new() };
        let mut values: Vec<Value> = packed::values(&last.values).collect();
        if self.layers.len() == 1 {
            return values;
        }
        let mut covered = Covered::default();
        covered.add(&values, &self.places);
        for layer in layers {
            let earlier: Vec<Value> = packed::values(&layer.values).collect();
            for place in covered.add(&earlier, &self.places) {
                values[place] = earlier[place];
            }
        }
        values
    }

    /// Returns all values of the last instance for which `says` returns true.
    pub fn last_that(&self, says: impl Fn(&[Value<'_>]) -> bool) -> Option<Vec<Value<'_>>> {
        self.layers.iter().map(|layer| packed::values(&layer.values).collect::<Vec<_>>()).find(|values| says(values))
    }

    /// Keeps all sets of values that are added from now on.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// Returns the different sets of values of instances, as far as the fold keeps them, whether or
    /// not their files are indexed.
    pub fn sets(&self) -> impl Iterator<Item = Vec<Value<'_>>> {
        let chosen = self.layers.iter().map(|layer| &layer.values);
        chosen.chain(&self.unchosen).map(|values| packed::values(values).collect())
    }

    /// Returns the positions in the shape of the columns on which instances disagree.
    pub fn disagreements(&self) -> impl Iterator<Item = usize> {
        (0..64).filter(|n| self.disagreements >> n & 1 == 1)
    }

    /// Returns the time of receipt of the last instance.
    pub fn received(&self) -> &str {
        self.layers.first().map_or("", |last| order::received(&last.order))
    }

    /// Adds all values of another fold.
    pub fn merge(&mut self, other: Fold) {
        self.keeps_all |= other.keeps_all;
        other.unchosen.iter().for_each(|values| self.add_unchosen(values));
        if self.layers.is_empty() {
            let places = if other.layers.is_empty() { std::mem::take(&mut self.places) } else { other.places };
            let unchosen = std::mem::take(&mut self.unchosen);
            *self = Fold { keeps_all: self.keeps_all, unchosen, places, ..other };
            return;
        }
        self.disagreements |= other.disagreements;
        for layer in &other.layers {
            self.add(&layer.order, &layer.values, Some(&layer.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(values: &[&str]) -> Vec<u8> {
        let mut packed = Vec::new();
        for value in values {
            packed::put(Value::Text(value), &mut packed);
        }
        packed
    }

    fn said(fold: &Fold) -> Vec<String> {
        let text = |value| match value {
            Value::Text(text) => String::from(text),
            other => panic!("{other:?}"),
        };
        fold.values().into_iter().map(text).collect()
    }

    /// All orders of five instances, each twice.
    #[test]
    fn a_row_does_not_depend_on_the_order_of_its_instances() {
        let instances: [(&str, [&str; 3]); 5] = [
            ("5", ["", "", "e"]),
            ("4", ["b", "", ""]),
            ("3", ["b", "c", ""]),
            ("2", ["b", "c", "d"]),
            ("1", ["a", "c", "e"]),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..5usize.pow(5) {
            let sequence: Vec<usize> = (0..5).map(|i| n / 5usize.pow(i) % 5).collect();
            let mut fold = Fold::default();
            for i in sequence.into_iter().chain(0..5) {
                fold.add(instances[i].0.as_bytes(), &pack(&instances[i].1), None);
            }
            seen.insert((said(&fold), fold.disagreements().collect::<Vec<_>>()));
        }
        let expected = (["b", "c", "e"].map(String::from).to_vec(), vec![0, 2]);
        assert_eq!(Vec::from_iter(seen), [expected]);
    }

    #[test]
    fn the_columns_of_a_value_come_from_one_instance() {
        let places: ValuePlaces = [0, 0, 2].into();
        let instances = [("2", ["DOE JANE", "", ""]), ("1", ["DOE", "JANE", "x"])];
        for order in [[0_usize, 1], [1, 0]] {
            let mut fold = Fold { places: places.clone(), ..Fold::default() };
            for n in order {
                fold.add(instances[n].0.as_bytes(), &pack(&instances[n].1), None);
            }
            assert_eq!(said(&fold), ["DOE JANE", "", "x"]);
        }
    }

    #[test]
    fn a_fold_that_keeps_all_has_the_same_values_and_all_sets_of_values() {
        let (mut one, mut all) = (Fold::default(), Fold::default());
        all.keep_all();
        for (n, values) in [["a", "x"], ["b", ""], ["a", "x"], ["c", "y"], ["b", "z"]].iter().enumerate() {
            one.add(n.to_string().as_bytes(), &pack(values), None);
            all.add(n.to_string().as_bytes(), &pack(values), None);
        }
        assert_eq!(said(&one), said(&all));
        let mut merged = Fold::default();
        merged.merge(all);
        assert_eq!((one.sets().count(), merged.sets().count()), (1, 4));
        merged.add(b"0", &pack(&["d", ""]), None);
        assert_eq!(merged.sets().count(), 5);
    }

    #[test]
    fn folds_merge_like_their_instances() {
        let (mut one, mut other, mut both) = (Fold::default(), Fold::default(), Fold::default());
        for (n, values) in [["a", ""], ["", "x"], ["b", ""], ["", "y"]].iter().enumerate() {
            let half = if n % 2 == 0 { &mut one } else { &mut other };
            half.add(n.to_string().as_bytes(), &pack(values), None);
            both.add(n.to_string().as_bytes(), &pack(values), None);
        }
        one.merge(other);
        assert_eq!(said(&one), said(&both));
        assert!(one.layers.len() <= 2);
    }
}
