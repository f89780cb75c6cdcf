//! Encryption of connections to a MySQL server: the `ssl-*` options of MySQL's own clients.

#![allow(clippy::disallowed_methods, reason = "files of certificates and keys")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::error::{Error, Result};

/// The value of `--ssl-mode`, with the names of MySQL's clients, from the least strict mode to the
/// strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
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
    /// Parses a mode in any case, with `-` or `_`.
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
    /// Fills in missing settings from a source of lower precedence. A certificate authority in this
    /// source, without a mode, raises any mode of the lower source to at least `verify-ca`. A
    /// certificate and its key are taken together.
    pub fn or(self, lower: TlsOptions) -> Self {
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => (lower.cert.clone(), lower.key.clone()),
            _ => (self.cert.clone(), self.key.clone()),
        };
        let mode = match (self.own_mode(), lower.own_mode()) {
            (Some(own), Some(lower)) if self.mode.is_none() => Some(own.max(lower)),
            (own, lower) => own.or(lower),
        };
        TlsOptions { mode, ca: self.ca.or(lower.ca), cert, key }
    }

    /// Returns the mode that this source requests. As in MySQL's clients, naming an authority
    /// requests verification of the certificate.
    fn own_mode(&self) -> Option<SslMode> {
        self.mode.or_else(|| self.ca.as_ref().map(|_| SslMode::VerifyCa))
    }

    /// Adds the settings to the options of a connection. The files are read now, so that an invalid
    /// file ends the program before any work, and a reconnect does not depend on the files.
    pub(crate) fn apply(&self, options: MySqlConnectOptions) -> Result<MySqlConnectOptions> {
        let mode = self.own_mode().unwrap_or(SslMode::Preferred);
        let mut options = options.ssl_mode(mode.into());
        if mode == SslMode::Disabled {
            return Ok(options);
        }
        if let Some(file) = &self.ca {
            options = options.ssl_ca_from_pem(authorities("ssl-ca", file)?);
        }
        match (&self.cert, &self.key) {
            (None, None) => Ok(options),
            (Some(cert), Some(key)) => {
                let (cert, key) = identity(cert, key)?;
                Ok(options.ssl_client_cert_from_pem(cert).ssl_client_key_from_pem(key))
            }
            (Some(_), None) => Err(Error::usage("ssl-cert is set without ssl-key", "Name the key of the certificate.")),
            (None, Some(_)) => Err(Error::usage("ssl-key is set without ssl-cert", "Name the certificate of the key.")),
        }
    }
}

const PEM: &str = "Name a PEM file that you may read.";

/// Returns the text of a file of authorities after checking that each can be used.
fn authorities(option: &str, file: &Path) -> Result<Vec<u8>> {
    let (text, found) = certificates(option, file)?;
    let mut store = RootCertStore::empty();
    match found.into_iter().try_for_each(|authority| store.add(authority)) {
        Ok(()) => Ok(text),
        Err(_) => Err(unusable(option, file, "a certificate in it is damaged", "Copy the certificate again.")),
    }
}

/// Returns the texts of a certificate file and its key file after checking that they match.
fn identity(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let (cert_text, chain) = certificates("ssl-cert", cert)?;
    let key_text = read("ssl-key", key)?;
    let private = PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| {
        unusable("ssl-key", key, "it holds no private key in PEM form, or one behind a passphrase", PEM)
    })?;
    match CertifiedKey::from_der(chain, private, &default_provider()) {
        Ok(_) => Ok((cert_text, key_text)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let why = format!("it is not the key of the certificate in {}", cert.display());
            Err(unusable("ssl-key", key, &why, "Name the two files that were made together."))
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            let advice = "Make one of version 3, for example with openssl x509 -req and -extfile.";
            Err(unusable("ssl-cert", cert, "the certificate is damaged, or not of X.509 version 3", advice))
        }
        Err(_) => Err(unusable("ssl-key", key, "the key is damaged, or of an unknown kind", PEM)),
    }
}

/// Returns the text of a certificate file, and the parsed certificates.
fn certificates(option: &str, file: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>)> {
    let text = read(option, file)?;
    let found: Option<Vec<_>> = CertificateDer::pem_slice_iter(&text).map(Result::ok).collect();
    match found.filter(|found| !found.is_empty()) {
        Some(found) => Ok((text, found)),
        None => Err(unusable(option, file, "it holds no certificate in PEM form", PEM)),
    }
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| unusable(option, file, &error.to_string(), PEM))
}

fn unusable(option: &str, file: &Path, why: &str, advice: &str) -> Error {
    Error::usage(format!("{option} {}: {why}", file.display()), advice)
}

/// Returns a warning if a server on the network can be impersonated. Returns `None` if the server
/// is local, its certificate is verified, or encryption is disabled on purpose.
pub(crate) fn warning(options: &MySqlConnectOptions, shown: &str) -> Option<String> {
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
