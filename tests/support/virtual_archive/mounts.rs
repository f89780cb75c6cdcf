//! Mount points that outlive the process that served them: whoever mounts next clears them away.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "virtual-archive-of-";

/// The source that the mount table shows: it names the process.
pub fn source() -> String {
    format!("{NAME}{}", std::process::id())
}

/// Takes a mount point out of the tree; what is still open there lives on until it is closed.
pub fn detach(mount_point: &Path) {
    let Ok(path) = CString::new(mount_point.as_os_str().as_bytes()) else { return };
    // SAFETY: the path is a string that ends with zero, and outlives the call.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } != 0 {
        // Who is not root needs the helper with which it was mounted.
        let mut helper = Command::new("fusermount3");
        let _ = helper.args(["-u", "-q", "-z", "--"]).arg(mount_point).stderr(Stdio::null()).status();
    }
}

/// Detaches those whose process was killed.
pub fn detach_orphans() {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (mount_point, process) in table.lines().filter_map(mount) {
        // A living one is never asked: it would count that. A dead one answers at once.
        let is_gone = !Path::new("/proc").join(process).exists();
        let answer = || std::fs::metadata(&mount_point).map_err(|error| error.raw_os_error());
        if is_gone && matches!(answer(), Err(Some(libc::ENOTCONN))) {
            detach(&mount_point);
        }
    }
}

/// The mount point and the process of one of ours: "36 35 0:40 / /mnt/point rw - fuse virtual-archive-of-4711 rw".
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let process = kind.split(' ').nth(1)?.strip_prefix(NAME)?;
    let mount_point = place.split(' ').nth(4)?.replace("\\040", " ");
    Some((mount_point.into(), process))
}
