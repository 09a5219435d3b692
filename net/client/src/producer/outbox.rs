//! Outcomes of one partition, given in the order of its batches, by one task at a time.
//!
//! Answers come in any order and on several tasks. Were each outcome given where it is learned, callbacks of one
//! partition would overtake each other, and an application that keeps the last offset it heard of would keep a wrong
//! one. So an outcome waits here until those before it are given; all of them have one at the latest when the delivery
//! timeout of the oldest is over.

use super::batch::{Batch, Serial};
use super::delivery::Settlement;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(crate) struct Outbox<B = Batch> {
    /// Batches whose outcome is not given, in order.
    order: VecDeque<Serial>,
    known: BTreeMap<Serial, (B, Settlement)>,
    /// Somebody is giving outcomes, and will give what comes meanwhile too.
    giving: bool,
}

impl<B> Default for Outbox<B> {
    fn default() -> Self {
        Self { order: VecDeque::new(), known: BTreeMap::new(), giving: false }
    }
}

impl<B> Outbox<B> {
    /// A batch is under way, behind the others.
    pub(crate) fn expect(&mut self, serial: Serial) {
        self.order.push_back(serial);
    }

    /// The outcome of a batch is known.
    pub(crate) fn put(&mut self, serial: Serial, batch: B, settlement: Settlement) {
        self.known.insert(serial, (batch, settlement));
    }

    /// True for one caller, who calls [`Self::next`] until it gives nothing.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.giving, true)
    }

    /// The next outcome in order; the end of giving when it is not known yet.
    pub(crate) fn next(&mut self) -> Option<(B, Settlement)> {
        let known = self.order.front().and_then(|serial| self.known.remove(serial));
        match known {
            Some(_) => self.order.pop_front(),
            None => {
                self.giving = false;
                None
            }
        };
        known
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::Reason;
    use super::*;

    fn given(outbox: &mut Outbox<char>) -> String {
        assert!(outbox.begin());
        std::iter::from_fn(|| outbox.next()).map(|(batch, _)| batch).collect()
    }

    #[test]
    fn what_is_known_early_waits_for_what_is_before_it() {
        let mut outbox = Outbox::default();
        let refused = || Settlement::Refused { reason: Reason::Closed, text: String::new(), retry_after_ms: 0 };
        [3, 5, 8, 9].into_iter().for_each(|serial| outbox.expect(serial));
        outbox.put(5, 'b', refused());
        assert_eq!(given(&mut outbox), "");
        outbox.put(9, 'd', refused());
        outbox.put(3, 'a', refused());
        assert_eq!(given(&mut outbox), "ab");
        assert!(outbox.begin());
        assert!(!outbox.begin(), "one gives at a time");
        outbox.put(8, 'c', refused());
        assert_eq!(std::iter::from_fn(|| outbox.next()).map(|(batch, _)| batch).collect::<String>(), "cd");
        outbox.expect(10);
        outbox.put(10, 'e', refused());
        assert_eq!(given(&mut outbox), "e");
    }
}
