//! Rows without a parent row. The web pages of the PACS do not show them.

use super::super::finding::Severity;
use super::{Asks, Check};
use crate::dicom::{Level, Table};
use crate::index::{Tables, key, link, table};

pub const IMAGES: Check = Check {
    name: "image-without-series",
    severity: Severity::Error,
    about: "an image's series has no row",
    asks: Asks::Tables(|tables| Some(without_row_above(tables, Level::Instance, Level::Series))),
};

pub const SERIES: Check = Check {
    name: "series-without-study",
    severity: Severity::Error,
    about: "a series' study has no row",
    asks: Asks::Tables(|tables| Some(without_row_above(tables, Level::Series, Level::Study))),
};

pub const STUDIES: Check = Check {
    name: "study-without-patient",
    severity: Severity::Error,
    about: "a study's patient has no row, which hides the study",
    asks: Asks::Tables(|tables| Some(without_row_above(tables, Level::Study, Level::Patient))),
};

fn without_row_above(tables: &Tables, lower: Level, upper: Level) -> String {
    let below = Table::from(lower);
    let (key_below, key_above) = (tables.key(lower), tables.key(upper));
    let named = tables.of(lower).name(link(below).unwrap_or_default());
    let (lower, above) = (table(lower), table(upper));
    let column = format!("l.`{named}`");
    let compared = tables.of(upper).column(key(upper)).map_or(column.clone(), |key| key.compared(&column));
    format!(
        "SELECT l.`{key_below}`, 'the row above is missing' FROM `{lower}` l LEFT JOIN `{above}` u \
         ON u.`{key_above}` = {compared} WHERE u.`{key_above}` IS NULL ORDER BY l.`{key_below}`"
    )
}
