//! Lines of a file or of standard input, one at a time, in memory bounded by the longest line allowed.
//!
//! A line is what stands before a `\n` (a `\r` belongs to it); the last one may lack its `\n`. Any byte may stand
//! in it. The expensive mistake is to buffer a line before its length is known to be allowed.

use std::io::{self, BufRead, Read};

/// Why there is no further line.
#[derive(Debug)]
pub(crate) enum LineError {
    /// Line `number` is longer than `len_max` bytes.
    TooLong {
        number: u64,
        len_max: usize,
    },
    /// Line `number` lacks the separator between key and value.
    NoSeparator {
        number: u64,
        separator: String,
    },
    Read {
        number: u64,
        error: io::Error,
    },
}

/// One line, split where asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
    /// Bytes read for it, line end included.
    pub(crate) read_len: usize,
}

pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
    len_max: usize,
    separator: Option<Vec<u8>>,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `len_max` bytes without their line end. The separator must not be empty.
    pub(crate) fn new(input: R, len_max: usize, separator: Option<Vec<u8>>) -> Self {
        Self { input, buffer: Vec::new(), number: 0, len_max, separator }
    }

    /// The next line; `None` at the end of the input.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        let number = self.number + 1;
        self.buffer.clear();
        let limit = self.len_max as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        let read_len = read.map_err(|error| LineError::Read { number, error })?;
        if read_len == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > self.len_max {
            return Err(LineError::TooLong { number, len_max: self.len_max });
        }
        self.number = number;
        let Some(separator) = &self.separator else {
            return Ok(Some(Line { number, key: None, value: &self.buffer, read_len }));
        };
        let Some(at) = find(&self.buffer, separator) else {
            return Err(LineError::NoSeparator { number, separator: String::from_utf8_lossy(separator).into_owned() });
        };
        Ok(Some(Line { number, key: Some(&self.buffer[..at]), value: &self.buffer[at + separator.len()..], read_len }))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], len_max: usize, separator: Option<&str>) -> (Vec<String>, Option<LineError>) {
        let mut lines = Lines::new(io::BufReader::with_capacity(4, input), len_max, separator.map(|s| s.as_bytes().to_vec()));
        let mut seen = Vec::new();
        loop {
            match lines.next_line() {
                Ok(Some(line)) => {
                    let key = line.key.map(|key| format!("{}=", String::from_utf8_lossy(key))).unwrap_or_default();
                    seen.push(format!("{}:{key}{}", line.number, String::from_utf8_lossy(line.value)));
                }
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    #[test]
    fn lines_come_whole_and_numbered() {
        let (seen, error) = all(b"one\n\ntwo\r\nlast", 5, None);
        assert_eq!(seen, ["1:one", "2:", "3:two\r", "4:last"]);
        assert!(error.is_none());
        assert_eq!(all(b"", 5, None).0.len(), 0);
        assert_eq!(all(b"\n", 5, None).0, ["1:"]);
        assert_eq!(all(b"12345\n12345", 5, None).0, ["1:12345", "2:12345"]);
    }

    #[test]
    fn a_line_too_long_is_named_before_it_is_read_whole() {
        let (seen, error) = all(b"ok\n123456789012345678901234567890\n", 5, None);
        assert_eq!(seen, ["1:ok"]);
        assert!(matches!(error, Some(LineError::TooLong { number: 2, len_max: 5 })), "{error:?}");
        assert!(matches!(all(b"123456", 5, None).1, Some(LineError::TooLong { number: 1, .. })));
    }

    #[test]
    fn keys_end_at_the_first_separator() {
        let (seen, error) = all(b"k::v::w\n::v\nk::\nnone\n", 50, Some("::"));
        assert_eq!(seen, ["1:k=v::w", "2:=v", "3:k="]);
        assert!(matches!(error, Some(LineError::NoSeparator { number: 4, .. })));
    }
}
