//! Mount points that outlive the process that served them: the next mount removes them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "virtual-archive-of-";

/// The source that the mount table shows. It contains the process ID.
pub fn source() -> String {
    format!("{NAME}{}", std::process::id())
}

/// Detaches a mount point lazily: files that are still open on it remain usable until they are
/// closed.
pub fn detach(mount_point: &Path) {
    let Ok(path) = CString::new(mount_point.as_os_str().as_bytes()) else { return };
    // SAFETY: the path is NUL-terminated and outlives the call.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } != 0 {
        // Without root privileges, unmounting needs the helper that mounted the file system.
        let mut helper = Command::new("fusermount3");
        let _ = helper.args(["-u", "-q", "-z", "--"]).arg(mount_point).stderr(Stdio::null()).status();
    }
}

/// Detaches the mount points whose process was killed.
pub fn detach_orphans() {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (mount_point, process) in table.lines().filter_map(mount) {
        // The file system of a running process is not asked, because it would count the request.
        // The mount point of a dead process answers at once.
        let is_gone = !Path::new("/proc").join(process).exists();
        let answer = || std::fs::metadata(&mount_point).map_err(|error| error.raw_os_error());
        if is_gone && matches!(answer(), Err(Some(libc::ENOTCONN))) {
            detach(&mount_point);
        }
    }
}

/// Returns the mount point and the process ID if the line of the mount table is a virtual archive:
/// "36 35 0:40 / /mnt/point rw - fuse virtual-archive-of-4711 rw".
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let process = kind.split(' ').nth(1)?.strip_prefix(NAME)?;
    let mount_point = place.split(' ').nth(4)?.replace("\\040", " ");
    Some((mount_point.into(), process))
}
