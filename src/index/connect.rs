//! Connections to a MySQL server, all of which are made here: the login, the session, and the reason if there is none.

use std::fmt;

use rustls::pki_types::InvalidDnsNameError;
use rustls::{AlertDescription, CertificateError};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};

use super::mysql::{STATEMENTS, failure};
use super::{Failure, session, tls};

/// The collation of literals. Each server has it; the default of utf8mb4 differs between servers.
const COLLATION: &str = "utf8mb4_general_ci";

/// The error of a wrong user or password.
const ACCESS_DENIED: u16 = 1045;

/// A server, and a user's way into it.
#[derive(Clone)]
pub struct Login {
    options: MySqlConnectOptions,
    /// The driver keeps the password to itself.
    password: Option<String>,
}

impl Login {
    pub(super) fn new(options: MySqlConnectOptions, password: Option<String>) -> Self {
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

    /// A warning if another machine could pose as the server.
    pub fn tls_warning(&self) -> Option<String> {
        tls::warning(&self.options, &self.server())
    }

    /// Connects, logs in and prepares the session.
    pub(super) async fn open(&self) -> Result<MySqlConnection, ConnectError> {
        let mut connected = self.options.connect().await;
        if let Err(error) = &connected {
            if number(error) == Some(ACCESS_DENIED) && self.filled_password_cache() {
                connected = self.options.connect().await;
            }
        }
        let mut connection = connected.map_err(|error| ConnectError::new(error, self))?;
        session::prepare(&mut connection).await?;
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

fn number(error: &sqlx::Error) -> Option<u16> {
    let refused = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(refused.number())
}

/// The one reason why there is no connection, and what to do about it.
#[derive(Debug)]
pub struct ConnectError {
    failure: Failure,
    advice: String,
}

impl ConnectError {
    fn new(error: sqlx::Error, login: &Login) -> Self {
        let (server, options) = (ServerName(&login.options), &login.options);
        let cause = match (&error, number(&error)) {
            (_, Some(number)) => refused(number, &error, login),
            (sqlx::Error::Io(io), _) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Some(not_encrypted(tls, &server)),
                None => unreachable(io, options),
            },
            (sqlx::Error::Tls(tls), _) => Some(match tls.downcast_ref::<rustls::Error>() {
                Some(tls) => not_encrypted(tls, &server),
                None if tls.is::<InvalidDnsNameError>() => Cause::permanent(
                    format!("the host name of {server} is none that a certificate could have"),
                    "Correct the host in the URL, or set --ssl-mode disabled.",
                ),
                None => Cause::permanent(
                    format!("{server} does not support encrypted connections"),
                    "Set up TLS on the server, or set --ssl-mode preferred or disabled.",
                ),
            }),
            (sqlx::Error::Protocol(text), _) => Some(unknown_protocol(text, &server)),
            _ => None,
        };
        match cause {
            Some(Cause { what, advice, is_transient: true }) => {
                ConnectError { failure: Failure::Unreachable(what), advice }
            }
            Some(Cause { what, advice, .. }) => ConnectError { failure: Failure::Lost(what), advice },
            None => failure(error).into(),
        }
    }

    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        error.failure
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        let advice = "Is the server running, and does a firewall let connections to it pass?";
        ConnectError { failure, advice: advice.into() }
    }
}

struct Cause {
    what: String,
    advice: String,
    /// The next attempt may succeed.
    is_transient: bool,
}

impl Cause {
    fn transient(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Cause { what: what.into(), advice: advice.into(), is_transient: true }
    }

    fn permanent(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Cause { what: what.into(), advice: advice.into(), is_transient: false }
    }
}

/// Shows a server as its socket or as `host:port`.
struct ServerName<'o>(&'o MySqlConnectOptions);

impl fmt::Display for ServerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get_socket() {
            Some(socket) => write!(f, "the socket {}", socket.display()),
            None if self.0.get_host().contains(':') => write!(f, "[{}]:{}", self.0.get_host(), self.0.get_port()),
            None => write!(f, "{}:{}", self.0.get_host(), self.0.get_port()),
        }
    }
}

/// The server's own answers to a login: the error references of the MySQL and MariaDB manuals.
fn refused(number: u16, error: &sqlx::Error, login: &Login) -> Option<Cause> {
    let message = error.as_database_error()?.message();
    let (user, database) = (login.user(), login.database().unwrap_or_default());
    let account = account(message).unwrap_or_else(|| format!("'{user}'@'%'"));
    const SOURCES: &str = "The password comes from PACS_INDEX_PASSWORD, --password-file or --defaults-file.";
    Some(match number {
        ACCESS_DENIED | 1698 if login.password.as_ref().is_none_or(String::is_empty) => {
            Cause::permanent(format!("the user `{user}` cannot log in without a password"), SOURCES)
        }
        ACCESS_DENIED | 1698 => Cause::permanent(
            format!("wrong user or password: the server denies access to the account {account}"),
            format!("{SOURCES} An account is valid only for the host that it names, and may require a certificate."),
        ),
        1044 => Cause::permanent(
            format!("the user `{user}` has no right on the database `{database}`"),
            format!(
                "An administrator of the server grants it: GRANT SELECT, INSERT, UPDATE ON `{database}`.* TO {account};"
            ),
        ),
        1049 => Cause::permanent(
            format!("the server has no database `{database}`"),
            "Correct the name at the end of the URL. SHOW DATABASES lists those of the server.",
        ),
        1130 => Cause::permanent(
            "the server lets no user log in from this host",
            format!(
                "An administrator of the server creates an account: CREATE USER '{user}'@'HOST' IDENTIFIED BY '...';"
            ),
        ),
        1129 => Cause::permanent(
            "the server has blocked this host after too many failed connections",
            "An administrator of the server unblocks it: FLUSH HOSTS;",
        ),
        1820 | 1862 => Cause::permanent(
            format!("the password of the user `{user}` has expired"),
            format!("An administrator of the server sets another: ALTER USER '{user}' IDENTIFIED BY '...';"),
        ),
        3118 | 4151 => Cause::permanent(
            format!("the account of the user `{user}` is locked"),
            format!("An administrator of the server unlocks it: ALTER USER '{user}' ACCOUNT UNLOCK;"),
        ),
        3159 => Cause::permanent(
            "the server takes encrypted connections only",
            "Set --ssl-mode required, or verify-identity with --ssl-ca.",
        ),
        1040 | 1203 | 1226 => Cause::transient(
            "the server has no connection left for this user",
            "Try again later, or raise max_connections, max_user_connections or the limits of the account.",
        ),
        _ => return None,
    })
}

/// The account in "Access denied for user 'pacs'@'localhost' (using password: YES)".
fn account(message: &str) -> Option<String> {
    let (user, host) = message.split_once("user '")?.1.split_once("'@'")?;
    Some(format!("'{user}'@'{}'", host.split_once('\'')?.0))
}

fn unreachable(error: &std::io::Error, options: &MySqlConnectOptions) -> Option<Cause> {
    use std::io::ErrorKind;
    const RUNNING: &str = "Is the server running, and are host and port right?";
    let server = ServerName(options);
    // Windows has numbers for a name that cannot be resolved, others have a text of the standard library.
    let is_unresolved = matches!(error.raw_os_error(), Some(11001..=11004) if cfg!(windows))
        || error.to_string().starts_with("failed to lookup address information");
    Some(match (error.kind(), options.get_socket()) {
        _ if is_unresolved => Cause::transient(
            format!("unknown host `{}`", options.get_host()),
            "Correct the host in the URL, or the name service of this system.",
        ),
        (ErrorKind::NotFound, Some(_)) => Cause::transient(
            format!("{server} does not exist"),
            "Is the server running? SHOW VARIABLES LIKE 'socket' shows the path of its socket.",
        ),
        (ErrorKind::PermissionDenied, Some(_)) => Cause::permanent(
            format!("{server} may not be opened by this user"),
            "Grant the user access to its directory.",
        ),
        (ErrorKind::ConnectionRefused, _) => Cause::transient(format!("connection refused by {server}"), RUNNING),
        (ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable, _) => Cause::transient(
            format!("no route to {server}"),
            "Is the network up, and does a firewall let connections to the server pass?",
        ),
        (
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe,
            _,
        ) => Cause::transient(
            format!("{server} closed the connection during the login"),
            format!("{RUNNING} Where the server supports only old versions of TLS: --ssl-mode disabled."),
        ),
        _ => Cause::transient(format!("{server}: {error}"), RUNNING),
    })
}

/// A TLS handshake that failed.
fn not_encrypted(error: &rustls::Error, server: &ServerName<'_>) -> Cause {
    use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible};
    match error {
        InvalidCertificate(error) => untrusted(error, server),
        PeerIncompatible(_)
        | AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        ) => Cause::permanent(
            format!("{server} offers only versions or key exchanges of TLS that are no longer secure"),
            "Set --ssl-mode disabled to connect without encryption, or give the server TLS 1.2 with ECDHE, or a later \
             version.",
        ),
        AlertReceived(_) => Cause::permanent(
            format!("{server} rejects the certificate of this client"),
            "Name one that the server trusts with --ssl-cert and --ssl-key.",
        ),
        _ => Cause::permanent(
            format!("the encryption that {server} begins is no valid TLS"),
            "Is the server MySQL or MariaDB? Without encryption: --ssl-mode disabled.",
        ),
    }
}

fn untrusted(error: &CertificateError, server: &ServerName<'_>) -> Cause {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
        UnknownIssuer,
    };
    let (why, advice) = match error {
        UnknownIssuer => (
            "is signed by an authority that is not trusted",
            "Name the certificate of its authority with --ssl-ca FILE.",
        ),
        Expired | ExpiredContext { .. } => ("has expired", "Renew the certificate of the server."),
        NotValidYet | NotValidYetContext { .. } => {
            ("is not valid yet", "Is the clock of this system right? Otherwise renew the certificate of the server.")
        }
        NotValidForName | NotValidForNameContext { .. } => (
            "names another host",
            "Use the name in the certificate as the host of the URL, or verify the authority alone: --ssl-mode verify-ca.",
        ),
        Revoked => ("is revoked", "Renew the certificate of the server."),
        _ => (
            "is not valid",
            "The server needs a certificate of X.509 version 3 that its authority has signed for a server.",
        ),
    };
    Cause::permanent(format!("the certificate of {server} {why}"), advice)
}

fn unknown_protocol(text: &str, server: &ServerName<'_>) -> Cause {
    match text.strip_prefix("unknown authentication plugin: ") {
        Some(plugin) => {
            let name: String = plugin.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            Cause::permanent(
                format!(
                    "the account of the user `{}` needs the login method `{name}`, which is not supported",
                    server.0.get_username()
                ),
                "Give the account the method caching_sha2_password (MySQL) or mysql_native_password (MariaDB).",
            )
        }
        None if text.contains("cleartext_plugin") => Cause::permanent(
            format!("{server} asks for the password without encryption, which is refused"),
            "Give the account the method caching_sha2_password (MySQL) or mysql_native_password (MariaDB).",
        ),
        None => Cause::transient(
            format!("the program that answers at {server} is no MySQL or MariaDB server"),
            "Are host and port right?",
        ),
    }
}
