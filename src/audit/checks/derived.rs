//! Values that are derived from other rows. The severity is `Info`, because the PACS may count in a
//! different way.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::Level;

pub const INSTANCES: Check = Check {
    name: "instances-differ",
    severity: Severity::Info,
    about: "series.instances is not the number of its images, or is missing",
    asks: Asks::Tables(|tables| {
        let derived = &tables.of(Level::Series).derived.as_ref()?.name;
        let (series, link) = (tables.key(Level::Series), tables.of(Level::Instance).name("seriesuid"));
        let key = format!("s.`{series}`");
        let above = tables.of(Level::Instance).column("seriesuid").map_or(key.clone(), |column| column.compared(&key));
        Some(format!(
            "SELECT * FROM (SELECT s.`{series}` k, 'instances is not the number of images', 'series', 'instances', \
             CAST(s.`{derived}` AS CHAR) f, CAST((SELECT COUNT(*) FROM `image` i WHERE i.`{link}` = {above}) AS CHAR) t \
             FROM `series` s) n WHERE f <> t OR f IS NULL AND t <> '0' ORDER BY k"
        ))
    }),
};

pub const MODALITIES: Check = Check {
    name: "modalities-null",
    severity: Severity::Info,
    about: "study.modalities is NULL though its series have modalities",
    asks: Asks::Tables(|tables| {
        let derived = &tables.of(Level::Study).derived.as_ref()?.name;
        let (study, link) = (tables.key(Level::Study), tables.of(Level::Series).name("studyuid"));
        let modality = &tables.of(Level::Series).column("modality")?.name;
        let key = format!("t.`{study}`");
        let above = tables.of(Level::Series).column("studyuid").map_or(key.clone(), |column| column.compared(&key));
        Some(format!(
            "SELECT t.`{study}`, 'modalities is NULL' FROM `study` t WHERE t.`{derived}` IS NULL AND EXISTS \
             (SELECT 1 FROM `series` s WHERE s.`{link}` = {above} AND s.`{modality}` <> '') ORDER BY t.`{study}`"
        ))
    }),
};
