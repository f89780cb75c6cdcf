//! Paths as the PACS server writes them, with `/` or `\`, and their comparison.

/// Whether a path begins with a drive or a server.
pub fn is_of_windows(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
    matches!(bytes, [letter, b':', ..] if letter.is_ascii_alphabetic())
        || matches!(bytes, [first, second, ..] if is_separator(first) && is_separator(second))
        || bytes.first() == Some(&b'\\')
}

/// A path of the PACS server, split into its components. `.` and `..` are resolved by their text.
#[derive(Debug)]
pub struct ServerPath<'a> {
    /// The number of leading separators: one for the root directory, two for another server (UNC),
    /// zero for a drive.
    separators: usize,
    components: Vec<&'a str>,
}

impl<'a> ServerPath<'a> {
    pub fn new(text: &'a str) -> Self {
        let is_separator = |c: char| c == '/' || c == '\\';
        // A path map stores the root directory without its separator.
        let mut separators =
            if text.is_empty() { 1 } else { text.chars().take_while(|c| is_separator(*c)).count().min(2) };
        let mut components = Vec::new();
        for name in text.split(is_separator) {
            match name {
                "" | "." => {}
                ".." => drop(components.pop()),
                name => components.push(name),
            }
        }
        // `\\?\D:\x` and `\\?\UNC\server\share` are long forms of `D:\x` and `\\server\share`.
        if separators == 2 && components.first() == Some(&"?") {
            let is_unc = components.get(1).is_some_and(|name| name.eq_ignore_ascii_case("UNC"));
            components.drain(..if is_unc { 2 } else { 1 });
            separators = if is_unc { 2 } else { 0 };
        }
        ServerPath { separators, components }
    }

    /// The components of this path relative to a directory above it. Case is significant in Unix
    /// paths only: a path that begins with a drive or a server belongs to Windows.
    pub fn below(&self, directory: &ServerPath<'_>) -> Option<&[&'a str]> {
        self.strip(directory, self.separators != 1)
    }

    /// Like [`ServerPath::below`], but regardless of case.
    pub fn below_ignoring_case(&self, directory: &ServerPath<'_>) -> Option<&[&'a str]> {
        self.strip(directory, true)
    }

    pub fn is_same(&self, other: &ServerPath<'_>) -> bool {
        self.below(other).is_some_and(<[&str]>::is_empty)
    }

    /// Whether these are the last components, regardless of case.
    pub fn ends_with(&self, names: &[&str]) -> bool {
        let skipped = self.components.len().checked_sub(names.len());
        skipped.is_some_and(|skipped| self.components[skipped..].iter().zip(names).all(|(a, b)| is_same(a, b, true)))
    }

    fn strip(&self, directory: &ServerPath<'_>, ignores_case: bool) -> Option<&[&'a str]> {
        let (above, rest) = self.components.split_at_checked(directory.components.len())?;
        let fits = self.separators == directory.separators
            && above.iter().zip(&directory.components).all(|(a, b)| is_same(a, b, ignores_case));
        fits.then_some(rest)
    }
}

fn is_same(a: &str, b: &str, ignores_case: bool) -> bool {
    a == b || ignores_case && a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_has_many_spellings() {
        let same = |a: &str, b: &str| ServerPath::new(a).is_same(&ServerPath::new(b));
        for (a, b) in [
            ("D:/DICOM", r"d:\dicom\"),
            (r"\\?\D:\DICOM", "D:/DICOM"),
            (r"\\NAS\Share", "//nas/share/"),
            (r"\\?\UNC\nas\share", r"\\nas\share"),
            ("/data/./dicom", "/data/x/../dicom"),
            ("", "/"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [("D:/DICOM", "D:/DICOM2"), ("/nas/share", "//nas/share"), ("/dicom", "/DICOM"), ("D:", "/D:")] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
        assert!(ServerPath::new("/DICOM/x").below_ignoring_case(&ServerPath::new("/dicom")).is_some());
    }
}
