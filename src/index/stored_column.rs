//! Columns whose values are saved as text, so that a row can be restored.

use super::statements::Dialect;

/// A column as the database catalogue describes it.
struct ColumnType {
    name: String,
    /// In lower case.
    data_type: String,
    is_generated: bool,
}

impl ColumnType {
    fn read(row: Vec<Option<String>>) -> Option<Self> {
        let [name, data_type, extra] = <[Option<String>; 3]>::try_from(row).ok()?;
        let extra = extra.unwrap_or_default();
        // Servers report `VIRTUAL GENERATED`, `STORED GENERATED`, `VIRTUAL` or `PERSISTENT`;
        // `DEFAULT_GENERATED` only marks a default.
        let is_generated = ["virtual", "stored", "persistent"].iter().any(|word| extra.contains(word));
        Some(ColumnType { name: name?, data_type: data_type.unwrap_or_default(), is_generated })
    }

    fn is_real(&self) -> bool {
        ["float", "double", "real"].iter().any(|name| self.data_type.starts_with(name))
    }

    /// Whether the type is a geometry, which has no direct cast to text.
    fn is_geometry(&self) -> bool {
        self.data_type.starts_with("geom")
            || ["point", "linestring", "polygon"].iter().any(|name| self.data_type.ends_with(name))
    }

    /// Whether the type may contain bytes that are not text. True for an unknown type.
    fn may_hold_bytes(&self) -> bool {
        let known = ["char", "text", "int", "decimal", "numeric", "date", "time", "year", "enum", "set", "json"];
        !self.is_real() && (self.is_geometry() || !known.iter().any(|name| self.data_type.contains(name)))
    }
}

/// A column that a statement can write.
pub struct StoredColumn {
    pub name: String,
    /// The expression that shows the value as text, with all digits.
    pub shown: String,
    /// A condition that is true while the column has the text, or NULL, that is bound next in the
    /// statement.
    pub holds: String,
    /// A condition that is true if the text does not represent the whole value. `None` if the text
    /// always does.
    pub is_lossy: Option<String>,
}

impl StoredColumn {
    /// Parses the name, the type and the extra properties of a column, the last two in lower case.
    /// Returns `None` for a generated column.
    pub fn read(row: Vec<Option<String>>, dialect: &Dialect) -> Option<Self> {
        let column = ColumnType::read(row)?;
        if column.is_generated {
            return None;
        }
        let quoted = format!("`{}`", column.name.replace('`', "``"));
        let value = match () {
            () if column.is_real() => (dialect.all_digits)(&quoted),
            () if column.is_geometry() => format!("ST_ASTEXT({quoted})"),
            () => quoted.clone(),
        };
        let shown = format!("CAST({value} AS {})", dialect.text);
        let is_lossy = column.may_hold_bytes().then(|| match column.is_geometry() {
            true => format!("{quoted} IS NOT NULL"),
            false => format!("{quoted} IS NOT NULL AND NOT COALESCE(HEX({quoted}) = HEX({shown}), 0)"),
        });
        Some(StoredColumn { holds: dialect.shows(&shown), name: column.name, shown, is_lossy })
    }
}

/// A column of another table that may refer to a row.
pub(crate) struct Reference {
    pub(crate) table: String,
    pub(crate) column: String,
}
