//! Unusable files of certificates and keys: the error names the file that is wrong.

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fake_server::{self, Behaviour};
use crate::support::{PASSWORD, Said, Site};

/// A certificate of X.509 version 1, as `openssl x509 -req` makes them, and its key. It is valid
/// for a hundred years.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHjCBxQIUKN1MebaSOq6jgBWz/uVmfPR5qCYwCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGY2xpZW50MCAXDTI2MTEyOTE3Mzk1NVoYDzIxMjYxMTA1MTczOTU1WjAR
MQ8wDQYDVQQDDAZjbGllbnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQMyhSn
lO8r+2mdRHK/K54RfKJiWWf3kJiMgdzupyTlQnRTDHEv/4AqXARiXO/VVraz3XCu
YP9c1LWz5PEdGJ9nMAoGCCqGSM49BAMCA0gAMEUCICARWmwvJ0WasM1O/1GQJd4D
Ryas4YbXcA8rYzch346kAiEAwbjYl1wbvVj22OqtryMX/H8BhWpRffO2wxjsbYRN
N9k=
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXVY0yNKYxyEFFau+
oWTraEWAS0ki4BI5x7pUPFQUCmahRANCAAQMyhSnlO8r+2mdRHK/K54RfKJiWWf3
kJiMgdzupyTlQnRTDHEv/4AqXARiXO/VVraz3XCuYP9c1LWz5PEdGJ9n
-----END PRIVATE KEY-----
";

fn log_in(site: &Site, port: u16, more: &[&str]) -> String {
    let url = format!("mysql://pacs@localhost:{port}/dicom");
    let mut command = site.program(&["init", "--not-the-pacsone-installer", "--index", &url]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD)).exits(2).err
}

/// Starts a server with a certificate of version 1.
fn old_server() -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let pair = rustls::sign::CertifiedKey::new(vec![certificate], key);
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    let config = config.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    fake_server::start(Behaviour::Tls(Arc::new(config)))
}

#[test]
fn a_server_with_an_old_certificate_gets_an_error_that_says_what_to_set() {
    let site = Site::new();
    let port = old_server();
    for mode in ["preferred", "required", "verify-ca"] {
        let error = log_in(&site, port, &["--ssl-mode", mode]);
        assert!(error.contains("X.509 version 3") && error.contains("--ssl-mode disabled"), "{mode}: {error}");
    }
    assert!(log_in(&site, port, &["--ssl-mode", "disabled"]).contains("wrong user or password"));
}

#[test]
fn a_certificate_or_key_of_the_client_that_is_wrong_is_named_and_the_server_is_not_blamed() {
    let site = Site::new();
    let [key, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(["client".to_owned()]).unwrap().self_signed(&key).unwrap();
    let damaged = certificate.pem().replacen("\nMII", "\nAAA", 1);
    for (name, text) in [
        ("v1.pem", VERSION_1.to_owned()),
        ("v1-key.pem", KEY.to_owned()),
        ("good.pem", certificate.pem()),
        ("other-key.pem", other.serialize_pem()),
        ("damaged.pem", damaged.clone()),
        ("half-damaged.pem", format!("{}{damaged}", certificate.pem())),
    ] {
        fs::write(site.path(name), text).unwrap();
    }
    let port = old_server();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--ssl-cert", "v1.pem", "--ssl-key", "v1-key.pem"], &["ssl-cert v1.pem", "version 3"]),
        (&["--ssl-cert", "good.pem", "--ssl-key", "other-key.pem"], &["ssl-key other-key.pem", "good.pem"]),
        (&["--ssl-cert", "damaged.pem", "--ssl-key", "other-key.pem"], &["ssl-cert damaged.pem"]),
        (&["--ssl-ca", "damaged.pem"], &["ssl-ca damaged.pem"]),
        (&["--ssl-ca", "half-damaged.pem"], &["ssl-ca half-damaged.pem"]),
    ];
    for (arguments, expected) in cases {
        let error = log_in(&site, port, arguments);
        assert!(expected.iter().all(|text| error.contains(text)), "{arguments:?}: {error}");
        assert!(!error.contains("localhost"), "{arguments:?}: {error}");
    }
}
