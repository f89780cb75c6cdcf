//! Statements with their values in the text, for texts that depend on data: each set of changed
//! columns has its own text. A server parses such a statement about as fast as it looks up a
//! prepared one, and the statement need not be closed afterwards.
//!
//! Texts are written as hexadecimal literals, which need no quoting: a value cannot change the
//! statement, whatever its content, the SQL mode and the character set of the session.

use std::fmt::Write as _;

use super::Value;

/// Returns a statement with each `?` replaced by a value. Returns `None` if the number of values
/// differs from the number of placeholders.
pub(crate) fn with_values(sql: &str, values: &[Value<'_>]) -> Option<String> {
    let mut text = String::with_capacity(sql.len() + values.len() * 16);
    let mut values = values.iter();
    let mut quote = None;
    for c in sql.chars() {
        match (c, quote) {
            ('?', None) => write_literal(&mut text, *values.next()?),
            _ => text.push(c),
        }
        // A quote within a quoted name is doubled, which closes the name and opens it again.
        quote = match (c, quote) {
            ('`' | '\'' | '"', None) => Some(c),
            (_, Some(open)) if c == open => None,
            _ => quote,
        };
    }
    values.next().is_none().then_some(text)
}

fn write_literal(text: &mut String, value: Value<'_>) {
    // Writing to a string does not fail.
    let _ = match value {
        Value::Text(value) => {
            text.push_str("_utf8mb4 X'");
            value.bytes().for_each(|byte| text.extend([byte >> 4, byte & 15].map(hexadecimal_digit)));
            text.push('\'');
            Ok(())
        }
        Value::Integer(number) => write!(text, "{number}"),
        // With an exponent, the literal is a double, like a bound number; without one, it would be
        // a decimal.
        Value::Real(number) if number.is_finite() => write!(text, "{number:e}"),
        Value::Real(_) | Value::Null => write!(text, "NULL"),
    };
}

fn hexadecimal_digit(half: u8) -> char {
    char::from_digit(half.into(), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_literals_in_their_order() {
        let values = [Value::Text("a'ü"), Value::Integer(-7), Value::Real(1.5), Value::Null];
        let text = with_values("UPDATE `t` SET `a` = ?, `b` = ?, `c` = ?, `d` = ?", &values).unwrap();
        assert_eq!(text, "UPDATE `t` SET `a` = _utf8mb4 X'6127c3bc', `b` = -7, `c` = 1.5e0, `d` = NULL");
    }

    #[test]
    fn a_question_mark_in_a_name_or_a_text_is_no_value() {
        let text = with_values("SELECT `what?``?` FROM `t` WHERE `a` LIKE '?|?' AND `b` = ?", &[Value::Integer(1)]);
        assert_eq!(text.unwrap(), "SELECT `what?``?` FROM `t` WHERE `a` LIKE '?|?' AND `b` = 1");
    }

    #[test]
    fn a_value_too_many_or_too_few_is_noticed() {
        assert_eq!(with_values("SELECT ?", &[]), None);
        assert_eq!(with_values("SELECT ?", &[Value::Null; 2]), None);
    }

    #[test]
    fn numbers_are_read_back_as_they_were() {
        for number in [1.72_f64, 1.72_f32.into(), f64::MAX, f64::MIN_POSITIVE, -0.1] {
            let text = with_values("?", &[Value::Real(number)]).unwrap();
            assert!(text.contains('e') && text.parse() == Ok(number), "{text}");
        }
        assert_eq!(with_values("?", &[Value::Real(f64::INFINITY)]).as_deref(), Some("NULL"));
    }
}
