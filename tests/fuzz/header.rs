//! Runs the header reader on arbitrary bytes: it never panics, an accepted instance has its three
//! UIDs, and the result depends on nothing but the file.

#![no_main]

use std::cell::RefCell;
use std::io;

use libfuzzer_sys::fuzz_target;
use pacs_index::dicom::instance::Value;
use pacs_index::dicom::window::Source;
use pacs_index::dicom::{ATTRIBUTES, HeaderReader, Instance, Rejection};

thread_local! {
    /// As in a run, one reader reads all files in turn.
    static READER: RefCell<HeaderReader> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    let read = READER.with_borrow_mut(|reader| reader.read(bytes).and_then(Instance::from_header));
    if let Ok(instance) = &read {
        assert_is_uid(instance.sop_instance_uid());
        assert_is_uid(instance.series_instance_uid());
        assert_is_uid(instance.study_instance_uid());
    }
    // A value left over in the reader would attribute data of one patient to the next file.
    let afresh = HeaderReader::new().read(bytes).and_then(Instance::from_header);
    assert_eq!(verdict(&read), verdict(&afresh));
    let in_portions = HeaderReader::new().read(ShortReads(bytes)).and_then(Instance::from_header);
    // If a deflated data set is damaged, the reason of the rejection may depend on how much was
    // inflated at once.
    assert_eq!(verdict(&read).ok(), verdict(&in_portions).ok());
});

/// A source that returns fewer bytes than requested, as network storage may do.
struct ShortReads<'a>(&'a [u8]);

impl Source for ShortReads<'_> {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = buffer.len().min(1021);
        self.0.read_at(&mut buffer[..n], offset)
    }

    fn size(&self) -> Option<u64> {
        self.0.size()
    }
}

fn assert_is_uid(uid: &str) {
    assert!((1..=64).contains(&uid.len()), "{uid:?}");
    assert!(uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{uid:?}");
}

/// Returns all values of an instance, or the reason for its rejection.
fn verdict(read: &Result<Instance, Rejection>) -> Result<Vec<Value<'_>>, &'static str> {
    match read {
        Ok(instance) => Ok((0..ATTRIBUTES.len()).map(|attribute| instance.get(attribute)).collect()),
        Err(rejection) => Err(rejection.code()),
    }
}
