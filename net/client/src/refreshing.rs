//! Asking where the partitions of a topic are: one question at a time, again for as long as somebody wants it, and with
//! longer waits the longer that lasts.
//!
//! The expensive mistake is to drop a wish that comes while a question is under way: its answer may be older than the trouble
//! that the wish comes from, and whoever has it then waits for an event that never comes.

use crate::backoff::{Backoff, random_u64};
use std::time::Duration;

/// Between two questions about one topic, milliseconds: at first, and at last while it has no leader or nobody answers.
const WAIT_MS: u32 = 50;
const WAIT_MS_MAX: u32 = 250;

#[derive(Debug)]
pub(crate) struct Refreshing {
    under_way: bool,
    again: bool,
    backoff: Backoff,
}

impl Default for Refreshing {
    fn default() -> Self {
        Self { under_way: false, again: false, backoff: Backoff::new(WAIT_MS, WAIT_MS_MAX, random_u64()) }
    }
}

impl Refreshing {
    /// Somebody wants to know. True: the caller asks. False: somebody does, and will once more.
    pub(crate) fn begin(&mut self) -> bool {
        self.again = std::mem::replace(&mut self.under_way, true);
        !self.again
    }

    /// How long to wait after an answer, or after there was none.
    pub(crate) fn wait(&mut self) -> Duration {
        Duration::from_millis(self.backoff.next_ms().into())
    }

    /// After that wait. True: ask again.
    pub(crate) fn end(&mut self) -> bool {
        self.under_way = std::mem::take(&mut self.again);
        if !self.under_way {
            self.backoff.reset();
        }
        self.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_comes_meanwhile_is_asked_once_more() {
        let mut refreshing = Refreshing::default();
        assert!(refreshing.begin());
        assert!(!refreshing.begin() && !refreshing.begin());
        assert!(refreshing.end(), "two wishes, one question more");
        assert!(!refreshing.end());
        assert!(refreshing.begin());
        assert!(!refreshing.end());
    }

    #[test]
    fn waits_grow_while_it_lasts_and_are_short_again_afterwards() {
        let mut refreshing = Refreshing::default();
        refreshing.begin();
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            last = refreshing.wait();
            refreshing.begin();
            assert!(refreshing.end());
        }
        assert!((125..=250).contains(&last.as_millis()), "{last:?}");
        assert!(!refreshing.end());
        refreshing.begin();
        assert!(refreshing.wait().as_millis() <= 50);
    }
}
