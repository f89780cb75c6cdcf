//! A password in a URL, whether valid there or not: no message repeats it.

use crate::support::{Index, Site};

const URLS: [&str; 24] = [
    "mysql://pacs:topsecret@127.0.0.1:1/d",
    "mysql://:topsecret@127.0.0.1:1/d",
    "mysql://pacs%3Atopsecret@127.0.0.1:1/d",
    "mysql://pacs@127.0.0.1:1/d?password=topsecret",
    "mysql://pacs@127.0.0.1:1/d?passwd=topsecret",
    "mysql://pacs@127.0.0.1:1/d?PWD=topsecret&ssl-mode=required",
    "mysql://pacs@127.0.0.1:1/d?topsecret",
    "mysql://pacs@127.0.0.1:1/d?ssl-mode=required;password=topsecret",
    "mysql://pacs@127.0.0.1:1/d?socket=/run/s;password=topsecret",
    "mysql://pacs@127.0.0.1:1/d?sokcet=topsecret&timezone=UTC",
    "mysql://pacs@127.0.0.1:1/d#topsecret",
    "mysql://pacs:12/topsecret@127.0.0.1/d",
    "mysql://pacs:12?topsecret@127.0.0.1/d",
    "mysql://pacs:12#topsecret@127.0.0.1/d",
    "mysql://pacs:top/topsecret@127.0.0.1/d",
    "MySQL://pacs:topsecret@127.0.0.1/d",
    " mysql://pacs:topsecret@127.0.0.1/d",
    "mysql+ssl://pacs:topsecret@127.0.0.1/d",
    "jdbc:mysql://127.0.0.1/d?user=pacs&password=topsecret",
    "mysql:pacs:topsecret@127.0.0.1",
    "mysql:/pacs:topsecret@127.0.0.1/d",
    "//pacs:topsecret@127.0.0.1/d",
    "pacs:topsecret@127.0.0.1/d",
    "Server=127.0.0.1;Uid=pacs;Pwd=topsecret;",
];

#[test]
fn a_password_in_a_url_is_in_no_error_text() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    let sqlite = site.sqlite();
    for url in URLS {
        let commands: [&[&str]; 5] = [
            &["reindex", "archive", "--reconnect-timeout", "0s", "--index", url],
            &["audit", "archive", "--index", url],
            &["audit", "archive", "--index", "mysql://pacs@127.0.0.1:1/d", "--compare", url],
            &["reindex", "archive", "--index", "mysql://pacs@127.0.0.1:1/d", "--replica", url],
            &["reindex", "archive", "--index", &sqlite.url, "--replica", url],
        ];
        for arguments in commands {
            let said = site.run(arguments).exits(2);
            assert!(!format!("{}{}", said.out, said.err).contains("topsecret"), "{arguments:?}: {}", said.err);
        }
        std::fs::write(site.path("site.toml"), format!("index = '{url}'\n")).unwrap();
        let said = site.run(&["reindex", "archive", "--config", "site.toml"]).exits(2);
        assert!(!said.err.contains("topsecret"), "{url}: {}", said.err);
    }
}

#[test]
fn a_scheme_may_be_written_in_capitals_and_a_database_end_in_a_slash() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    let index = Index::mariadb(&site);
    let url = index.url.replace("mysql://", "MySQL://");
    let mut command = site.program(&["reindex", "archive", "--quiet", "--index", &format!("{url}/")]);
    let said = crate::support::Said::of(command.env("PACS_INDEX_PASSWORD", crate::support::PASSWORD)).exits(0);
    assert_eq!(said.figure("inserted"), 1);
}
