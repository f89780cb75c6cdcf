//! The URL of a MySQL server: `mysql://user@host:port/database?socket=FILE`.

use percent_encoding::percent_decode_str;
use sqlx::mysql::MySqlConnectOptions;
use url::Url;

use super::location::Credentials;
use super::tls::{SslMode, TlsOptions};
use crate::error::{Error, Result};

/// The parameters that a URL may have, for errors.
const PARAMETERS: &str = "socket, ssl-mode, ssl-ca, ssl-cert and ssl-key";

const SCHEMES: [&str; 2] = ["mysql", "mariadb"];

/// The maximum length of a name or value shown in an error, in bytes. Known names, and typing
/// errors in them, are shorter.
const LONGEST_SHOWN: usize = 32;

/// The URL of a server, without a password.
pub(crate) struct ServerUrl(Url);

impl ServerUrl {
    /// Parses a URL. Returns an error message if the URL is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match SCHEMES.contains(&url.scheme()) {
            true => Ok(ServerUrl(url)),
            false => Err("it names no MySQL or MariaDB server".into()),
        }
    }

    /// Returns whether the URL has the scheme of a MySQL or MariaDB server, in any case and after
    /// any spaces.
    pub fn has_scheme(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.trim_start());
        scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
    }

    /// Returns whether the URL contains a password, or a text that may be one: a slash, a question
    /// mark or a number sign in a password ends the server name early.
    pub fn has_password(&self) -> bool {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().to_ascii_lowercase();
        let query = decoded(self.0.query().unwrap_or_default());
        self.0.password().is_some()
            || decoded(self.0.username()).contains(':')
            || self.0.path().contains('@')
            || self.0.fragment().is_some_and(|fragment| fragment.contains('@'))
            || self.0.query_pairs().any(|(name, _)| name.contains('@'))
            || ["password", "passwd", "pwd"].iter().any(|name| query.contains(&format!("{name}=")))
    }

    pub fn has_host(&self) -> bool {
        self.0.host_str().is_some_and(|host| !host.is_empty())
    }

    pub fn has_database(&self) -> bool {
        !self.0.path().trim_matches('/').is_empty()
    }

    /// Returns the URL for messages.
    pub fn shown(&self) -> String {
        self.0.to_string()
    }

    /// Returns the URL without its parameters, for errors: a mistyped parameter may contain a
    /// password.
    pub fn server(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }

    /// Returns the connection options. The user and the TLS settings of the URL override those of
    /// an option file, and command-line options override the URL.
    pub fn options(&self, credentials: &Credentials) -> Result<MySqlConnectOptions> {
        if self.0.fragment().is_some() {
            return Err(self.unusable("it has a `#`, which is written as %23 in a name"));
        }
        let mut options = MySqlConnectOptions::new();
        // An IPv6 address has brackets in a URL and nowhere else.
        if let Some(host) = self.0.host_str().map(|host| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty())
        {
            options = options.host(host);
        }
        if let Some(port) = self.0.port() {
            options = options.port(port);
        }
        let user = self.decoded(self.0.username())?;
        if let Some(user) = Some(&user).filter(|user| !user.is_empty()).or(credentials.user.as_ref()) {
            options = options.username(user);
        }
        if self.has_database() {
            options = options.database(&self.decoded(self.0.path().trim_matches('/'))?);
        }
        if let Some(password) = &credentials.password {
            options = options.password(password);
        }
        let mut tls = TlsOptions::default();
        for (name, value) in self.0.query_pairs() {
            match &*name {
                "socket" if value.is_empty() => return Err(self.unusable("the parameter `socket` is empty")),
                "socket" => options = options.socket(&*value),
                "ssl-mode" | "sslmode" => tls.mode = Some(self.ssl_mode(&value)?),
                "ssl-ca" | "sslca" => tls.ca = Some((&*value).into()),
                "ssl-cert" | "sslcert" => tls.cert = Some((&*value).into()),
                "ssl-key" | "sslkey" => tls.key = Some((&*value).into()),
                // Accepted because other programs that share the URL need the setting.
                "charset" if value.eq_ignore_ascii_case("utf8mb4") => {}
                // A text without a value may be anything, so do not show it.
                unknown => {
                    let name = if value.is_empty() { harmless("?") } else { harmless(unknown) };
                    return Err(self.unusable(&format!("the parameter {name} is unknown")));
                }
            }
        }
        credentials.tls.clone().or(tls.or(credentials.file_tls.clone())).apply(options)
    }

    fn ssl_mode(&self, text: &str) -> Result<SslMode> {
        let unknown = || self.unusable(&format!("{} is not a value of ssl-mode", harmless(text)));
        SslMode::parse(text).ok_or_else(unknown)
    }

    fn decoded(&self, text: &str) -> Result<String> {
        let text = percent_decode_str(text).decode_utf8();
        Ok(text.map_err(|_| self.unusable("its percent-encoding is not UTF-8"))?.into_owned())
    }

    fn unusable(&self, why: &str) -> Error {
        Error::usage(
            format!("the URL {} cannot be used: {why}", self.server()),
            format!(
                "A URL may have the parameters {PARAMETERS}; ssl-mode is disabled, preferred, required, verify-ca or \
                 verify-identity."
            ),
        )
    }
}

/// Quotes a mistyped name or value in backquotes, or returns three dots in backquotes for a text
/// that cannot be a mistyped known name and may be secret.
fn harmless(text: &str) -> String {
    let is_plain = text.len() <= LONGEST_SHOWN && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    format!("`{}`", if is_plain { text } else { "..." })
}

#[cfg(test)]
mod tests {
    use sqlx::mysql::MySqlSslMode;

    use super::*;

    fn options(url: &str, credentials: &Credentials) -> Result<MySqlConnectOptions> {
        ServerUrl::parse(url).unwrap().options(credentials)
    }

    #[test]
    fn a_url_names_user_host_port_database_and_socket() {
        let found = options("mysql://re%20indexer@[::1]:3307/dicom%20a?socket=/run/a.sock", &Credentials::default());
        let found = found.unwrap();
        assert_eq!((found.get_username(), found.get_host(), found.get_port()), ("re indexer", "::1", 3307));
        assert_eq!(found.get_database(), Some("dicom a"));
        assert_eq!(found.get_socket().unwrap().to_str(), Some("/run/a.sock"));
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_lists_the_known_ones() {
        for query in ["sockt=/run/a.sock", "ssl=true", "charset=latin1", "timezone=UTC", "ssl-mode=on"] {
            let error =
                options(&format!("mysql://pacs@db/dicom?{query}"), &Credentials::default()).unwrap_err().to_string();
            let named = query.split('=').next().unwrap();
            assert!(error.contains(named) && error.contains("socket, ssl-mode, ssl-ca"), "{error}");
        }
        assert!(options("mysql://pacs@db/dicom?charset=utf8mb4", &Credentials::default()).is_ok());
    }

    #[test]
    fn an_option_wins_over_the_url_and_the_url_over_an_option_file() {
        let of = |mode| TlsOptions { mode: Some(mode), ..TlsOptions::default() };
        let mut credentials = Credentials { file_tls: of(SslMode::Required), ..Credentials::default() };
        let mode = |url, credentials: &Credentials| options(url, credentials).unwrap().get_ssl_mode();
        assert!(matches!(mode("mysql://db/dicom", &credentials), MySqlSslMode::Required));
        assert!(matches!(mode("mysql://db/dicom?ssl-mode=VERIFY_CA", &credentials), MySqlSslMode::VerifyCa));
        credentials.tls = of(SslMode::Disabled);
        assert!(matches!(mode("mysql://db/dicom?sslmode=verify-ca", &credentials), MySqlSslMode::Disabled));
    }
}
