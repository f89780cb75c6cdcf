//! Skips values of undefined length without recursion, with a counter and one bit for each open
//! level.

use dicom_core::VR;

use super::element::{Element, Elements, Encoding, End, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, is_delimiting};
use super::encoding::{GUESSED, guess};
use super::uid;
use super::window::Source;

/// The open sequences and items. Levels beyond the innermost 128 count as sequences, which any
/// delimiter closes.
struct Levels {
    depth: u32,
    /// One bit for each level. The lowest bit is that of the innermost level.
    are_items: u128,
}

impl Levels {
    fn new(outermost: &Element) -> Self {
        Levels { depth: 1, are_items: u128::from(outermost.tag == ITEM) }
    }

    fn open(&mut self, element: &Element) {
        self.depth += 1;
        self.are_items = self.are_items << 1 | u128::from(element.tag == ITEM);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.are_items >>= 1;
    }

    /// Returns whether the innermost level is an item.
    fn is_item(&self) -> bool {
        self.are_items & 1 == 1
    }
}

impl<S: Source> Elements<'_, S> {
    /// Skips a value of undefined length.
    pub(super) fn skip_items(&mut self, outer: &Element, mut encoding: Encoding) -> Result<(), End> {
        let declared = encoding;
        let has_fragments = matches!(outer.vr, VR::OB | VR::OW);
        let mut levels = Levels::new(outer);
        // PS3.5 6.2.2 (CP-246): the content of UN with undefined length is implicit VR little
        // endian. Writers that only renamed a sequence left its content unchanged, so its first
        // element decides.
        let mut implicit_since = None;
        let mut untried = false;
        if is_renamed(outer, encoding) {
            (encoding, implicit_since, untried) = (Encoding::ImplicitLittle, Some(levels.depth), true);
        }
        while levels.depth > 0 {
            if untried && !self.at_delimiter()? {
                untried = false;
                encoding = guess(self.window.peek(GUESSED)?, Some(uid::IMPLICIT_VR_LITTLE_ENDIAN));
            }
            if self.entered > 0 && levels.depth == 1 && levels.is_item() && self.leaves_item(encoding)? {
                return Ok(());
            }
            let element = self.next(encoding)?;
            match (element.tag, element.length) {
                (ITEM_DELIMITATION, _) => levels.close(),
                (SEQUENCE_DELIMITATION, _) => {
                    let is_nested = self.entered > 1 || levels.depth > 2;
                    if levels.is_item() && self.ends_sequence(is_nested, encoding)? {
                        levels.close();
                    }
                    levels.close();
                }
                (ITEM, length) if levels.is_item() && levels.depth > 1 => {
                    levels.close();
                    match length {
                        Some(length) if self.skip_item(length, encoding)? => {}
                        _ => levels.open(&element),
                    }
                }
                (ITEM, Some(length)) if !levels.is_item() && !has_fragments => {
                    if !self.skip_item(length, encoding)? {
                        levels.open(&element);
                    }
                }
                (_, Some(length)) => self.skip_bytes(length)?,
                (_, None) if self.has_items(&element, encoding)? => {
                    levels.open(&element);
                    if is_renamed(&element, encoding) {
                        (encoding, implicit_since, untried) = (Encoding::ImplicitLittle, Some(levels.depth), true);
                    }
                }
                (_, None) => return Err(End::Cut),
            }
            if implicit_since.is_some_and(|since| since > levels.depth) {
                (encoding, implicit_since) = (declared, None);
            }
        }
        Ok(())
    }

    /// Returns whether a value of undefined length has items, according to its VR, or because an
    /// item or the end of the items follows.
    pub(super) fn has_items(&mut self, element: &Element, encoding: Encoding) -> Result<bool, End> {
        Ok(element.may_nest(encoding) || matches!(self.tag_ahead(0, encoding)?, Some(ITEM | SEQUENCE_DELIMITATION)))
    }

    /// Skips the content of an item, and returns whether its declared length is right: another item
    /// or a delimiter must follow. If the length is wrong, moves back to the content, because only
    /// the elements show where the item ends. If the source cannot be read there again, the length
    /// counts as right.
    fn skip_item(&mut self, length: u64, encoding: Encoding) -> Result<bool, End> {
        let content = self.window.position();
        if !self.holds(length) || self.window.ends_within(length) {
            return Ok(false);
        }
        self.window.advance(length);
        let is_right = self.tag_ahead(0, encoding)?.is_none_or(is_delimiting);
        Ok(is_right || !self.window.return_to(content))
    }

    /// Skips an item of a sequence that the caller has entered.
    pub(super) fn skip_whole_item(&mut self, item: &Element, encoding: Encoding) -> Result<(), End> {
        match item.length {
            Some(length) if self.skip_item(length, encoding)? => Ok(()),
            _ => self.skip_items(&Element { length: None, ..*item }, encoding),
        }
    }

    /// Returns the declared length of an item. `None` if the length is undefined, or if neither an
    /// item nor a delimiter follows where the item would end.
    pub(super) fn item_length(&mut self, item: &Element, encoding: Encoding) -> Result<Option<u64>, End> {
        let Some(length) = item.length else { return Ok(None) };
        let is_right = self.tag_ahead(length, encoding)?.is_none_or(is_delimiting);
        Ok(item.length.filter(|_| is_right))
    }

    /// Returns whether a sequence delimiter that was read in an item also closes the sequence,
    /// because its writer does not close items. If another item follows and the sequence is not
    /// nested, the delimiter was meant for the item alone.
    pub(super) fn ends_sequence(&mut self, is_nested: bool, encoding: Encoding) -> Result<bool, End> {
        Ok(is_nested || self.tag_ahead(0, encoding)? != Some(ITEM))
    }

    /// Returns whether the outermost item that is being skipped ends here without its delimiter,
    /// because the next element belongs to the sequence that the caller has entered.
    fn leaves_item(&mut self, encoding: Encoding) -> Result<bool, End> {
        Ok(match self.tag_ahead(0, encoding)? {
            Some(ITEM) => true,
            Some(SEQUENCE_DELIMITATION) => self.entered > 1 || self.tag_ahead(8, encoding)? != Some(ITEM),
            _ => false,
        })
    }
}

/// Returns whether the content of an element is implicit VR little endian, unlike the data set
/// around it.
pub(super) fn is_renamed(element: &Element, encoding: Encoding) -> bool {
    element.vr == VR::UN && element.tag != ITEM && encoding != Encoding::ImplicitLittle
}
