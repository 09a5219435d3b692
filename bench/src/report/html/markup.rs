//! Markup that cannot be malformed by what is in it: every text and attribute is escaped, every element is closed.

use std::fmt::{self, Display, Write};

/// A growing piece of a page.
#[derive(Debug, Default)]
pub(super) struct Markup {
    text: String,
    open: Vec<&'static str>,
}

/// Name and value of an attribute.
pub(super) type Attribute<'a> = (&'static str, &'a dyn Display);

impl Markup {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// An element with content; [`Self::close`] ends it.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) -> &mut Self {
        self.begin(tag, attributes);
        self.text.push('>');
        self.open.push(tag);
        self
    }

    /// Ends the element opened last.
    pub(super) fn close(&mut self) -> &mut Self {
        let tag = self.open.pop().expect("as many elements are closed as were opened");
        let _ = write!(self.text, "</{tag}>");
        if matches!(tag, "tr" | "svg" | "div" | "section" | "table" | "figure" | "p" | "li" | "g") {
            self.text.push('\n');
        }
        self
    }

    /// An element without content.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) -> &mut Self {
        self.begin(tag, attributes);
        self.text.push_str("/>");
        self
    }

    /// An element with text and nothing else.
    pub(super) fn element(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) -> &mut Self {
        self.open(tag, attributes).text(text).close()
    }

    /// An SVG shape that says `title` when pointed at.
    pub(super) fn titled(&mut self, tag: &'static str, attributes: &[Attribute<'_>], title: &str) -> &mut Self {
        self.open(tag, attributes).element("title", &[], title).close()
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.text, text);
        self
    }

    /// Text of this program that a browser takes as it is, as in a style.
    pub(super) fn verbatim(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// What another piece holds.
    pub(super) fn append(&mut self, piece: Self) -> &mut Self {
        self.text.push_str(&piece.finish());
        self
    }

    pub(super) fn finish(self) -> String {
        assert!(self.open.is_empty(), "open elements: {:?}", self.open);
        self.text
    }

    fn begin(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        let _ = write!(self.text, "<{tag}");
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"");
            let _ = write!(Escaped(&mut self.text), "{value}");
            self.text.push('"');
        }
    }
}

/// A length or position in a plot; two decimals are a hundredth of a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A damaged file may hold anything; a plot is never given what is no number.
        let finite = if self.0.is_finite() { self.0.clamp(-1e6, 1e6) } else { 0.0 };
        let text = format!("{finite:.2}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            // Other control characters are not allowed in a page at all.
            control if control.is_control() => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped() {
        let mut page = Markup::new();
        page.open("p", &[("title", &"a\"b<c>'&")]).text("<script>alert(1)</script>\u{0}").close();
        let expected = "<p title=\"a&quot;b&lt;c&gt;&#39;&amp;\">&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}</p>\n";
        assert_eq!(page.finish(), expected);
        assert_eq!([1.0, 0.126, -0.0, f64::NAN, f64::INFINITY].map(|n| Px(n).to_string()), ["1", "0.13", "-0", "0", "0"]);
    }
}
