//! What happened in each interval of a round: counts by the time they happened, latencies by the time they were intended.
//!
//! A stall shows as a bright column *before* it ends, because the records that suffered it were due while it lasted. Lanes
//! and readers keep a timeline each; they are added up at the end.

use crate::result::{Second, heat_bucket_us};

/// Ten to a decade, from 1 µs to 10,000 s.
const HEAT_BUCKETS: usize = 101;
/// Intervals kept at most; what comes later counts into the last.
const INTERVALS_MAX: usize = 100_000;

/// Counters of one lane or reader.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    width_ns: u64,
    intervals: Vec<Interval>,
}

#[derive(Clone, Debug, Default)]
struct Interval {
    offered: u64,
    acknowledged: u64,
    acknowledged_len: u64,
    refused: u64,
    failed: u64,
    consumed: u64,
    consumed_len: u64,
    heat: Vec<u32>,
}

/// What is counted; each with bytes of values where they are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Offered,
    Acknowledged { value_len: u64 },
    Refused,
    Failed,
    Consumed { count: u64, value_len: u64 },
}

impl Timeline {
    /// Intervals of a tenth of a second for a round under a minute, of a second otherwise.
    pub(super) fn new(round_seconds: f64) -> Self {
        let width_ns = if round_seconds < 60.0 { 100_000_000 } else { 1_000_000_000 };
        Self { width_ns, intervals: Vec::new() }
    }

    pub(super) fn add(&mut self, at_ns: u64, event: Event) {
        let interval = self.interval(at_ns);
        match event {
            Event::Offered => interval.offered += 1,
            Event::Acknowledged { value_len } => {
                interval.acknowledged += 1;
                interval.acknowledged_len += value_len;
            }
            Event::Refused => interval.refused += 1,
            Event::Failed => interval.failed += 1,
            Event::Consumed { count, value_len } => {
                interval.consumed += count;
                interval.consumed_len += value_len;
            }
        }
    }

    /// A record that was due at `intended_ns` and took this long.
    pub(super) fn heat(&mut self, intended_ns: u64, latency_ns: u64) {
        let bucket = bucket_of(latency_ns as f64 / 1e3);
        let interval = self.interval(intended_ns);
        if interval.heat.is_empty() {
            interval.heat = vec![0; HEAT_BUCKETS];
        }
        interval.heat[bucket] = interval.heat[bucket].saturating_add(1);
    }

    /// Adds another of the same width.
    pub(super) fn merge(&mut self, other: &Self) {
        assert_eq!(self.width_ns, other.width_ns, "timelines of one round have one width");
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize_with(other.intervals.len(), Interval::default);
        }
        for (sum, part) in self.intervals.iter_mut().zip(&other.intervals) {
            sum.offered += part.offered;
            sum.acknowledged += part.acknowledged;
            sum.acknowledged_len += part.acknowledged_len;
            sum.refused += part.refused;
            sum.failed += part.failed;
            sum.consumed += part.consumed;
            sum.consumed_len += part.consumed_len;
            if sum.heat.is_empty() {
                sum.heat.clone_from(&part.heat);
            } else {
                sum.heat.iter_mut().zip(&part.heat).for_each(|(sum, part)| *sum = sum.saturating_add(*part));
            }
        }
    }

    /// The intervals as a result holds them: this is what producers saw, `groups` what each consumer group did. The backlog is
    /// that of the group furthest behind; `preloaded` was there before the schedule began.
    pub(super) fn seconds(
        &self,
        groups: &[Self],
        preloaded: (u64, u64),
        about: impl Fn(f64, f64) -> (String, u64),
    ) -> Vec<Second> {
        let count = groups.iter().map(|group| group.intervals.len()).chain([self.intervals.len()]).max().unwrap_or(0);
        let none = Interval::default();
        let (mut written, mut read) = (preloaded, vec![(0u64, 0u64); groups.len()]);
        let width_s = self.width_ns as f64 / 1e9;
        let one = |index: usize| {
            let own = self.intervals.get(index).unwrap_or(&none);
            written = (written.0 + own.acknowledged, written.1 + own.acknowledged_len);
            let mut consumed = 0;
            for (sum, group) in read.iter_mut().zip(groups) {
                let interval = group.intervals.get(index).unwrap_or(&none);
                *sum = (sum.0 + interval.consumed, sum.1 + interval.consumed_len);
                consumed += interval.consumed;
            }
            let behind = read.iter().map(|sum| (written.0.saturating_sub(sum.0), written.1.saturating_sub(sum.1))).max();
            let (backlog_records, backlog_len) = behind.unwrap_or_default();
            let at_s = index as f64 * width_s;
            let (phase, asked) = about(at_s, at_s + width_s);
            Second {
                at_s: (at_s * 1e3).round() / 1e3,
                phase,
                asked,
                offered: own.offered,
                acknowledged: own.acknowledged,
                refused: own.refused,
                failed: own.failed,
                consumed,
                backlog_records,
                backlog_mb: backlog_len as f64 / 1e6,
                heat: heat_list(&own.heat),
            }
        };
        (0..count).map(one).collect()
    }

    fn interval(&mut self, at_ns: u64) -> &mut Interval {
        let index = usize::try_from(at_ns / self.width_ns).unwrap_or(INTERVALS_MAX).min(INTERVALS_MAX - 1);
        if self.intervals.len() <= index {
            self.intervals.resize_with(index + 1, Interval::default);
        }
        &mut self.intervals[index]
    }
}

fn bucket_of(latency_us: f64) -> usize {
    ((latency_us.max(1.0).log10() * 10.0).ceil() as usize).min(HEAT_BUCKETS - 1)
}

fn heat_list(heat: &[u32]) -> Vec<(f64, u64)> {
    let upper = |bucket: usize| heat_bucket_us(10f64.powf(bucket as f64 / 10.0) * 0.999);
    heat.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, &count)| (upper(bucket), u64::from(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backlog_is_what_the_slowest_group_has_not_read() {
        let (mut lane, mut quick, mut slow) = (Timeline::new(1.0), Timeline::new(1.0), Timeline::new(1.0));
        for at_ms in [0, 10, 110, 120] {
            lane.add(at_ms * 1_000_000, Event::Acknowledged { value_len: 1_000_000 });
        }
        quick.add(120_000_000, Event::Consumed { count: 5, value_len: 5_000_000 });
        slow.add(250_000_000, Event::Consumed { count: 2, value_len: 2_000_000 });
        lane.heat(10_000_000, 100_000);
        let seconds = lane.seconds(&[quick, slow], (1, 1_000_000), |at_s, _| (format!("{at_s:.1}"), 7));
        let backlog: Vec<_> = seconds.iter().map(|second| (second.backlog_records, second.backlog_mb)).collect();
        assert_eq!(backlog, [(3, 3.0), (5, 5.0), (3, 3.0)]);
        assert_eq!(seconds.iter().map(|second| second.consumed).collect::<Vec<_>>(), [0, 5, 2]);
        assert_eq!((seconds[0].heat.clone(), seconds[1].phase.as_str(), seconds[1].asked), (vec![(100.0, 1)], "0.1", 7));
    }

    #[test]
    fn buckets_of_a_list_are_those_of_a_result() {
        for latency_us in [0.3, 1.0, 1.01, 99.0, 100.0, 101.0, 12_345.0, 9e9] {
            let upper = heat_list(&{
                let mut heat = vec![0; HEAT_BUCKETS];
                heat[bucket_of(latency_us)] = 1;
                heat
            })[0]
                .0;
            assert_eq!(upper, heat_bucket_us(latency_us), "{latency_us}");
        }
    }
}
