//! The texts of the SQL statements. Column names are those of the database; values are bound.

use std::fmt::Write as _;

use super::{Change, Derive, Derived, Expected, LEVELS, Look, RowUpdate, Show, Tables, View, link, table};
use crate::dicom::{Level, Table};

/// The differences between databases in the text of a statement.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// A suffix that makes a SELECT see rows that were committed since the transaction began.
    pub latest: &'static str,
    /// A query that returns `1` if the image table is larger than the memory in which the server
    /// caches tables.
    pub outgrows_memory: Option<&'static str>,
    /// Whether the database has users with separate privileges.
    pub has_privileges: bool,
    /// A join that is executed in the order in which its tables are listed.
    pub join: &'static str,
    /// The operator that compares values, including NULL.
    pub equal: &'static str,
    /// The type to which any value is cast to show it as text.
    pub text: &'static str,
    /// The type to which texts are cast to compare them byte for byte.
    pub bytes: &'static str,
    /// Returns an expression that shows all digits of a numeric column as text.
    pub all_digits: fn(&str) -> String,
    pub concatenate: fn(&[String]) -> String,
    pub prefix: Prefix,
    /// Returns an expression for the collation key of an expression. Keys that the database
    /// considers equal have equal collation keys.
    pub identity: fn(&str) -> String,
    /// The expression for the collation key of a bound value, compared as in the Patient ID column.
    pub identity_of_value: String,
}

/// The way in which a database uses its index to find the Patient IDs that begin with one of
/// several texts.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Returns the source of a SELECT, given the column of the ID and the number of texts.
    pub source: fn(&str, usize) -> String,
    /// Returns the values to bind for each ID whose suffixed forms are wanted.
    pub values: fn(&str) -> Vec<String>,
    /// Returns the source of a SELECT for a page, given the column of the ID.
    pub page: fn(&str) -> String,
    /// Returns the values to bind for a page of the suffixed forms of an ID, after one of them.
    pub page_values: fn(&str, &str) -> [String; 2],
}

pub fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}

pub fn insert(tables: &Tables, table: Table, rows: usize) -> String {
    let columns = &tables.of(table).columns;
    let names: Vec<String> = columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let row = format!("({})", marks(columns.len()));
    let mut sql = format!("INSERT INTO `{}` ({}) VALUES ", table.name(), names.join(","));
    sql.push_str(&vec![row; rows].join(","));
    sql
}

/// Statements that require all privileges and affect no row.
pub fn probes(tables: &Tables, level: Level) -> [String; 2] {
    let (table, key) = (table(level), tables.key(level));
    let names: Vec<String> = tables.of(level).columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let names = names.join(", ");
    [
        format!("INSERT INTO `{table}` ({names}) SELECT {names} FROM `{table}` WHERE 1 = 0"),
        format!("UPDATE `{table}` SET `{key}` = `{key}` WHERE 1 = 0"),
    ]
}

/// Selects the key, the link and the columns that the lookup options request.
pub fn find(tables: &Tables, dialect: &Dialect, table: Table, look: Look, keys: usize) -> String {
    let key = tables.key(table);
    let mut sql = select(tables, dialect, table);
    let fed = || tables.of(table).fed();
    let _ = match look.show {
        Show::Nothing => Ok(()),
        Show::Nulls => {
            let nulls: Vec<String> = fed().map(|column| format!("`{}` IS NULL", column.name)).collect();
            write!(sql, ", {}", (dialect.concatenate)(&nulls))
        }
        Show::Values => fed().try_for_each(|column| write!(sql, ", {}", column.as_text(dialect.text))),
    };
    let _ = write!(sql, " FROM `{}` WHERE `{key}` IN ({})", table.name(), marks(keys));
    if look.view == View::Now {
        sql.push_str(dialect.latest);
    }
    sql
}

fn select(tables: &Tables, dialect: &Dialect, table: Table) -> String {
    let of = tables.of(table);
    let key = format!("`{}`", tables.key(table));
    let mut sql = format!("SELECT {key}");
    let _ = match table {
        Table::Patient => {
            let name = |known: &str| of.column(known).map_or("NULL".into(), |column| format!("`{}`", column.name));
            let [last, first, middle] = ["lastname", "firstname", "middlename"].map(name);
            write!(sql, ", {}, {last}, {first}, {middle}", (dialect.identity)(&key))
        }
        // Uses the collation of the Patient ID, whatever the collation of the companion table is.
        _ if table.level() == Level::Patient => write!(sql, ", {}", dialect.identity_of_value.replace('?', &key)),
        _ => link(table).map_or(Ok(()), |link| write!(sql, ", `{}`", of.name(link))),
    };
    if let Some(column) = of.derived.as_ref().filter(|column| column.nullable) {
        let _ = write!(sql, ", CASE WHEN `{}` IS NULL THEN '1' ELSE NULL END", column.name);
    }
    if table == Table::Image {
        let _ = write!(sql, ", `{}`", of.name("path"));
    }
    sql
}

/// Selects the images after a key whose series and study exist, each with its patient if that
/// exists. The rows are in primary key order, so that no more rows are read than are returned.
pub fn rows_after(tables: &Tables, dialect: &Dialect, most: usize) -> String {
    let key = tables.key(Level::Instance);
    let path = tables.of(Level::Instance).name("path");
    let mut sql = format!("SELECT `image`.`{key}`, `image`.`{path}`");
    for level in [Level::Series, Level::Study, Level::Patient] {
        let _ = write!(sql, ", `{}`.`{}`", table(level), tables.key(level));
    }
    // The names of the tables with an unfinished row.
    let derived = [Level::Series, Level::Study].into_iter().filter_map(|level| {
        let column = tables.of(level).derived.as_ref().filter(|column| column.nullable)?;
        let table = table(level);
        Some(format!("CASE WHEN `{table}`.`{}` IS NULL THEN '{table}' ELSE '' END", column.name))
    });
    let unfinished = derived.collect::<Vec<_>>();
    let unfinished = if unfinished.is_empty() { "NULL".into() } else { (dialect.concatenate)(&unfinished) };
    let _ = write!(sql, ", {unfinished} FROM `image`");
    for level in [Level::Series, Level::Study, Level::Patient] {
        let lower = LEVELS[level as usize + 1].table();
        let link = format!("`{}`.`{}`", lower.name(), tables.of(lower).name(link(lower).unwrap_or_default()));
        let link = tables.of(level).column(level.table().key()).map_or_else(|| link.clone(), |key| key.compared(&link));
        let join = if level == Level::Patient { "LEFT JOIN" } else { dialect.join };
        let (upper, key) = (table(level), tables.key(level));
        let _ = write!(sql, " {join} `{upper}` ON `{upper}`.`{key}` = {link}");
    }
    let _ = write!(sql, " WHERE `image`.`{key}` > ? ORDER BY `image`.`{key}` LIMIT {most}");
    sql
}

pub fn identities(dialect: &Dialect, count: usize) -> String {
    format!("SELECT {}", vec![dialect.identity_of_value.as_str(); count].join(","))
}

/// Selects patients by prefixes of their ID.
pub fn variants(tables: &Tables, dialect: &Dialect, count: usize) -> String {
    let key = tables.key(Level::Patient);
    let source = (dialect.prefix.source)(key, count);
    format!("{} FROM {source} ORDER BY `{key}` DESC", select(tables, dialect, Table::Patient))
}

/// Selects a page of the patients by a prefix of their ID, after an ID.
pub fn variants_after(tables: &Tables, dialect: &Dialect, most: usize) -> String {
    let key = tables.key(Level::Patient);
    let source = (dialect.prefix.page)(key);
    format!("{} FROM {source} ORDER BY `{key}` LIMIT {most}", select(tables, dialect, Table::Patient))
}

/// Selects the studies that are linked to patients.
pub fn studies_of(tables: &Tables, dialect: &Dialect, view: View, count: usize) -> String {
    let study = tables.of(Level::Study);
    let (patient, key) = (study.name("patientid"), tables.key(Level::Study));
    let unfinished = match study.derived.as_ref().filter(|column| column.nullable) {
        Some(column) => format!("CASE WHEN `{}` IS NULL THEN '1' ELSE NULL END", column.name),
        None => "NULL".to_owned(),
    };
    let latest = if view == View::Now { dialect.latest } else { "" };
    format!("SELECT `{patient}`, `{key}`, {unfinished} FROM `study` WHERE `{patient}` IN ({}){latest}", marks(count))
}

pub fn escape_like(text: &str) -> String {
    text.chars().flat_map(|c| ['|'].into_iter().filter(move |_| matches!(c, '|' | '%' | '_')).chain([c])).collect()
}

/// Selects the studies of a list, or the patients of studies, that the PACS has edited or is about
/// to edit: matched with an order, in the worklist's list of corrections, or subject to a job that
/// rewrites files and has not succeeded.
pub fn edited(tables: &Tables, level: Level, count: usize) -> String {
    let edits = tables.edits;
    let study = tables.key(Level::Study);
    let patient = tables.of(Level::Study).name("patientid");
    let (shown, listed) = if level == Level::Patient { (patient, patient) } else { (study, study) };
    // The tables of the PACS may have other collations than the study table.
    let as_if = |known: &str, key: &str| {
        tables.of(Level::Study).column(known).map_or_else(|| key.to_owned(), |column| column.compared(key))
    };
    let mut why = Vec::new();
    if edits.matched {
        why.push("`matched` = 1".to_owned());
    }
    if edits.worklist {
        why.push(format!("`{study}` IN (SELECT {} FROM `matchworklist`)", as_if("uuid", "`studyuid`")));
    }
    if edits.jobs {
        // The key column has the same name as that of a study, also before 6.2.1.
        let pending = "`type` IN ('resolve', 'SplitStudy') AND (`status` IS NULL OR `status` <> 'success')";
        for (of_study, known) in [(study, "uuid"), (patient, "patientid")] {
            let key = as_if(known, &format!("`{study}`"));
            let jobs = format!("SELECT {key} FROM `dbjob` WHERE {pending} AND `{study}` IS NOT NULL");
            why.push(format!("`{of_study}` IN ({jobs})"));
        }
    }
    format!("SELECT DISTINCT `{shown}` FROM `study` WHERE `{listed}` IN ({}) AND ({})", marks(count), why.join(" OR "))
}

impl Dialect {
    /// Returns a condition that is true while a column has the bound text, or NULL, that a lookup
    /// returned. Compares bytes, because a collation may ignore case, accents and trailing spaces.
    pub fn holds(&self, name: &str) -> String {
        self.shows(&format!("CAST(`{name}` AS {})", self.text))
    }

    /// Returns the same condition for an expression that yields a text.
    pub fn shows(&self, shown: &str) -> String {
        let Dialect { equal, bytes, .. } = self;
        format!("CAST({shown} AS {bytes}) {equal} CAST(? AS {bytes})")
    }
}

/// Updates a row while each of the columns, and the path, have the values that were read. The
/// values to bind are the new values, the modalities if any, the key, the expected values, the
/// path, and the key again if studies are counted.
pub fn update(tables: &Tables, dialect: &Dialect, update: &RowUpdate<'_>) -> String {
    let RowUpdate { table, changes, .. } = *update;
    let is_changed = |name: &str| changes.iter().any(|change| change.column.name == name);
    let preserved = preserved(tables, table, is_changed);
    let set = |change: &Change<'_>| format!("`{}` = ?", change.column.name);
    let derived = match update.derived {
        Derived::Unchanged => None,
        Derived::Instances => Some(counted(tables)),
        Derived::Modalities(_) => Some(format!("{} = ?", derived(tables, Level::Study))),
    };
    let sets: Vec<String> = changes.iter().map(set).chain(derived).chain(preserved).collect();
    let mut sql = format!("UPDATE `{}` SET {} WHERE `{}` = ?", table.name(), sets.join(", "), tables.key(table));
    for change in changes.iter().filter(|change| matches!(change.expected, Expected::Shown(_))) {
        let _ = write!(sql, " AND {}", dialect.shows(&change.column.as_text(dialect.text)));
    }
    if update.only_unfinished
        && let Some(column) = tables.of(table).derived.as_ref().filter(|column| column.nullable)
    {
        let _ = write!(sql, " AND `{}` IS NULL", column.name);
    }
    if update.path.is_some() {
        let _ = write!(sql, " AND {}", dialect.holds(tables.of(table).name("path")));
    }
    if let Some(studies) = update.studies {
        let patient = tables.of(Level::Study).name("patientid");
        let _ = write!(sql, " AND (SELECT COUNT(*) FROM `study` WHERE `{patient}` = ?) = {studies}");
    }
    sql
}

/// Returns assignments that prevent the server from updating automatic timestamps.
fn preserved(tables: &Tables, table: impl Into<Table>, is_changed: impl Fn(&str) -> bool) -> Vec<String> {
    let stamped = tables.of(table).preserved.iter().filter(|name| !is_changed(name));
    stamped.map(|name| format!("`{name}` = `{name}`")).collect()
}

pub fn modalities(tables: &Tables, which: Derive, count: usize) -> String {
    let series = tables.of(Level::Series);
    let (study, modality, key) = (series.name("studyuid"), series.name("modality"), tables.key(Level::Study));
    format!(
        "SELECT DISTINCT `{study}`, `{modality}` FROM `series` WHERE `{modality}` IS NOT NULL AND `{study}` IN \
         (SELECT {} FROM `study` WHERE `{key}` IN ({}){})",
        linked(tables, Level::Series, &format!("`{key}`")),
        marks(count),
        where_null(tables, Level::Study, which)
    )
}

/// Returns an expression for the key of the parent row, to be compared with the link of this level.
/// The key is unchanged if both have the same collation.
fn linked(tables: &Tables, level: Level, key: &str) -> String {
    let collation =
        |level: Level, name: &str| tables.of(level).column(name).and_then(|column| column.collation.clone());
    let above = if level == Level::Instance { Level::Series } else { Level::Study };
    let Some(link) = link(level.table()) else { return key.to_owned() };
    match collation(level, link) == collation(above, super::key(above)) {
        true => key.to_owned(),
        false => tables.of(level).column(link).map_or_else(|| key.to_owned(), |column| column.compared(key)),
    }
}

/// Binds the value first, then the keys.
pub fn set_derived(tables: &Tables, level: Level, count: usize) -> String {
    let sets = [vec![format!("{} = ?", derived(tables, level))], preserved(tables, level, |_| false)].concat();
    format!("UPDATE `{}` SET {} WHERE `{}` IN ({})", table(level), sets.join(", "), tables.key(level), marks(count))
}

pub fn count_instances(tables: &Tables, which: Derive, count: usize) -> String {
    let key = tables.key(Level::Series);
    let sets = [vec![counted(tables)], preserved(tables, Level::Series, |_| false)].concat();
    let null = where_null(tables, Level::Series, which);
    format!("UPDATE `series` SET {} WHERE `{key}` IN ({}){null}", sets.join(", "), marks(count))
}

/// Returns the assignment of the number of images to `series.instances`.
fn counted(tables: &Tables) -> String {
    format!(
        "{} = (SELECT COUNT(*) FROM `image` WHERE `image`.`{}` = {})",
        derived(tables, Level::Series),
        tables.of(Level::Instance).name("seriesuid"),
        linked(tables, Level::Instance, &format!("`series`.`{}`", tables.key(Level::Series)))
    )
}

/// Returns the derived column, or NULL if the database lacks the column. Statements with that NULL
/// are never run.
fn derived(tables: &Tables, level: Level) -> String {
    tables.of(level).derived.as_ref().map_or("NULL".into(), |column| format!("`{}`", column.name))
}

fn where_null(tables: &Tables, level: Level, which: Derive) -> String {
    match which {
        Derive::All => String::new(),
        Derive::WhereNull => format!(" AND {} IS NULL", derived(tables, level)),
        Derive::WhereSet => format!(" AND {} IS NOT NULL", derived(tables, level)),
    }
}
