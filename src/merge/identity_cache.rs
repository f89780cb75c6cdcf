//! Identities of Patient IDs that the database was asked for lately, in bounded memory.

use std::sync::Arc;

use foldhash::HashMap;

/// The identities of Patient IDs, as far as the database was asked lately.
pub struct Identities {
    /// The number of recent ones above which the former ones are forgotten.
    limit: usize,
    recent: HashMap<Arc<str>, Arc<str>>,
    /// Those before, which are forgotten next.
    former: HashMap<Arc<str>, Arc<str>>,
}

impl Identities {
    pub(super) fn new(limit: usize) -> Self {
        Identities { limit, recent: HashMap::default(), former: HashMap::default() }
    }

    pub fn get(&self, id: &str) -> Option<&Arc<str>> {
        self.recent.get(id).or_else(|| self.former.get(id))
    }

    /// Returns whether the identity of an ID is known, and stays known while the batch that asks is written.
    pub fn keep(&mut self, id: &str) -> bool {
        if self.recent.contains_key(id) {
            return true;
        }
        let former = self.former.remove_entry(id);
        let is_known = former.is_some();
        self.recent.extend(former);
        is_known
    }

    pub(super) fn insert(&mut self, id: &str, identity: &str) {
        let id: Arc<str> = id.into();
        let identity = if *id == *identity { id.clone() } else { identity.into() };
        self.recent.insert(id, identity);
    }

    pub(super) fn relieve(&mut self) {
        if self.recent.len() > self.limit {
            self.former = std::mem::take(&mut self.recent);
        }
    }
}
