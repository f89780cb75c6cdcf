//! The archive on the storage unit: walking it, telling from names and first bytes what is no instance, opening what
//! is; and where PacsOne files what comes new. The only door to walkdir. Nothing in here is written.

pub mod breaker;
pub mod changed;
pub mod companions;
pub mod file;
pub mod filing;
pub mod layout;
pub mod locality;
pub mod locator;
mod mount;
mod mount_table;
pub mod naming;
pub mod path_map;
mod pending;
pub mod pointer_rule;
pub mod real_path;
pub mod recall;
pub mod roots;
mod server_path;
pub mod shard;
pub mod skip;
pub mod skipped_directories;
pub mod stored_region;
pub mod stub;
mod system_directories;
mod targets;
pub mod walk;

pub use file::{FileState, FoundFile, OpenFile};
pub use filing::{Filing, Layout};
pub use locality::Stub;
pub use locator::{Locator, Seen, Standing};
pub use naming::{ArchiveDirectories, Naming};
pub use path_map::PathMap;
pub use roots::Roots;
pub use shard::Shard;
pub use skipped_directories::SkippedDirectories;
pub use stored_region::StoredRegion;
