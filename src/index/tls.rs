//! Encryption of connections to a MySQL server: the `ssl-*` options of MySQL's own clients.

#![allow(clippy::disallowed_methods, reason = "files of certificates and keys")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::error::{Error, Result};

/// The value of `--ssl-mode`, with the names of MySQL's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SslMode {
    /// No encryption
    Disabled,
    /// Encryption if the server offers it; the certificate is not verified
    Preferred,
    /// Encryption; the certificate is not verified
    Required,
    /// And the certificate is signed by an authority of --ssl-ca or of the system
    #[value(alias = "verify_ca")]
    VerifyCa,
    /// And the certificate names the host that the URL names
    #[value(alias = "verify_identity")]
    VerifyIdentity,
}

impl SslMode {
    /// Reads a mode in any case, with `-` or `_`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_str(text, true).ok()
    }
}

impl From<SslMode> for MySqlSslMode {
    fn from(mode: SslMode) -> Self {
        match mode {
            SslMode::Disabled => MySqlSslMode::Disabled,
            SslMode::Preferred => MySqlSslMode::Preferred,
            SslMode::Required => MySqlSslMode::Required,
            SslMode::VerifyCa => MySqlSslMode::VerifyCa,
            SslMode::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        }
    }
}

/// The TLS settings of one source: the command line, a URL or an option file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    pub mode: Option<SslMode>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl TlsOptions {
    /// Takes from `other` each setting that is missing here.
    pub fn or(self, other: TlsOptions) -> Self {
        TlsOptions {
            mode: self.mode.or(other.mode),
            ca: self.ca.or(other.ca),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
        }
    }

    /// Adds the settings to those of a connection. The files are read now, so that a mistake in one ends the program before
    /// any work, and a reconnect does not depend on them.
    pub(super) fn apply(&self, options: MySqlConnectOptions) -> Result<MySqlConnectOptions> {
        // As with MySQL's clients, an authority is named in order to verify the certificate.
        let default = if self.ca.is_some() { SslMode::VerifyCa } else { SslMode::Preferred };
        let mut options = options.ssl_mode(self.mode.unwrap_or(default).into());
        if let Some(file) = &self.ca {
            options = options.ssl_ca_from_pem(certificates("ssl-ca", file)?);
        }
        match (&self.cert, &self.key) {
            (None, None) => Ok(options),
            (Some(cert), Some(key)) => {
                let options = options.ssl_client_cert_from_pem(certificates("ssl-cert", cert)?);
                Ok(options.ssl_client_key_from_pem(private_key("ssl-key", key)?))
            }
            (Some(_), None) => Err(Error::usage("ssl-cert is set without ssl-key", "Name the key of the certificate.")),
            (None, Some(_)) => Err(Error::usage("ssl-key is set without ssl-cert", "Name the certificate of the key.")),
        }
    }
}

fn certificates(option: &str, file: &Path) -> Result<Vec<u8>> {
    let text = read(option, file)?;
    let found: Option<Vec<_>> = CertificateDer::pem_slice_iter(&text).map(Result::ok).collect();
    match found.is_some_and(|found| !found.is_empty()) {
        true => Ok(text),
        false => Err(unusable(option, file, "it holds no certificate in PEM form")),
    }
}

fn private_key(option: &str, file: &Path) -> Result<Vec<u8>> {
    let text = read(option, file)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(unusable(option, file, "it holds no private key in PEM form, or one behind a passphrase")),
    }
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| unusable(option, file, &error.to_string()))
}

fn unusable(option: &str, file: &Path, why: &str) -> Error {
    Error::usage(format!("{option} {}: {why}", file.display()), "Name a PEM file that you may read.")
}

/// A warning if a server across the network can be impersonated. `None` if the server is local, its certificate is
/// verified, or encryption is switched off on purpose.
pub(super) fn warning(options: &MySqlConnectOptions, shown: &str) -> Option<String> {
    let is_unverified = matches!(options.get_ssl_mode(), MySqlSslMode::Preferred | MySqlSslMode::Required);
    (is_unverified && !is_local(options)).then(|| {
        format!(
            "the certificate of {shown} is not verified: another machine on the network could pose as that server. \
             To verify it: --ssl-mode verify-identity --ssl-ca FILE"
        )
    })
}

fn is_local(options: &MySqlConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_mysql_and_as_other_programs_write_them() {
        let modes = ["DISABLED", "preferred", "Required", "VERIFY_CA", "verify-identity", "on"].map(SslMode::parse);
        use SslMode::*;
        let expected = [Some(Disabled), Some(Preferred), Some(Required), Some(VerifyCa), Some(VerifyIdentity), None];
        assert_eq!(modes, expected);
    }

    #[test]
    fn a_local_server_a_verified_one_and_an_explicit_choice_get_no_warning() {
        let warns = |host: &str, mode: SslMode| {
            warning(&MySqlConnectOptions::new().host(host).ssl_mode(mode.into()), host).is_some()
        };
        assert!(warns("db1", SslMode::Preferred) && warns("10.0.0.5", SslMode::Required));
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(!warns(host, SslMode::Preferred), "{host}");
        }
        assert!(
            ![SslMode::Disabled, SslMode::VerifyCa, SslMode::VerifyIdentity].map(|m| warns("db1", m)).contains(&true)
        );
        assert_eq!(warning(&MySqlConnectOptions::new().host("db1").socket("/run/mysqld.sock"), "db1"), None);
    }

    #[test]
    fn a_file_that_holds_no_certificate_or_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let error = |options: TlsOptions| options.apply(MySqlConnectOptions::new()).unwrap_err().to_string();
        let ca = error(TlsOptions { ca: Some(file.clone()), ..TlsOptions::default() });
        assert!(ca.contains("ssl-ca") && ca.contains("ca.pem") && ca.contains("no certificate"), "{ca}");
        let missing = error(TlsOptions { ca: Some("missing.pem".into()), ..TlsOptions::default() });
        assert!(missing.contains("ssl-ca missing.pem"), "{missing}");
        let alone = error(TlsOptions { cert: Some(file), ..TlsOptions::default() });
        assert!(alone.contains("without ssl-key"), "{alone}");
    }
}
