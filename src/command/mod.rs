//! One file a verb: from settings to an exit code.

pub mod init;
pub mod reindex;
