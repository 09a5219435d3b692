//! Byte lengths, durations and moments as people write them, and back.
//!
//! The expensive mistake is a number taken in the wrong unit, so a bare number is only ever in the unit its
//! setting's name says. Deliberately absent: the grammar of numbers with units, which topics and brokers share
//! (`metadata::human_value`).

pub(crate) use sluice_metadata::human_value::Unit;

use sluice_metadata::human_value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes from `"256MiB"`, `"4 kB"` or a bare number.
pub(crate) fn parse_len(text: &str) -> Result<u64, String> {
    parse(text, Unit::Bytes, "a length such as \"256MiB\" or 4096")
}

/// Milliseconds from `"500ms"`, `"7d"` or a bare number.
pub(crate) fn parse_millis(text: &str) -> Result<u64, String> {
    parse(text, Unit::Milliseconds, "a duration such as \"500ms\", \"10s\" or \"7d\"")
}

pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    parse(text, Unit::Count, "a whole number")
}

fn parse(text: &str, unit: Unit, wanted: &str) -> Result<u64, String> {
    let value = human_value::parse(text, unit).map_err(|wrong| match unit {
        Unit::Count => format!("{text:?} is not {wanted}"),
        _ => format!("{text:?} is not {wanted}: {wrong}"),
    })?;
    Ok(u64::try_from(value).expect("what is read is not negative"))
}

/// Reads a duration for a flag, as [`parse_millis`] does.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_millis(text).map(Duration::from_millis)
}

/// Milliseconds since 1970 from RFC 3339 in UTC (`2026-11-22T10:00:00Z`) or from a bare number of milliseconds.
pub(crate) fn parse_timestamp_ms(text: &str) -> Result<i64, String> {
    if let Ok(number) = text.parse::<i64>() {
        return if number >= 0 { Ok(number) } else { Err(format!("{text:?} is before 1970")) };
    }
    let wrong = || format!("{text:?} is neither milliseconds since 1970 nor a UTC time such as 2026-11-22T10:00:00Z");
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
    i64::try_from(since.as_millis()).map_err(|_| wrong())
}

/// RFC 3339 with milliseconds, or the bare number when it is not a moment a calendar has.
pub(crate) fn format_timestamp_ms(ms: i64) -> String {
    let after = u64::try_from(ms).ok().filter(|&ms| ms < 253_402_300_800_000);
    match after.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms))) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => ms.to_string(),
    }
}

/// The value with its unit, so that it reads back exactly: `268435456` bytes are `256MiB`.
pub(crate) fn format_exact(value: u64, unit: Unit) -> String {
    let text = i64::try_from(value).map_or_else(|_| value.to_string(), |value| human_value::format(value, unit));
    match unit {
        Unit::Bytes if text.ends_with(|c: char| c.is_ascii_digit()) => format!("{text}B"),
        _ => text,
    }
}

/// A length for reading, three digits at most: `1.2 GiB`.
pub(crate) fn format_len(len: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if len < 1024 {
        return format!("{len} B");
    }
    let mut scaled = len as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.digits$} {}", UNITS[unit])
}

/// A count with thousands set apart: `1 234 567`.
pub(crate) fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A latency for reading: `87 µs`, `1.24 ms`, `3.10 s`.
pub(crate) fn format_micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..100_000 => format!("{:.1} ms", us as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_with_their_units() {
        for (text, len) in [("4096", 4096), ("256MiB", 256 << 20), ("1 GB", 1_000_000_000), ("0B", 0), ("2KiB", 2048)] {
            assert_eq!(parse_len(text), Ok(len), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "12parsec", "99999999TiB"] {
            assert!(parse_len(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [("500", 500), ("500ms", 500), ("10s", 10_000), ("7d", 604_800_000)] {
            assert_eq!(parse_millis(text), Ok(ms), "{text}");
        }
        for text in ["", "soon", "-1s", "5us", "s"] {
            assert!(parse_millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_read_and_written() {
        assert_eq!(parse_timestamp_ms("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(parse_timestamp_ms("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert!(parse_timestamp_ms("yesterday").is_err() && parse_timestamp_ms("-5").is_err());
        assert_eq!(format_timestamp_ms(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        for odd in [-1, i64::MAX, i64::MIN] {
            assert_eq!(format_timestamp_ms(odd), odd.to_string());
        }
    }

    #[test]
    fn what_is_written_exactly_reads_back() {
        for len in [0, 1, 4096, 4097, 256 << 20, 3 << 40] {
            assert_eq!(parse_len(&format_exact(len, Unit::Bytes)), Ok(len));
        }
        for ms in [0, 1, 999, 1000, 90_000, 604_800_000] {
            assert_eq!(parse_millis(&format_exact(ms, Unit::Milliseconds)), Ok(ms));
        }
    }

    #[test]
    fn figures_are_written_for_reading() {
        assert_eq!(format_len(1023), "1023 B");
        assert_eq!(format_len(1536), "1.50 KiB");
        assert_eq!(format_len(1_048_575), "1.00 MiB");
        assert_eq!(format_len(u64::MAX), "16384 PiB");
        assert_eq!(format_count(1_234_567), "1 234 567");
        assert_eq!(format_count(12), "12");
        assert_eq!(format_micros(870), "870 µs");
        assert_eq!(format_micros(12_345), "12.3 ms");
    }
}
