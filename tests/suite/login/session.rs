//! Sessions whose server limits results.

use serde_json::json;

use super::proxy::Proxy;
use crate::support::{Index, PASSWORD, Said, Site, server_of};

/// Returns the URL of an index through a proxy that denies a variable.
fn proxied(index: &Index, denied: &'static str) -> (Proxy, String) {
    let server = server_of("PACS_INDEX_TEST_MARIADB");
    let address = server.trim_end_matches('/').rsplit('@').next().unwrap().to_owned();
    let proxy = Proxy::start(&address, denied);
    let url = index.url.replace(&address, &format!("127.0.0.1:{}", proxy.port)) + "?ssl-mode=disabled";
    (proxy, url)
}

/// Server defaults that change results, truncate them or abort statements, set for users of one
/// name only.
const LIMITS: [&str; 12] = [
    "sql_select_limit = 1",
    "max_join_size = 1",
    "sql_big_selects = 0",
    "max_statement_time = 0.000001",
    "sql_safe_updates = 1",
    "sql_auto_is_null = 1",
    "autocommit = 0",
    "completion_type = 'CHAIN'",
    "tx_read_only = 1",
    "max_sort_length = 64",
    "collation_connection = 'utf8mb4_bin'",
    "lc_messages = 'de_DE'",
];

#[test]
fn limits_that_a_server_sets_for_sessions_do_not_change_the_index() {
    let site = Site::new();
    for study in 1..=3 {
        site.add_series("2021-11-12-FRI", study, 1, 20);
    }
    let expected = Index::mariadb(&site);
    site.reindex(&expected, &[]).exits(0);
    let index = Index::mariadb(&site);
    let user = format!("limited_{}", index.name());
    index.execute(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT, INSERT, UPDATE ON {}.* TO {user}@'%'",
        index.name()
    ));
    // The server executes this at each login of a user without administrative rights. Other tests
    // have such users, too.
    let limits: Vec<String> = LIMITS
        .iter()
        .filter_map(|limit| limit.split_once(" = "))
        .map(|(name, value)| {
            format!("@@session.{name} = IF(CURRENT_USER() LIKE '{user}@%', {value}, @@session.{name})")
        })
        .collect();
    index.execute(&format!("SET GLOBAL init_connect = \"SET {}\"", limits.join(", ")));
    let url = index.url.replace("pacs@", &format!("{user}@"));
    let mut command = site.program(&["reindex", "archive", "--quiet", "--index", &url, "--min-age", "0s"]);
    command.env("PACS_INDEX_PASSWORD", PASSWORD);
    let runs = [Said::of(&mut command), Said::of(command.arg("--force"))];
    index.execute(&format!("SET GLOBAL init_connect = ''; DROP USER {user}@'%'"));
    let [first, second] = runs.map(|said| said.exits(0));
    assert_eq!((first.figure("inserted"), second.figure("unchanged")), (60, 60));
    assert_eq!(index.dump(), expected.dump());
}

/// Reindexes through a proxy that denies a variable.
fn reindex_without(denied: &'static str) -> (Proxy, Index, Said) {
    let site = Site::new();
    site.add("a", json!({}));
    let index = Index::mariadb(&site);
    let (proxy, url) = proxied(&index, denied);
    let mut command = site.program(&["reindex", "archive", "--quiet", "--index", &url, "--min-age", "0s"]);
    let said = Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD));
    (proxy, index, said)
}

#[test]
fn a_variable_that_a_proxy_denies_leaves_the_others_set() {
    for denied in ["max_join_size", "wait_timeout", "net_write_timeout"] {
        let (proxy, index, said) = reindex_without(denied);
        said.exits(0);
        let settings = proxy.settings().join("; ");
        for variable in ["sql_mode = 'STRICT_ALL_TABLES", "sql_select_limit", "net_read_timeout"] {
            assert!(settings.contains(variable), "{denied}: {variable} is not in {settings}");
        }
        assert!(!settings.contains(denied), "{settings}");
        assert_eq!(index.rows("SELECT COUNT(*) FROM image"), ["1"]);
    }
}

#[test]
fn without_strict_mode_nothing_is_written() {
    let (_proxy, index, said) = reindex_without("sql_mode");
    let said = said.exits(2);
    assert!(said.err.contains("sql_mode") && said.err.contains("proxy"), "{}", said.err);
    assert_eq!(index.rows("SELECT COUNT(*) FROM image"), ["0"]);
}

#[test]
fn nothing_is_written_where_a_change_would_be_rolled_back_at_the_end_of_the_session() {
    let site = Site::new();
    site.add("a", json!({}));
    let index = Index::mariadb(&site);
    let user = format!("held_{}", index.name());
    index.execute(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON {}.* TO {user}@'%'",
        index.name()
    ));
    for (variable, value) in [("autocommit", "0"), ("completion_type", "'CHAIN'")] {
        let (_proxy, url) = proxied(&index, variable);
        let reindex = |url: &str| {
            let mut command = site.program(&["reindex", "archive", "--quiet", "--index", url, "--min-age", "0s"]);
            Said::of(command.env("PACS_INDEX_PASSWORD", PASSWORD))
        };
        index.execute(&format!(
            "SET GLOBAL init_connect = \"SET @@session.{variable} = IF(CURRENT_USER() LIKE '{user}@%', {value}, @@session.{variable})\""
        ));
        let said = reindex(&url.replace("pacs@", &format!("{user}@")));
        index.execute("SET GLOBAL init_connect = ''");
        let said = said.exits(2);
        assert!(said.err.contains(variable) && said.err.contains("proxy"), "{variable}: {}", said.err);
        assert_eq!(index.rows("SELECT COUNT(*) FROM image"), ["0"], "{variable}");
        // A variable that a proxy denies is harmless if it already has its value.
        reindex(&url).exits(0);
        assert_eq!(index.rows("SELECT COUNT(*) FROM image"), ["1"], "{variable}");
        index.execute("DELETE FROM image; DELETE FROM series; DELETE FROM study; DELETE FROM patient");
    }
    index.execute(&format!("DROP USER {user}@'%'"));
}
