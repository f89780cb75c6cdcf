//! Where the index is, and how to get in.

use super::{option_file, pacsone_ini};
use crate::cli;
use crate::error::{Error, Result};
use crate::index::Location;
use crate::index::location::Credentials;
use crate::index::tls::TlsOptions;

const PASSWORD_VARIABLE: &str = "PACS_INDEX_PASSWORD";

/// Where the index is, with the password from where it may be.
pub fn location(typed: &cli::Index) -> Result<Location> {
    Ok(location_and_credentials(typed)?.0)
}

/// The same, and what gets in there.
pub fn location_and_credentials(typed: &cli::Index) -> Result<(Location, Credentials)> {
    let mut credentials = Credentials::default();
    if let Some(path) = &typed.defaults_file {
        credentials = option_file::read(path, &typed.defaults_section)?;
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
    let (ca, cert, key) = (typed.ssl_ca.clone(), typed.ssl_cert.clone(), typed.ssl_key.clone());
    credentials.tls = TlsOptions { mode: typed.ssl_mode, ca, cert, key };
    let url = match &typed.pacsone_ini {
        Some(path) => pacsone_ini::url(path, credentials.user.as_deref())?,
        None => typed.url.clone(),
    };
    Ok((Location::parse(&url, &credentials)?, credentials))
}
