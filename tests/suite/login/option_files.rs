//! Logins from option files, password files and the environment.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use super::fake_server::{self, Behaviour};
use crate::support::{Index, PASSWORD, Said, Site};

fn with_option_file(site: &Site, url: &str, text: impl AsRef<[u8]>) -> std::process::Command {
    fs::write(site.path("my.cnf"), text).unwrap();
    site.program(&["reindex", "archive", "--quiet", "--index", url, "--defaults-file", "my.cnf"])
}

#[test]
fn an_option_file_logs_in_as_with_the_clients_of_the_server() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    let index = Index::mariadb(&site);
    let url = index.url.replace("pacs@", "");
    let user = format!("u_{}", index.name());
    index.execute(&format!(r#"CREATE USER {user}@'%' IDENTIFIED BY 'a\\b # "c'"#));
    index.execute(&format!("GRANT ALL ON {}.* TO {user}@'%'", index.name()));
    for password in [r#"'a\\b # "c'"#, r#""a\\b # \"c" # the password"#, "\"first\"\npassword=\"a\\\\b\\s#\\s\\\"c\""] {
        let text = format!("[client]\nuser={user} # of the index\npassword={password}\n");
        Said::of(&mut with_option_file(&site, &url, &text)).exits(0);
        // A comment in Latin-1, and the byte order mark that an editor writes.
        let bytes = [b"\xef\xbb\xbf# f\xfcr uns\n", text.as_bytes()].concat();
        Said::of(&mut with_option_file(&site, &url, bytes)).exits(0);
    }
    index.execute(&format!("DROP USER {user}@'%'"));
}

#[test]
fn an_include_that_hides_the_login_is_named() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    let port = fake_server::start(Behaviour::Plain);
    let url = format!("mysql://pacs@localhost:{port}/dicom");
    for text in ["!include secret.cnf\n", "[client]\nuser=pacs\n!includedir conf.d\n"] {
        let said = Said::of(&mut with_option_file(&site, &url, text)).exits(2);
        assert!(said.err.contains("`!include`") && said.err.contains("my.cnf"), "{text}: {}", said.err);
    }
    // The password may come from another source.
    let text = "[client]\nuser=pacs\n!includedir conf.d\n";
    let said = Said::of(with_option_file(&site, &url, text).env("PACS_INDEX_PASSWORD", "x")).exits(2);
    assert!(said.err.contains("wrong user or password"), "{}", said.err);
}

#[test]
fn an_empty_password_variable_counts_as_unset_and_a_password_has_utf_8() {
    let site = Site::new();
    site.add("1.2.3", serde_json::json!({}));
    let index = Index::mariadb(&site);
    let text = format!("[client]\npassword={PASSWORD}\n");
    Said::of(with_option_file(&site, &index.url, &text).env("PACS_INDEX_PASSWORD", "")).exits(0);
    let odd = OsString::from_vec(b"f\xfcr".to_vec());
    let said = Said::of(with_option_file(&site, &index.url, &text).env("PACS_INDEX_PASSWORD", odd)).exits(2);
    assert!(said.err.contains("PACS_INDEX_PASSWORD") && said.err.contains("UTF-8"), "{}", said.err);
    fs::write(site.path("password"), format!("\u{feff}{PASSWORD}\r\n")).unwrap();
    site.run(&["reindex", "archive", "--quiet", "--index", &index.url, "--password-file", "password"]).exits(0);
}
