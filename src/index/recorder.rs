//! Who writes down what a batch does, so that a run that was killed can be continued as if it had not been.

use super::Entry;
use super::batch::Attempt;

pub trait Recorder: Send + Sync {
    /// The transaction of this writer is about to be committed. It takes the place of one that was not.
    fn intends(&self, writer: u32, entries: &[Entry], attempt: &Attempt);

    /// It is.
    fn is_committed(&self, writer: u32);
}
