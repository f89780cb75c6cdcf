//! Column types for fractional numbers: their ranges, and how they round.

/// A FLOAT, DOUBLE or DECIMAL type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RealType {
    /// Whether the type has single precision. The number is rounded to single precision before it
    /// is sent, unless the type has a scale: the server then rounds to the scale first.
    single: bool,
    /// The number of digits after the decimal point, if the type limits it.
    scale: Option<usize>,
    least: f64,
    most: f64,
}

impl RealType {
    pub const DOUBLE: RealType = RealType { single: false, scale: None, least: f64::MIN, most: f64::MAX };

    const FLOAT: RealType = RealType { single: true, scale: None, least: f32::MIN as f64, most: f32::MAX as f64 };

    /// Parses a type from its name and its declaration: `decimal(5,2) unsigned`, `float`,
    /// `double(7,3)`.
    pub fn of(name: &str, declaration: &str) -> Self {
        let plain = if name == "float" { RealType::FLOAT } else { RealType::DOUBLE };
        let limited = digits_of(name, declaration).map_or(plain, |(precision, scale)| plain.limited(precision, scale));
        let is_unsigned = declaration.contains("unsigned");
        RealType { least: if is_unsigned { 0.0 } else { limited.least }, ..limited }
    }

    /// Limits the range to a precision and a scale. A number that rounds up to one more digit than
    /// the precision is out of range.
    fn limited(self, precision: i32, scale: i32) -> Self {
        let most = (10f64.powi(precision - scale) - 0.5 * 10f64.powi(-scale)).next_down().min(self.most);
        RealType { scale: usize::try_from(scale).ok(), least: -most, most, ..self }
    }

    /// Returns the number as the column stores it, or `None` if it is out of range.
    pub fn fit(self, number: f64) -> Option<f64> {
        if !(self.least..=self.most).contains(&number) {
            return None;
        }
        match self.scale {
            Some(scale) => {
                // The server rounds halves away from zero, but the formatter rounds them to even
                // digits.
                let factor = 10f64.powi(scale as i32);
                let rounded = (number * factor).round() / factor;
                format!("{:.scale$}", if rounded.is_finite() { rounded } else { number }).parse().ok()
            }
            None if self.single => Some((number as f32).into()),
            None => Some(number),
        }
    }
}

/// Parses precision and scale. A DECIMAL has both in every declaration of the catalogue.
fn digits_of(name: &str, declaration: &str) -> Option<(i32, i32)> {
    let (_, digits) = declaration.split_once('(')?;
    let (precision, scale) = match digits.split_once(')')?.0.split_once(',') {
        Some((precision, scale)) => (precision, scale),
        // A single number is a precision in bits, and the name of the type already reflects it.
        None if matches!(name, "float" | "double" | "real") => return None,
        None => (digits.split_once(')')?.0, "0"),
    };
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_rounded_as_its_column_rounds_it_or_out_of_range() {
        let cases = [
            ("decimal", "decimal(5,2)", 999.994, Some(999.99)),
            ("decimal", "decimal(5,2)", 999.995, None),
            ("decimal", "decimal(5,2)", -1000.0, None),
            ("decimal", "decimal(10,0)", 70.5, Some(71.0)),
            ("decimal", "decimal(3,3)", 0.9994, Some(0.999)),
            ("decimal", "decimal(3,3)", 1.0, None),
            ("decimal", "decimal(5,2) unsigned", -0.01, None),
            ("decimal", "decimal(65,30)", 1e34, Some(1e34)),
            ("decimal", "decimal(65,30)", 1e35, None),
            ("float", "float", 1e39, None),
            ("float", "float(4,1)", 1000.0, None),
            ("float", "float(4,1) unsigned", 99.96, Some(100.0)),
            ("float", "float(4,1)", 999.96, None),
            ("float", "float unsigned", -1.0, None),
            ("double", "double", 1e300, Some(1e300)),
            ("double", "double", f64::INFINITY, None),
        ];
        for (name, declaration, number, expected) in cases {
            assert_eq!(RealType::of(name, declaration).fit(number), expected, "{number} in {declaration}");
        }
    }
}
