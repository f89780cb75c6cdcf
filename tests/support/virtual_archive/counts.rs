//! Counts the requests of the kernel, by kind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value as Json, json};

#[derive(Debug, Default)]
pub struct Counts {
    pub lookup: AtomicU64,
    pub getattr: AtomicU64,
    pub open: AtomicU64,
    pub read: AtomicU64,
    pub bytes_read: AtomicU64,
    pub release: AtomicU64,
    pub opendir: AtomicU64,
    pub readdir: AtomicU64,
    /// Reads of offline files.
    pub recall: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Relaxed);
    }

    pub fn to_json(&self) -> Json {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        json!({
            "lookup": count(&self.lookup), "getattr": count(&self.getattr), "open": count(&self.open),
            "read": count(&self.read), "bytes_read": count(&self.bytes_read), "release": count(&self.release),
            "opendir": count(&self.opendir), "readdir": count(&self.readdir), "recall": count(&self.recall),
        })
    }
}
