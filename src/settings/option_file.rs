//! `--defaults-file FILE`: a login and TLS settings from a MySQL option file, such as my.cnf.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use configparser::ini::Ini;

use crate::error::{Error, Result};
use crate::index::location::Credentials;
use crate::index::tls::{SslMode, TlsOptions};

/// Reads user, password and TLS settings from a section.
pub fn read(path: &Path, section: &str) -> Result<Credentials> {
    let unusable = |why: String| {
        Error::usage(
            format!("--defaults-file {}: {why}", path.display()),
            format!("Name an option file of MySQL with a section [{section}] that holds user and password."),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let mut ini = Ini::new_cs();
    // A password may hold a colon or a semicolon; a comment is on a line of its own.
    ini.set_inline_comment_symbols(Some(&[]));
    let text: String =
        text.lines().filter(|line| !line.trim_start().starts_with('!')).flat_map(|l| [l, "\n"]).collect();
    let mut syntax = ini.defaults();
    syntax.delimiters = vec!['='];
    ini.load_defaults(syntax);
    // The parser's own message repeats the line, which may hold the password.
    let sections = ini.read(text).map_err(|_| unusable("a line is neither a section nor an option".into()))?;
    let found = sections.get(section).ok_or_else(|| unusable(format!("there is no section [{section}]")))?;
    let options = Options::new(found);
    let file_tls = options.tls().map_err(|why| unusable(format!("[{section}]: {why}")))?;
    Ok(Credentials {
        user: options.text("user"),
        password: options.text("password"),
        file_tls,
        ..Credentials::default()
    })
}

/// The options of a section. MySQL reads `-` and `_` as the same, and `loose-` as "if you know this option".
struct Options(HashMap<String, Option<String>>);

impl Options {
    fn new(section: &HashMap<String, Option<String>>) -> Self {
        let name = |name: &str| {
            let name = name.replace('_', "-");
            name.strip_prefix("loose-").map(str::to_owned).unwrap_or(name)
        };
        let value = |value: &Option<String>| {
            let text = value.as_deref()?.trim();
            let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
            Some(quoted.unwrap_or(text).to_owned())
        };
        Options(section.iter().map(|(key, text)| (name(key), value(text))).collect())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.clone()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.text(name).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// A switch: `ssl`, `ssl=0`, `skip-ssl` or `disable-ssl`. `None` if the section does not have the switch.
    fn switch(&self, name: &str) -> Option<bool> {
        let is_off = ["skip-", "disable-"].iter().any(|prefix| self.0.contains_key(&format!("{prefix}{name}")));
        let value = self.0.get(name).or_else(|| self.0.get(&format!("enable-{name}")));
        let is_on = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("1");
            !["0", "off", "false", "no"].iter().any(|off| text.eq_ignore_ascii_case(off))
        };
        if is_off { Some(false) } else { value.map(is_on) }
    }

    /// `ssl-mode` is MySQL's; the switches are MariaDB's, and those of older MySQL.
    fn tls(&self) -> Result<TlsOptions, String> {
        let switches = match (self.switch("ssl"), self.switch("ssl-verify-server-cert")) {
            (Some(false), _) => Some(SslMode::Disabled),
            (_, Some(true)) => Some(SslMode::VerifyIdentity),
            (Some(true), _) => Some(SslMode::Required),
            (None, _) => None,
        };
        let mode = match self.text("ssl-mode") {
            Some(text) => Some(SslMode::parse(&text).ok_or_else(|| format!("`{text}` is not a value of ssl-mode"))?),
            None => switches,
        };
        Ok(TlsOptions { mode, ca: self.file("ssl-ca"), cert: self.file("ssl-cert"), key: self.file("ssl-key") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Credentials> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.cnf");
        std::fs::write(&path, text).unwrap();
        read(&path, "client")
    }

    #[test]
    fn a_login_is_taken_from_the_section_of_an_option_file() {
        let text = "# mine\n!includedir /etc/mysql\n[mysqld]\nskip-networking\n[client]\nuser = pacs\npassword=\"a;b#c:d = e\"\n";
        let found = read_text(text).unwrap();
        assert_eq!((found.user.as_deref(), found.password.as_deref()), (Some("pacs"), Some("a;b#c:d = e")));
        let error = read_text("[mysqld]\nport = 3306\n").err().unwrap().to_string();
        assert!(error.contains("no section [client]"), "{error}");
    }

    #[test]
    fn tls_settings_are_read_as_mysql_and_mariadb_write_them() {
        let mode = |lines: &str| read_text(&format!("[client]\n{lines}\n")).unwrap().file_tls.mode;
        for (lines, expected) in [
            ("user = pacs", None),
            ("ssl-mode = VERIFY_IDENTITY", Some(SslMode::VerifyIdentity)),
            ("ssl_mode=required", Some(SslMode::Required)),
            ("loose_ssl_mode=disabled", Some(SslMode::Disabled)),
            ("ssl", Some(SslMode::Required)),
            ("ssl = 1", Some(SslMode::Required)),
            ("ssl = FALSE", Some(SslMode::Disabled)),
            ("skip-ssl", Some(SslMode::Disabled)),
            ("ssl\nssl-verify-server-cert", Some(SslMode::VerifyIdentity)),
            ("ssl_verify_server_cert = on", Some(SslMode::VerifyIdentity)),
            ("ssl\ndisable-ssl-verify-server-cert", Some(SslMode::Required)),
            ("skip-ssl\nssl-mode = PREFERRED", Some(SslMode::Preferred)),
        ] {
            assert_eq!(mode(lines), expected, "{lines}");
        }
        let files =
            read_text("[client]\nssl_ca = /a b/ca.pem\nssl-cert=\"c.pem\"\nssl-key = k.pem\n").unwrap().file_tls;
        let paths = ["/a b/ca.pem", "c.pem", "k.pem"].map(|path| Some(PathBuf::from(path)));
        assert_eq!([files.ca, files.cert, files.key], paths);
        let error = read_text("[client]\nssl-mode = perhaps\n").err().unwrap().to_string();
        assert!(error.contains("my.cnf") && error.contains("`perhaps`") && error.contains("ssl-mode"), "{error}");
    }
}
