//! Runs a program in a pseudo-terminal of a given width and captures its output.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;

/// Runs a program in a terminal. Returns its exit code and everything that the terminal received.
pub fn in_terminal(command: &mut Command, columns: u16) -> (i32, String) {
    let (mut master, slave) = open(columns);
    let same = |slave: &OwnedFd| slave.try_clone().unwrap();
    command.stdin(same(&slave)).stdout(same(&slave)).stderr(slave);
    let mut child = command.spawn().unwrap();
    // The command keeps its ends of the terminal open until it is dropped.
    *command = Command::new("true");
    let mut received = Vec::new();
    // Linux reports EIO once no process has the other end open.
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        received.extend_from_slice(&buffer[..count]);
    }
    (child.wait().unwrap().code().unwrap_or(-1), String::from_utf8_lossy(&received).into_owned())
}

fn open(columns: u16) -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: openpty writes two descriptors, which nothing else owns, and only reads the size.
    unsafe {
        let opened = libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), &size);
        assert_eq!(opened, 0, "no pseudo-terminal: {}", std::io::Error::last_os_error());
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}
