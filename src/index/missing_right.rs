//! A privilege that the index user lacks, and the GRANT statement for it.

use std::fmt;

/// A privilege that the server reported as missing when it denied a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// For example `INSERT`.
    right: String,
    /// The table in backquotes, with its database if the server reports it; `*.*` for a global
    /// privilege.
    object: String,
    /// The account as the server reports it, for example `'pacs'@'%'`.
    account: Option<String>,
}

impl MissingRight {
    pub fn on_table(right: &str, table: &str) -> Self {
        MissingRight { right: right.to_owned(), object: format!("`{table}`"), account: None }
    }

    /// Parses the message of error 1142 (table), 1143 (column) or 1227 (server).
    pub fn parse(message: &str) -> Option<Self> {
        if let Some((right, rest)) = message.split_once(" command denied to user ") {
            let table = rest.rsplit_once(" table ")?.1;
            let parts: Vec<&str> = table.split('.').map(|part| part.trim_matches(['\'', '`'])).collect();
            return Some(MissingRight {
                right: right.to_owned(),
                object: format!("`{}`", parts.join("`.`")),
                account: Some(rest.split_once(" for ")?.0.to_owned()),
            });
        }
        let right = message.split_once("(at least one of) the ")?.1.split_once(" privilege")?.0;
        Some(MissingRight { right: right.to_owned(), object: "*.*".into(), account: None })
    }

    /// Adds the database of the index and the account from the server's grant tables.
    pub fn complete(self, database: &str, account: Option<String>) -> Self {
        let object = match self.object.contains('.') {
            true => self.object,
            false => format!("`{database}`.{}", self.object),
        };
        MissingRight { object, account: account.or(self.account), ..self }
    }

    /// Returns the statement that grants the privilege.
    pub fn grant(&self) -> String {
        let account = self.account.as_deref().unwrap_or("CURRENT_USER");
        format!("GRANT {} ON {} TO {account};", self.right, self.object)
    }
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = &self.right;
        match self.object.as_str() {
            "*.*" => write!(f, "the user of the index lacks the right {right}"),
            object => write!(f, "the user of the index lacks the right {right} on {object}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_s_denial_becomes_the_grant_that_mends_it() {
        let cases = [
            (
                "INSERT command denied to user 'pacs'@'localhost' for table 'image'",
                "GRANT INSERT ON `dicom`.`image` TO 'pacs'@'%';",
            ),
            (
                "SELECT, UPDATE command denied to user 'pacs'@'localhost' for table `dicom`.`study`",
                "GRANT SELECT, UPDATE ON `dicom`.`study` TO 'pacs'@'%';",
            ),
            (
                "UPDATE command denied to user 'pacs'@'localhost' for column 'path' in table 'image'",
                "GRANT UPDATE ON `dicom`.`image` TO 'pacs'@'%';",
            ),
            (
                "Access denied; you need (at least one of) the SUPER privilege(s) for this operation",
                "GRANT SUPER ON *.* TO 'pacs'@'%';",
            ),
        ];
        for (message, grant) in cases {
            let missing = MissingRight::parse(message).unwrap();
            assert_eq!(missing.complete("dicom", Some("'pacs'@'%'".into())).grant(), grant);
        }
        assert_eq!(MissingRight::parse("Table 'dicom.image' doesn't exist"), None);
    }
}
