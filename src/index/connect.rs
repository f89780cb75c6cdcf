//! Connections to a MySQL server. All of them are made here: the login, and the preparation of the session.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};

use super::connect_error::{ACCESS_DENIED, ConnectError, ServerName, number};
use super::{session, tls};

/// The collation of literals. Each server has it; the default of utf8mb4 differs between servers.
const COLLATION: &str = "utf8mb4_general_ci";

/// Characters that a database name or a path cannot have in a URL without another meaning, and more.
const NOT_IN_A_URL: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The capacity of the driver's cache of prepared statements, which closes one when it is full: more than the fixed set
/// of texts has. A server takes 16,382 by default from all its connections.
const STATEMENTS: usize = 512;

/// A server, and a user's way into it.
#[derive(Clone)]
pub struct Login {
    options: MySqlConnectOptions,
    /// The driver keeps the password to itself.
    password: Option<String>,
}

impl Login {
    pub(crate) fn new(options: MySqlConnectOptions, password: Option<String>) -> Self {
        // A session keeps the server's time zone: `received` is local time.
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

    /// The server as its socket or as `host:port`.
    pub fn server(&self) -> String {
        ServerName(&self.options).to_string()
    }

    /// The host and the port, which count where there is no socket.
    pub fn address(&self) -> (String, u16) {
        (self.options.get_host().to_owned(), self.options.get_port())
    }

    pub fn has_socket(&self) -> bool {
        self.options.get_socket().is_some()
    }

    /// The database as a URL without a user: `mysql://host:port/database`, or `mysql://localhost/database?socket=FILE`.
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

    /// A warning if another machine could pose as the server.
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

    /// Whether a login over a socket failed only because the server has no hash of the password in its cache.
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
