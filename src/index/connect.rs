//! Connections to a MySQL server. This module makes all of them: it logs in and prepares the
//! session.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};

use super::connect_error::{ACCESS_DENIED, ConnectError, ServerName, number};
use super::{session, tls};

/// The collation of literals. Every server has this collation, whereas the default collation of
/// utf8mb4 differs between servers.
const COLLATION: &str = "utf8mb4_general_ci";

/// The characters to percent-encode in a database name or a path: all that have another meaning in
/// a URL, and more.
const NOT_IN_A_URL: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The capacity of the driver's cache of prepared statements. The capacity exceeds the size of the
/// fixed set of statement texts, so that the driver never closes a statement to make room. By
/// default, a server allows 16,382 prepared statements in all its connections together.
const STATEMENTS: usize = 512;

/// The address of a server, and the credentials of a user.
#[derive(Clone)]
pub struct Login {
    options: MySqlConnectOptions,
    /// The password, because the driver does not return it from its options.
    password: Option<String>,
}

impl Login {
    pub(crate) fn new(options: MySqlConnectOptions, password: Option<String>) -> Self {
        // The session keeps the time zone of the server, because `received` is local time.
        let options = options.timezone(None).pipes_as_concat(false).no_engine_substitution(false);
        let options = options.collation(COLLATION).statement_cache_capacity(STATEMENTS).disable_statement_logging();
        Login { options, password }
    }

    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    pub fn database(&self) -> Option<&str> {
        self.options.get_database()
    }

    /// Returns the server as the path of its socket or as `host:port`.
    pub fn server(&self) -> String {
        ServerName(&self.options).to_string()
    }

    /// Returns the host and the port, which are used only without a socket.
    pub fn address(&self) -> (String, u16) {
        (self.options.get_host().to_owned(), self.options.get_port())
    }

    pub fn has_socket(&self) -> bool {
        self.options.get_socket().is_some()
    }

    /// Returns the database as a URL without a user: `mysql://host:port/database`, or
    /// `mysql://localhost/database?socket=FILE`.
    pub fn database_url(&self) -> String {
        let encoded = |bytes: &[u8]| percent_encode(bytes, &NOT_IN_A_URL).to_string();
        let database = encoded(self.database().unwrap_or_default().as_bytes());
        match self.options.get_socket() {
            Some(socket) => {
                format!("mysql://localhost/{database}?socket={}", encoded(socket.as_os_str().as_encoded_bytes()))
            }
            None => format!("mysql://{}/{database}", self.server().to_lowercase()),
        }
    }

    /// Returns a warning if another machine could pose as the server.
    pub fn tls_warning(&self) -> Option<String> {
        tls::warning(&self.options, &self.server())
    }

    /// Connects, logs in and prepares the session.
    pub(crate) async fn open(&self) -> Result<MySqlConnection, ConnectError> {
        let mut connected = self.options.connect().await;
        let is_denied = connected.as_ref().is_err_and(|error| number(error) == Some(ACCESS_DENIED));
        if is_denied && self.filled_password_cache() {
            connected = self.options.connect().await;
        }
        let mut connection =
            connected.map_err(|error| ConnectError::new(error, &self.options, self.password.as_deref()))?;
        let prepared = session::prepare(&mut connection).await;
        prepared.map_err(|error| ConnectError::new(error, &self.options, self.password.as_deref()))?;
        Ok(connection)
    }

    /// Logs in over the socket with the password itself, so that the server adds the password's
    /// hash to its cache. Returns `true` if the server accepts the password: the login of the
    /// driver failed only because the cache lacked the hash.
    #[cfg(unix)]
    fn filled_password_cache(&self) -> bool {
        let (Some(socket), Some(password)) = (self.options.get_socket(), &self.password) else { return false };
        super::socket_login::fill_password_cache(socket, self.user(), password).unwrap_or(false)
    }

    #[cfg(not(unix))]
    fn filled_password_cache(&self) -> bool {
        false
    }
}
