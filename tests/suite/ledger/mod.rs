//! Whose a row and a value is: those of this program, of a PACS, and of its users.

mod edited_meanwhile;
mod lost_commits;
mod store;
mod two_runs;
mod unfinished;
