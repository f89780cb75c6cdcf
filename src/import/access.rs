//! The access to copies: owner, group and mode are those of the other files of the archive. If the
//! program may not change the owner or group, a copy is at least as private as the other files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::poisoned;
use crate::archive::walk::{Enough, Found, Walk};
use crate::archive::{FoundFile, SkippedDirectories};
use crate::report::details::AccessShortfall;

/// The maximum numbers of directories and files that are sampled for the model. They are large
/// enough that a single unusual day, such as an import by another user, does not decide.
const DIRECTORIES: usize = 32;
const FILES: usize = 4096;

/// Owner, group and permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AccessModel {
    owner: u32,
    group: u32,
    file_mode: u32,
    directory_mode: u32,
}

/// The access that new files and directories of an archive get.
pub struct CopyAccess {
    /// `None` on systems without owners and modes.
    model: Option<AccessModel>,
    shortfall: Mutex<AccessShortfall>,
}

impl CopyAccess {
    /// Uses the most frequent access among files of the archive, or else the access of the archive
    /// directory.
    pub fn of_archive(archive: &Path, skipped: &SkippedDirectories) -> Self {
        let mut counts: BTreeMap<AccessModel, u32> = BTreeMap::new();
        for model in sample(archive, skipped) {
            *counts.entry(model).or_default() += 1;
        }
        let most_frequent = counts.into_iter().max_by_key(|(_, count)| *count).map(|(model, _)| model);
        CopyAccess { model: most_frequent.or_else(|| AccessModel::of_directory(archive)), shortfall: Mutex::default() }
    }

    pub fn shortfall(&self) -> Option<AccessShortfall> {
        Some(*poisoned(&self.shortfall)).filter(|shortfall| shortfall.copies > 0)
    }
}

/// Returns the access of one file in each of several directories, newest days first. A directory
/// that cannot be listed is a sample itself.
fn sample(archive: &Path, skipped: &SkippedDirectories) -> Vec<AccessModel> {
    #[derive(Default)]
    struct Sample {
        directories: BTreeSet<PathBuf>,
        models: Vec<AccessModel>,
        files_seen: usize,
    }
    let sample = Mutex::new(Sample::default());
    let sink = |found: Found| {
        let mut sample = poisoned(&sample);
        let (directory, model) = match found {
            Found::Files(files) => {
                sample.files_seen += files.len();
                let model =
                    |file: &FoundFile| Some((file.path().parent()?.to_owned(), AccessModel::of_file(file.path())?));
                files.iter().find_map(model).unzip()
            }
            Found::UnreadableDirectory { path, .. } => (Some(path.clone()), AccessModel::of_directory(&path)),
            _ => (None, None),
        };
        if let (Some(directory), Some(model)) = (directory, model)
            && sample.directories.insert(directory)
        {
            sample.models.push(model);
        }
        let is_enough = sample.models.len() >= DIRECTORIES || sample.files_seen >= FILES;
        if is_enough { Err(Enough) } else { Ok(()) }
    };
    let roots = [archive.to_owned()];
    // If the walk fails, the archive directory is the model.
    let _ = Walk::new(&roots, 1, skipped).run(&sink);
    sample.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).models
}

#[cfg(unix)]
mod unix {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};

    use super::*;

    const PERMISSIONS: u32 = 0o777;
    /// The setgid bit: new directories inherit the group of their parent directory.
    const SET_GROUP: u32 = 0o2000;
    const GROUP: u32 = 0o070;
    /// The permission bits that files take from their directory: read access. Only the owner of a
    /// file may write.
    const READABLE: u32 = 0o644;

    impl AccessModel {
        pub fn of_file(file: &Path) -> Option<Self> {
            let metadata = file.symlink_metadata().ok().filter(|metadata| metadata.is_file())?;
            let directory = file.parent()?.metadata().ok()?;
            Some(AccessModel {
                owner: metadata.uid(),
                group: metadata.gid(),
                file_mode: metadata.mode() & PERMISSIONS,
                directory_mode: directory.mode() & (PERMISSIONS | SET_GROUP),
            })
        }

        pub fn of_directory(directory: &Path) -> Option<Self> {
            let metadata = directory.metadata().ok()?;
            Some(AccessModel {
                owner: metadata.uid(),
                group: metadata.gid(),
                file_mode: metadata.mode() & READABLE,
                directory_mode: metadata.mode() & (PERMISSIONS | SET_GROUP),
            })
        }
    }

    impl CopyAccess {
        /// Gives the readers of the archive access to a copy, which until then only its owner may
        /// read.
        pub fn give_file(&self, file: &File) -> io::Result<()> {
            let Some(model) = self.model else { return Ok(()) };
            let now = file.metadata()?;
            let has_owner = now.uid() == model.owner || fchown(file, Some(model.owner), None).is_ok();
            let has_group = now.gid() == model.group || fchown(file, None, Some(model.group)).is_ok();
            let mode = without_group(model.file_mode, has_group);
            // A file system without modes returns an error, and uses the modes of its mount
            // options.
            let _ = file.set_permissions(Permissions::from_mode(mode));
            if !has_owner || !has_group {
                let mut shortfall = poisoned(&self.shortfall);
                (shortfall.owner, shortfall.group) = (model.owner, model.group);
                shortfall.copies += 1;
                let is_readable = has_owner || mode & 0o004 != 0 || has_group && mode & 0o040 != 0;
                shortfall.unreadable += u64::from(!is_readable);
            }
            Ok(())
        }

        /// Gives the readers of the archive access to a new directory. Missing rights are reported
        /// for the files in the directory.
        pub fn give_directory(&self, directory: &Path) -> io::Result<()> {
            let Some(model) = self.model else { return Ok(()) };
            let now = directory.metadata()?;
            let has_owner = now.uid() == model.owner || chown(directory, Some(model.owner), None).is_ok();
            let has_group = now.gid() == model.group || chown(directory, None, Some(model.group)).is_ok();
            // If the owner cannot be changed, the program stays the owner and must be able to write
            // to the directory.
            let needed = if has_owner { 0 } else { 0o700 };
            let mode = without_group(model.directory_mode, has_group) | needed;
            let _ = std::fs::set_permissions(directory, Permissions::from_mode(mode));
            Ok(())
        }
    }

    /// Removes the rights of the archive's group from a file of another group, except the rights
    /// that all users have.
    fn without_group(mode: u32, has_group: bool) -> u32 {
        if has_group { mode } else { mode & !(GROUP | SET_GROUP) | (mode & (mode << 3) & GROUP) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn another_group_may_do_only_what_everybody_may() {
            let modes = [0o640, 0o644, 0o664, 0o2775, 0o660, 0o751].map(|mode| without_group(mode, false));
            assert_eq!(modes, [0o600, 0o644, 0o644, 0o755, 0o600, 0o711]);
            assert_eq!(without_group(0o2775, true), 0o2775);
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::fs::File;

    use super::*;

    impl AccessModel {
        pub fn of_file(_: &Path) -> Option<Self> {
            None
        }

        pub fn of_directory(_: &Path) -> Option<Self> {
            None
        }
    }

    impl CopyAccess {
        pub fn give_file(&self, _: &File) -> io::Result<()> {
            Ok(())
        }

        pub fn give_directory(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }
    }
}
