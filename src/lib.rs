//! pacs-index rebuilds the index of a PacsOne archive from its DICOM files.
//!
//! The modules form layers, here from the top down. A module never imports from a layer to its
//! left: `cli`, `settings` > `command` > `import` > `audit`, `pipeline` > `merge` > `journal` >
//! `archive`, `index`, `progress`, `report` > `dicom`, `disk`, `damaged`, `error`, `exit`,
//! `full_disk`, `new_file`, `positioned`, `sorted`.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod archive;
pub mod audit;
pub mod cli;
pub mod command;
pub mod damaged;
pub mod dicom;
pub mod disk;
pub mod error;
pub mod exit;
pub mod full_disk;
pub mod import;
pub mod index;
pub mod journal;
pub mod merge;
pub mod new_file;
pub mod pipeline;
pub mod positioned;
pub mod progress;
pub mod report;
pub mod settings;
pub mod sorted;
