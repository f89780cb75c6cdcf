//! Keys that consist of several texts. The encoded keys sort like the texts, compared one after the
//! other.

use std::borrow::Cow;

/// The end of a text. It sorts before all bytes of a text.
const END: [u8; 2] = [0, 1];

/// An encoded zero byte within a text.
const ZERO: [u8; 2] = [0, 0xFF];

/// Encodes a key.
pub fn encode<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for text in texts {
        for byte in text.bytes() {
            match byte {
                0 => key.extend(ZERO),
                byte => key.push(byte),
            }
        }
        key.extend(END);
    }
    key
}

/// Decodes the texts of a key. An incomplete text at the end is ignored.
pub fn decode(key: &[u8]) -> Vec<String> {
    let (mut texts, mut text) = (Vec::new(), Vec::new());
    let mut bytes = key.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (0, Some(next)) => {
                bytes.next();
                match next {
                    1 => texts.push(String::from_utf8_lossy(&std::mem::take(&mut text)).into_owned()),
                    _ => text.push(0),
                }
            }
            (byte, _) => text.push(*byte),
        }
    }
    texts
}

/// Returns the text of a key that is a single text.
pub fn text(key: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_texts_and_can_be_read_back() {
        let texts = ["", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "\0", "\u{1}", "ü"];
        let mut keys: Vec<[&str; 2]> = texts.iter().flat_map(|one| texts.map(|other| [*one, other])).collect();
        keys.sort();
        let encoded: Vec<Vec<u8>> = keys.iter().map(|key| encode(*key)).collect();
        assert!(encoded.is_sorted());
        for (key, encoded) in keys.iter().zip(&encoded) {
            assert_eq!(decode(encoded), key);
        }
        assert_eq!(decode(&[7, 0]), Vec::<String>::new(), "invalid key");
    }
}
