//! Whether a durable write is one blocking call on the executor's thread or goes through the ring.
//!
//! A small write is quicker inline than any completion could be (no sleep and wake of the executor, half the
//! processor), but it stops the whole shard while it lasts. So it is inline only while the device answers fast, while
//! nothing durable of this shard is in the ring (an inline write must never overtake one), and while no bulk write of
//! this shard is under way (the device would make it wait, and the shard with it).
//!
//! A rule without clock or device; the expensive mistake would be to leave a slow device inline, where every write
//! stops every connection of the core.

/// Largest write that goes inline, bytes.
pub const INLINE_LEN_MAX: usize = 128 * 1024;
/// An inline write that takes longer sends the following ones through the ring for a while, microseconds.
pub const INLINE_SLOW_US: u64 = 2_000;
/// How long the ring is used after the first slow inline write; doubled by each further one in a row, microseconds.
const BACKOFF_US_MIN: u64 = 50_000;
const BACKOFF_US_MAX: u64 = 3_200_000;

/// What is under way through the ring of this shard when a durable write is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingTraffic {
    pub durable_writes: usize,
    pub bulk_writes: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct InlineChoice {
    ring_until_us: u64,
    backoff_us: u64,
}

impl Default for InlineChoice {
    fn default() -> InlineChoice {
        InlineChoice { ring_until_us: 0, backoff_us: BACKOFF_US_MIN }
    }
}

impl InlineChoice {
    pub fn may_inline(&self, now_us: u64, len: usize, traffic: RingTraffic) -> bool {
        len <= INLINE_LEN_MAX && traffic == RingTraffic::default() && now_us >= self.ring_until_us
    }

    /// Learns from an inline write that ended at `now_us` after `took_us`. Returns whether it was a slow one.
    pub fn on_inline_write(&mut self, now_us: u64, took_us: u64) -> bool {
        let slow = took_us > INLINE_SLOW_US;
        if slow {
            self.ring_until_us = now_us.saturating_add(self.backoff_us);
            self.backoff_us = (self.backoff_us * 2).min(BACKOFF_US_MAX);
        } else {
            self.backoff_us = BACKOFF_US_MIN;
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: RingTraffic = RingTraffic { durable_writes: 0, bulk_writes: 0 };

    #[test]
    fn small_alone_and_fast_is_inline() {
        let choice = InlineChoice::default();
        assert!(choice.may_inline(0, 4096, QUIET));
        assert!(choice.may_inline(0, INLINE_LEN_MAX, QUIET));
        assert!(!choice.may_inline(0, INLINE_LEN_MAX + 4096, QUIET));
        assert!(!choice.may_inline(0, 4096, RingTraffic { durable_writes: 1, bulk_writes: 0 }));
        assert!(!choice.may_inline(0, 4096, RingTraffic { durable_writes: 0, bulk_writes: 1 }));
    }

    #[test]
    fn a_slow_write_sends_the_next_ones_through_the_ring_for_a_while() {
        let mut choice = InlineChoice::default();
        assert!(!choice.on_inline_write(1_000, INLINE_SLOW_US));
        assert!(choice.may_inline(1_000, 4096, QUIET));
        assert!(choice.on_inline_write(10_000, INLINE_SLOW_US + 1));
        assert!(!choice.may_inline(10_000 + BACKOFF_US_MIN - 1, 4096, QUIET));
        assert!(choice.may_inline(10_000 + BACKOFF_US_MIN, 4096, QUIET));
    }

    #[test]
    fn the_while_doubles_while_it_stays_slow_is_bounded_and_starts_anew_after_a_fast_one() {
        let mut choice = InlineChoice::default();
        let mut wait = BACKOFF_US_MIN;
        for _ in 0..10 {
            assert!(choice.on_inline_write(0, 50_000));
            assert_eq!(choice.ring_until_us, wait);
            wait = (wait * 2).min(BACKOFF_US_MAX);
        }
        choice.on_inline_write(0, 100);
        choice.on_inline_write(0, 50_000);
        assert_eq!(choice.ring_until_us, BACKOFF_US_MIN);
    }
}
