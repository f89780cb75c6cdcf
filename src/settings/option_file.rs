//! `--defaults-file FILE`: a login and TLS settings from a MySQL option file, such as my.cnf.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::index::location::Credentials;
use crate::index::tls::{SslMode, TlsOptions};

/// The settings in a section of an option file.
pub struct OptionFile {
    pub credentials: Credentials,
    /// Whether the file names others with `!include` or `!includedir`, which are not read.
    pub has_includes: bool,
}

/// Reads user, password and TLS settings from a section.
pub fn read(path: &Path, section: &str) -> Result<OptionFile> {
    let unusable = |why: String| {
        Error::usage(
            format!("--defaults-file {}: {why}", path.display()),
            format!("Name an option file of MySQL with a section [{section}] that holds user and password."),
        )
    };
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let has_includes = text.lines().any(|line| line.trim_start().starts_with('!'));
    let options = Options::parse(&text, section).map_err(unusable)?;
    let options = options.ok_or_else(|| {
        let ignored = if has_includes { NOT_FOLLOWED } else { "" };
        unusable(format!("no section [{section}]{ignored}"))
    })?;
    if let Some(name) = options.replaced().filter(|_| std::str::from_utf8(&bytes).is_err()) {
        return Err(unusable(format!("[{section}]: the value of `{name}` is not UTF-8")));
    }
    let file_tls = options.tls().map_err(|why| unusable(format!("[{section}]: {why}")))?;
    let (user, password) = (options.text("user"), options.text("password"));
    Ok(OptionFile { credentials: Credentials { user, password, file_tls, ..Credentials::default() }, has_includes })
}

/// The end of an error about a setting or section that an included file may contain.
pub const NOT_FOLLOWED: &str =
    "; `!include` and `!includedir` are not supported, so name the file with the login itself";

/// The options of a section, in the order of the file. MySQL treats `-` and `_` in names as equal,
/// ignores an unknown option with the prefix `loose-`, and uses the last of several values.
struct Options(Vec<(String, Option<String>)>);

impl Options {
    /// Parses a section, which may have several parts; `None` if the file lacks the section. The
    /// error contains the number of the line and not its text, which may contain the password.
    fn parse(text: &str, section: &str) -> Result<Option<Self>, String> {
        let (mut options, mut is_found, mut is_inside) = (Vec::new(), false, false);
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';', '!']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.split_once(']').map(|(name, _)| name.trim());
                let name = name.ok_or_else(|| format!("line {}: the name of a section lacks its `]`", number + 1))?;
                is_inside = name == section;
                is_found |= is_inside;
            } else if is_inside {
                options.push(option(without_comment(line)));
            }
        }
        Ok(is_found.then_some(Options(options)))
    }

    /// Returns the last value of an option.
    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().rfind(|(known, _)| known == name)?.1.clone()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.text(name).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// Returns the name of an option whose value has characters that could not be decoded.
    fn replaced(&self) -> Option<&str> {
        let is_replaced = |value: &Option<String>| value.as_ref().is_some_and(|value| value.contains('\u{fffd}'));
        self.0.iter().find(|(_, value)| is_replaced(value)).map(|(name, _)| name.as_str())
    }

    /// Returns the value of a switch: `ssl`, `ssl=0`, `skip-ssl` or `disable-ssl`. `None` if the
    /// section does not contain the switch.
    fn switch(&self, name: &str) -> Option<bool> {
        let prefix = |option: &str| option.strip_suffix(name).map(str::to_owned);
        let is_on = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("1");
            !["0", "off", "false", "no"].iter().any(|off| text.eq_ignore_ascii_case(off))
        };
        self.0.iter().rev().find_map(|(option, text)| match prefix(option)?.as_str() {
            "" | "enable-" => Some(is_on(text)),
            "skip-" | "disable-" => Some(false),
            _ => None,
        })
    }

    /// Returns the TLS settings. `ssl-mode` is an option of MySQL; the switches are options of
    /// MariaDB and of older versions of MySQL.
    fn tls(&self) -> Result<TlsOptions, String> {
        let switches = match (self.switch("ssl"), self.switch("ssl-verify-server-cert")) {
            (Some(false), _) => Some(SslMode::Disabled),
            (_, Some(true)) => Some(SslMode::VerifyIdentity),
            // A certificate authority implies a stricter mode, so the mode stays unset.
            (Some(true), _) if self.file("ssl-ca").is_none() => Some(SslMode::Required),
            _ => None,
        };
        let mode = match self.text("ssl-mode") {
            Some(text) => Some(SslMode::parse(&text).ok_or_else(|| format!("`{text}` is not a value of ssl-mode"))?),
            None => switches,
        };
        if self.file("ssl-capath").is_some() && self.file("ssl-ca").is_none() && mode != Some(SslMode::Disabled) {
            return Err("ssl-capath is not supported: name the file of the authority with ssl-ca".into());
        }
        Ok(TlsOptions { mode, ca: self.file("ssl-ca"), cert: self.file("ssl-cert"), key: self.file("ssl-key") })
    }
}

/// Returns the name and the value of a line. An option without `=` has no value.
fn option(line: &str) -> (String, Option<String>) {
    let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
    let name = name.trim().replace('_', "-");
    let name = name.strip_prefix("loose-").map(str::to_owned).unwrap_or(name);
    let unquoted = |text: &str| {
        let inside =
            ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote).map(str::to_owned));
        inside.unwrap_or_else(|| text.to_owned())
    };
    (name, value.map(|value| unescaped(&unquoted(value.trim()))))
}

/// Returns a line up to its comment, which begins with a `#` outside of quotes. Inside quotes, a
/// backslash escapes a quote.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut is_escaped) = (None, false);
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('#', None) => return line[..at].trim_end(),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open && !is_escaped => quote = None,
            _ => {}
        }
        is_escaped = quote.is_some() && c == '\\' && !is_escaped;
    }
    line
}

/// Decodes the escapes of option files in a value: `\s` is a space. Other characters keep their
/// backslash.
fn unescaped(value: &str) -> String {
    let mut text = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('r')) => text.push('\r'),
            ('\\', Some('b')) => text.push('\u{8}'),
            ('\\', Some('s')) => text.push(' '),
            ('\\', Some(quoted @ ('\\' | '"' | '\''))) => text.push(quoted),
            (c, next) => text.extend([Some(c), next].into_iter().flatten()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Credentials> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.cnf");
        std::fs::write(&path, text).unwrap();
        read(&path, "client").map(|file| file.credentials)
    }

    fn password(line: &str) -> Option<String> {
        read_text(&format!("[client]\n{line}\n")).unwrap().password
    }

    #[test]
    fn values_are_read_as_mysql_reads_them() {
        for (line, expected) in [
            ("password=secret # comment", "secret"),
            ("password=secret#comment", "secret"),
            ("password = 'a#b' # \"comment\"", "a#b"),
            ("password=\"a\\\"#b\" # c", "a\"#b"),
            ("password=a;b", "a;b"),
            (r#"password="a\\b""#, r"a\b"),
            (r"password=a\sb\\c", r"a b\c"),
            (r#"password='\t\n\r\b\'\"'"#, "\t\n\r\u{8}'\""),
            (r"password=\d+\", r"\d+\"),
            ("password=first\npassword=last", "last"),
            ("loose_password=first\n[other]\npassword=no\n[client] # again\npassword=last", "last"),
        ] {
            assert_eq!(password(line).as_deref(), Some(expected), "{line}");
        }
        let found = read_text("\u{feff}[client]\r\nuser=pacs # x\r\npassword=a=b\r\n").unwrap();
        assert_eq!((found.user.as_deref(), found.password.as_deref()), (Some("pacs"), Some("a=b")));
    }

    #[test]
    fn of_two_spellings_of_an_option_the_last_wins() {
        let mode = |lines: &str| read_text(&format!("[client]\n{lines}\n")).unwrap().file_tls.mode;
        for _ in 0..20 {
            assert_eq!(mode("ssl-mode=required\nssl_mode=disabled"), Some(SslMode::Disabled));
            assert_eq!(mode("ssl_mode=disabled\nssl-mode=required"), Some(SslMode::Required));
        }
        assert_eq!(mode("skip-ssl\nssl"), Some(SslMode::Required));
        assert_eq!(mode("ssl\nskip_ssl"), Some(SslMode::Disabled));
    }

    #[test]
    fn a_comment_may_have_any_encoding_and_a_value_has_utf_8() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.cnf");
        std::fs::write(&path, b"# f\xfcr uns\n[client]\nuser=pacs # f\xfcr\npassword=secret\n").unwrap();
        assert_eq!(read(&path, "client").unwrap().credentials.password.as_deref(), Some("secret"));
        std::fs::write(&path, b"[client]\npassword=f\xfcr\n").unwrap();
        let error = read(&path, "client").err().unwrap().to_string();
        assert!(error.contains("`password` is not UTF-8"), "{error}");
    }

    #[test]
    fn a_file_that_includes_others_without_a_login_of_its_own_is_named() {
        let error = read_text("!includedir /etc/mysql/conf.d\n").err().unwrap().to_string();
        assert!(error.contains("no section [client]") && error.contains("`!include`"), "{error}");
        let error = read_text("[client\npassword=secret\n").err().unwrap().to_string();
        assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
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
