//! A disk that fills up quickly.

use std::path::PathBuf;
use std::process::Command;

/// A file system of two megabytes. Needs the permission to mount.
pub struct Small(pub PathBuf);

impl Small {
    pub fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "pacs-index-test"]).arg(&at).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Small(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
