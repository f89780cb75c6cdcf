//! Records the values of rows before the transaction that writes them is committed.

use super::writer::Writer;
use crate::index::Failure;
use crate::index::row_history::IntendedRows;

/// Records rows that the open transaction is about to write. The records are made durable before
/// the commit. If the tables are not transactional, they are made durable before the rows are
/// written.
pub(super) fn intend(writer: &Writer, rows: IntendedRows) -> Result<(), Failure> {
    let Some(recorder) = &writer.recorder else { return Ok(()) };
    recorder.record_rows(writer.number, writer.attempts, &[rows]);
    if writer.index.tables().is_transactional { Ok(()) } else { recorder.make_durable() }
}
