//! What one lane saw, and all lanes together.

use std::time::Duration;

use sluice_tuning::LatencyHistogram;

use super::in_flight::Handed;
use super::schedule::Schedule;
use super::thread_time::ThreadTime;
use super::timeline::{Event, Timeline};

/// The generator is behind when a percentile would be smaller by more than this, and by more than this share of it, had every
/// record been handed over in time. The first is what it may take to wake a sleeping core or two, which is none of its making.
const LATE_US_MAX: f64 = 250.0;
const LATE_SHARE_MAX: f64 = 0.2;

/// What one lane saw.
#[derive(Clone, Debug)]
pub(super) struct LaneFigures {
    pub latencies: LatencyHistogram,
    pub latencies_refused_first: LatencyHistogram,
    pub service: LatencyHistogram,
    /// `latencies`, each less what the generator was late by with it: what they would be, had it been on time.
    pub punctual: LatencyHistogram,
    pub late: LatencyHistogram,
    pub timeline: Timeline,
    /// Handed over for the first time, and acknowledged, within the counted time.
    pub offered_count: u64,
    pub acknowledged_count: u64,
    /// Acknowledged at all.
    pub acknowledged_total: u64,
    pub refused_count: u64,
    pub refused_because: Option<String>,
    /// Due while there was no room, and refused for that by the producer.
    pub turned_away_count: u64,
    pub failed_count: u64,
    pub failed_because: Option<String>,
    pub timed_out_count: u64,
    /// Refused, and not offered again before the end.
    pub refused_to_the_end_count: u64,
    /// Due, and never handed over: the system had no room for them.
    pub unoffered_count: u64,
    /// Within the counted time.
    pub time: ThreadTime,
    /// The connection broke, and with it this lane.
    pub error: Option<String>,
}

impl LaneFigures {
    pub(super) fn new(round_seconds: f64) -> Self {
        Self {
            latencies: LatencyHistogram::new(),
            latencies_refused_first: LatencyHistogram::new(),
            service: LatencyHistogram::new(),
            punctual: LatencyHistogram::new(),
            late: LatencyHistogram::new(),
            timeline: Timeline::new(round_seconds),
            offered_count: 0,
            acknowledged_count: 0,
            acknowledged_total: 0,
            refused_count: 0,
            refused_because: None,
            turned_away_count: 0,
            failed_count: 0,
            failed_because: None,
            timed_out_count: 0,
            refused_to_the_end_count: 0,
            unoffered_count: 0,
            time: ThreadTime::default(),
            error: None,
        }
    }

    pub(super) fn offered(&mut self, schedule: &Schedule, now_ns: u64, due_ns: u64) {
        self.timeline.add(now_ns, Event::Offered);
        if schedule.counted_ns().contains(&now_ns) {
            self.offered_count += 1;
            self.late.record(Duration::from_nanos(now_ns.saturating_sub(due_ns)));
        }
    }

    pub(super) fn acknowledged(&mut self, schedule: &Schedule, handed: &Handed, now_ns: u64, value_len: u64) {
        let counted_ns = schedule.counted_ns();
        let latency_ns = now_ns.saturating_sub(handed.intended_ns);
        self.timeline.add(now_ns, Event::Acknowledged { value_len });
        self.timeline.heat(handed.intended_ns, latency_ns);
        self.acknowledged_total += 1;
        if counted_ns.contains(&now_ns) {
            self.acknowledged_count += 1;
        }
        // Under more than the system takes nothing that falls due in the counted time may be acknowledged in it.
        if counted_ns.contains(&handed.intended_ns) || counted_ns.contains(&now_ns) {
            let row = if handed.was_refused { &mut self.latencies_refused_first } else { &mut self.latencies };
            row.record(Duration::from_nanos(latency_ns));
            if !handed.was_refused {
                self.punctual.record(Duration::from_nanos(latency_ns.saturating_sub(handed.late_ns)));
            }
        }
        if counted_ns.contains(&handed.handed_ns) {
            self.service.record(Duration::from_nanos(now_ns.saturating_sub(handed.handed_ns)));
        }
    }

    /// What the generator itself has made the figures worse by, when that is more than it may be.
    pub(super) fn lateness(&self) -> Option<String> {
        [(0.5, "p50"), (0.99, "p99")].into_iter().find_map(|(quantile, name)| {
            let (latency_us, punctual_us) = (self.latencies.quantile_us(quantile), self.punctual.quantile_us(quantile));
            let own_us = latency_us - punctual_us;
            (own_us > LATE_US_MAX && own_us > LATE_SHARE_MAX * latency_us).then(|| {
                let ThreadTime { cpu, core_wait } = self.time;
                format!(
                    "{own_us:.0} of the {latency_us:.0} µs of its {name} are its own: it handed over late, while there was room \
                     (in the counted time it worked for {:.2} s and waited for {:.2} s until it had a core)",
                    cpu.as_secs_f64(),
                    core_wait.as_secs_f64()
                )
            })
        })
    }

    /// Adds another lane's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.latencies_refused_first.merge(&other.latencies_refused_first);
        self.service.merge(&other.service);
        self.punctual.merge(&other.punctual);
        self.late.merge(&other.late);
        self.timeline.merge(&other.timeline);
        self.offered_count += other.offered_count;
        self.acknowledged_count += other.acknowledged_count;
        self.acknowledged_total += other.acknowledged_total;
        self.refused_count += other.refused_count;
        self.turned_away_count += other.turned_away_count;
        self.failed_count += other.failed_count;
        self.timed_out_count += other.timed_out_count;
        self.refused_to_the_end_count += other.refused_to_the_end_count;
        self.unoffered_count += other.unoffered_count;
        self.time += other.time;
        for (own, other) in [
            (&mut self.refused_because, &other.refused_because),
            (&mut self.failed_because, &other.failed_because),
            (&mut self.error, &other.error),
        ] {
            *own = own.take().or_else(|| other.clone());
        }
    }
}
