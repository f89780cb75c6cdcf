//! The instance in the file that the row of an image names.

use super::writer::Writer;
use crate::dicom::Instance;
use crate::index::Existing;

/// Returns the instance in the file that a row of this program names. For a row that was found, it
/// is only known that this run wrote the path.
pub(super) fn instance_of_own_row(writer: &Writer, row: &Existing) -> Option<Instance> {
    let is_of_this_run = writer.known.lock().has_named(&row.key, &row.path);
    match is_of_this_run {
        true => indexed_instance(writer, row),
        false => recorded_instance(writer, row),
    }
}

/// Returns the instance in the file that a row names, if an earlier run inserted the row for this
/// file.
pub(super) fn recorded_instance(writer: &Writer, row: &Existing) -> Option<Instance> {
    let file = writer.policy.files.archive.local_path(&row.path)?;
    let recorded = writer.recorder.as_ref()?.indexed_instance(&file, &row.key)?;
    // This run may have filled columns that an older version of this program did not write.
    let read_again = if recorded.has_all_attributes { None } else { instance_in_file(writer, row) };
    read_again.or_else(|| fitted(writer, recorded.instance))
}

/// Returns the instance in the file that a row names. Reads it from the journal if possible,
/// otherwise from the file.
pub(super) fn indexed_instance(writer: &Writer, row: &Existing) -> Option<Instance> {
    recorded_instance(writer, row).or_else(|| instance_in_file(writer, row))
}

pub(super) fn instance_in_file(writer: &Writer, row: &Existing) -> Option<Instance> {
    instance_at(writer, &row.path).filter(|instance| instance.sop_instance_uid() == row.key)
}

/// Returns the instance in the file of a path in the index.
pub(super) fn instance_at(writer: &Writer, path: &str) -> Option<Instance> {
    fitted(writer, writer.policy.files.archive.instance(path)?)
}

/// Returns the instance with its values reduced to what the columns can store.
pub(super) fn fitted(writer: &Writer, mut instance: Instance) -> Option<Instance> {
    writer.index.tables().fit(&mut instance).ok()?;
    Some(instance)
}
