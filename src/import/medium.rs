//! Compares a DICOMDIR with the files on its medium. The DICOMDIR is never trusted: the imported
//! values are read from the files themselves.

use std::collections::{HashMap, HashSet};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::candidate::{self, Met};
use crate::archive::{FoundFile, Locator, Standing};
use crate::dicom::file_set::{FileSet, Record};
use crate::dicom::{HeaderReader, Rejection};
use crate::pipeline::Stop;

/// A file that a DICOMDIR names, with its components joined by `/`, and the instance that the file
/// should contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub file: String,
    pub sop_instance_uid: String,
}

/// The differences between a DICOMDIR and its medium.
#[derive(Debug, Default)]
pub struct Compared {
    pub dicomdir: PathBuf,
    /// The number of files that the DICOMDIR names.
    pub names: u64,
    /// Whether the DICOMDIR is truncated.
    pub is_cut: bool,
    /// Named files that do not exist.
    pub missing: Vec<Named>,
    /// Named files without a readable instance.
    pub unreadable: Vec<Named>,
    /// Named files that contain another instance, with the UID of that instance.
    pub others: Vec<(Named, String)>,
    /// The existing files that the DICOMDIR names.
    named: HashSet<PathBuf>,
    /// The hashes of the UIDs that the DICOMDIR names.
    named_uids: HashSet<u64>,
}

impl Compared {
    pub fn agrees(&self) -> bool {
        !self.is_cut && self.missing.is_empty() && self.unreadable.is_empty() && self.others.is_empty()
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
            let candidates = names.find(base, &file);
            let uid_of = |path: &PathBuf| match candidate::look(locator, &mut reader, &FoundFile::named(path.clone())) {
                Ok(Met::Instance(found)) => Some(found.instance.sop_instance_uid().to_owned()),
                _ => None,
            };
            let uids: Vec<Option<String>> = candidates.iter().map(uid_of).collect();
            compared.judge(named, candidates, uids);
        }
        Ok(compared)
    }

    /// Compares a record with the instances in the files that it may mean. A record without a UID
    /// matches any instance.
    fn judge(&mut self, named: Named, candidates: Vec<PathBuf>, uids: Vec<Option<String>>) {
        self.named_uids.insert(hash(&named.sop_instance_uid));
        let is_meant = |uid: &Option<String>| {
            uid.as_ref().is_some_and(|uid| named.sop_instance_uid.is_empty() || *uid == named.sop_instance_uid)
        };
        let meant = uids.iter().position(is_meant);
        let first = candidates.into_iter().zip(uids).nth(meant.unwrap_or(0));
        match (first, meant) {
            (None, _) => self.missing.push(named),
            (Some((path, _)), Some(_)) => drop(self.named.insert(path)),
            (Some((path, uid)), None) => {
                self.named.insert(path);
                match uid {
                    Some(uid) => self.others.push((named, uid)),
                    None => self.unreadable.push(named),
                }
            }
        }
    }

    /// Removes files from `missing` that are on the medium under another name. Returns the number
    /// of instances on the medium that match no record.
    pub fn find_renamed(&mut self, instances: &[FoundInstance]) -> u64 {
        let uids: HashSet<u64> = instances.iter().map(|instance| instance.uid).collect();
        self.missing.retain(|named| !uids.contains(&hash(&named.sop_instance_uid)));
        let is_named =
            |instance: &&FoundInstance| self.named_uids.contains(&instance.uid) || self.named.contains(&instance.file);
        instances.iter().filter(|instance| !is_named(instance)).count() as u64
    }
}

/// An instance on a medium.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundInstance {
    pub file: PathBuf,
    /// The hash of the SOP Instance UID.
    pub uid: u64,
}

pub fn hash(uid: &str) -> u64 {
    xxh3_64(uid.as_bytes())
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

/// The directories of a medium. Media are mounted in upper or lower case, with or without the
/// version that ISO 9660 adds. Files may have an extension, which the File ID of a record must not
/// have (PS3.10 8.2), or the other way round.
#[derive(Default)]
struct Names(HashMap<PathBuf, MediumDirectory>);

/// The entries of a directory, and the indexes of the entries for each normalized name.
#[derive(Default)]
struct MediumDirectory {
    entries: Vec<MediumEntry>,
    by_plain: HashMap<String, Vec<usize>>,
    by_stem: HashMap<String, Vec<usize>>,
}

struct MediumEntry {
    path: PathBuf,
    exact: String,
    plain: String,
}

impl Names {
    /// Returns the files that a record may mean, with the most similar name first.
    fn find(&mut self, base: &Path, components: &[String]) -> Vec<PathBuf> {
        let Some((file, above)) = components.split_last() else { return Vec::new() };
        let directories = above.iter().fold(vec![base.to_owned()], |directories, name| {
            directories.iter().flat_map(|directory| self.of(directory).directories(name)).collect()
        });
        directories.iter().flat_map(|directory| self.of(directory).files(file)).collect()
    }

    fn of(&mut self, directory: &Path) -> &MediumDirectory {
        self.0.entry(directory.to_owned()).or_insert_with_key(|directory| MediumDirectory::of(directory))
    }
}

impl MediumDirectory {
    fn of(directory: &Path) -> Self {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        // Symlinks to directories are not followed, as in a walk.
        let is_link_to_directory = |entry: &DirEntry| {
            entry.file_type().is_ok_and(|kind| kind.is_symlink()) && entry.path().metadata().is_ok_and(|to| to.is_dir())
        };
        let mut names = MediumDirectory::default();
        for entry in entries.filter(|entry| !is_link_to_directory(entry)) {
            let exact = entry.file_name().to_string_lossy().into_owned();
            let (place, plain) = (names.entries.len(), plain(&exact));
            names.by_plain.entry(plain.clone()).or_default().push(place);
            names.by_stem.entry(without_ending(&plain)).or_default().push(place);
            names.entries.push(MediumEntry { path: entry.path(), exact, plain });
        }
        names
    }

    fn directories(&self, name: &str) -> Vec<PathBuf> {
        self.most_similar(name, self.by_plain.get(&plain(name)))
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        self.most_similar(name, self.by_stem.get(&without_ending(name)))
    }

    fn most_similar(&self, name: &str, places: Option<&Vec<usize>>) -> Vec<PathBuf> {
        let plain_name = plain(name);
        let mut alike: Vec<&MediumEntry> = places.into_iter().flatten().map(|place| &self.entries[*place]).collect();
        alike.sort_by_key(|entry| (entry.exact != name, entry.plain != plain_name, &entry.path));
        alike.into_iter().map(|entry| entry.path.clone()).collect()
    }
}

fn plain(name: &str) -> String {
    let name = name.split_once(';').map_or(name, |(name, _)| name);
    name.trim_end_matches('.').to_lowercase()
}

const ENDINGS: [&str; 4] = [".dcm", ".dicom", ".dic", ".ima"];

fn without_ending(name: &str) -> String {
    let plain = plain(name);
    let stem = ENDINGS.iter().find_map(|ending| plain.strip_suffix(ending)).filter(|stem| !stem.is_empty());
    stem.map_or(plain.clone(), str::to_owned)
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
            let found = names.find(site.path(), &["PT000000".into(), name.into()]);
            Some(found.first()?.file_name()?.to_str()?.to_owned())
        };
        assert_eq!(found("IM000001").as_deref(), Some("im000001.;1"));
        assert_eq!(found("IM000002").as_deref(), Some("IM000002"));
        assert_eq!(found("IM000003"), None);
        assert!(names.find(site.path(), &["..".into(), "x".into()]).is_empty(), "nothing is looked for elsewhere");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", site.path().join("LINK")).unwrap();
            assert!(Names::default().find(site.path(), &["LINK".into(), "etc".into()]).is_empty());
        }
    }

    #[test]
    fn the_time_to_find_all_names_grows_with_their_number_only() {
        let time = |count: u32| {
            let site = tempfile::tempdir().unwrap();
            (0..count).for_each(|n| std::fs::write(site.path().join(format!("im{n:06}.dcm")), "").unwrap());
            let attempt = |_| {
                let (begun, mut names) = (std::time::Instant::now(), Names::default());
                for n in 0..count {
                    assert_eq!(names.find(site.path(), &[format!("IM{n:06}")]).len(), 1);
                }
                begun.elapsed()
            };
            (0..9).map(attempt).min().unwrap()
        };
        let (few, many) = (time(300), time(2400));
        // Eight times the names: a search through all names for each would take 64 times as long.
        assert!(many < few * 32, "{few:?} {many:?}");
    }
}
