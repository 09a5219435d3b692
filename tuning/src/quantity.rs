//! Numbers with a unit as people write them: `2M/s`, `1KiB`, `10 s`, `1.5GB/s`, `3d`, `2x`, `50 %`; and back.
//!
//! The expensive mistake is a guess: `1K` is 1000 to one and 1024 to another, `100Mb/s` an eighth of `100MB/s`, and `5m` of
//! records might be anything. What two people would read differently is refused, with the two ways to write it; a number
//! without a unit is refused, too. Deliberately absent: settings of a broker, whose whole numbers have a grammar of their own
//! that a topic's metadata keeps.

use std::fmt;

/// What a number measures, and in which unit it is held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes.
    Len,
    /// Bytes a second.
    LenPerSecond,
    /// Things a second: records, operations.
    PerSecond,
    /// Microseconds.
    Time,
    /// How many times as much; 1 is as much.
    Factor,
    /// A part of a whole, per cent.
    Percent,
}

/// Why a text is no such quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// It does not begin with a number that is not negative.
    NotANumber,
    /// A number alone.
    NoUnit(Quantity),
    /// What follows the number is no unit of this quantity.
    UnknownUnit { unit: String, quantity: Quantity },
    /// What follows the number is read differently by different people.
    Ambiguous { unit: String, instead: &'static str },
    /// Greater than any such quantity is, 10^18.
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => write!(f, "it does not begin with a number"),
            Self::NoUnit(quantity) => write!(f, "it has no unit: write it as {}", quantity.examples()),
            Self::UnknownUnit { unit, quantity } => write!(f, "{unit:?} is no unit of it: write it as {}", quantity.examples()),
            Self::Ambiguous { unit, instead } => write!(f, "{unit:?} may mean two things: write {instead}"),
            Self::TooLarge => write!(f, "it is too large"),
        }
    }
}

impl std::error::Error for QuantityError {}

impl Quantity {
    /// In words, for messages.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Len => "4KiB, 1.5GiB or 100MB",
            Self::LenPerSecond => "200MB/s, 1.5GiB/s or 10Gbit/s",
            Self::PerSecond => "500/s, 20k/s or 2M records/s",
            Self::Time => "250us, 10ms, 30s, 5min, 12h or 3d",
            Self::Factor => "2x, 1.5x or 150%",
            Self::Percent => "20%",
        }
    }

    /// The unit that a value is held and written in.
    fn unit(self) -> &'static str {
        match self {
            Self::Len => "B",
            Self::LenPerSecond => "B/s",
            Self::PerSecond => "/s",
            Self::Time => "us",
            Self::Factor => "x",
            Self::Percent => "%",
        }
    }
}

const VALUE_MAX: f64 = 1e18;
const DIGITS_MAX: usize = 40;

/// Reads a number with its unit; blanks around both and between them do not count.
///
/// # Errors See [`QuantityError`]; every text is read or refused.
pub fn parse(text: &str, quantity: Quantity) -> Result<f64, QuantityError> {
    let text = text.trim();
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let len = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(len);
    if number.len() > DIGITS_MAX || !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(QuantityError::NotANumber);
    }
    let value: f64 = number.replace('_', "").parse().map_err(|_| QuantityError::NotANumber)?;
    let value = value * factor(unit.trim_start(), quantity)?;
    if value.is_finite() && value <= VALUE_MAX { Ok(value) } else { Err(QuantityError::TooLarge) }
}

/// The value in the unit that it is held in; [`parse`] reads exactly this value back.
#[must_use]
pub fn format(value: f64, quantity: Quantity) -> String {
    format!("{value} {}", quantity.unit())
}

fn factor(unit: &str, quantity: Quantity) -> Result<f64, QuantityError> {
    if unit.is_empty() && quantity != Quantity::Factor {
        return Err(QuantityError::NoUnit(quantity));
    }
    let found = match quantity {
        Quantity::Len => len_factor(unit)?,
        Quantity::LenPerSecond => match per_second(unit) {
            Some((unit, per)) => len_factor(unit)?.or_else(|| bit_factor(unit)).map(|factor| factor * per),
            None => None,
        },
        Quantity::PerSecond => count_factor(unit)?,
        Quantity::Time => time_factor(unit)?,
        Quantity::Factor => match unit {
            "" | "x" | "X" | "×" => Some(1.0),
            "%" => Some(0.01),
            _ => None,
        },
        Quantity::Percent => (unit == "%").then_some(1.0),
    };
    found.ok_or_else(|| QuantityError::UnknownUnit { unit: unit.chars().take(20).collect(), quantity })
}

fn ambiguous<T>(unit: &str, instead: &'static str) -> Result<T, QuantityError> {
    Err(QuantityError::Ambiguous { unit: unit.to_owned(), instead })
}

/// Lengths; `None` for what is none.
fn len_factor(unit: &str) -> Result<Option<f64>, QuantityError> {
    let binary = |shift: u32| Ok(Some((1_u64 << shift) as f64));
    match unit {
        "B" | "byte" | "bytes" => Ok(Some(1.0)),
        "kB" | "KB" => Ok(Some(1e3)),
        "MB" => Ok(Some(1e6)),
        "GB" => Ok(Some(1e9)),
        "TB" => Ok(Some(1e12)),
        "PB" => Ok(Some(1e15)),
        "KiB" | "kiB" | "kib" | "Ki" => binary(10),
        "MiB" | "mib" | "Mi" => binary(20),
        "GiB" | "gib" | "Gi" => binary(30),
        "TiB" | "tib" | "Ti" => binary(40),
        "PiB" | "pib" | "Pi" => binary(50),
        "k" | "K" => ambiguous(unit, "KiB (1024 bytes) or kB (1000 bytes)"),
        "m" | "M" => ambiguous(unit, "MiB (1048576 bytes) or MB (1000000 bytes)"),
        "g" | "G" => ambiguous(unit, "GiB (1073741824 bytes) or GB (1000000000 bytes)"),
        "t" | "T" => ambiguous(unit, "TiB (of 1024) or TB (of 1000)"),
        "b" | "kb" | "Kb" | "mb" | "Mb" | "gb" | "Gb" | "tb" | "Tb" => {
            ambiguous(unit, "B, kB, MB, GB or TB for bytes, or kbit, Mbit or Gbit for bits")
        }
        _ => Ok(None),
    }
}

fn bit_factor(unit: &str) -> Option<f64> {
    let (prefix, _bit) = ["bits", "bit"].iter().find_map(|bit| Some((unit.strip_suffix(bit)?, bit)))?;
    Some(decimal(prefix)? / 8.0)
}

fn decimal(prefix: &str) -> Option<f64> {
    match prefix {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        "T" => Some(1e12),
        _ => None,
    }
}

/// What stands before "a second", and how much of it a second has.
fn per_second(unit: &str) -> Option<(&str, f64)> {
    const DAY_S: f64 = 86_400.0;
    let each = [
        ("/second", 1.0),
        ("/sec", 1.0),
        ("/s", 1.0),
        ("/minute", 1.0 / 60.0),
        ("/min", 1.0 / 60.0),
        ("/hour", 1.0 / 3600.0),
        ("/h", 1.0 / 3600.0),
        ("/day", 1.0 / DAY_S),
        ("/d", 1.0 / DAY_S),
        ("ps", 1.0),
    ];
    // Bits and bytes "p.s." are written without a dash; Gbps are bits to everybody.
    if let Some(prefix) = unit.strip_suffix("bps").filter(|prefix| decimal(prefix).is_some()) {
        let bits = ["bit", "kbit", "Mbit", "Gbit", "Tbit"];
        let at = ["", "k", "M", "G", "T"].iter().position(|known| *known == prefix.replace('K', "k"))?;
        return Some((bits[at], 1.0));
    }
    let (before, per) = each.iter().find_map(|(suffix, per)| Some((unit.strip_suffix(suffix)?, *per)))?;
    Some((before.trim_end(), per))
}

/// Counts a second: `k/s`, `M records/s`, `rps`.
fn count_factor(unit: &str) -> Result<Option<f64>, QuantityError> {
    const THINGS: [&str; 14] = [
        "records", "record", "rec", "messages", "message", "msgs", "msg", "events", "event", "requests", "request", "req", "ops",
        "op",
    ];
    let (before, per) = match ["rps", "qps", "iops", "IOPS"].iter().find_map(|known| unit.strip_suffix(known)) {
        Some(before) => (before, 1.0),
        None => match per_second(unit) {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let prefix = THINGS.iter().find_map(|thing| before.strip_suffix(thing)).unwrap_or(before).trim_end();
    match prefix {
        "m" => ambiguous(unit, "M/s for a million a second, or 0.001/s"),
        "B" | "b" => ambiguous(unit, "G/s for a billion a second; bytes are no count"),
        _ => Ok(decimal(prefix).map(|factor| factor * per)),
    }
}

fn time_factor(unit: &str) -> Result<Option<f64>, QuantityError> {
    const SECOND: f64 = 1e6;
    Ok(Some(match unit {
        "ns" => 1e-3,
        // Micro sign and Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1.0,
        "ms" => 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0 * SECOND,
        "h" | "hr" | "hour" | "hours" => 3600.0 * SECOND,
        "d" | "day" | "days" => 86_400.0 * SECOND,
        "w" | "week" | "weeks" => 7.0 * 86_400.0 * SECOND,
        "M" => return ambiguous(unit, "min for minutes, or 30d for a month"),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_spelling_is_read() {
        use Quantity::*;
        for (text, quantity, value) in [
            ("1KiB", Len, 1024.0),
            ("4 kB", Len, 4e3),
            ("1.5 GiB", Len, 1_610_612_736.0),
            ("2_000 bytes", Len, 2e3),
            ("0 B", Len, 0.0),
            ("1Ti", Len, (1_u64 << 40) as f64),
            ("200MB/s", LenPerSecond, 2e8),
            ("1GiB/s", LenPerSecond, 1_073_741_824.0),
            ("10Gbit/s", LenPerSecond, 1.25e9),
            ("10 Gbps", LenPerSecond, 1.25e9),
            ("800kbps", LenPerSecond, 1e5),
            ("5 MBps", LenPerSecond, 5e6),
            ("60 MB/min", LenPerSecond, 1e6),
            ("2M/s", PerSecond, 2e6),
            ("2 M records/s", PerSecond, 2e6),
            ("20k rps", PerSecond, 2e4),
            ("500 msgs/sec", PerSecond, 500.0),
            ("90 events/min", PerSecond, 1.5),
            ("7/s", PerSecond, 7.0),
            ("3kIOPS", PerSecond, 3e3),
            ("10s", Time, 1e7),
            ("250us", Time, 250.0),
            ("250 \u{b5}s", Time, 250.0),
            ("250\u{3bc}s", Time, 250.0),
            ("1.5ms", Time, 1500.0),
            ("500 ns", Time, 0.5),
            ("3d", Time, 2.592e11),
            ("5m", Time, 3e8),
            ("90 minutes", Time, 5.4e9),
            ("2w", Time, 1.2096e12),
            ("2x", Factor, 2.0),
            ("2×", Factor, 2.0),
            ("3", Factor, 3.0),
            ("150%", Factor, 1.5),
            ("20 %", Percent, 20.0),
        ] {
            let read = parse(text, quantity).expect(text);
            assert!((read - value).abs() <= value * 1e-12, "{text} is {read}");
        }
    }

    #[test]
    fn what_is_no_quantity_or_could_be_two_is_refused() {
        use Quantity::*;
        for (text, quantity, part) in [
            ("", Len, "begin with a number"),
            ("fast", PerSecond, "begin with a number"),
            ("-1s", Time, "begin with a number"),
            (".5s", Time, "begin with a number"),
            ("1.2.3s", Time, "begin with a number"),
            ("1,5s", Time, "no unit of it"),
            ("inf s", Time, "begin with a number"),
            ("NaN", Factor, "begin with a number"),
            ("12", Len, "no unit"),
            ("12", PerSecond, "no unit"),
            ("1K", Len, "KiB (1024 bytes) or kB"),
            ("100Mb/s", LenPerSecond, "Mbit"),
            ("100 mb", Len, "for bits"),
            ("2m/s", PerSecond, "M/s for a million"),
            ("2B/s", PerSecond, "billion"),
            ("5M", Time, "min for minutes"),
            ("10 MB", LenPerSecond, "no unit of it"),
            ("10 MB/s", Len, "no unit of it"),
            ("10 parsec", Time, "250us"),
            ("10 MS", Time, "no unit of it"),
            ("2y", Factor, "2x"),
            ("99999999999999999999 B", Len, "too large"),
            ("9999999 PB", Len, "too large"),
        ] {
            let error = parse(text, quantity).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse(&"9".repeat(5000), Len).is_err());
    }

    #[test]
    fn what_is_written_reads_back_exactly() {
        for quantity in
            [Quantity::Len, Quantity::LenPerSecond, Quantity::PerSecond, Quantity::Time, Quantity::Factor, Quantity::Percent]
        {
            for value in [0.0, 0.1, 1.0, 1.0 / 3.0, 123_456.789, 4096.0, 1e17] {
                assert_eq!(parse(&format(value, quantity), quantity), Ok(value), "{value} {quantity:?}");
            }
        }
    }
}
