//! Paths of files and directories that may not exist yet, without links and without `..`.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The maximum number of dangling links that are followed. Linux has the same limit, see
/// path_resolution(7).
const MOST_LINKS: u32 = 40;

/// Returns the path at which the system would create a file or directory of this name, with the
/// missing parents.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    Ok(resolve(&std::path::absolute(path)?, &mut { MOST_LINKS }))
}

/// Whether a file that exists, or would be created, is in one of the directories, which are real
/// paths.
pub fn is_within(file: &Path, directories: &[PathBuf]) -> bool {
    let is_below =
        |path: &Path| real_path(path).is_ok_and(|real| directories.iter().any(|directory| real.starts_with(directory)));
    // A file that replaces the link of the same name, instead of its target, is created in the
    // link's own directory, so that directory counts too.
    is_below(file) || file.parent().is_some_and(is_below)
}

fn resolve(path: &Path, links: &mut u32) -> PathBuf {
    let mut real = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => {
                let parent = real.clone();
                real.push(name);
                match (real.canonicalize(), real.read_link()) {
                    (Ok(existing), _) => real = existing,
                    (Err(_), Ok(target)) if *links > 0 => {
                        *links -= 1;
                        real = resolve(&parent.join(target), links);
                    }
                    (Err(_), _) => {}
                }
            }
            other => real.push(other),
        }
    }
    real
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink("link/new", top.join("dangling")).unwrap();
        symlink("loop/loop", top.join("loop")).unwrap();
        for (path, expected) in [
            ("real", "real"),
            ("link/a/b", "real/a/b"),
            ("link/../a", "a"),
            ("absent/../link/a", "real/a"),
            ("absent/deep/../../real/./a", "real/a"),
            ("dangling/a", "real/new/a"),
        ] {
            assert_eq!(real_path(&top.join(path)).unwrap(), top.join(expected), "{path}");
        }
        assert!(real_path(&top.join("loop/a")).is_ok(), "a loop ends");
        let directories = [top.join("real")];
        let is_inside = |path: &str| is_within(&top.join(path), &directories);
        assert!(["real/a", "real/a/b/c", "link/a", "dangling", "absent/../real/a"].into_iter().all(is_inside));
        assert!(!["a", "real-2/a", "absent/a", "real/../a", "loop/a"].into_iter().any(is_inside));
    }
}
