//! May one more batch wait for the flush? Predicted from the bytes queued before it and the pace of the last
//! commit groups, so that overload is answered at once and truthfully.
//!
//! The expensive mistake is a prediction from small groups only: 4 KiB in 100 µs says 40 MB/s of a device that takes
//! a gigabyte. Bytes are therefore paced by large groups, and the time of one group stands beside it.

use crate::refusal::Overload;

/// Until a large group was seen: a cautious device, bytes a second.
const RATE_ASSUMED: u64 = 200_000_000;
/// Groups from this length on say something about bytes a second.
const LARGE_GROUP_LEN: u64 = 64 * 1024;
/// A new group's share in the running means: one part in eight.
const WEIGHT: u64 = 8;

/// The pace of one shard's journal.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    rate_bytes_per_s: u64,
    group_us: u64,
    /// When the group in flight was issued.
    in_flight_since_us: Option<u64>,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) now_us: u64,
    /// Bytes appended and not yet durable.
    pub(crate) queued_len: u64,
    pub(crate) frame_len: u64,
}

impl Default for Admission {
    fn default() -> Self {
        Self { rate_bytes_per_s: RATE_ASSUMED, group_us: 0, in_flight_since_us: None }
    }
}

impl Admission {
    pub(crate) fn on_group_issued(&mut self, now_us: u64) {
        self.in_flight_since_us = Some(now_us);
    }

    pub(crate) fn on_group_durable(&mut self, now_us: u64, len: u64) {
        let Some(since) = self.in_flight_since_us.take() else { return };
        let took_us = now_us.saturating_sub(since).max(1);
        self.group_us = mean(self.group_us, took_us);
        if len >= LARGE_GROUP_LEN {
            let rate = len.saturating_mul(1_000_000) / took_us;
            self.rate_bytes_per_s = mean(self.rate_bytes_per_s, rate).max(1);
        }
    }

    /// How long a batch appended now would wait for its flush, microseconds.
    pub(crate) fn predicted_us(&self, load: Load) -> u64 {
        let queue_us = load.queued_len.saturating_add(load.frame_len).saturating_mul(1_000_000) / self.rate_bytes_per_s;
        let in_flight_us = self.in_flight_since_us.map_or(0, |since| load.now_us.saturating_sub(since));
        queue_us.saturating_add(self.group_us.max(in_flight_us))
    }

    /// Refuses when the wait would exceed `delay_ms_max`; the retry is timed for when half of it has drained. What
    /// has nothing before it is never refused: only further groups can tell that a slow device is fast again.
    pub(crate) fn check_delay(&self, load: Load, delay_ms_max: u32) -> Result<(), (u32, Overload)> {
        if load.queued_len == 0 && self.in_flight_since_us.is_none() {
            return Ok(());
        }
        let predicted_ms = u32::try_from(self.predicted_us(load) / 1000).unwrap_or(u32::MAX);
        if predicted_ms <= delay_ms_max {
            return Ok(());
        }
        let retry_after_ms = (predicted_ms - delay_ms_max / 2).clamp(1, RETRY_AFTER_MS_MAX);
        Err((retry_after_ms, Overload::Delay { predicted_ms, max_ms: delay_ms_max }))
    }

    /// When `len` bytes will have gone to the journal, milliseconds.
    pub(crate) fn drain_ms(&self, len: u64) -> u32 {
        u32::try_from(len.saturating_mul(1000) / self.rate_bytes_per_s).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_MS_MAX)
    }
}

/// No refusal asks a client to stay away longer than this, milliseconds.
const RETRY_AFTER_MS_MAX: u32 = 10_000;

fn mean(before: u64, sample: u64) -> u64 {
    if before == 0 { sample } else { (before * (WEIGHT - 1) + sample) / WEIGHT }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(now_us: u64, queued_len: u64) -> Load {
        Load { now_us, queued_len, frame_len: 0 }
    }

    #[test]
    fn small_groups_do_not_lower_the_rate() {
        let mut admission = Admission::default();
        for n in 0..100 {
            admission.on_group_issued(n * 1000);
            admission.on_group_durable(n * 1000 + 100, 4096);
        }
        assert_eq!(admission.predicted_us(load(100_000, 0)), 100);
        assert_eq!(admission.predicted_us(load(100_000, RATE_ASSUMED / 1000)), 1100);
    }

    #[test]
    fn a_stuck_device_shows_while_it_is_stuck() {
        let mut admission = Admission::default();
        admission.on_group_issued(0);
        assert_eq!(admission.check_delay(load(500_000, 0), 1000), Ok(()));
        let (retry_after_ms, reason) = admission.check_delay(load(3_000_000, 0), 1000).unwrap_err();
        assert_eq!((retry_after_ms, reason), (2500, Overload::Delay { predicted_ms: 3000, max_ms: 1000 }));
    }

    #[test]
    fn a_device_that_was_slow_is_tried_again() {
        let mut admission = Admission::default();
        admission.on_group_issued(0);
        admission.on_group_durable(5_000_000, LARGE_GROUP_LEN);
        assert_eq!(admission.check_delay(load(6_000_000, 0), 1000), Ok(()));
        assert!(admission.check_delay(load(6_000_000, 1), 1000).is_err(), "behind another it would wait too long");
    }

    #[test]
    fn the_rate_follows_large_groups() {
        let mut admission = Admission::default();
        for n in 0..100 {
            admission.on_group_issued(n * 1000);
            admission.on_group_durable(n * 1000 + 262, 262_144);
        }
        let predicted = admission.predicted_us(load(200_000, 1_000_000));
        assert!((1200..1400).contains(&predicted), "{predicted} us for a megabyte at about a gigabyte a second");
    }
}
