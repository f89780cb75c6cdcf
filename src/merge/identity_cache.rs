//! A bounded cache of the collation keys of Patient IDs.

use std::sync::Arc;

use foldhash::HashMap;

/// The collation keys of the Patient IDs that were queried recently.
pub struct Identities {
    /// The number of recent entries above which the former entries are dropped.
    limit: usize,
    recent: HashMap<Arc<str>, Arc<str>>,
    /// The entries before these, which are dropped next.
    former: HashMap<Arc<str>, Arc<str>>,
}

impl Identities {
    pub(super) fn new(limit: usize) -> Self {
        Identities { limit, recent: HashMap::default(), former: HashMap::default() }
    }

    pub fn get(&self, id: &str) -> Option<&Arc<str>> {
        self.recent.get(id).or_else(|| self.former.get(id))
    }

    /// Returns whether the collation key of an ID is cached. If so, it stays cached while the batch
    /// that needs it is written.
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
