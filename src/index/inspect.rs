//! The queries of an audit. They write nothing and lock no row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::location::Access;
use super::{Existing, Failure, Index, Location, Look, Show, Tables, View};
use crate::dicom::pixel_size;
use crate::dicom::{Level, Table};
use crate::error::Result;

/// An image row of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedRow {
    pub sop_instance_uid: String,
    pub path: String,
    /// The minimum size of the file in bytes: the size of its pixel data, or zero if the pixel data
    /// is compressed or the row lacks a value that determines the size.
    pub least_size: u64,
}

/// The studies of a set of images.
#[derive(Debug, Default)]
pub struct Studies {
    pub of_image: HashMap<String, String>,
    /// The number of all images of each study.
    pub images: BTreeMap<String, u64>,
}

pub struct Inspector {
    index: Box<dyn Index + Send>,
    tables: Arc<Tables>,
}

/// The number of rows per page.
const PAGE: usize = 5000;

impl Inspector {
    pub fn new(location: &Location, tables: &Arc<Tables>) -> Result<Self> {
        Ok(Inspector { index: location.connect(tables, Access::DryRun)?, tables: tables.clone() })
    }

    /// Creates an inspector for use beside writers. In an SQLite index, the last connection to
    /// close must have write access.
    pub fn beside_writers(location: &Location, tables: &Arc<Tables>) -> Result<Self> {
        Ok(Inspector { index: location.connect(tables, Access::Write)?, tables: tables.clone() })
    }

    pub fn close(self) {
        self.index.close();
    }

    pub fn tables(&self) -> Arc<Tables> {
        self.tables.clone()
    }

    /// Returns the rows that a check's query finds, each value as text.
    pub fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        self.index.ask(sql, &[])
    }

    /// Returns a page of images after a UID, in the order of the database. Empty at the end.
    /// Without `with_sizes`, the sizes are zero.
    pub fn images_after(&mut self, sop_instance_uid: &str, with_sizes: bool) -> Result<Vec<AuditedRow>, Failure> {
        let key = self.tables.key(Level::Instance);
        let sql = format!("{} WHERE `{key}` > ? ORDER BY `{key}` LIMIT {PAGE}", self.select(with_sizes));
        Ok(self.index.ask(&sql, &[sop_instance_uid])?.into_iter().filter_map(row).collect())
    }

    /// Returns the images with these UIDs. UIDs that the index does not contain are left out.
    pub fn images(&mut self, uids: &[&str]) -> Result<Vec<AuditedRow>, Failure> {
        let mut found = Vec::new();
        for part in uids.chunks(500) {
            let marks = vec!["?"; part.len()].join(",");
            let sql = format!("{} WHERE `{}` IN ({marks})", self.select(true), self.tables.key(Level::Instance));
            found.extend(self.index.ask(&sql, part)?.into_iter().filter_map(row));
        }
        Ok(found)
    }

    /// Returns the rows of a level with these keys, including the values of tag-fed columns.
    pub fn rows(&mut self, level: Level, keys: &[&str]) -> Result<Vec<Existing>, Failure> {
        self.index.find(Table::from(level), keys, Look { view: View::Begun, show: Show::Values })
    }

    /// Returns the studies among these that the PACS, or one of its users, has edited or is about
    /// to edit.
    pub fn edited(&mut self, studies: &[&str]) -> Result<Vec<String>, Failure> {
        self.index.edited(Level::Study, studies)
    }

    /// Returns the study of each of these images, and the number of images in each of these
    /// studies.
    pub fn studies_of(&mut self, images: &[&str]) -> Result<Studies, Failure> {
        let tables = self.tables.clone();
        let (image, series) = (tables.key(Level::Instance), tables.key(Level::Series));
        let (of_series, of_study) =
            (tables.of(Level::Instance).name("seriesuid"), tables.of(Level::Series).name("studyuid"));
        let named = self.series_of_image(of_series);
        let from = format!("FROM `image` i JOIN `series` s ON s.`{series}` = {named}");
        let mut studies = Studies::default();
        for part in images.chunks(500) {
            let marks = vec!["?"; part.len()].join(",");
            let sql = format!("SELECT i.`{image}`, s.`{of_study}` {from} WHERE i.`{image}` IN ({marks})");
            for row in self.index.ask(&sql, part)? {
                if let [Some(image), Some(study)] = row.as_slice() {
                    studies.of_image.insert(image.clone(), study.clone());
                }
            }
        }
        let named: BTreeSet<&String> = studies.of_image.values().collect();
        let named: Vec<&str> = named.into_iter().map(String::as_str).collect();
        for part in named.chunks(500) {
            let (marks, text) = (vec!["?"; part.len()].join(","), self.index.text_type());
            let sql = format!(
                "SELECT s.`{of_study}`, CAST(COUNT(*) AS {text}) {from} WHERE s.`{of_study}` IN ({marks}) GROUP BY s.`{of_study}`"
            );
            for row in self.index.ask(&sql, part)? {
                if let [Some(study), Some(count)] = row.as_slice() {
                    studies.images.insert(study.clone(), count.parse().unwrap_or(0));
                }
            }
        }
        Ok(studies)
    }

    /// Returns the numbers of images by the day on which their study was received, and by the
    /// modality of their series.
    pub fn census(&mut self) -> Result<[Vec<(String, u64)>; 2], Failure> {
        let tables = self.tables.clone();
        let [series, study] = [Level::Series, Level::Study].map(|level| tables.key(level));
        let (of_series, of_study) =
            (tables.of(Level::Instance).name("seriesuid"), tables.of(Level::Series).name("studyuid"));
        let text = self.index.text_type();
        let named = self.series_of_image(of_series);
        let from = format!("FROM `image` i JOIN `series` s ON s.`{series}` = {named}");
        let mut counted = |by: String, join: String| -> Result<Vec<(String, u64)>, Failure> {
            let sql = format!("SELECT {by}, CAST(COUNT(*) AS {text}) {from} {join} GROUP BY 1 ORDER BY 1");
            let rows = self.index.ask(&sql, &[])?.into_iter();
            Ok(rows.filter_map(|row| Some((row.first()?.clone()?, row.get(1)?.as_deref()?.parse().ok()?))).collect())
        };
        let column = |level: Level, known: &str| tables.of(level).column(known).map(|column| column.name.clone());
        let by_day = column(Level::Study, "received").map(|received| {
            let named = format!("s.`{of_study}`");
            let named = tables.of(Level::Study).column("uuid").map_or(named.clone(), |column| column.compared(&named));
            let join = format!("JOIN `study` t ON t.`{study}` = {named}");
            counted(format!("SUBSTR(CAST(t.`{received}` AS {text}), 1, 10)"), join)
        });
        let by_day = by_day.transpose()?.unwrap_or_default();
        let by_modality =
            column(Level::Series, "modality").map(|modality| counted(format!("s.`{modality}`"), String::new()));
        Ok([by_day, by_modality.transpose()?.unwrap_or_default()])
    }

    /// Returns up to `most` keys of a table after a key, in the order of the database.
    pub fn keys_after(&mut self, table: Table, key: &str, most: usize) -> Result<Vec<String>, Failure> {
        let column = self.tables.key(table).to_owned();
        let name = table.name();
        let sql = format!("SELECT `{column}` FROM `{name}` WHERE `{column}` > ? ORDER BY `{column}` LIMIT {most}");
        Ok(self.index.ask(&sql, &[key])?.into_iter().flatten().flatten().collect())
    }

    pub fn columns(&mut self, table: Table) -> Result<Vec<String>, Failure> {
        self.index.column_names(table.name())
    }

    /// Returns the number and the checksum of the rows after a key, up to and including `end`.
    /// Works on MySQL and MariaDB only.
    pub fn checksum(
        &mut self,
        table: Table,
        columns: &[String],
        after: &str,
        end: Option<&str>,
    ) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let (range, values) = self.range(table, after, end);
        let hash = hash(columns);
        let sql = format!(
            "SELECT CAST(COUNT(*) AS CHAR), CAST(BIT_XOR(CONV(LEFT({hash}, 16), 16, 10)) AS CHAR) FROM `{}` {range}",
            table.name()
        );
        self.index.ask(&sql, &values)
    }

    /// Returns the hash of each row after a key, up to and including `end`, by key. Works on MySQL
    /// and MariaDB only.
    pub fn checksums(
        &mut self,
        table: Table,
        columns: &[String],
        after: &str,
        end: Option<&str>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let (range, values) = self.range(table, after, end);
        let sql = format!("SELECT `{}`, {} FROM `{}` {range}", self.tables.key(table), hash(columns), table.name());
        let rows = self.index.ask(&sql, &values)?.into_iter();
        Ok(rows.filter_map(|row| Some((row.first()?.clone()?, row.get(1)?.clone()?))).collect())
    }

    fn range<'v>(&self, table: Table, after: &'v str, end: Option<&'v str>) -> (String, Vec<&'v str>) {
        let key = self.tables.key(table);
        match end {
            Some(end) => (format!("WHERE `{key}` > ? AND `{key}` <= ?"), vec![after, end]),
            None => (format!("WHERE `{key}` > ?"), vec![after]),
        }
    }

    /// Returns an expression for the series key in an image row, converted to the collation of the
    /// series key column, which may differ.
    fn series_of_image(&self, link: &str) -> String {
        let named = format!("i.`{link}`");
        self.tables.of(Level::Series).column("uuid").map_or(named.clone(), |column| column.compared(&named))
    }

    /// Returns the number of images below a row.
    pub fn images_below(&mut self, level: Level, key: &str) -> Result<u64, Failure> {
        let tables = self.tables.clone();
        let link = |lower: Level, known: &str| format!("`{}`", tables.of(lower).name(known));
        let (of_series, of_study, of_patient) =
            (link(Level::Instance, "seriesuid"), link(Level::Series, "studyuid"), link(Level::Study, "patientid"));
        let (series, study) = (tables.key(Level::Series), tables.key(Level::Study));
        let below_series = |keys: String| format!("SELECT COUNT(*) n FROM `image` WHERE {of_series} IN ({keys})");
        let of_studies = |keys: String| format!("SELECT `{series}` FROM `series` WHERE {of_study} IN ({keys})");
        let rows = |index: &mut Box<dyn Index + Send>, sql: String, key: &str| -> Result<Vec<String>, Failure> {
            Ok(index.ask(&sql, &[key])?.into_iter().flatten().flatten().collect())
        };
        let studies = match level {
            Level::Patient => {
                rows(&mut self.index, format!("SELECT `{study}` FROM `study` WHERE {of_patient} = ?"), key)?
            }
            _ => vec![key.to_owned()],
        };
        let mut all = Vec::new();
        for one in &studies {
            match level {
                Level::Patient | Level::Study => all.extend(rows(&mut self.index, of_studies("?".into()), one)?),
                _ => all.push(one.clone()),
            }
        }
        let text = self.index.text_type();
        let mut count = 0;
        for one in &all {
            let sql = format!("SELECT CAST(n AS {text}) FROM ({}) c", below_series("?".into()));
            count += rows(&mut self.index, sql, one)?.first().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(count)
    }

    /// Returns whether a study of a patient was edited.
    pub fn has_edited_study(&mut self, patient: &str) -> Result<bool, Failure> {
        Ok(!self.index.edited(Level::Patient, &[patient])?.is_empty())
    }

    fn select(&self, with_sizes: bool) -> String {
        let image = self.tables.of(Level::Instance);
        let text = self.index.text_type();
        let of_size = pixel_size::COLUMNS.iter().map(|known| match image.column(known) {
            Some(column) => column.as_text(text),
            None => "NULL".into(),
        });
        let (key, path) = (self.tables.key(Level::Instance), image.name("path"));
        let columns: Vec<String> = [format!("`{key}`"), format!("`{path}`")].into_iter().chain(of_size).collect();
        let columns = if with_sizes { &columns[..] } else { &columns[..2] };
        format!("SELECT {} FROM `image`", columns.join(", "))
    }
}

/// Returns an expression for the hash of a row. The hash distinguishes NULL from an empty text, and
/// each column from its neighbors. MySQL 9.6 and later have no MD5(); every supported server has
/// SHA2().
fn hash(columns: &[String]) -> String {
    let parts = columns.iter().map(|column| format!("ISNULL(`{column}`), IFNULL(`{column}`, '')"));
    format!("SHA2(CONCAT_WS(0x00, {}), 224)", parts.collect::<Vec<_>>().join(", "))
}

fn row(columns: Vec<Option<String>>) -> Option<AuditedRow> {
    let mut columns = columns.into_iter();
    let sop_instance_uid = columns.next()??;
    let path = columns.next()?.unwrap_or_default();
    let least_size = pixel_size::least_size(&columns.collect::<Vec<_>>()).unwrap_or(0);
    Some(AuditedRow { sop_instance_uid, path, least_size })
}
