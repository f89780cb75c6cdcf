//! Element headers that break the rules for explicit VRs (PS3.5 7.1.2), and the evidence by which
//! they are read.
//!
//! Writers omit or blank the VR, invent one, or give a VR of the long form a length of two bytes,
//! or the reverse. Of the forms that a header can have, the one behind which another element
//! follows is used.

use dicom_core::{Tag, VR};

use super::element::{Bytes, Element, Elements, Encoding, End, HEADER, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION};
use super::start;
use super::window::Source;

/// A form that a header can have: its size, and the length of the value behind it.
#[derive(Clone, Copy)]
struct HeaderForm {
    size: u64,
    length: u32,
}

/// The evidence for a form of a header, from the weakest to the strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// The value ends within the file. There is no other evidence.
    Fits,
    /// An element follows that is out of order, or that has no VR and belongs to another group.
    Plausible,
    /// The next element, a delimiter, or the end follows.
    Conclusive,
}

impl<S: Source> Elements<'_, S> {
    /// Reads the header of an element in an explicit VR data set whose VR is blank, unknown or
    /// absent, or whose length does not have the size that the VR requires.
    #[cold]
    pub(super) fn odd_header(&mut self, encoding: Encoding) -> Result<Element, End> {
        let left = self.left();
        let bytes = self.window.peek(HEADER)?;
        let Some(bytes) = Bytes::of(&bytes[..bytes.len().min(left)], encoding) else { return Err(End::Cut) };
        let (tag, vr) = (bytes.tag(), bytes.vr());
        if bytes.start == [0; 8] {
            self.window.advance(8);
            return Ok(Element { tag, vr: VR::UN, length: Some(0) });
        }
        let mut best: Option<(Evidence, HeaderForm)> = None;
        for form in forms(&bytes).into_iter().flatten() {
            let evidence = self.evidence(tag, vr, encoding, form)?;
            if evidence > best.map(|(evidence, _)| evidence) {
                best = evidence.map(|evidence| (evidence, form));
            }
            // No other form can have stronger evidence, and looking ahead may cost a read.
            if evidence == Some(Evidence::Conclusive) {
                break;
            }
        }
        let (_, HeaderForm { size, length }) = best.ok_or(End::Cut)?;
        self.window.advance(size);
        let length = (length != u32::MAX).then_some(length.into());
        Ok(Element { tag, vr: vr.unwrap_or(VR::UN), length })
    }

    /// Returns the evidence for a form of a header. `None` if the value does not fit, or is empty
    /// and proves nothing.
    fn evidence(
        &mut self,
        tag: Tag,
        vr: Option<VR>,
        encoding: Encoding,
        HeaderForm { size, length }: HeaderForm,
    ) -> Result<Option<Evidence>, End> {
        if length == u32::MAX {
            let inside = self.tag_ahead(size, encoding)?;
            return Ok(matches!(inside, Some(ITEM | SEQUENCE_DELIMITATION)).then_some(Evidence::Conclusive));
        }
        let end = size + u64::from(length);
        if !self.holds(end) || self.window.ends_within(end) {
            return Ok(None);
        }
        let fits = (length > 0).then_some(Evidence::Fits);
        if vr == Some(VR::SQ) && length > 0 && self.tag_ahead(size, encoding)? != Some(ITEM) {
            return Ok(fits);
        }
        let place = self.window.position() + end;
        // At the end of the file, a header without a value may also be a truncated one.
        if self.end == place || (self.window.size() == Some(place) && (length > 0 || size > 8)) {
            return Ok(Some(Evidence::Conclusive));
        }
        match self.ahead(end)? {
            Some(next) => Ok(follows(&next, tag, encoding).or(fits)),
            None => Ok(fits),
        }
    }

    /// Returns the tag of the element `ahead` bytes behind the position. `None` if the element is
    /// too far away, or beyond [`end`](Elements::end).
    pub(super) fn tag_ahead(&mut self, ahead: u64, encoding: Encoding) -> Result<Option<Tag>, End> {
        Ok(self.ahead(ahead)?.and_then(|bytes| Bytes::of(&bytes, encoding).map(|bytes| bytes.tag())))
    }

    /// Returns the bytes of the element header `ahead` bytes behind the position. `None` if the
    /// header is too far away, or beyond [`end`](Elements::end).
    fn ahead(&mut self, ahead: u64) -> Result<Option<[u8; 8]>, End> {
        if !self.holds(ahead.saturating_add(8)) {
            return Ok(None);
        }
        Ok(self.window.look_ahead(ahead)?)
    }
}

/// Returns the forms that a header can have, the most likely first. A VR that is not defined yet
/// has two letters and the long form (PS3.5 6.2.2).
fn forms(bytes: &Bytes<'_>) -> [Option<HeaderForm>; 3] {
    let short = Some(HeaderForm { size: 8, length: bytes.u16_at(6).into() });
    let long = bytes.long_length().map(|length| HeaderForm { size: 12, length });
    let implicit = Some(HeaderForm { size: 8, length: bytes.u32_at(4) });
    let has_letters = bytes.start[4..6].iter().all(u8::is_ascii_uppercase);
    match (bytes.vr(), bytes.has_zero_reserved()) {
        (Some(_), true) => [long, short, None],
        (Some(_), false) => [short, long, None],
        (None, true) if has_letters => [long, short, implicit],
        (None, false) if has_letters => [short, long, implicit],
        (None, _) => [implicit, short, long],
    }
}

/// Returns the evidence in the bytes behind the value of an element.
fn follows(next: &[u8; 8], tag: Tag, encoding: Encoding) -> Option<Evidence> {
    let bytes = Bytes::of(next, encoding)?;
    let next_tag = bytes.tag();
    let is_delimiter = matches!(next_tag, ITEM_DELIMITATION | SEQUENCE_DELIMITATION) && bytes.u32_at(4) == 0;
    let has_vr = bytes.vr().is_some() && next_tag.group() != 0;
    match () {
        _ if is_delimiter || next_tag == ITEM => Some(Evidence::Conclusive),
        _ if next_tag > tag && (has_vr || next_tag.group() == tag.group()) => Some(Evidence::Conclusive),
        _ if has_vr => Some(Evidence::Plausible),
        // The file meta group may have another encoding than the data set.
        _ if tag.group() == 0x0002 && start::looks_like_data_set(next) => Some(Evidence::Plausible),
        _ => None,
    }
}
