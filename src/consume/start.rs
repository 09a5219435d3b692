//! Where a consumer begins: `--from beginning|end|OFFSET|@TIMESTAMP`.

use crate::units;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    End,
    Offset(u64),
    /// The first record at or after it, milliseconds since 1970.
    Timestamp(i64),
}

pub(crate) const HELP: &str =
    "beginning, end, an offset, or @ and a time (milliseconds since 1970, or UTC as in @2026-11-22T10:00:00Z)";

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        match text.strip_prefix('@') {
            Some(time) => units::parse_timestamp_ms(time).map(Self::Timestamp),
            None => text.parse().map(Self::Offset).map_err(|_| format!("{text:?} is no place to begin: use {HELP}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_begin() {
        assert_eq!("beginning".parse(), Ok(Start::Beginning));
        assert_eq!("end".parse(), Ok(Start::End));
        assert_eq!("17".parse(), Ok(Start::Offset(17)));
        assert_eq!("@1700000000000".parse(), Ok(Start::Timestamp(1_700_000_000_000)));
        assert_eq!("@2023-11-14T22:13:20Z".parse(), Ok(Start::Timestamp(1_700_000_000_000)));
        for text in ["", "-1", "start", "@", "@noon"] {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }
}
