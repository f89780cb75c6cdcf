//! Tests of what users do with pacs-index, and of the resulting index.

#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod archive_stubs;
mod audit;
mod changing;
mod charsets;
mod chosen_files;
mod chosen_values;
mod companions;
mod conflicts;
mod crowded_ids;
mod edits;
mod equal_servers;
mod fixtures;
mod full_disk;
mod galera;
mod import;
mod init;
mod interruption;
mod journal;
mod killed;
mod ledger;
mod living;
mod login;
mod mutants;
mod oddities;
mod oracles;
mod patience;
mod planned;
mod progress;
mod purging;
mod pydicom;
mod received;
mod refusals;
mod reindex;
mod repair;
mod replication;
mod restored;
mod schema;
mod sequences;
mod settings;
mod shards;
mod shared_settings;
mod shell_links;
mod skipped_directories;
mod source_code;
mod state;
mod stored_paths;
mod stub_mutants;
mod traits;
mod value_notes;
mod virtual_archive;
mod wire;
