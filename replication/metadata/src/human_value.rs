//! Numbers with a unit as people write them: `256MiB`, `7d`, `none`.
//!
//! Bytes: `B`, `KiB`, `MiB`, `GiB`, `TiB` (of 1024) and `KB`, `MB`, `GB`, `TB` (of 1000); without a unit, bytes.
//! Durations: `ms`, `s`, `min` or `m`, `h`, `d`; without a unit, milliseconds. Counts have no unit. Letter case of a
//! unit does not count, a space before it is allowed, fractions are not: `1536MiB`, not `1.5GiB`.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// What a number counts.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Milliseconds,
    Count,
}

/// Why a text is not a number of its unit.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// It does not begin with a whole number, or is negative.
    NotANumber,
    /// What follows the number is none of the unit's names.
    UnknownUnit(Unit),
    /// Greater than an `i64`.
    TooLarge,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => write!(f, "it is not a whole number"),
            Self::UnknownUnit(Unit::Bytes) => write!(f, "its unit is none of B, KiB, MiB, GiB, TiB, KB, MB, GB, TB"),
            Self::UnknownUnit(Unit::Milliseconds) => write!(f, "its unit is none of ms, s, min, h, d"),
            Self::UnknownUnit(Unit::Count) => write!(f, "it has a unit where a plain number is wanted"),
            Self::TooLarge => write!(f, "it is too large"),
        }
    }
}

impl std::error::Error for ValueError {}

const BYTE_UNITS: &[(&str, i64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const TIME_UNITS: &[(&str, i64)] = &[("ms", 1), ("s", 1000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// The units a number is shown in, greatest first.
const BYTE_UNITS_SHOWN: &[(&str, i64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const TIME_UNITS_SHOWN: &[(&str, i64)] = &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a number that is not negative, in bytes or milliseconds or things.
pub fn parse(text: &str, unit: Unit) -> Result<i64, ValueError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = text.split_at(digits);
    if number.is_empty() || name.starts_with(['.', ',']) {
        return Err(ValueError::NotANumber);
    }
    let name = name.trim_start();
    let units = match unit {
        Unit::Bytes => BYTE_UNITS,
        Unit::Milliseconds => TIME_UNITS,
        Unit::Count => &[],
    };
    let factor = if name.is_empty() {
        1
    } else {
        units.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).ok_or(ValueError::UnknownUnit(unit))?.1
    };
    number.parse::<i64>().ok().and_then(|n| n.checked_mul(factor)).ok_or(ValueError::TooLarge)
}

/// Writes a number that is not negative with the greatest unit that divides it; [`parse`] reads it back.
#[must_use]
pub fn format(value: i64, unit: Unit) -> String {
    let units = match unit {
        Unit::Bytes => BYTE_UNITS_SHOWN,
        Unit::Milliseconds => TIME_UNITS_SHOWN,
        Unit::Count => &[],
    };
    match units.iter().find(|(_, factor)| value != 0 && value % factor == 0) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        let bytes = [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("256MiB", 256 << 20),
            ("256 mib", 256 << 20),
            ("1GB", 1_000_000_000),
            (" 4KiB ", 4096),
        ];
        for (text, value) in bytes {
            assert_eq!(parse(text, Unit::Bytes), Ok(value), "{text}");
        }
        for (text, value) in
            [("90", 90), ("90ms", 90), ("7d", 604_800_000), ("5m", 300_000), ("5min", 300_000), ("1 h", 3_600_000)]
        {
            assert_eq!(parse(text, Unit::Milliseconds), Ok(value), "{text}");
        }
        for (text, unit, error) in [
            ("", Unit::Bytes, ValueError::NotANumber),
            ("MiB", Unit::Bytes, ValueError::NotANumber),
            ("-1", Unit::Bytes, ValueError::NotANumber),
            ("1.5GiB", Unit::Bytes, ValueError::NotANumber),
            ("7d", Unit::Bytes, ValueError::UnknownUnit(Unit::Bytes)),
            ("1 2", Unit::Bytes, ValueError::UnknownUnit(Unit::Bytes)),
            ("1MiB", Unit::Milliseconds, ValueError::UnknownUnit(Unit::Milliseconds)),
            ("2d", Unit::Count, ValueError::UnknownUnit(Unit::Count)),
            ("9223372036854775808", Unit::Count, ValueError::TooLarge),
            ("99999999TiB", Unit::Bytes, ValueError::TooLarge),
        ] {
            assert_eq!(parse(text, unit), Err(error), "{text}");
        }
        assert_eq!(format(256 << 20, Unit::Bytes), "256MiB");
        assert_eq!(format((1 << 20) + 4096, Unit::Bytes), "1028KiB");
        assert_eq!(format(604_800_000, Unit::Milliseconds), "7d");
        assert_eq!(format(0, Unit::Milliseconds), "0");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(value in 0..=i64::MAX, shift in 0u32..63) {
            for unit in [Unit::Bytes, Unit::Milliseconds, Unit::Count] {
                let value = value >> shift << (shift / 2);
                prop_assert_eq!(parse(&format(value, unit), unit), Ok(value));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            for unit in [Unit::Bytes, Unit::Milliseconds, Unit::Count] {
                let _ = parse(&text, unit);
            }
        }
    }
}
