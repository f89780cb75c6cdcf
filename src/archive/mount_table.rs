//! The mounts of this system, as Linux lists them (proc_pid_mountinfo(5)).

#![allow(clippy::disallowed_methods, reason = "a file of the system")]

use std::path::{Path, PathBuf};

pub const FILE: &str = "/proc/self/mountinfo";

pub fn read() -> std::io::Result<String> {
    std::fs::read_to_string(FILE)
}

/// The mount point and the file system of a file, found by the number of its device. Some file
/// systems number their devices differently from the list; the path determines the mount then.
pub fn mount_of(path: &Path, device: u64) -> Option<(PathBuf, String)> {
    let table = read().ok()?;
    let numbered = with_number(&table, device);
    by_path(&numbered, path).or_else(|| mounts(&numbered).next()).or_else(|| by_path(&table, path))
}

/// The mount with the longest mount point that contains a path.
pub fn by_path(table: &str, path: &Path) -> Option<(PathBuf, String)> {
    mounts(table).filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| point.components().count())
}

/// The lines of the list that belong to one device.
fn with_number(table: &str, device: u64) -> String {
    let number = number(device);
    let is_its = |line: &&str| line.split(' ').nth(2) == Some(number.as_str());
    table.lines().filter(is_its).map(|line| format!("{line}\n")).collect()
}

/// The mount point and the file system of each mount.
fn mounts(table: &str) -> impl Iterator<Item = (PathBuf, String)> {
    table.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        Some((unescape(front.split(' ').nth(4)?), back.split(' ').next()?.to_owned()))
    })
}

#[cfg(target_os = "linux")]
fn number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

#[cfg(not(target_os = "linux"))]
fn number(device: u64) -> String {
    device.to_string()
}

/// Decodes blanks and backslashes, which mountinfo writes as a backslash and three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|d| u8::from_str_radix(str::from_utf8(d).ok()?, 8).ok());
        match (byte, octal) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                         40 21 0:40 / /mnt/nas\\040one rw - nfs4 nas:/dicom rw\n\
                         41 40 0:41 / /mnt/nas\\040one/old rw shared:1 - fuse.sshfs nas:/old rw\n";

    #[test]
    fn a_path_lies_on_the_longest_mount_that_leads_to_it() {
        let on = |path: &str| by_path(TABLE, Path::new(path)).unwrap();
        assert_eq!(on("/mnt/nas one/dicom"), ("/mnt/nas one".into(), "nfs4".into()));
        assert_eq!(on("/mnt/nas one/old/x"), ("/mnt/nas one/old".into(), "fuse.sshfs".into()));
        assert_eq!(on("/mnt/nas"), ("/".into(), "ext4".into()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_lies_on_the_mount_of_its_device() {
        let lines = with_number(TABLE, rustix::fs::makedev(0, 40));
        assert_eq!(mounts(&lines).collect::<Vec<_>>(), [("/mnt/nas one".into(), "nfs4".into())]);
    }
}
