//! What the index holds of images whose file is missing.

use std::collections::HashMap;

use super::batch::Writer;
use super::{Failure, Look, Show, View};
use crate::dicom::Table;

impl Writer {
    /// The path in the row of each of these images that has one.
    pub fn paths(&mut self, uids: &[&str]) -> Result<HashMap<String, String>, Failure> {
        let look = Look { view: View::Begun, show: Show::Nothing };
        let rows = self.patiently(|writer| writer.index.find(Table::Image, uids, look))?;
        Ok(rows.into_iter().map(|row| (row.key, row.path)).collect())
    }
}
