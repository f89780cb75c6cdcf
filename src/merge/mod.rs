//! Merges the values in files into the rows of the index.
//!
//! ```text
//! entries -> look up -> insert -> record -> commit    each batch, during reading    write_batch
//!                                   |
//!                                   v
//!                             state of the run        rows, in bounded memory       known
//!                                   |
//!                                   v
//!        plan -> images, series, patients, studies    when all files are read       settle_run,
//!                                                                                   close
//! ```
//!
//! Studies are findable as soon as a batch is committed: the rows of a batch are provisional, and
//! their derived columns are NULL. The closing step decides from all files which patient each study
//! has, and writes the final values. Correctness never depends on the boundaries of batches: only
//! the indexed file of each instance determines values, in the order defined by `order`.
//!
//! The functions of this module take the [`writer::Writer`] whose connection they use. They
//! implement the rules. The SQL is in [`crate::index`], and the write-ahead log is behind
//! [`crate::index::recorder`].

// A writer has one connection to the index. Its transactions are retried after a deadlock, and
// after an outage.
mod identities;
mod intent;
mod refusals;
mod retry;
mod transaction;
pub mod writer;

// A batch is looked up, inserted from the patients downwards, and recorded on disk before the
// commit.
mod candidates;
pub mod companion_rows;
mod complete_images;
pub mod duplicates;
pub mod entry_batch;
pub mod images;
mod indexed_instance;
mod learn;
pub mod lookup;
mod pointing;
pub mod recording;
pub mod write_batch;

// The state of a run: the merged values of the instances of patients, studies and series, in
// bounded memory.
mod few;
mod fold;
mod identity_cache;
pub mod known;
mod known_row;
mod known_rows;
mod order;
pub mod own_rows;
pub mod own_values;

// The plan of the closing step: which patient each study has, and which rows are withdrawn.
mod crowd;
mod crowd_names;
mod crowd_variants;
mod decided;
mod decisions;
mod disagreements;
pub mod finding;
pub mod ghost;
mod group_row;
mod group_source;
mod name_groups;
pub mod names;
mod patient_group;
pub mod patient_row;
mod people;
mod settle;
pub mod settle_again;
mod settle_crowd;
pub mod settle_run;
pub mod settlement;
pub mod shared_rows;
mod study_patients;

// The closing step makes all rows final.
pub mod close;
pub mod closing_part;
pub mod completion;
mod corrections;
mod modalities;
mod new_patients;
mod references;
mod row_corrections;
pub mod withdraw;

// A later run resumes one that was killed, or adds files to rows of an earlier run.
pub mod fold_again;
pub mod gather;
pub mod gone;
pub mod replay;
