//! The archive on the storage unit: walks it, recognizes by names and first bytes which files are
//! not instances, opens instances, and determines where PacsOne files new ones. This is the only
//! module that uses walkdir, and it writes nothing.

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
