//! The results of a run for people and programs: the account of every file, the list of files that
//! a person should look at, and the summary.

pub mod account;
pub mod details;
pub mod listing;
pub mod shard;
mod stubs;
pub mod summary;
mod value_notes;
