//! Checks for a full audit whether a file can be read to its end, and whether its lengths are
//! consistent. Values are skipped, not interpreted.

use dicom_core::Tag;

use super::data_end::is_pixel_data;
use super::element::{Element, Elements, Encoding, End};
use super::encoding::{self, GUESSED};
use super::header::{Header, HeaderReader};
use super::inflate::Inflated;
use super::scan::Scan;
use super::start::{self, Start};
use super::window::{Source, WINDOW, Window};

impl HeaderReader {
    /// Returns whether a file ends before its data. Bytes behind the pixel data are ignored.
    pub fn is_cut_off(&mut self, source: impl Source) -> bool {
        self.read_to_end(source, Reading::ToPixels).is_some()
    }

    /// Returns a description of the damage of a file. `None` if its elements end where the file
    /// does.
    pub fn damage(&mut self, source: impl Source) -> Option<String> {
        self.read_to_end(source, Reading::ToEnd)
    }

    fn read_to_end(&mut self, source: impl Source, reading: Reading) -> Option<String> {
        let (mut buffer, mut inflated, mut header) = (Vec::new(), Vec::new(), Header::default());
        header.clear();
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
        if let Err(end) = scan.front() {
            return Some(told(&end, scan.elements.window.position(), None));
        }
        let declared = scan.header.declared_transfer_syntax().map(str::to_owned);
        let is_deflated = declared.as_deref().is_some_and(start::is_deflated);
        if is_deflated && !scan.elements.window.peek(GUESSED).is_ok_and(start::looks_like_data_set) {
            let offset = scan.elements.window.position();
            return match Inflated::new(scan.elements.window.into_source(), offset) {
                Ok(source) => {
                    let mut window = Window::new(source, &mut inflated);
                    window.allow_all();
                    to_end(&mut Elements::new(window), declared.as_deref(), reading)
                }
                Err(error) => Some(told(&End::Io(error), offset, None)),
            };
        }
        to_end(&mut scan.elements, declared.as_deref(), reading)
    }
}

/// The part of a file that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Up to the end of the pixel data, or of the file if it has none.
    ToPixels,
    ToEnd,
}

/// Returns a description of the damage in the data set at the position. `None` if its elements end
/// where the file does.
fn to_end<S: Source>(elements: &mut Elements<'_, S>, declared: Option<&str>, reading: Reading) -> Option<String> {
    let encoding = match encoding::of_data_set(&mut elements.window, declared) {
        Ok(encoding) => encoding,
        Err(trouble) => return Some(told(&trouble.into(), elements.window.position(), None)),
    };
    loop {
        let at = elements.window.position();
        let element = match elements.next(encoding) {
            Ok(element) => element,
            Err(End::Reached) => return None,
            Err(end) => return Some(told(&end, at, None)),
        };
        let is_padding = match element.tag.group() {
            0 => elements.is_padding(&element),
            _ => Ok(false),
        };
        let end = match is_padding {
            Ok(true) => {
                let size = elements.window.position() - at;
                return (size > PADDING).then(|| format!("zeros from byte {at} on"));
            }
            Ok(false) => skip_whole(elements, &element, encoding),
            Err(end) => Err(end),
        };
        if let Err(end) = end {
            return Some(told(&end, at, Some(&element)));
        }
        if reading == Reading::ToPixels && is_pixel_data(element.tag) {
            return None;
        }
    }
}

/// Skips the value of an element. A deflated data set has no known size, so that only reading shows
/// its end.
fn skip_whole<S: Source>(elements: &mut Elements<'_, S>, element: &Element, encoding: Encoding) -> Result<(), End> {
    let Some(length @ 1..) = element.length.filter(|_| elements.window.has_unknown_size()) else {
        return elements.skip(element, encoding);
    };
    elements.skip_bytes(length - 1)?;
    if elements.window.peek(1)?.is_empty() {
        return Err(End::Cut);
    }
    elements.skip_bytes(1)
}

/// The maximum number of zeros in bytes that count as padding. Writers pad files to their block
/// size.
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
