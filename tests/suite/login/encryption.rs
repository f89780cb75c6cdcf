//! `--ssl-mode` and the related options, with a server whose certificate is valid, and with others.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;

use super::fake_server::{self, Behaviour};
use crate::support::{PASSWORD, Said, Site};

/// The error of a login that used TLS and was then denied.
const LOGGED_IN: &str = "wrong user or password";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Starts a server with a certificate for a host, valid until the end of a year.
    fn server(&self, host: &str, year: i32) -> u16 {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        fake_server::start(fake_server::with_certificate(certificate.der().clone(), key))
    }
}

/// A site with the certificate of an authority in the file `ca.pem`.
fn site_that_trusts(authority: &Authority) -> Site {
    let site = Site::new();
    fs::write(site.path("ca.pem"), authority.0.pem()).unwrap();
    site
}

fn log_in(site: &Site, url: &str, more: &[&str]) -> String {
    let mut command = site.program(&["init", "--not-the-pacsone-installer", "--index", url]);
    Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD)).exits(2).err
}

fn url(port: u16) -> String {
    format!("mysql://pacs@localhost:{port}/dicom")
}

#[test]
fn a_certificate_is_verified_as_far_as_the_mode_says() {
    let authority = Authority::new();
    let site = site_that_trusts(&authority);
    let [good, elsewhere, old] = [("localhost", 2090), ("db1.example", 2090), ("localhost", 2001)]
        .map(|(host, year)| url(authority.server(host, year)));
    let unknown = url(Authority::new().server("localhost", 2090));
    let identity = ["--ssl-mode", "verify-identity", "--ssl-ca", "ca.pem"];
    let ca = ["--ssl-mode", "VERIFY_CA", "--ssl-ca", "ca.pem"];
    let cases: [(&str, &[&str], &str); 10] = [
        (&good, &identity, LOGGED_IN),
        (&good, &["--ssl-ca", "ca.pem"], LOGGED_IN),
        (&good, &["--ssl-mode", "verify-identity"], "authority that is not trusted"),
        (&elsewhere, &identity, "names another host"),
        (&elsewhere, &ca, LOGGED_IN),
        (&old, &ca, "has expired"),
        (&unknown, &ca, "authority that is not trusted"),
        (&unknown, &["--ssl-ca", "ca.pem"], "authority that is not trusted"),
        (&unknown, &["--ssl-mode", "required"], LOGGED_IN),
        (&unknown, &["--ssl-mode", "disabled"], LOGGED_IN),
    ];
    for (url, options, expected) in cases {
        let error = log_in(&site, url, options);
        assert!(error.contains(expected), "{options:?}: {error}");
        assert!(!error.contains("UnknownIssuer") && !error.contains("invalid peer"), "{error}");
    }
}

#[test]
fn the_mode_comes_from_the_url_an_option_file_or_the_settings_too() {
    let authority = Authority::new();
    let site = site_that_trusts(&authority);
    site.add("1.2.3", serde_json::json!({}));
    let unknown = url(Authority::new().server("localhost", 2090));
    let untrusted = "authority that is not trusted";
    assert!(log_in(&site, &format!("{unknown}?ssl-mode=VERIFY_CA"), &[]).contains(untrusted));
    assert!(log_in(&site, &format!("{unknown}?ssl-mode=verify-ca"), &["--ssl-mode", "required"]).contains(LOGGED_IN));
    fs::write(site.path("my.cnf"), "[client]\nssl-ca=ca.pem\nssl-verify-server-cert\n").unwrap();
    assert!(log_in(&site, &unknown, &["--defaults-file", "my.cnf"]).contains(untrusted));
    fs::write(
        site.path("site.toml"),
        format!("index = '{unknown}'\nssl-mode = 'verify-identity'\nssl-ca = 'ca.pem'\n"),
    )
    .unwrap();
    let said = site.run(&["reindex", "archive", "--config", "site.toml"]).exits(2);
    assert!(said.err.contains(untrusted), "{}", said.err);
}

#[test]
fn a_server_without_tls_or_with_an_old_one_gets_an_error_that_says_what_to_set() {
    let site = Site::new();
    let plain = url(fake_server::start(Behaviour::Plain));
    assert!(log_in(&site, &plain, &[]).contains(LOGGED_IN));
    let error = log_in(&site, &plain, &["--ssl-mode", "required"]);
    assert!(error.contains("does not support encrypted connections"), "{error}");
    // Handshake failure, protocol version, insufficient security.
    for alert in [40, 70, 71] {
        let old = url(fake_server::start(Behaviour::Alert(alert)));
        let error = log_in(&site, &old, &[]);
        assert!(error.contains("only insecure versions") && error.contains("--ssl-mode disabled"), "{error}");
        assert!(log_in(&site, &old, &["--ssl-mode", "disabled"]).contains(LOGGED_IN));
    }
}

#[test]
fn an_unverified_server_across_the_network_is_mentioned_once() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    // The warning precedes the connection, so the host need not exist.
    let run = |url: &str, more: &[&str]| {
        let mut command = site.program(&["reindex", "archive", "--index", url]);
        Said::of(command.args(more).env("PACS_INDEX_PASSWORD", PASSWORD)).exits(2).err
    };
    let port = fake_server::start(Behaviour::Plain);
    let away = format!("mysql://pacs@nowhere.invalid:{port}/dicom");
    let warned = run(&away, &[]);
    assert_eq!(warned.matches("is not verified").count(), 1, "{warned}");
    for (url, more) in [
        (&*away, &["--quiet"][..]),
        (&*away, &["--ssl-mode", "disabled"]),
        (&*away, &["--ssl-mode", "verify-ca"]),
        (&*url(port), &[]),
    ] {
        let said = run(url, more);
        assert!(!said.contains("is not verified"), "{url} {more:?}: {said}");
    }
}

#[test]
fn an_authority_that_is_named_is_used_unless_the_same_source_or_a_higher_one_asks_for_less() {
    let authority = Authority::new();
    let site = site_that_trusts(&authority);
    let elsewhere = url(authority.server("db1.example", 2090));
    let unknown = url(Authority::new().server("localhost", 2090));
    let untrusted = "authority that is not trusted";
    let typed: &[&str] = &["--ssl-ca", "ca.pem"];
    let with_mode = |mode: &'static str| [typed, &["--ssl-mode", mode]].concat();
    let (none, required, disabled) = ("", with_mode("required"), with_mode("disabled"));
    let cases: [(&str, &str, &[&str], &str); 16] = [
        ("ssl\nssl-ca=ca.pem", none, &[], untrusted),
        ("ssl-ca=ca.pem", none, &[], untrusted),
        ("ssl\nssl-ca=ca.pem\nskip-ssl-verify-server-cert", none, &[], untrusted),
        ("ssl-capath=/etc/ssl/certs", none, &[], "ssl-capath"),
        ("ssl-mode=PREFERRED", none, typed, untrusted),
        ("ssl-mode=DISABLED", none, typed, untrusted),
        ("skip-ssl", none, typed, untrusted),
        ("", "?ssl-mode=disabled", typed, untrusted),
        ("", "?ssl-mode=required", typed, untrusted),
        ("ssl-mode=REQUIRED", "?ssl-ca=ca.pem", &[], untrusted),
        ("ssl-mode=REQUIRED\nssl-ca=ca.pem", none, &[], LOGGED_IN),
        ("skip-ssl\nssl-ca=missing.pem", none, &[], LOGGED_IN),
        ("ssl-ca=ca.pem", "?ssl-mode=required", &[], LOGGED_IN),
        ("ssl-ca=ca.pem", none, &["--ssl-mode", "required"], LOGGED_IN),
        ("", "?ssl-mode=verify-ca", &required, LOGGED_IN),
        ("", "?ssl-mode=verify-ca", &disabled, LOGGED_IN),
    ];
    for (lines, query, more, expected) in cases {
        fs::write(site.path("my.cnf"), format!("[client]\n{lines}\n")).unwrap();
        let error = log_in(&site, &format!("{unknown}{query}"), &[&["--defaults-file", "my.cnf"], more].concat());
        assert!(error.contains(expected), "{lines} {query} {more:?}: {error}");
    }
    // A CA from a source of higher precedence does not weaken a stricter mode from a source of
    // lower precedence.
    fs::write(site.path("my.cnf"), "[client]\nssl-mode=VERIFY_IDENTITY\n").unwrap();
    let error = log_in(&site, &elsewhere, &[&["--defaults-file", "my.cnf"], typed].concat());
    assert!(error.contains("names another host"), "{error}");
    // A settings file has lower precedence than the command line.
    let run = |setting: &str, url: &str| {
        fs::write(site.path("site.toml"), format!("index = '{url}'\n{setting}\n")).unwrap();
        site.run(&["reindex", "archive", "--config", "site.toml", "--ssl-ca", "ca.pem"]).exits(2).err
    };
    site.add("1.2.3", serde_json::json!({}));
    for mode in ["preferred", "disabled", "REQUIRED"] {
        let error = run(&format!("ssl-mode = '{mode}'"), &unknown);
        assert!(error.contains(untrusted), "{mode}: {error}");
    }
    let error = run("ssl-mode = 'verify-identity'", &elsewhere);
    assert!(error.contains("names another host"), "{error}");
}
