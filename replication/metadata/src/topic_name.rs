//! Which names a topic may have: Kafka's rules.

use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::TOPIC_NAME_LEN_MAX;
use std::fmt;

/// What is wrong with a name.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    Empty,
    TooLong {
        len: usize,
        max: usize,
    },
    /// `.` and `..` would be folders.
    Dots,
    Character(char),
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty"),
            Self::TooLong { len, max } => write!(f, "it has {len} bytes, at most {max} are allowed"),
            Self::Dots => write!(f, "\".\" and \"..\" are not allowed"),
            Self::Character(c) => write!(f, "it contains {c:?}; only letters a-z and A-Z, digits, '.', '_' and '-' are allowed"),
        }
    }
}

/// 1 to `TOPIC_NAME_LEN_MAX` bytes out of ASCII letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
pub fn check_topic_name(name: &str) -> Result<(), NameFault> {
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    if name.len() > TOPIC_NAME_LEN_MAX {
        return Err(NameFault::TooLong { len: name.len(), max: TOPIC_NAME_LEN_MAX });
    }
    if name == "." || name == ".." {
        return Err(NameFault::Dots);
    }
    match name.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => Err(NameFault::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "x".repeat(TOPIC_NAME_LEN_MAX);
        for name in ["a", "Orders.v2", "_internal-1", "...", "9", &longest] {
            assert_eq!(check_topic_name(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(TOPIC_NAME_LEN_MAX + 1);
        for (name, fault) in [
            ("", NameFault::Empty),
            (".", NameFault::Dots),
            ("..", NameFault::Dots),
            ("a/b", NameFault::Character('/')),
            ("a b", NameFault::Character(' ')),
            ("größe", NameFault::Character('ö')),
            ("a\0", NameFault::Character('\0')),
            (&too_long, NameFault::TooLong { len: 250, max: 249 }),
        ] {
            assert_eq!(check_topic_name(name), Err(fault), "{name}");
        }
    }
}
