//! Serialized values. Each consists of its kind, or of the length of a text, followed by its bytes.

use super::Value;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
/// A text whose length follows. Shorter texts have their length in place of the kind, starting at
/// [`SHORT`].
const TEXT: u8 = 3;
const SHORT: u8 = 4;

pub fn put(value: Value<'_>, into: &mut Vec<u8>) {
    match value {
        Value::Null => into.push(NULL),
        Value::Text(text) => put_text(text, into),
        Value::Integer(number) => {
            into.push(INTEGER);
            into.extend(number.to_le_bytes());
        }
        Value::Real(number) => {
            into.push(REAL);
            into.extend(number.to_le_bytes());
        }
    }
}

fn put_text(text: &str, into: &mut Vec<u8>) {
    match u8::try_from(text.len()).ok().and_then(|length| length.checked_add(SHORT)) {
        Some(kind) => into.push(kind),
        None => {
            into.push(TEXT);
            into.extend((text.len() as u32).to_le_bytes());
        }
    }
    into.extend(text.as_bytes());
}

/// Returns the packed values up to the first incomplete one.
pub fn values(packed: &[u8]) -> impl Iterator<Item = Value<'_>> {
    let mut rest = packed;
    std::iter::from_fn(move || take(&mut rest))
}

/// Takes one value from the front.
pub fn take<'p>(rest: &mut &'p [u8]) -> Option<Value<'p>> {
    match *rest.split_off_first()? {
        NULL => Some(Value::Null),
        INTEGER => Some(Value::Integer(i64::from_le_bytes(take_bytes(rest)?))),
        REAL => Some(Value::Real(f64::from_le_bytes(take_bytes(rest)?))),
        TEXT => {
            let length = u32::from_le_bytes(take_bytes(rest)?);
            take_text(length as usize, rest)
        }
        kind => take_text(usize::from(kind - SHORT), rest),
    }
}

fn take_text<'p>(length: usize, rest: &mut &'p [u8]) -> Option<Value<'p>> {
    str::from_utf8(rest.split_off(..length)?).ok().map(Value::Text)
}

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_whole_or_not_at_all() {
        let texts = [0, 1, 250, 251, 252, 255, 256, 70_000].map(|length| "x".repeat(length));
        let mut all = vec![Value::Null, Value::Integer(i64::MIN), Value::Real(-0.5), Value::Text("ü")];
        all.extend(texts.iter().map(|text| Value::Text(text)));
        let mut packed = Vec::new();
        all.iter().for_each(|value| put(*value, &mut packed));
        assert_eq!(Vec::from_iter(values(&packed)), all);
        for length in 0..600 {
            let some = Vec::from_iter(values(&packed[..length]));
            assert_eq!(some, all[..some.len()]);
        }
    }
}
