//! Values of undefined length, moved past without recursion: a counter and one bit for each open level.

use dicom_core::VR;

use super::element::{Element, Elements, Encoding, End, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION};
use super::encoding::{GUESSED, guess};
use super::uid;
use super::window::Source;

/// The open sequences and items. Levels beyond the 128 innermost ones count as sequences, which any delimiter closes.
struct Levels {
    depth: u32,
    /// A bit for each level, that of the innermost one last.
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

    /// Whether the innermost level is an item.
    fn is_item(&self) -> bool {
        self.are_items & 1 == 1
    }
}

impl<S: Source> Elements<'_, S> {
    /// Moves past a value of undefined length.
    pub(super) fn skip_items(&mut self, outer: &Element, mut encoding: Encoding) -> Result<(), End> {
        let declared = encoding;
        let mut levels = Levels::new(outer);
        // PS3.5 6.2.2 (CP-246): the content of UN with undefined length is implicit VR little endian. Writers that
        // only renamed a sequence left its content unchanged, so its first element has the last word.
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
                        Some(length) => self.skip_bytes(length)?,
                        None => levels.open(&element),
                    }
                }
                (_, Some(length)) => self.skip_bytes(length)?,
                (_, None) if element.may_nest(encoding) => {
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

    /// Whether a sequence delimiter that was read in an item closes the sequence too, because its writer does not close
    /// items. If another item follows and the sequence is not nested, the delimiter was meant for the item alone.
    pub(super) fn ends_sequence(&mut self, is_nested: bool, encoding: Encoding) -> Result<bool, End> {
        Ok(is_nested || self.tag_ahead(0, encoding)? != Some(ITEM))
    }

    /// Whether the outermost item that is moved past ends here without its delimiter. The next element belongs to the
    /// sequence, which the caller has entered.
    fn leaves_item(&mut self, encoding: Encoding) -> Result<bool, End> {
        Ok(match self.tag_ahead(0, encoding)? {
            Some(ITEM) => true,
            Some(SEQUENCE_DELIMITATION) => self.entered > 1 || self.tag_ahead(8, encoding)? != Some(ITEM),
            _ => false,
        })
    }
}

/// Whether the content of an element is implicit VR little endian, unlike the data set around it.
fn is_renamed(element: &Element, encoding: Encoding) -> bool {
    element.vr == VR::UN && element.tag != ITEM && encoding != Encoding::ImplicitLittle
}
