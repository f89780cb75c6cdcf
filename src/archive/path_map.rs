//! Maps the path of a file on this system to the path that the index stores: absolute, as the PACS
//! server sees it, with `/` separators.
//!
//! The PACS opens `image.path` unchanged. `--path-map /mnt/dicom=D:/DICOM` lets this program run on
//! another system than the PACS. A map replaces whole components; if several maps match, the
//! longest one applies.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::server_path::ServerPath;
pub use super::server_path::is_of_windows;

/// One mapping, `FROM=TO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    from: PathBuf,
    to: String,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').ok_or("write it as FROM=TO, for example /mnt/dicom=D:/DICOM")?;
        if !Path::new(from).is_absolute() {
            return Err(format!("`{from}` must be an absolute directory of this system"));
        }
        let to = to.replace('\\', "/");
        let bytes = to.as_bytes();
        let drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
        if !to.starts_with('/') && !drive {
            return Err(format!("`{to}` must be an absolute directory of the PACS server, like D:/DICOM or /dicom"));
        }
        if to.starts_with("//?/") || to.starts_with("//./") {
            return Err(format!("write `{to}` without the prefix for the system, like D:/DICOM or //nas/share"));
        }
        if to.split('/').any(|name| matches!(name, "." | "..")) {
            return Err(format!("write `{to}` without `.` and `..`, as the PACS has its archive directory"));
        }
        let names = if drive { &to[2..] } else { &to };
        let unusable = names.split('/').find(|name| !name.is_empty() && !is_windows_name(name));
        if let Some(name) = unusable.filter(|_| is_of_windows(&to)) {
            return Err(format!("no directory on Windows can have the name `{name}`, which is in `{to}`"));
        }
        let from = Path::new(from).components().collect();
        Ok(Mapping { from, to: to.trim_end_matches('/').to_owned() })
    }
}

/// Formats a mapping as `--path-map` accepts it.
impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = if self.to.is_empty() { "/" } else { &self.to };
        write!(f, "{}={to}", self.from.display())
    }
}

/// All maps of a run, the longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMap(Vec<Mapping>);

impl PathMap {
    pub fn new(mut mappings: Vec<Mapping>) -> Self {
        mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.from.components().count()));
        PathMap(mappings)
    }

    /// A mapped directory that neither contains a root nor is below one, which is a mistake.
    pub fn fits_none_of(&self, roots: &[PathBuf]) -> Option<&Path> {
        let fits = |from: &Path| roots.iter().any(|root| root.starts_with(from) || from.starts_with(root));
        self.0.iter().map(|mapping| mapping.from.as_path()).find(|from| !fits(from))
    }

    /// The maps, each as `--path-map` accepts it.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Mapping::to_string).collect()
    }

    /// The mapped directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|mapping| mapping.from.as_path())
    }

    /// The mapped directories below a directory.
    pub fn directories_below<'m>(&'m self, directory: &'m Path) -> impl Iterator<Item = &'m Path> {
        self.directories().filter(move |from| *from != directory && from.starts_with(directory))
    }

    /// Two directories on this system that have one name on the PACS server: a mapped directory, or
    /// one of `roots` without a map, and the place that another map gives to its name. Empty
    /// directories do not clash, since they have no files to confuse.
    pub fn clash(&self, roots: &[PathBuf]) -> Option<(PathBuf, PathBuf)> {
        let roots = roots.iter().filter(|root| !self.holds(root)).map(PathBuf::as_path);
        let named: Vec<(&Path, String)> = self
            .directories()
            .chain(roots)
            .filter_map(|directory| Some((directory, self.to_index(directory).ok()?)))
            .collect();
        let place = |stored: &str, (directory, name): &(&Path, String)| {
            let path = ServerPath::new(stored);
            let names = path.below(&ServerPath::new(name))?;
            let place = names.iter().fold(directory.to_path_buf(), |path, name| path.join(name));
            let has_name = self.to_index(&place).is_ok_and(|other| path.is_same(&ServerPath::new(&other)));
            has_name.then_some(place)
        };
        named.iter().find_map(|(directory, stored)| {
            let mut places = named.iter().filter_map(|other| place(stored, other));
            places.find(|place| are_two(directory, place)).map(|place| (directory.to_path_buf(), place))
        })
    }

    /// Two maps that give one directory different names, after links are resolved.
    pub fn two_names(&self) -> Option<[&Mapping; 2]> {
        let resolved = |mapping: &Mapping| mapping.from.canonicalize().unwrap_or_else(|_| mapping.from.clone());
        let resolved: Vec<(PathBuf, &Mapping)> = self.0.iter().map(|mapping| (resolved(mapping), mapping)).collect();
        let differ = |one: &Mapping, other: &Mapping| !ServerPath::new(&one.to).is_same(&ServerPath::new(&other.to));
        resolved.iter().enumerate().find_map(|(n, (directory, one))| {
            let mut others = resolved[..n].iter().filter(|(other, _)| other == directory);
            others.find(|(_, other)| differ(one, other)).map(|(_, other)| [*other, *one])
        })
    }

    /// The mapped directory whose map names a path of this system.
    pub fn directory_of(&self, path: &Path) -> Option<&Path> {
        self.0.iter().map(|mapping| mapping.from.as_path()).find(|from| path.starts_with(from))
    }

    /// Whether a path is below a mapped directory.
    pub fn holds(&self, path: &Path) -> bool {
        self.0.iter().any(|mapping| path.starts_with(&mapping.from))
    }

    /// The path that the index stores, or the reason why the index cannot store one.
    pub fn to_index(&self, path: &Path) -> Result<String, UnstorablePath> {
        for mapping in &self.0 {
            if let Ok(rest) = path.strip_prefix(&mapping.from) {
                let is_windows = is_of_windows(&mapping.to);
                let mut mapped = mapping.to.clone();
                for component in rest.components() {
                    let name = component.as_os_str().to_str().ok_or(UnstorablePath::NotText)?;
                    if is_windows && !is_windows_name(name) {
                        return Err(UnstorablePath::NotOnWindows);
                    }
                    mapped.push('/');
                    mapped.push_str(name);
                }
                return Ok(mapped);
            }
        }
        let text = path.to_str().ok_or(UnstorablePath::NotText)?;
        Ok(if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() })
    }

    /// The path on this system of a path of the PACS: by the map with the longest matching `TO`,
    /// otherwise the path itself if it is absolute.
    pub fn from_index(&self, text: &str) -> Option<PathBuf> {
        self.locate(text).map(|(path, _)| path)
    }

    /// Like [`PathMap::from_index`], and returns whether a map covers the path.
    pub fn locate(&self, text: &str) -> Option<(PathBuf, bool)> {
        match self.covering(text) {
            Some((directory, rest)) => {
                Some((rest.iter().fold(directory.to_path_buf(), |path, name| path.join(name)), true))
            }
            None => {
                Some(Path::new(text)).filter(|path| path.is_absolute()).map(|path| (path.components().collect(), false))
            }
        }
    }

    /// The directory that the longest matching `TO` is mapped to, and the remaining names below it.
    pub fn covering<'t>(&self, text: &'t str) -> Option<(&Path, Vec<&'t str>)> {
        let path = ServerPath::new(text);
        let fits = self.0.iter().filter_map(|mapping| Some((mapping, path.below(&ServerPath::new(&mapping.to))?)));
        let (mapping, rest) = fits.min_by_key(|(_, rest)| rest.len())?;
        Some((&mapping.from, rest.to_vec()))
    }
}

/// The reason why no row can name a file by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnstorablePath {
    NotText,
    /// A path map gives the file a name on a Windows server that no file can have there. The server
    /// would open another file: `\` separates directories, `:` begins the name of a stream, and
    /// `CON` is a device.
    NotOnWindows,
}

impl UnstorablePath {
    /// A stable code for lists.
    pub fn code(self) -> &'static str {
        match self {
            UnstorablePath::NotText => "path-not-text",
            UnstorablePath::NotOnWindows => "not-on-windows",
        }
    }
}

impl fmt::Display for UnstorablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnstorablePath::NotText => "the path is not valid UTF-8, which the index cannot hold; rename it",
            UnstorablePath::NotOnWindows => {
                "--path-map gives the path a name on a Windows server, and a file or directory in it has a name that Windows \
                 cannot open: with one of \\ : * ? \" < > |, a control character, or a dot or space at its end, or that of a \
                 device like CON or LPT1; rename it"
            }
        })
    }
}

/// Whether a file on Windows can have this name.
fn is_windows_name(name: &str) -> bool {
    let is_reserved = |c: char| c.is_ascii_control() || r#"\:*?"<>|"#.contains(c);
    !name.contains(is_reserved) && !name.ends_with(['.', ' ']) && !is_device_name(name)
}

/// Whether Windows treats a name as a device, in any directory and with any extension.
fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim().to_ascii_uppercase();
    let is_number = |text: &str| {
        let mut all = text.chars();
        all.next().is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c)) && all.next().is_none()
    };
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || ["COM", "LPT"].iter().any(|port| stem.strip_prefix(port).is_some_and(is_number))
}

/// Returns the absolute path without `.`. If the path contains `..`, the system resolves it
/// together with all links, since the component before `..` may be a link. Otherwise links are
/// kept, because the PACS names its archive by them.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if path.components().any(|component| component == Component::ParentDir) { path.canonicalize() } else { Ok(path) }
}

/// Whether two paths are different directories that both have entries.
fn are_two(directory: &Path, other: &Path) -> bool {
    let has_entries = |path: &Path| path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let is_same = || directory.canonicalize().is_ok_and(|directory| other.canonicalize().is_ok_and(|o| o == directory));
    directory != other && has_entries(directory) && has_entries(other) && !is_same()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(mappings: &[&str]) -> PathMap {
        PathMap::new(mappings.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_name_that_the_pacs_would_have_to_resolve_is_refused() {
        let to = |to: &str| format!("/mnt/dicom={to}").parse::<Mapping>();
        for refused in
            ["D:/X/../DICOM", "D:/X/..", "/data/./dicom", r"D:\.\DICOM", r"\\?\D:\DICOM", "//?/D:/DICOM", r"\\.\D:\X"]
        {
            assert!(to(refused).unwrap_err().contains("without"), "{refused}");
        }
        for accepted in ["D:/DICOM", "D:/", "/", "//nas/share", r"\\nas\share\..x", "/data/.dicom", "D:/a.b/..c/d"] {
            assert!(to(accepted).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn a_name_that_no_directory_on_windows_can_have_is_refused() {
        let to = |to: &str| format!("/mnt/dicom={to}").parse::<Mapping>();
        for refused in
            ["D:/A?x", "D:/a:b", "D:/x/con", r"D:\AUX\x", "D:/d.", "D:/d /x", "//nas/share/LPT1.old", "//nas/a|b"]
        {
            assert!(to(refused).unwrap_err().contains("Windows"), "{refused}");
        }
        for accepted in ["/data/A?x", "/con", "D:/console", "//nas/C$", "//nas/share//x"] {
            assert!(to(accepted).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn a_file_that_windows_takes_for_a_device_has_no_name_there() {
        let maps = map(&["/mnt/dicom=D:/DICOM", "/data=/dicom"]);
        for name in [
            "CON",
            "nul",
            "aux.dcm",
            "COM1",
            "LPT1.dcm",
            "Prn .x",
            "CONIN$",
            "conout$.dcm",
            "com0",
            "COM\u{b9}",
            "lpt\u{b2}.a.b",
            "LPT\u{b3}",
        ] {
            let stored = |directory: &str| maps.to_index(&Path::new(directory).join(name).join("1.2"));
            assert_eq!(stored("/mnt/dicom"), Err(UnstorablePath::NotOnWindows), "{name}");
            assert!(stored("/data").is_ok(), "{name}");
        }
        for name in ["CONSOLE", "COM", "COM10", "LPTX", "1.CON", "NULL.dcm", "AUX1", "\u{b9}"] {
            assert!(maps.to_index(&Path::new("/mnt/dicom").join(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn whole_components_are_mapped_and_the_longest_first() {
        let maps = map(&["/mnt/dicom=D:\\DICOM\\", "/mnt/dicom/old=E:/Archive", "/data=/dicom"]);
        let cases = [
            ("/mnt/dicom/2021-11-12-FRI/1.2", "D:/DICOM/2021-11-12-FRI/1.2"),
            ("/mnt/dicom/old/1.2", "E:/Archive/1.2"),
            ("/mnt/dicom/older/1.2", "D:/DICOM/older/1.2"),
            ("/mnt/dicom2/1.2", "/mnt/dicom2/1.2"),
            ("/data/1.2", "/dicom/1.2"),
        ];
        for (path, expected) in cases {
            assert_eq!(maps.to_index(Path::new(path)).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_of_the_pacs_leads_back_to_the_directory_here() {
        let maps =
            map(&["/mnt/dicom=D:/DICOM", "/mnt/old=d:/dicom/Old", "/mnt/far=\\\\NAS\\share", "/data=/dicom", "/=/"]);
        let cases = [
            ("D:/DICOM", "/mnt/dicom"),
            ("d:\\Dicom\\2021\\", "/mnt/dicom/2021"),
            ("D:/DICOM/OLD/x", "/mnt/old/x"),
            ("D:/DICOM/older", "/mnt/dicom/older"),
            ("//nas/SHARE/x", "/mnt/far/x"),
            ("/nas/share/x", "/nas/share/x"),
            ("/dicom/x", "/data/x"),
            ("/DICOM/x", "/DICOM/x"),
        ];
        for (text, expected) in cases {
            assert_eq!(maps.from_index(text), Some(expected.into()), "{text}");
        }
        assert_eq!(map(&[]).from_index("/data/"), Some("/data".into()));
        for text in ["E:/x", "\\\\other\\share", "dicom", "D:"] {
            assert_eq!(maps.from_index(text), None, "{text}");
        }
    }

    #[test]
    fn a_map_that_makes_no_sense_is_refused_with_advice() {
        for text in ["/mnt/dicom", "mnt=D:/DICOM", "/mnt=DICOM"] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_refused_unless_it_is_mapped_away() {
        use std::os::unix::ffi::OsStrExt;
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/mnt/\xff/1.2"));
        assert_eq!(map(&[]).to_index(odd), Err(UnstorablePath::NotText));
        let mapping = Mapping { from: odd.parent().unwrap().into(), to: "D:/X".into() };
        assert_eq!(PathMap::new(vec![mapping]).to_index(odd).unwrap(), "D:/X/1.2");
    }
}
