//! Byte lengths, durations and moments as people write them, and back.
//!
//! The expensive mistake is a number taken in the wrong unit, so a bare number is only ever in the unit its
//! setting's name says, and `MB` (1000²) is not `MiB` (1024²). Deliberately absent: fractions; `1.5GiB` is `1536MiB`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LEN_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Reads `"256MiB"`, `"4 kB"` or `"1_048_576"` (bytes).
pub fn parse_len(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let number: u64 = digits.replace('_', "").parse().map_err(|_| format!("{text:?} is not a length such as \"256MiB\" or 4096"))?;
    let unit = unit.trim();
    let factor = match LEN_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(format!("{unit:?} is not a unit of length: use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is more than 2^64 bytes"))
}

/// Milliseconds from `"500ms"`, `"7d"`, `"1h 30m"` or a bare number of milliseconds.
pub fn parse_millis(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if let Ok(number) = text.replace('_', "").parse::<u64>() {
        return Ok(number);
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as \"500ms\", \"10s\" or \"7d\""))?;
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("{text:?} is finer than a millisecond"));
    }
    u64::try_from(duration.as_millis()).map_err(|_| format!("{text:?} is too long"))
}

/// Reads a duration for a flag, as [`parse_millis`] does.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_millis(text).map(Duration::from_millis)
}

/// Milliseconds since 1970 from RFC 3339 in UTC (`2026-11-22T10:00:00Z`) or from a bare number of milliseconds.
pub fn parse_timestamp_ms(text: &str) -> Result<i64, String> {
    if let Ok(number) = text.parse::<i64>() {
        return if number >= 0 { Ok(number) } else { Err(format!("{text:?} is before 1970")) };
    }
    let wrong = || format!("{text:?} is neither milliseconds since 1970 nor a UTC time such as 2026-11-22T10:00:00Z");
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
    i64::try_from(since.as_millis()).map_err(|_| wrong())
}

/// RFC 3339 with milliseconds, or the bare number when it is not a moment a calendar has.
pub fn format_timestamp_ms(ms: i64) -> String {
    let after = u64::try_from(ms).ok().filter(|&ms| ms < 253_402_300_800_000);
    match after.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms))) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => ms.to_string(),
    }
}

/// The length in its largest whole binary unit, so that it reads back exactly: `268435456` is `256MiB`.
pub fn format_len_exact(len: u64) -> String {
    for (unit, factor) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if len >= factor && len.is_multiple_of(factor) {
            return format!("{}{unit}", len / factor);
        }
    }
    format!("{len}B")
}

/// The duration in its largest whole units, so that it reads back exactly: `604800000` is `7days`.
pub fn format_millis_exact(ms: u64) -> String {
    for (unit, factor) in [("d", 86_400_000u64), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms >= factor && ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

/// A length for reading, three digits at most: `1.2 GiB`.
pub fn format_len(len: u64) -> String {
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
pub fn format_count(count: u64) -> String {
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
pub fn format_micros(us: u64) -> String {
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
        for (text, len) in [("4096", 4096), ("1_000", 1000), ("256MiB", 256 << 20), ("1 GB", 1_000_000_000), ("0B", 0), ("2KiB", 2048)] {
            assert_eq!(parse_len(text), Ok(len), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "12parsec", "99999999TiB", "256mib"] {
            assert!(parse_len(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [("500", 500), ("500ms", 500), ("10s", 10_000), ("7d", 604_800_000), ("1h 30m", 5_400_000)] {
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
            assert_eq!(parse_len(&format_len_exact(len)), Ok(len));
        }
        for ms in [0, 1, 999, 1000, 90_000, 604_800_000] {
            assert_eq!(parse_millis(&format_millis_exact(ms)), Ok(ms));
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
