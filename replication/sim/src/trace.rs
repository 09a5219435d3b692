//! Everything that happens in a run, as one number: two runs of one seed are the same when their numbers are.
//!
//! The expensive mistake is an event that is not noted: a difference behind it would go unseen. Whatever an operation
//! gives back is therefore noted with it.

use std::fmt::{self, Write};

/// FNV-1a over the text of all events.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    /// Whether events are printed as they come.
    is_printed: bool,
}

struct Hasher<'a>(&'a mut u64);

impl Write for Hasher<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    #[must_use]
    pub fn new(is_printed: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, is_printed }
    }

    pub fn note(&mut self, event: fmt::Arguments<'_>) {
        self.events += 1;
        let written = Hasher(&mut self.hash).write_fmt(format_args!("{event}\n"));
        written.expect("a hash takes any text");
        if self.is_printed {
            println!("{event}");
        }
    }

    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}
