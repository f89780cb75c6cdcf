//! The causes of failed connections to a MySQL server, in terms that its users understand.

use std::fmt;

use rustls::pki_types::InvalidDnsNameError;
use rustls::{AlertDescription, CertificateError};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};

use super::Failure;
use super::mysql_error::failure;
use super::session::UnsetVariable;

/// The number of the error for a wrong user or password.
pub(crate) const ACCESS_DENIED: u16 = 1045;

/// Returns the number of an error that the server reported.
pub(crate) fn number(error: &sqlx::Error) -> Option<u16> {
    let refused = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(refused.number())
}

/// The cause of a failed connection, with advice.
#[derive(Debug)]
pub struct ConnectError {
    failure: Failure,
    advice: String,
}

impl ConnectError {
    pub(crate) fn new(error: sqlx::Error, options: &MySqlConnectOptions, password: Option<&str>) -> Self {
        let server = ServerName(options);
        let cause = match (&error, number(&error)) {
            (_, Some(number)) => refused(number, error.as_database_error().map(|e| e.message()), options, password),
            (sqlx::Error::Io(io), _) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Some(not_encrypted(tls, &server)),
                None => unreachable(io, options),
            },
            (sqlx::Error::Tls(tls), _) => Some(match tls.downcast_ref::<rustls::Error>() {
                Some(tls) => not_encrypted(tls, &server),
                None if tls.is::<InvalidDnsNameError>() => Cause::permanent(
                    format!("the host name of {server} cannot be in a certificate"),
                    "Correct the host in the URL, or set --ssl-mode disabled.",
                ),
                None => Cause::permanent(
                    format!("{server} does not support encrypted connections"),
                    "Set up TLS on the server, or set --ssl-mode preferred or disabled.",
                ),
            }),
            (sqlx::Error::Configuration(error), _) if error.is::<UnsetVariable>() => Some(Cause::permanent(
                error.to_string(),
                "With its present value, the server rolls back changes when the session ends. Let the account set session \
                 variables, or connect to the server without the proxy.",
            )),
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
        let advice =
            "Are host and port those of the server, is it running, and does a firewall let connections to it pass?";
        ConnectError { failure, advice: advice.into() }
    }
}

struct Cause {
    what: String,
    advice: String,
    /// Whether the next attempt may succeed.
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

/// Displays a server as its socket or as `host:port`.
pub(crate) struct ServerName<'o>(pub &'o MySqlConnectOptions);

impl fmt::Display for ServerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get_socket() {
            Some(socket) => write!(f, "the socket {}", socket.display()),
            None if self.0.get_host().contains(':') => write!(f, "[{}]:{}", self.0.get_host(), self.0.get_port()),
            None => write!(f, "{}:{}", self.0.get_host(), self.0.get_port()),
        }
    }
}

/// Returns the cause of an error that the server reports during the login or the preparation of the
/// session. The error numbers are from the error references of the MySQL and MariaDB manuals.
/// Returns `None` for any other number.
fn refused(number: u16, message: Option<&str>, options: &MySqlConnectOptions, password: Option<&str>) -> Option<Cause> {
    let (user, database) = (options.get_username(), options.get_database().unwrap_or_default());
    let account = message.and_then(account).unwrap_or_else(|| format!("'{user}'@'%'"));
    const SOURCES: &str = "The password comes from PACS_INDEX_PASSWORD, --password-file or --defaults-file.";
    Some(match number {
        ACCESS_DENIED | 1698 if password.is_none_or(str::is_empty) => {
            Cause::permanent(format!("the user `{user}` cannot log in without a password"), SOURCES)
        }
        ACCESS_DENIED | 1698 => Cause::permanent(
            format!("wrong user or password: the server denies access to the account {account}"),
            format!(
                "{SOURCES} An account is valid only for the host that it names. One with REQUIRE SSL needs --ssl-mode \
                 required, and one with REQUIRE X509 also --ssl-cert."
            ),
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
        // In this order: a missing privilege, an unknown variable, an invalid value, a read-only
        // variable.
        1227 | 1193 | 1231 | 1238 => Cause::permanent(
            "the server, or a proxy in front of it, does not let a session set sql_mode",
            "Without strict mode, a server changes values that do not fit instead of rejecting them. Let the account set \
             session variables, or connect to the server without the proxy.",
        ),
        1040 | 1203 | 1226 => Cause::transient(
            "the server has no connection left for this user",
            "Try again later, or raise max_connections, max_user_connections or the limits of the account.",
        ),
        _ => return None,
    })
}

/// Returns the account in "Access denied for user 'pacs'@'localhost' (using password: YES)".
fn account(message: &str) -> Option<String> {
    let (user, host) = message.split_once("user '")?.1.split_once("'@'")?;
    Some(format!("'{user}'@'{}'", host.split_once('\'')?.0))
}

fn unreachable(error: &std::io::Error, options: &MySqlConnectOptions) -> Option<Cause> {
    use std::io::ErrorKind;
    const RUNNING: &str = "Is the server running, and are host and port right?";
    let server = ServerName(options);
    // Windows reports a host name that cannot be resolved by an error code. On other systems, only
    // the message of the standard library identifies this error.
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

/// Returns the cause of a failed TLS handshake.
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
            format!("{server} offers only insecure versions or key exchanges of TLS"),
            "Set --ssl-mode disabled to connect without encryption, or give the server TLS 1.2 with ECDHE, or a later \
             version.",
        ),
        AlertReceived(_) => Cause::permanent(
            format!("{server} rejects the certificate of this client"),
            "Name one that the server trusts with --ssl-cert and --ssl-key.",
        ),
        _ => Cause::permanent(
            format!("{server} answers with invalid TLS"),
            "Is the server MySQL or MariaDB? Without encryption: --ssl-mode disabled.",
        ),
    }
}

fn untrusted(error: &CertificateError, server: &ServerName<'_>) -> Cause {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, Revoked, UnknownIssuer,
    };
    let (why, advice) = match error {
        // The authorities that servers generate for themselves all have the same name, but
        // different keys.
        UnknownIssuer | BadSignature => (
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
            "The server needs a certificate of X.509 version 3 that its authority has signed for a server. To connect \
             without encryption: --ssl-mode disabled.",
        ),
    };
    Cause::permanent(format!("the certificate of {server} {why}"), advice)
}

fn unknown_protocol(text: &str, server: &ServerName<'_>) -> Cause {
    match text.strip_prefix("unknown authentication plugin: ") {
        Some(plugin) => {
            let name: String = plugin.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
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
            format!("{server} does not answer like a MySQL or MariaDB server"),
            "Are host and port right?",
        ),
    }
}
