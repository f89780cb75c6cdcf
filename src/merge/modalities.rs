//! `study.modalities`: the distinct modalities of the series of a study.

use std::collections::{BTreeMap, BTreeSet};

use super::writer::Writer;
use crate::index::{Derive, Failure};

/// Returns the distinct modalities of the studies that have a series with a modality.
pub(super) fn modalities_of(writer: &mut Writer, studies: &[&str], which: Derive) -> Result<Modalities, Failure> {
    let mut modalities = Modalities::new();
    for (study, modality) in writer.index.modalities(studies, which)? {
        modalities.entry(study).or_default().insert(modality);
    }
    Ok(modalities)
}

/// Writes the modalities of studies. Many studies have the same modalities, so one statement
/// updates all studies with equal modalities.
pub(super) fn set_modalities(writer: &mut Writer, modalities: &Modalities) -> Result<(), Failure> {
    let mut studies: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (study, distinct) in modalities {
        studies.entry(text_of(distinct)).or_default().push(study);
    }
    studies.iter().try_for_each(|(modalities, studies)| writer.index.set_modalities(studies, modalities))
}

/// The distinct modalities of each study.
pub(super) type Modalities = BTreeMap<String, BTreeSet<String>>;

/// Returns the value of `study.modalities`, separated in the same way as by PacsOne.
pub(super) fn text_of(modalities: &BTreeSet<String>) -> String {
    modalities.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
