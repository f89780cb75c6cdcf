//! Errors of a connection: one cause, and what to do about it.

use serde_json::json;

use super::fake_server::{self, Behaviour};
use crate::support::{Index, PASSWORD, Said, Site, server_of};

/// Words of the driver, of its libraries and of Rust.
const INTERNALS: [&str; 9] = [
    "error with configuration",
    "mysql-rsa",
    "os error",
    "error returned from",
    "Protocol",
    "rustls",
    "serde",
    "sqlx",
    "0x",
];

fn reindex(site: &Site, url: &str, password: Option<&str>) -> String {
    let mut command = site.program(&["reindex", "archive", "--quiet", "--index", url]);
    password.map(|password| command.env("PACS_INDEX_PASSWORD", password));
    let error = Said::of(&mut command).exits(2).err;
    assert!(INTERNALS.iter().all(|word| !error.contains(word)), "{error}");
    let error = &error[error.find("pacs-index: ").unwrap()..];
    assert_eq!(error.lines().count(), 2, "a cause and an advice: {error}");
    error.to_owned()
}

#[test]
fn a_connection_that_fails_names_one_cause() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let server = server_of("PACS_INDEX_TEST_MARIADB");
    let empty = Index::empty_mariadb();
    let method = fake_server::start(Behaviour::Method("client_ed25519"));
    let foreign = fake_server::start(Behaviour::Foreign);
    let cases: [(&str, Option<&str>, &[&str]); 9] = [
        (&empty.url, Some("wrong"), &["wrong user or password", "'pacs'@", "--password-file"]),
        (&empty.url, None, &["`pacs`", "without a password", "PACS_INDEX_PASSWORD"]),
        ("mysql://pacs@no-such-host.invalid/dicom", Some("x"), &["unknown host `no-such-host.invalid`"]),
        ("mysql://pacs@127.0.0.1:1/dicom", Some("x"), &["connection refused by 127.0.0.1:1"]),
        (
            "mysql://pacs@localhost/dicom?socket=/nowhere/mysqld.sock",
            Some("x"),
            &["/nowhere/mysqld.sock does not exist"],
        ),
        (&format!("{server}no_such_database"), Some(PASSWORD), &["no database `no_such_database`", "URL"]),
        (&empty.url, Some(PASSWORD), &["no table `patient`", "pacs-index init"]),
        (&format!("mysql://pacs@127.0.0.1:{method}/dicom"), Some("x"), &["`client_ed25519`", "not supported"]),
        (&format!("mysql://pacs@127.0.0.1:{foreign}/dicom"), Some("x"), &["no answer for 10 s", "host and port"]),
    ];
    for (url, password, expected) in cases {
        let error = reindex(&site, url, password);
        assert!(expected.iter().all(|text| error.contains(text)), "{url}: {error}");
    }
}

#[test]
fn a_missing_right_is_named_with_the_grant_that_gives_it() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    let index = Index::mariadb(&site);
    let (user, database) = (format!("u_{}", index.name()), index.name().to_owned());
    index.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'"));
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let grant = |right: &str, table: &str| format!("GRANT {right} ON `{database}`.{table} TO '{user}'@'%';");
    let error = reindex(&site, &url, Some(PASSWORD));
    assert!(error.contains(&grant("SELECT, INSERT, UPDATE", "*")), "{error}");
    index.execute(&format!("GRANT SELECT ON {database}.series TO {user}@'%'"));
    let error = reindex(&site, &url, Some(PASSWORD));
    assert!(error.contains(&grant("SELECT", "`patient`")), "{error}");
    index.execute(&format!("GRANT SELECT ON {database}.* TO {user}@'%'"));
    let error = reindex(&site, &url, Some(PASSWORD));
    assert!(error.contains("lacks the right INSERT on") && error.contains(&grant("INSERT", "`")[..30]), "{error}");
    assert!(error.contains(&format!("TO '{user}'@'%';")), "{error}");
    index.execute(&format!("DROP USER {user}@'%'"));
}

#[test]
fn an_unknown_url_parameter_is_an_error_that_lists_the_known_ones() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    for parameter in ["sokcet=/run/mysqld.sock", "ssl=true", "timezone=UTC", "statement-cache-capacity=0"] {
        let error = reindex(&site, &format!("mysql://pacs@127.0.0.1:1/dicom?{parameter}"), Some("x"));
        let name = parameter.split('=').next().unwrap();
        assert!(error.contains(&format!("`{name}`")) && error.contains("socket, ssl-mode, ssl-ca"), "{error}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_place_and_in_plain_words() {
    let site = Site::new();
    site.add("1.2.3", json!({}));
    for (arguments, expected) in [
        (["reindex", "archive", "--min-age", "5 parsecs"], "for example 30s"),
        (["reindex", "archive", "--reconnect-timeout", "10"], "for example 30s"),
        (["reindex", "archive", "--since", "yesterday"], "for example 2021-11-12"),
    ] {
        let said = site.run(&arguments).exits(2);
        assert!(said.err.contains(expected), "{}", said.err);
        assert!(!said.err.contains("friendly") && !said.err.contains("ISO 8601"), "{}", said.err);
    }
    for (text, expected) in [
        ("\nmin-age = '10'\n", "site.toml, line 2: `min-age` cannot be `10`: write a number and a unit"),
        ("quiet = true\nquiet = true\n", "site.toml, line 2: the setting `quiet` is set before"),
        ("io-threads = 4\nindex = sqlite\n", "site.toml, line 2: the setting `index` is not written as TOML"),
        ("\n\nio-threads = 5000\n", "site.toml, line 3: `io-threads` cannot be `5000`"),
    ] {
        std::fs::write(site.path("site.toml"), text).unwrap();
        let said = site.run(&["reindex", "archive", "--config", "site.toml"]).exits(2);
        assert!(said.err.contains(expected), "{text}: {}", said.err);
    }
    std::fs::write(site.path("plan"), "{\"plan\": 1}\n").unwrap();
    site.run(&["init"]).exits(0);
    let said = site.run(&["repair", "plan", "--undo-file", "undo"]).exits(2);
    assert!(said.err.contains("line 1: it lacks a field") && !said.err.contains("missing field"), "{}", said.err);
}
