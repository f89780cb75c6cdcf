//! The archive on the storage unit: walking it, telling from names and first bytes what is no instance, opening what
//! is. The only door to walkdir. Nothing in here is written.

pub mod changed;
pub mod file;
pub mod layout;
pub mod path_map;
mod pending;
pub mod roots;
pub mod skip;
pub mod slice;
pub mod stub;
pub mod walk;

pub use file::{FileState, FoundFile, OpenFile};
pub use path_map::PathMap;
pub use roots::Roots;
pub use slice::Slice;
