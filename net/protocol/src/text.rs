//! The short texts that go with an error code: what is wrong and, where it can be said, what to do.

/// Longest text of an answer that has one, bytes.
pub const TEXT_LEN_MAX: usize = 1024;
/// Longest text of one partition in an answer that has many, bytes.
pub const PARTITION_TEXT_LEN_MAX: usize = 128;

/// `text`, cut at a character boundary to at most `len_max` bytes. Senders pass every text through it, so that an
/// answer always fits.
#[must_use]
pub fn short_text(text: impl Into<String>, len_max: usize) -> String {
    let mut text = text.into();
    if text.len() > len_max {
        let end = (0..=len_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_cuts_between_characters() {
        assert_eq!(short_text("größer", 3), "gr");
        assert_eq!(short_text("größer", 4), "grö");
        assert_eq!(short_text("groß", 10), "groß");
        assert_eq!(short_text("ß", 1), "");
    }
}
