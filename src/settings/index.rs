//! The location of the index, and the credentials for it.

use std::env::VarError;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::{option_file, pacsone_ini};
use crate::archive::real_path::real_path;
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::index::location::Credentials;
use crate::index::tls::TlsOptions;

/// The characters of a path that are percent-encoded.
const NOT_IN_A_NAME: AsciiSet = CONTROLS.add(b'%');

const PASSWORD_VARIABLE: &str = "PACS_INDEX_PASSWORD";

/// Returns the location of the index, with the password from any of its sources.
pub fn location(typed: &cli::Index) -> Result<Location> {
    Ok(location_and_credentials(typed)?.0)
}

/// Returns the location of the index, and the credentials for it.
pub fn location_and_credentials(typed: &cli::Index) -> Result<(Location, Credentials)> {
    let mut credentials = Credentials::default();
    let mut including = None;
    if let Some(path) = &typed.defaults_file {
        let file = option_file::read(path, &typed.defaults_section)?;
        credentials = file.credentials;
        including = file.has_includes.then_some(path);
    }
    if let Some(password) = password_variable()? {
        credentials.password = Some(password);
    }
    // Command line options override the option file and the environment.
    if let Some(path) = &typed.password_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("--password-file {}: {error}", path.display()), "Name a file that you may read.")
        })?;
        credentials.password = Some(text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default().to_owned());
    }
    if let (Some(path), None) = (including, &credentials.password) {
        let (file, section) = (path.display(), &typed.defaults_section);
        return Err(Error::usage(
            format!("--defaults-file {file}: section [{section}] has no password{}", option_file::NOT_FOLLOWED),
            format!("Or set the environment variable {PASSWORD_VARIABLE}, or name a --password-file."),
        ));
    }
    let (ca, cert, key) = (typed.ssl_ca.clone(), typed.ssl_cert.clone(), typed.ssl_key.clone());
    credentials.tls = TlsOptions { mode: typed.ssl_mode, ca, cert, key };
    let url = match &typed.pacsone_ini {
        Some(path) => pacsone_ini::url(path, credentials.user.as_deref())?,
        None => typed.url.clone(),
    };
    Ok((Location::parse(&url, &credentials)?, credentials))
}

/// Returns the name of an index in plans, undo files and keys. Each database has one name,
/// independent of the working directory and of the user.
pub fn name(location: &Location) -> String {
    let file = location.file().map(|file| file_name(&real_path(file).unwrap_or_else(|_| file.to_owned())));
    file.or_else(|| location.server_database()).unwrap_or_else(|| location.shown())
}

/// Returns the name of an SQLite file. A path that is not UTF-8 is percent-encoded and gets another
/// scheme, so that each file has its own name.
fn file_name(file: &Path) -> String {
    match file.to_str() {
        Some(text) => format!("sqlite:{text}"),
        None => format!("sqlite-encoded:{}", percent_encode(file.as_os_str().as_encoded_bytes(), &NOT_IN_A_NAME)),
    }
}

/// Whether the name of an index in a plan or an undo file is the name of this database. The name
/// may contain a user.
pub fn is_named(location: &Location, named: &str) -> bool {
    let without_user = || Location::parse(named, &Credentials::default()).ok()?.server_database();
    let name = name(location);
    named == name || without_user().is_some_and(|named| named == name)
}

/// Returns the password in the environment. An empty variable counts as unset, as for the state
/// directory.
fn password_variable() -> Result<Option<String>> {
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::usage(
            format!("{PASSWORD_VARIABLE} is not UTF-8"),
            "Set it in a terminal whose encoding is UTF-8, or name a --password-file.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Location {
        Location::parse(url, &Credentials::default()).unwrap()
    }

    #[test]
    fn a_database_has_one_name_however_its_url_is_written() {
        for (name, urls) in [
            (
                "mysql://db:3306/dicom",
                &["mysql://db/dicom", "mysql://pacs@db:3306/dicom/", "MariaDB://DB/dicom?ssl-mode=disabled"][..],
            ),
            ("mysql://[::1]:3307/dicom%20a", &["mysql://pacs@[::1]:3307/dicom%20a?charset=utf8mb4"]),
            ("mysql://localhost/dicom?socket=/run/a.sock", &["mysql://pacs@db:3307/dicom?socket=/run/a.sock"]),
            ("sqlite:/x/a.db", &["sqlite:/x/a.db", "sqlite:///x/./a.db", "sqlite:/x/y/../a.db"]),
        ] {
            for url in urls {
                assert_eq!(super::name(&parsed(url)), name, "{url}");
                assert!(is_named(&parsed(url), name), "{url}");
            }
        }
        let server = parsed("mysql://pacs@db/dicom");
        assert!(is_named(&server, "mysql://other@db:3306/dicom"), "with the user of an earlier version");
        let others =
            ["mysql://db:3307/dicom", "mysql://db/dicom2", "mysql://localhost/dicom", "mysql://db/dicom?socket=/x"];
        for other in others {
            assert!(!is_named(&server, other), "{other}");
        }
        for [one, other] in [
            ["mysql://db/d%2531", "mysql://db/d1"],
            ["mysql://db/d%2520", "mysql://db/d%20"],
            ["mysql://db/d%3Fsocket=x", "mysql://localhost/d?socket=x"],
            ["mysql://db/d%23a", "mysql://db/d"],
            ["mysql://h/d?socket=/run/a%252e", "mysql://h/d?socket=/run/a."],
            ["mysql://h/d?socket=/run/a%2Bb", "mysql://h/d?socket=/run/a+b"],
            ["mysql://h/d?socket=/run/a%26b", "mysql://h/d?socket=/run/a"],
        ] {
            let [one, other] = [one, other].map(parsed);
            for (this, that) in [(&one, &other), (&other, &one)] {
                let name = super::name(this);
                assert!(is_named(this, &name) && !is_named(that, &name), "{name}");
            }
        }
        assert!(is_named(&parsed("mysql://db/a%20b"), "mysql://db:3306/a b"), "as earlier versions wrote the name");
        assert!(!is_named(&parsed("sqlite:a.db"), "sqlite:a.db"), "a relative path names another file elsewhere");
    }
}
