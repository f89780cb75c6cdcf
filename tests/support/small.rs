//! A disk that is soon full.

use std::path::PathBuf;
use std::process::Command;

/// A file system of two megabytes, where this system lets the test mount one.
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
