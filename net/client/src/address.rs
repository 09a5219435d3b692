//! Addresses of brokers, as people write them.

use crate::error::ClientError;
use std::fmt;
use std::sync::Arc;

/// Where brokers listen when nobody says otherwise.
pub const PORT_DEFAULT: u16 = 7400;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

impl Address {
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let invalid = |why: &str| ClientError::InvalidAddress { address: text.into(), text: why.into() };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| invalid("the bracket is not closed"))?;
                match after {
                    "" => (host, None),
                    after => (host, Some(after.strip_prefix(':').ok_or_else(|| invalid("only a port may follow the bracket"))?)),
                }
            }
            None if text.matches(':').count() > 1 => return Err(invalid("an IPv6 address is written in brackets")),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(invalid("the host is missing or has spaces in it"));
        }
        let port = match port {
            None => PORT_DEFAULT,
            Some(port) => {
                port.parse().ok().filter(|&p| p > 0).ok_or_else(|| invalid("the port is not a number from 1 to 65535"))?
            }
        };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("localhost", "localhost:7400"),
            ("10.0.0.1:9000", "10.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("[fe80::2]", "[fe80::2]:7400"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expected);
        }
        for text in ["", ":7400", "host:", "host:0", "host:70000", "::1", "[::1", "[::1]x", "a b:1"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
