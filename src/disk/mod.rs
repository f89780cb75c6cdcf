//! The program's own files on disk.

pub mod aggregate;
pub mod bytes;
pub mod key;
pub mod runs;
