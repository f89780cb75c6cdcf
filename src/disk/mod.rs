//! The program's own files on disk.

pub mod aggregate;
pub mod bytes;
pub mod filter;
pub mod key;
pub mod map;
pub mod runs;
