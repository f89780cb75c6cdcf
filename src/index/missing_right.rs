//! A right that the user of the index lacks, and the GRANT that gives it.

use std::fmt;

/// A statement that the server denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// For example `INSERT`.
    right: String,
    /// The table in backquotes, with its database if the server names it; `*.*` for a right on the server.
    object: String,
    /// The account as the server names it, for example `'pacs'@'%'`.
    account: Option<String>,
}

impl MissingRight {
    pub fn on_table(right: &str, table: &str) -> Self {
        MissingRight { right: right.to_owned(), object: format!("`{table}`"), account: None }
    }

    /// Reads the message of one of the errors 1142 (table), 1143 (column) and 1227 (server).
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

    /// The same, with the database of the index and the account as the server's tables of rights hold it.
    pub fn complete(self, database: &str, account: Option<String>) -> Self {
        let object = match self.object.contains('.') {
            true => self.object,
            false => format!("`{database}`.{}", self.object),
        };
        MissingRight { object, account: account.or(self.account), ..self }
    }

    /// The statement that gives the right.
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
