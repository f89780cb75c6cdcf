//! One patient, study or series as its instances tell of it.
//!
//! Instances of one study need not agree: a report lacks the patient's weight, a technician corrects a description
//! between two series. Of each attribute the row has the non-empty value of the instance that is last by time of receipt,
//! SOP Instance UID and path. A name with all of its components and groups is one attribute, and so is a date with its time:
//! the columns of an attribute come from one instance. That is a fold over all instances which is associative, commutative and
//! idempotent: the row does not depend on the order in which files were read.

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

/// The attributes whose values a level's rows are folded from.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    attributes: Vec<usize>,
    /// How many feed the level's own table. They come first.
    own: usize,
    values: ValuePlaces,
}

/// For each place of a shape the first place of the same value. Empty if each place is a value of its own.
type ValuePlaces = Arc<[u8]>;

impl Shape {
    /// The columns of a level that tags feed, but for the key; those of a patient's companions at the end.
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

    /// Those that feed the level's own table.
    pub fn own(&self) -> &[usize] {
        &self.attributes[..self.own]
    }

    /// What an entry says, in one piece.
    pub fn pack(&self, entry: &Entry, into: &mut Vec<u8>) {
        into.clear();
        for attribute in &self.attributes {
            packed::put(entry.instance.get(*attribute), into);
        }
    }
}

/// Some instance's values, and its place in the order.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Layer {
    #[serde(with = "bytes")]
    order: Box<[u8]>,
    #[serde(with = "bytes")]
    values: Arc<[u8]>,
}

impl Layer {
    /// As long as the one before, mostly.
    fn set_order(&mut self, order: &[u8]) {
        match self.order.len() == order.len() {
            true => self.order.copy_from_slice(order),
            false => self.order = order.into(),
        }
    }
}

/// All that the instances of one row say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fold {
    /// Last first. A layer that says nothing which a later one does not say is dropped, so that there are never more
    /// than columns, and mostly one.
    layers: Vec<Layer>,
    /// A bit for each column for which two instances have different values.
    disagreements: u64,
    /// Covered layers are kept, so that the fold contains each set of values of an instance.
    keeps_all: bool,
    /// The values of instances in files that are not indexed, if the fold keeps all. They are no values of the row.
    unchosen: Vec<Arc<[u8]>>,
    #[serde(with = "bytes::shared")]
    places: ValuePlaces,
}

/// The memory that a layer takes beside its bytes.
const LAYER_OVERHEAD: usize = size_of::<Layer>() + 48;

/// The values that later instances have, by the first place of each.
#[derive(Default)]
struct Covered(Vec<bool>);

impl Covered {
    /// Adds the values of an earlier instance. Returns the places whose values no later instance has.
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
    /// Adds what an entry says.
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

    /// The values of the last instance.
    pub fn last(&self) -> Option<&Arc<[u8]>> {
        self.layers.first().map(|last| &last.values)
    }

    /// Whether the fold contains no values of a file that is indexed.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        *self = Fold { keeps_all: self.keeps_all, ..Fold::default() };
    }

    /// About the bytes that the fold takes in memory.
    pub fn weight(&self) -> usize {
        let layers = self.layers.iter().map(|layer| layer.order.len() + layer.values.len() + LAYER_OVERHEAD);
        layers.sum::<usize>() + self.unchosen.iter().map(|values| values.len() + LAYER_OVERHEAD).sum::<usize>()
    }

    /// Adds what an instance says. Values that stand elsewhere already (`written`) are shared.
    pub fn add(&mut self, order: &[u8], packed: &[u8], written: Option<&Arc<[u8]>>) {
        match self.layers.iter().position(|layer| *layer.values == *packed) {
            Some(n) if order::compare(&self.layers[n].order, order).is_ge() => return,
            // Most instances say what the one before did, and the last of them so far: nothing more is covered by that.
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

    /// The values of the columns of the level's own table, which come first. None if no instance has values.
    pub(super) fn own_values(&self, shape: &[usize]) -> Vec<Value<'_>> {
        let mut values = self.values();
        values.truncate(shape.len());
        values
    }

    /// The values of the row.
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

    /// The values of the last instance alone, of those for which `says` is true.
    pub fn last_that(&self, says: impl Fn(&[Value<'_>]) -> bool) -> Option<Vec<Value<'_>>> {
        self.layers.iter().map(|layer| packed::values(&layer.values).collect::<Vec<_>>()).find(|values| says(values))
    }

    /// Keeps all sets of values that are added from now on.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// The different sets of values of instances, as far as the fold keeps them, whether or not their files are indexed.
    pub fn sets(&self) -> impl Iterator<Item = Vec<Value<'_>>> {
        let chosen = self.layers.iter().map(|layer| &layer.values);
        chosen.chain(&self.unchosen).map(|values| packed::values(values).collect())
    }

    /// The columns on which instances disagree, counted along the shape.
    pub fn disagreements(&self) -> impl Iterator<Item = usize> {
        (0..64).filter(|n| self.disagreements >> n & 1 == 1)
    }

    /// When the last instance was received.
    pub fn received(&self) -> &str {
        self.layers.first().map_or("", |last| order::received(&last.order))
    }

    /// All that another fold has seen.
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
