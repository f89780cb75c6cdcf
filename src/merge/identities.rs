//! Collation keys of Patient IDs. IDs with the same collation key are equal to the database.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use super::writer::Writer;
use crate::index::Failure;

/// Queries the collation keys of Patient IDs that are not cached yet.
pub(super) fn learn_identities(writer: &mut Writer, ids: &[&str]) -> Result<(), Failure> {
    let unseen: BTreeSet<&str> = {
        let mut known = writer.known.lock();
        ids.iter().copied().filter(|id| !known.identities.keep(id)).collect()
    };
    if unseen.is_empty() {
        return Ok(());
    }
    let unseen = Vec::from_iter(unseen);
    let identities = writer.index.identities(&unseen)?;
    let mut known = writer.known.lock();
    for (id, identity) in unseen.into_iter().zip(identities) {
        known.learn_identity(id, &identity);
    }
    Ok(())
}

/// Returns the collation keys of IDs. Queries the database for those that are not cached.
pub(super) fn identities_of<'i>(
    writer: &mut Writer,
    ids: impl IntoIterator<Item = &'i str>,
) -> Result<HashMap<Arc<str>, Arc<str>>, Failure> {
    let mut identities: HashMap<Arc<str>, Arc<str>> = HashMap::default();
    let mut others = BTreeSet::new();
    {
        let known = writer.known.lock();
        for id in ids {
            match known.identities.get(id) {
                Some(identity) => drop(identities.insert(id.into(), identity.clone())),
                None => drop(others.insert(id)),
            }
        }
    }
    let others = Vec::from_iter(others);
    let of_others = writer.patiently(|writer| writer.index.identities(&others))?;
    identities.extend(others.into_iter().map(Arc::from).zip(of_others.into_iter().map(Arc::from)));
    Ok(identities)
}
