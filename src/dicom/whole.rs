//! Whether a file can be read to its end, and its lengths agree: what an audit in full asks. Values are passed over, not
//! understood.

use dicom_core::Tag;

use super::element::{Element, Elements, Encoding, End};
use super::header::{Header, HeaderReader};
use super::inflate::Inflated;
use super::scan::Scan;
use super::start::{self, Start};
use super::window::{Source, WINDOW, Window};

impl HeaderReader {
    /// What is wrong with a file. `None`: its elements end where it does.
    pub fn damage(&mut self, source: impl Source) -> Option<String> {
        let (mut buffer, mut inflated, mut header) = (Vec::new(), Vec::new(), Header::default());
        header.clear();
        let size = source.size();
        let mut window = Window::new(source, &mut buffer);
        window.allow_all();
        let first = match window.peek(WINDOW) {
            Ok(first) => first,
            Err(trouble) => return Some(told(&trouble.into(), 0, None)),
        };
        let Ok(Start { offset, .. }) = start::locate(first) else {
            return Some("no DICOM data set begins here".into());
        };
        window.advance(offset);
        let mut scan = Scan::new(Elements::new(window), &mut header);
        if let Err(end) = scan.meta() {
            return Some(told(&end, scan.elements.window.position(), None));
        }
        let declared = scan.header.declared_transfer_syntax().map(str::to_owned);
        let is_deflated = declared.as_deref().is_some_and(start::is_deflated);
        if is_deflated && !scan.elements.window.peek(start::GUESSED).is_ok_and(start::looks_like_data_set) {
            let offset = scan.elements.window.position();
            let source = Inflated::new(scan.elements.window.into_source(), offset);
            let mut window = Window::new(source, &mut inflated);
            window.allow_all();
            return to_end(&mut Elements::new(window), Encoding::ExplicitLittle, None);
        }
        let encoding = match scan.elements.window.peek(start::GUESSED) {
            Ok(first) => start::guess(first, declared.as_deref()),
            Err(trouble) => return Some(told(&trouble.into(), scan.elements.window.position(), None)),
        };
        to_end(&mut scan.elements, encoding, size)
    }
}

fn to_end<S: Source>(elements: &mut Elements<'_, S>, encoding: Encoding, size: Option<u64>) -> Option<String> {
    loop {
        let at = elements.window.position();
        let element = match elements.next(encoding) {
            Ok(element) => element,
            Err(End::Reached) => return None,
            Err(end) => return Some(told(&end, at, None)),
        };
        // Padding behind the data set: command elements never stand in a file.
        if element.tag.group() == 0 {
            return size.filter(|size| *size > at + PADDING).map(|_| format!("zeros from byte {at} on"));
        }
        if let Err(end) = elements.skip(&element, encoding) {
            return Some(told(&end, at, Some(&element)));
        }
    }
}

/// Writers pad files to their blocks.
const PADDING: u64 = 64 * 1024;

fn told(end: &End, at: u64, element: Option<&Element>) -> String {
    let element = element.map_or(String::new(), |element| {
        let Tag(group, number) = element.tag;
        format!(", in ({group:04X},{number:04X})")
    });
    match end {
        End::Io(error) => format!("cannot be read behind byte {at}{element}: {error}"),
        End::Limit => format!("has more elements than any real file, at byte {at}{element}"),
        End::Cut | End::Reached => format!("the data set does not agree with its lengths at byte {at}{element}"),
    }
}
