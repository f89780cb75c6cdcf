//! Interrupts: the first one stops a run in an orderly way, the second one exits at once.

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::pipeline::Stop;

/// Sets the stop signal on SIGINT, SIGTERM and SIGHUP. The handler prints nothing, because the
/// reader of the output may have exited.
pub fn stop_on_interrupt(stop: &Stop) -> Result<()> {
    let stop = stop.clone();
    let survives_logout = hangup_is_ignored();
    ctrlc::set_handler(move || {
        if stop.set() {
            std::process::exit(Exit::Interrupted.code().into());
        }
    })
    .map_err(|error| Error::usage(format!("interrupts cannot be caught: {error}"), "Please report it."))?;
    if survives_logout {
        ignore_hangup();
    }
    Ok(())
}

/// Whether SIGHUP is ignored. `nohup` starts a program this way, so that the program survives a
/// logout.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    // SAFETY: with no new action sigaction only reads the old one into a struct that may be all
    // zeros.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(unix)]
fn ignore_hangup() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn hangup_is_ignored() -> bool {
    false
}

#[cfg(not(unix))]
fn ignore_hangup() {}
