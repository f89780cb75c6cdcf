//! What a DICOMDIR says, beside what its medium holds. It is never trusted: whatever is imported was read from the files
//! themselves.

use std::collections::{HashMap, HashSet};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::candidate::{self, Met};
use crate::archive::{FoundFile, Locator, Standing};
use crate::dicom::file_set::{FileSet, Record};
use crate::dicom::{HeaderReader, Rejection};
use crate::pipeline::Stop;

/// A file that a DICOMDIR names, by its components, and an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub file: String,
    pub sop_instance_uid: String,
}

/// Where a DICOMDIR and its medium disagree.
#[derive(Debug, Default)]
pub struct Compared {
    pub dicomdir: PathBuf,
    /// So many files it names.
    pub names: u64,
    /// It ends before its end.
    pub is_cut: bool,
    /// Named, and not there.
    pub missing: Vec<Named>,
    /// Named, and no instance that can be read.
    pub unreadable: Vec<Named>,
    /// Named, and another instance, which is told beside.
    pub others: Vec<(Named, String)>,
    /// Files that it names.
    named: HashSet<PathBuf>,
}

impl Compared {
    pub fn agrees(&self) -> bool {
        !self.is_cut && self.missing.is_empty() && self.unreadable.is_empty() && self.others.is_empty()
    }

    pub fn names(&self, file: &Path) -> bool {
        self.named.contains(file)
    }

    pub fn of(locator: &Locator, dicomdir: &Path, stop: &Stop) -> Result<Self, Rejection> {
        let set = read(locator, dicomdir)?;
        let base = dicomdir.parent().unwrap_or(Path::new("/"));
        let mut compared = Compared { dicomdir: dicomdir.into(), is_cut: set.is_cut, ..Compared::default() };
        let (mut names, mut reader) = (Names::default(), HeaderReader::new());
        for Record { file, sop_instance_uid } in set.records {
            if stop.is_set() {
                break;
            }
            compared.names += 1;
            let named = Named { file: file.join("/"), sop_instance_uid };
            let Some(path) = names.find(base, &file) else {
                compared.missing.push(named);
                continue;
            };
            match candidate::look(locator, &mut reader, &FoundFile::named(path.clone())) {
                Ok(Met::Instance(found)) if found.instance.sop_instance_uid() == named.sop_instance_uid => {}
                Ok(Met::Instance(found)) => {
                    compared.others.push((named, found.instance.sop_instance_uid().to_owned()));
                }
                _ => compared.unreadable.push(named),
            }
            compared.named.insert(path);
        }
        Ok(compared)
    }
}

fn read(locator: &Locator, dicomdir: &Path) -> Result<FileSet, Rejection> {
    let found = FoundFile::named(dicomdir.to_owned());
    let seen = locator.look(&found).map_err(Rejection::Unreadable)?;
    let Standing::Readable(location) = seen.standing else { return Ok(FileSet { is_cut: true, ..FileSet::default() }) };
    match location.open().map_err(Rejection::Unreadable)? {
        Some(open) => FileSet::read(&open),
        None => Ok(FileSet { is_cut: true, ..FileSet::default() }),
    }
}

/// The names in directories, by the way they are compared: media are mounted in upper or lower case, with or without the
/// version that ISO 9660 adds.
#[derive(Default)]
struct Names(HashMap<PathBuf, HashMap<String, PathBuf>>);

impl Names {
    fn find(&mut self, base: &Path, components: &[String]) -> Option<PathBuf> {
        components.iter().try_fold(base.to_owned(), |directory, name| {
            let names = self.0.entry(directory).or_insert_with_key(|directory| names(directory));
            names.get(&plain(name)).cloned()
        })
    }
}

fn names(directory: &Path) -> HashMap<String, PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // Links to directories are not followed, as in a walk.
    let is_followed = |entry: &DirEntry| {
        !(entry.file_type().is_ok_and(|kind| kind.is_symlink()) && entry.path().metadata().is_ok_and(|to| to.is_dir()))
    };
    entries.filter(is_followed).map(|entry| (plain(&entry.file_name().to_string_lossy()), entry.path())).collect()
}

fn plain(name: &str) -> String {
    let name = name.split_once(';').map_or(name, |(name, _)| name);
    name.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_media_are_mounted() {
        let site = tempfile::tempdir().unwrap();
        std::fs::create_dir(site.path().join("pt000000")).unwrap();
        for name in ["im000001.;1", "IM000002"] {
            std::fs::write(site.path().join("pt000000").join(name), "x").unwrap();
        }
        let mut names = Names::default();
        let mut found = |name: &str| {
            let path = names.find(site.path(), &["PT000000".into(), name.into()])?;
            Some(path.file_name()?.to_str()?.to_owned())
        };
        assert_eq!(found("IM000001").as_deref(), Some("im000001.;1"));
        assert_eq!(found("IM000002").as_deref(), Some("IM000002"));
        assert_eq!(found("IM000003"), None);
        assert_eq!(names.find(site.path(), &["..".into(), "x".into()]), None, "nothing is looked for elsewhere");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", site.path().join("LINK")).unwrap();
            assert_eq!(Names::default().find(site.path(), &["LINK".into(), "etc".into()]), None);
        }
    }
}
