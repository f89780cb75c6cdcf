//! `--pacsone-ini FILE`: the location of the database, from the INI file of the PACS
//! (pacsone-index.md, section 6).
//!
//! The file is a flat list of `Key = value` lines, and five of its keys are used. A password in the
//! file is ignored: passwords come from the same sources as without the file.

use std::path::Path;

use url::Url;

use crate::error::{Error, Result};

/// The file next to the INI file that marks a PACS on Oracle.
const ORACLE: &str = "database.oracle";

/// Returns the URL of the database. The user in the INI file is used only if `user` is `None`.
pub fn url(path: &Path, user: Option<&str>) -> Result<String> {
    let failed = |what: String, advice: &str| Error::usage(format!("--pacsone-ini {}: {what}", path.display()), advice);
    if path.with_file_name(ORACLE).exists() {
        let what = format!("{ORACLE} is next to it, so this PACS keeps its index in Oracle");
        return Err(failed(what, "pacs-index writes to MySQL, MariaDB and SQLite only."));
    }
    let advice = "Name the INI file of the PACS, which is called like its AE title, or say --index URL.";
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string(), advice))?;
    Ini(entries(&String::from_utf8_lossy(&bytes))).url(user).map_err(|what| failed(what, advice))
}

struct Ini(Vec<(String, String)>);

impl Ini {
    fn value(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| Some(self.0.iter().rfind(|(k, v)| k == key && !v.is_empty())?.1.as_str()))
    }

    fn url(&self, user: Option<&str>) -> Result<String, String> {
        let database = self.value(&["database", "databasename"]);
        let (host, port) = (self.value(&["databasehost"]), self.value(&["mysqlport"]));
        let own_user = self.value(&["username"]);
        if [database, host, port, own_user].iter().all(Option::is_none) {
            return Err("has none of the keys Database, DatabaseHost, MysqlPort and Username".into());
        }
        let unusable = |key: &str, value: &str| format!("{key} = {value} cannot be used");
        let (host, port) = (host.unwrap_or("localhost"), port.unwrap_or("3306"));
        let mut url = Url::parse("mysql://localhost").map_err(|error| error.to_string())?;
        // A URL encloses an IPv6 address in brackets.
        let in_brackets = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into() };
        url.set_host(Some(&in_brackets)).map_err(|_| unusable("DatabaseHost", host))?;
        let number = port.parse().map_err(|_| unusable("MysqlPort", port))?;
        url.set_port(Some(number)).map_err(|()| unusable("MysqlPort", port))?;
        if let Some(user) = user.or(own_user) {
            url.set_username(user).map_err(|()| unusable("Username", user))?;
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(database.unwrap_or("dicom"));
        }
        Ok(url.into())
    }
}

/// Returns the entries, with their keys in lower case and their values without quotes.
fn entries(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let line = line.trim();
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with([';', '#', '[']))?;
        Some((key.trim().to_ascii_lowercase(), unquoted(value.trim()).to_owned()))
    };
    text.trim_start_matches('\u{feff}').lines().filter_map(entry).collect()
}

/// Removes the quotes or the comment of a value. Inside quotes a semicolon is part of the value;
/// outside, a semicolon begins a comment.
fn unquoted(value: &str) -> &str {
    let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.split_once(quote));
    match quoted {
        Some((inside, _)) => inside,
        None => value.split(';').next().unwrap_or_default().trim_end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, user: Option<&str>) -> Result<String, String> {
        Ini(entries(text)).url(user)
    }

    #[test]
    fn an_ini_names_the_database_whatever_the_case_of_its_keys() {
        let text = "\u{feff}; PACS\r\n[Site]\r\nDATABASE = \"pacs;one\" ; ours\r\ndatabasehost=db.example\r\n\
                    MysqlPort = 3307\r\nusername = 'pacs'\r\nPassword = secret\r\n";
        assert_eq!(read(text, None).unwrap(), "mysql://pacs@db.example:3307/pacs;one");
        assert_eq!(read(text, Some("re indexer")).unwrap(), "mysql://re%20indexer@db.example:3307/pacs;one");
    }

    #[test]
    fn what_an_ini_leaves_out_is_as_the_pacs_has_it_by_default() {
        let cases = [
            ("Username = root", "mysql://root@localhost:3306/dicom"),
            ("DatabaseName = old ; a comment", "mysql://localhost:3306/old"),
            ("Database = new\nDatabaseName = old\nDatabaseHost =", "mysql://localhost:3306/new"),
            ("DatabaseHost = ::1", "mysql://[::1]:3306/dicom"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, None).unwrap(), expected);
        }
    }

    #[test]
    fn an_ini_that_makes_no_sense_is_refused_with_its_key() {
        let cases = [("MysqlPort = many", "MysqlPort"), ("DatabaseHost = a b", "DatabaseHost"), ("Key = x", "none of")];
        for (text, message) in cases {
            let error = read(text, None).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
