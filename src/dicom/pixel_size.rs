//! The size of uncompressed pixel data, from the attributes that describe an image.

use super::attributes::{Table, position};
use super::instance::{Instance, Value};

/// The uncompressed transfer syntaxes (PS3.5 A.1 to A.4). Deflated data sets are not among them,
/// because they are smaller.
const NATIVE: [&str; 3] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"];

/// The columns that determine the size of pixel data (PS3.3 C.7.6.3), in the order of
/// [`least_size`].
pub const COLUMNS: [&str; 7] =
    ["xfersyntax", "numrows", "numcolumns", "samplesperpixel", "bitsallocated", "numframes", "photometric"];

/// Returns the minimum size in bytes of a file with these values. `None` if a value is missing, or
/// if the pixel data is compressed.
pub fn least_size(values: &[Option<String>]) -> Option<u64> {
    let number = |n: usize| values.get(n)?.as_deref()?.trim().parse::<u64>().ok();
    values.first()?.as_deref().filter(|syntax| NATIVE.contains(syntax))?;
    // Pixels with subsampled colors (PS3.3 C.7.6.3.1.2) have two samples each. The same number is
    // assumed if it is unknown whether the colors are subsampled.
    let is_whole =
        values.get(6).and_then(Option::as_deref).is_some_and(|named| matches!(named.trim(), "RGB" | "YBR_FULL"));
    let samples = number(3).unwrap_or(1);
    let samples = if samples == 3 && !is_whole { 2 } else { samples };
    let bits = number(1)?.checked_mul(number(2)?)?.checked_mul(samples)?.checked_mul(number(4)?)?;
    Some(bits.checked_mul(number(5).unwrap_or(1).max(1))? / 8)
}

impl Instance {
    /// Returns the minimum size in bytes of the file of this instance, computed from the values of
    /// its row.
    pub fn least_size(&self) -> u64 {
        let text = |column| match self.get(position(Table::Image, column)) {
            Value::Null => None,
            Value::Text(text) => Some(text.to_owned()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
        };
        least_size(&COLUMNS.map(text)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncompressed_pixel_data_tell_how_large_a_file_is_at_least() {
        let size = |values: [&str; 7]| least_size(&values.map(|value| Some(value.to_owned()).filter(|v| v != "-")));
        assert_eq!(size(["1.2.840.10008.1.2.1", "512", "512", "1", "16", "-", "-"]), Some(524_288));
        assert_eq!(size(["1.2.840.10008.1.2", "10", "10", "3", "8", "7", "RGB"]), Some(2100));
        assert_eq!(size(["1.2.840.10008.1.2.4.50", "512", "512", "1", "8", "-", "-"]), None, "JPEG");
        assert_eq!(size(["1.2.840.10008.1.2.1", "-", "512", "1", "16", "-", "-"]), None);
        assert_eq!(size(["1.2.840.10008.1.2.1", "10", "10", "3", "8", "-", "YBR_FULL_422"]), Some(200));
    }
}
