//! Ownership of rows and values: this program, a PACS, or its users.

mod better_files;
mod completed;
mod dropped_writes;
mod edited_meanwhile;
mod edits;
mod fail_over;
mod filed_by_a_pacs;
mod lost_commits;
mod lost_ledger;
mod other_commands;
mod patient_without_study;
mod read_error;
mod shared_patient;
mod snapshot;
pub mod store;
mod two_runs;
mod unfinished;
mod upgrade;
