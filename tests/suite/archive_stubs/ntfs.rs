//! A Windows disk as shown by ntfs-3g. Needs root, a loop device, mkntfs and ntfs-3g.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{large, listed, not_run};
use crate::support::Site;

/// An NTFS volume in a file, mounted at the archive of a site.
struct Ntfs {
    image: PathBuf,
    mount_point: PathBuf,
}

impl Ntfs {
    fn make(site: &Site) -> io::Result<Self> {
        let ntfs = Ntfs { image: site.path("image"), mount_point: site.archive() };
        File::create(&ntfs.image)?.set_len(16 << 20)?;
        run(Command::new("mkntfs").args(["-F", "-q", "-Q"]).arg(&ntfs.image))?;
        ntfs.mount()?;
        Ok(ntfs)
    }

    fn mount(&self) -> io::Result<()> {
        run(Command::new("ntfs-3g").arg(&self.image).arg(&self.mount_point))
    }

    /// Remounts the volume, because changed attributes are visible only after that.
    fn mount_again(&self) -> io::Result<()> {
        run(Command::new("umount").arg(&self.mount_point))?;
        self.mount()
    }
}

impl Drop for Ntfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount_point).stderr(Stdio::null()).status();
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let told = || io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    if output.status.success() { Ok(()) } else { Err(told()) }
}

fn set(file: &std::path::Path, name: &str, value: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: both strings are NUL-terminated, the length of the value is right, and all outlive
    // the call.
    let set = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

#[test]
fn files_that_windows_has_marked_offline_or_moved_behind_a_reparse_point_are_left() {
    const TAGS: [(u32, &str, &str); 5] = [
        (0xC000_0004, "reparse point of hierarchical storage", "nearline"),
        (0x8000_0006, "reparse point of hierarchical storage", "nearline"),
        (0x9000_601A, "reparse point of a cloud", "nearline"),
        (0x8000_001E, "reparse point of file synchronisation", "nearline"),
        (0x8000_0013, "deduplicated or compressed by Windows", "unavailable"),
    ];
    let site = Site::new();
    let ntfs = match Ntfs::make(&site) {
        Ok(ntfs) => ntfs,
        Err(error) if error.kind() == ErrorKind::NotFound => return not_run("NTFS", "mkntfs or ntfs-3g is missing"),
        Err(error) => return not_run("NTFS", error),
    };
    site.write("online", &large("1.2.1"));
    site.write("small", &crate::support::instance_file(serde_json::json!({"SOPInstanceUID": "1.2.2"})));
    site.write("offline", &large("1.2.3"));
    set(&site.archive().join("offline"), "system.ntfs_attrib_be", &0x1020u32.to_be_bytes());
    for (tag, ..) in TAGS {
        let path = site.archive().join(format!("{tag:x}"));
        fs::write(&path, b"").unwrap();
        let data = [tag.to_le_bytes().as_slice(), &8u16.to_le_bytes(), &[0; 2], &[7; 8]].concat();
        set(&path, "system.ntfs_reparse_data", &data);
    }
    std::os::unix::fs::symlink("online", site.archive().join("link")).unwrap();
    ntfs.mount_again().unwrap();
    let said = site.reindex(&site.sqlite(), &[]).exits(1);
    println!("{}", said.out);
    assert_eq!((said.figure("inserted"), said.figure("stubs not read")), (2, 1 + TAGS.len() as u64));
    assert_eq!((said.figure("links within the archive"), said.figure("rejected")), (1, 0));
    let offline = listed(&site, "offline");
    assert_eq!(
        (&offline["reason"], &offline["confidence"]),
        (&"offline attribute of Windows".into(), &"proven".into())
    );
    for (tag, kind, locality) in TAGS {
        let line = listed(&site, &format!("{tag:x}"));
        assert_eq!((&line["reason"], &line["locality"]), (&kind.into(), &locality.into()), "{line}");
    }
}
