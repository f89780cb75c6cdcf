//! The statements, as text. Names of columns are those of the database; values are bound.

use std::fmt::Write as _;

use super::{Change, Derive, Derived, Expected, LEVELS, Look, RowUpdate, Show, Tables, View, link, table};
use crate::dicom::{Level, Table};

/// What differs between databases in the text of a statement.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// What makes a SELECT see rows that were committed since the transaction began.
    pub latest: &'static str,
    /// Asks whether the images take more room than the memory that the server keeps tables in: `1` if they do.
    pub outgrows_memory: Option<&'static str>,
    /// It knows users, who may do the one and not the other.
    pub has_privileges: bool,
    /// A join that is made in the order in which its tables are named.
    pub join: &'static str,
    /// Compares values, NULL included.
    pub equal: &'static str,
    /// The type by which any value is shown as text.
    pub text: &'static str,
    /// The type by which texts are compared byte for byte.
    pub bytes: &'static str,
    /// Returns the expression for a column of numbers whose text has all digits.
    pub all_digits: fn(&str) -> String,
    pub concatenate: fn(&[String]) -> String,
    pub prefix: Prefix,
    /// Of an expression, a text that is equal for what the database takes for one key.
    pub identity: fn(&str) -> String,
    /// The same of a value that is bound, as if it stood in the column of the Patient ID.
    pub identity_of_value: String,
}

/// How a database finds the Patient IDs that begin with one of several texts by its index.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Returns what a SELECT reads, given the column of the ID and the number of texts.
    pub source: fn(&str, usize) -> String,
    /// Returns the values that are bound for each ID whose suffixed forms are wanted.
    pub values: fn(&str) -> Vec<String>,
    /// Returns what a SELECT of a page reads, given the column of the ID.
    pub page: fn(&str) -> String,
    /// Returns the values that are bound for a page of the suffixed forms of an ID, behind one of them.
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

/// Statements that need all privileges and touch no row.
pub fn probes(tables: &Tables, level: Level) -> [String; 2] {
    let (table, key) = (table(level), tables.key(level));
    let names: Vec<String> = tables.of(level).columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let names = names.join(", ");
    [
        format!("INSERT INTO `{table}` ({names}) SELECT {names} FROM `{table}` WHERE 1 = 0"),
        format!("UPDATE `{table}` SET `{key}` = `{key}` WHERE 1 = 0"),
    ]
}

/// Key and link, and what else is asked for.
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
        // By the collation of the Patient ID, whatever that of the companion is.
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

/// Images behind a key, as far as series and study are there, each with its patient. The order is that of the primary key,
/// so that no more rows are read than are listed.
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

/// Patients by prefixes of their ID.
pub fn variants(tables: &Tables, dialect: &Dialect, count: usize) -> String {
    let key = tables.key(Level::Patient);
    let source = (dialect.prefix.source)(key, count);
    format!("{} FROM {source} ORDER BY `{key}` DESC", select(tables, dialect, Table::Patient))
}

/// A page of the patients by a prefix of their ID, behind an ID.
pub fn variants_after(tables: &Tables, dialect: &Dialect, most: usize) -> String {
    let key = tables.key(Level::Patient);
    let source = (dialect.prefix.page)(key);
    format!("{} FROM {source} ORDER BY `{key}` LIMIT {most}", select(tables, dialect, Table::Patient))
}

/// Studies by the patients that they are linked to.
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

/// The studies of a list, or the patients of studies, that the PACS has edited or is about to: matched with an order, on
/// the worklist's list of corrections, or with a job that rewrites files and has not succeeded.
pub fn edited(tables: &Tables, level: Level, count: usize) -> String {
    let edits = tables.edits;
    let study = tables.key(Level::Study);
    let patient = tables.of(Level::Study).name("patientid");
    let (shown, listed) = if level == Level::Patient { (patient, patient) } else { (study, study) };
    // Tables of the PACS may have other collations than this one.
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
        // The key is named like that of a study, before 6.2.1 too.
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
    /// A condition that is true while a column holds the text that a lookup showed, or NULL. Compares bytes: a collation
    /// takes texts for equal that differ in case, in accents or in blanks at the end.
    pub fn holds(&self, name: &str) -> String {
        self.shows(&format!("CAST(`{name}` AS {})", self.text))
    }

    /// The same of an expression for a text.
    pub fn shows(&self, shown: &str) -> String {
        let Dialect { equal, bytes, .. } = self;
        format!("CAST({shown} AS {bytes}) {equal} CAST(? AS {bytes})")
    }
}

/// An update of a row while each of the columns, and the path, hold what was read. Values: the new ones, the key, the
/// expected ones, the path, and the key again if studies are counted. Modalities come behind the new values.
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

/// Assignments that keep the server from stamping an update.
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

/// The key of the row above, to be compared with the link of this level's. Where both have one collation it stays as it
/// is.
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

/// The value comes first, the keys after it.
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

/// Sets `series.instances` to the number of its images.
fn counted(tables: &Tables) -> String {
    format!(
        "{} = (SELECT COUNT(*) FROM `image` WHERE `image`.`{}` = {})",
        derived(tables, Level::Series),
        tables.of(Level::Instance).name("seriesuid"),
        linked(tables, Level::Instance, &format!("`series`.`{}`", tables.key(Level::Series)))
    )
}

/// Statements with a column that the database lacks are never run.
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
