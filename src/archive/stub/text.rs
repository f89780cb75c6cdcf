//! Functions that the recognizers of text stubs share: decoding, entries of INI files, addresses.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use percent_encoding::percent_decode_str;

use super::{File, Target};

impl<'a> File<'a> {
    /// The whole file as text: decoded by its byte order mark, otherwise as UTF-8 if it is valid,
    /// otherwise in the code page. `None` if the file contains a NUL.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        let bytes = self.whole()?;
        let text = match Encoding::for_bom(bytes) {
            Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0,
            None if bytes.contains(&0) => return None,
            None => or_code_page(Cow::Borrowed(bytes), self.code_page),
        };
        (!text.contains('\0')).then_some(text)
    }
}

fn or_code_page<'a>(bytes: Cow<'a, [u8]>, code_page: &'static Encoding) -> Cow<'a, str> {
    let encoding = if std::str::from_utf8(&bytes).is_ok() { UTF_8 } else { code_page };
    match bytes {
        Cow::Borrowed(bytes) => encoding.decode_without_bom_handling(bytes).0,
        Cow::Owned(bytes) => Cow::Owned(encoding.decode_without_bom_handling(&bytes).0.into_owned()),
    }
}

/// The entries of one section of an INI file: keys and values, without the blanks around them.
/// `None` if the text is not an INI file, which has a section header in its first line, or if the
/// section is missing.
pub fn section<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = (&'a str, &'a str)> + Clone> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with([';', '#']));
    let mut first = lines.next().filter(|line| header(line).is_some())?;
    while !header(first)?.eq_ignore_ascii_case(name) {
        first = lines.find(|line| header(line).is_some())?;
    }
    let entries = lines.take_while(|line| header(line).is_none());
    Some(entries.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim_end(), value.trim_start())))
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// The maximum length of an address in bytes: each of the 4096 bytes of a path may be written in
/// three.
pub const LONGEST: usize = 3 * 4096;

/// The target of an address: a path if the address is a path or begins with `file:`, otherwise the
/// address itself. `None` if the address is neither a path nor one that could be fetched.
pub fn target(address: &str, code_page: &'static Encoding) -> Option<Target> {
    match scheme(address) {
        _ if address.len() > LONGEST => None,
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => {
            Target::path(path_of_file(&address[scheme.len() + 1..], code_page))
        }
        Some(_) => Some(Target::Address(address.to_owned())),
        None if has_drive(address) || address.starts_with(['/', '\\']) => Target::path(address),
        None => None,
    }
}

/// The scheme of an address. A scheme of one letter is a drive.
fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
    let starts = scheme.len() > 1 && scheme.as_bytes()[0].is_ascii_alphabetic();
    (starts && scheme.bytes().all(is_scheme)).then_some(scheme)
}

/// Whether a path begins with a drive: `C:`, or `C|` as in old addresses.
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':' | b'|', ..] if letter.is_ascii_alphabetic())
}

/// The path after `file:` (RFC 8089, with the variants that Windows and its programs write):
/// `///C:/x`, `//C:\x`, `//server/share/x`, `////server/share/x`, `///\\server\share\x`,
/// `///mnt/x`, `/mnt/x`.
///
/// `#` and `?` are kept: file names contain them, and no other part of this code uses fragments.
fn path_of_file(rest: &str, code_page: &'static Encoding) -> String {
    let decoded = or_code_page(percent_decode_str(rest).into(), code_page);
    let name = decoded.trim_start_matches(['/', '\\']);
    let separators = decoded.len() - name.len();
    if has_drive(name) {
        let mut path = name.to_owned();
        path.replace_range(1..2, ":");
        return path;
    }
    let behind_host = name.get(..9).filter(|host| host.eq_ignore_ascii_case("localhost")).map(|_| &name[9..]);
    match behind_host.filter(|path| separators == 2 && path.starts_with(['/', '\\'])) {
        Some(path) if has_drive(&path[1..]) => path[1..].to_owned(),
        Some(path) => path.to_owned(),
        // Three separators denote the root of this system; two, or more than three, denote a
        // server.
        None if matches!(separators, 2 | 4..) => format!("//{name}"),
        None if separators == 0 => name.to_owned(),
        None => format!("/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1252;

    use super::*;

    #[test]
    fn addresses_of_files_are_paths() {
        let cases = [
            ("file:///C:/x%20y/1.2", "C:/x y/1.2"),
            ("file://C:\\x\\1.2", "C:\\x\\1.2"),
            ("FILE:///c|/x", "c:/x"),
            ("file://nas01/archive/1.2", "//nas01/archive/1.2"),
            ("file:////nas01/archive/1.2", "//nas01/archive/1.2"),
            ("file://///nas01/archive/1.2", "//nas01/archive/1.2"),
            ("file:///\\\\nas01\\archive\\1.2", "//nas01\\archive\\1.2"),
            ("file:///mnt/k%C3%A4se/1%2E2", "/mnt/käse/1.2"),
            ("file:///mnt/k%E4se", "/mnt/käse"),
            ("file://localhost/mnt/1.2", "/mnt/1.2"),
            ("file://LocalHost/C:/1.2", "C:/1.2"),
            ("file:/mnt/100% #1?.dcm", "/mnt/100% #1?.dcm"),
            ("C:\\x", "C:\\x"),
            ("\\\\nas01\\archive\\x", "\\\\nas01\\archive\\x"),
            ("/mnt/x", "/mnt/x"),
        ];
        for (address, path) in cases {
            assert_eq!(target(address, WINDOWS_1252), Some(Target::Path(path.into())), "{address}");
        }
    }

    #[test]
    fn an_address_that_is_too_long_leads_nowhere() {
        let of = |length: usize| target(&format!("/{}", "x".repeat(length - 1)), WINDOWS_1252);
        assert!(of(LONGEST).is_some() && of(LONGEST + 1).is_none());
    }

    #[test]
    fn other_addresses_stay_as_they_are() {
        let vault = "https://vault.example/EnterpriseVault/ViewMessage.asp?VaultId=1%20&SavesetId=2";
        assert_eq!(target(vault, WINDOWS_1252), Some(Target::Address(vault.into())));
        for nothing in ["", "$HOME/x", "x/y", ":x", "file:", "file:///x%00y"] {
            assert_eq!(target(nothing, WINDOWS_1252), None, "{nothing}");
        }
    }

    #[test]
    fn a_section_is_found_behind_others() {
        let text = "; made by hand\r\n[A]\r\nURL=a\r\n[b]\r\n URL = c\r\nno entry\r\n\r\n#URL=d\r\nX==\r\n[C]\r\nURL=e";
        let entries = section(text, "B").unwrap();
        assert_eq!(entries.collect::<Vec<_>>(), [("URL", "c"), ("X", "=")]);
        assert!(section(text, "D").is_none());
        assert!(section("URL=a\n[B]\n", "B").is_none(), "prose");
        assert!(section("", "").is_none());
    }
}
