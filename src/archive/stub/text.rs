//! What text stubs have in common: decoding, entries of INI files, addresses.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use percent_encoding::percent_decode_str;

use super::{File, Target};

impl<'a> File<'a> {
    /// The whole file as text: by its byte order mark, or else UTF-8, or else in the code page. One that holds a NUL is
    /// no text.
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

/// The entries of one section of an INI file: keys and values, without the blanks around them. `None` where the text is
/// no INI file, which has a section in its first line, or where it has no such section.
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

/// No path has a longer address: each of its 4096 bytes may be written in three.
pub const LONGEST: usize = 3 * 4096;

/// Where an address leads: to a path, where it is one or a `file:` address. `None` where it is neither, nor anything
/// that could be fetched.
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

/// A scheme of one letter is a drive.
fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
    let starts = scheme.len() > 1 && scheme.as_bytes()[0].is_ascii_alphabetic();
    (starts && scheme.bytes().all(is_scheme)).then_some(scheme)
}

/// `C:`, or `C|` as in old addresses.
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':' | b'|', ..] if letter.is_ascii_alphabetic())
}

/// The path behind `file:` (RFC 8089, with what Windows and its programs make of it): `///C:/x`, `//C:\x`,
/// `//server/share/x`, `////server/share/x`, `///\\server\share\x`, `///mnt/x`, `/mnt/x`.
///
/// `#` and `?` stay: files have them in their names, and nothing else here knows fragments.
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
        // Three lead to the root of this system; two, or more, to a server.
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
