//! Where the index is, and how to get in.

use std::path::Path;

use configparser::ini::Ini;

use super::pacsone_ini;
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::index::location::Credentials;

const PASSWORD_VARIABLE: &str = "PACS_INDEX_PASSWORD";

/// Where the index is, with the password from where it may be.
pub fn location(typed: &cli::Index) -> Result<Location> {
    Ok(location_and_credentials(typed)?.0)
}

/// The same, and what gets in there.
pub fn location_and_credentials(typed: &cli::Index) -> Result<(Location, Credentials)> {
    let mut credentials = Credentials::default();
    if let Some(path) = &typed.defaults_file {
        credentials = option_file(path, &typed.defaults_section)?;
    }
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        credentials.password = Some(password);
    }
    // What is typed has the last word.
    if let Some(path) = &typed.password_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("--password-file {}: {error}", path.display()), "Name a file that you may read.")
        })?;
        credentials.password = Some(text.lines().next().unwrap_or_default().to_owned());
    }
    let url = match &typed.pacsone_ini {
        Some(path) => pacsone_ini::url(path, credentials.user.as_deref())?,
        None => typed.url.clone(),
    };
    Ok((Location::parse(&url, &credentials)?, credentials))
}

/// User and password of a section of a MySQL option file.
fn option_file(path: &Path, section: &str) -> Result<Credentials> {
    let unusable = |why: String| {
        Error::usage(
            format!("--defaults-file {}: {why}", path.display()),
            format!("Name an option file of MySQL with a section [{section}] that holds user and password."),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let mut ini = Ini::new_cs();
    // A password may hold a colon or a semicolon; a comment stands on a line of its own.
    ini.set_inline_comment_symbols(Some(&[]));
    let text: String =
        text.lines().filter(|line| !line.trim_start().starts_with('!')).flat_map(|l| [l, "\n"]).collect();
    let mut syntax = ini.defaults();
    syntax.delimiters = vec!['='];
    ini.load_defaults(syntax);
    let sections = ini.read(text).map_err(unusable)?;
    let section = sections.get(section).ok_or_else(|| unusable(format!("there is no section [{section}]")))?;
    let value = |key: &str| {
        let text = section.get(key)?.as_deref()?.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
        Some(quoted.unwrap_or(text).to_owned())
    };
    Ok(Credentials { user: value("user"), password: value("password") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_from_the_section_of_an_option_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.cnf");
        let text = "# mine\n!includedir /etc/mysql\n[mysqld]\nskip-networking\n[client]\nuser = pacs\npassword=\"a;b#c:d = e\"\n";
        std::fs::write(&path, text).unwrap();
        let found = option_file(&path, "client").unwrap();
        assert_eq!((found.user.as_deref(), found.password.as_deref()), (Some("pacs"), Some("a;b#c:d = e")));
        let error = option_file(&path, "pacs-index").err().unwrap().to_string();
        assert!(error.contains("no section [pacs-index]"), "{error}");
    }
}
