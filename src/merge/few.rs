//! A map that nearly always has one entry, which is stored inline. Several entries are kept in the
//! order of their keys.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::mem::take;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de>"))]
pub enum Few<K, V> {
    #[default]
    None,
    One(K, V),
    Many(BTreeMap<K, V>),
}

impl<K: Ord, V> Few<K, V> {
    /// Iterates in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Few::None => (None, None),
            Few::One(key, value) => (Some((key, value)), None),
            Few::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Iterates in the order of the keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let (one, many) = match self {
            Few::None => (None, None),
            Few::One(_, value) => (Some(value), None),
            Few::Many(many) => (None, Some(many.values_mut())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        match self {
            Few::None => false,
            Few::One(only, _) => (*only).borrow() == key,
            Few::Many(many) => many.contains_key(key),
        }
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Few::None => None,
            Few::One(only, value) => ((*only).borrow() == key).then_some(value),
            Few::Many(many) => many.get_mut(key),
        }
    }

    /// Returns the value of a key, and inserts the default value first if the key is missing.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        *self = match take(self) {
            Few::None => Few::One(key.clone(), V::default()),
            Few::One(only, value) if only != key => Few::Many([(only, value)].into()),
            same => same,
        };
        match self {
            Few::One(_, value) => value,
            Few::Many(many) => many.entry(key).or_default(),
            Few::None => unreachable!("it was filled above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many_are_found_alike() {
        let mut few: Few<&str, u32> = Few::default();
        assert!(few.iter().next().is_none() && !few.contains("b") && few.get_mut("b").is_none());
        for (n, key) in ["b", "b", "a", "c", "b"].into_iter().enumerate() {
            *few.entry(key) += 1 << n;
            assert!(few.contains(key) && !few.contains("d"));
        }
        *few.get_mut("c").unwrap() += 100;
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&"a", &4), (&"b", &19), (&"c", &108)]);
    }
}
