//! What generator, consumer and the live lines know together: the plan, its clock, the counts.

use super::load::{LoadPlan, Phase};
use super::proof::{Consumed, Outcomes, Told, judge};
use super::report::{Counts, Latencies, LatencyFigures, Report};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

pub(crate) struct Tracker {
    pub(crate) plan: LoadPlan,
    started: OnceLock<Instant>,
    pub(crate) offered: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    /// Records whose outcome is known: acknowledged, refused for good, or unknown for good.
    pub(crate) settled: AtomicU64,
    /// Refusals of records by the broker, so far.
    pub(crate) refusals: AtomicU64,
    pub(crate) consumed: AtomicU64,
    /// How late the generator was at worst.
    pub(crate) late_us_max: AtomicU64,
    /// The id after the last record the generator will offer.
    pub(crate) offered_end: AtomicU64,
    backlog: Mutex<Backlog>,
}

/// The backlog as the seconds showed it.
#[derive(Default)]
struct Backlog {
    peak: u64,
    /// Most before the spike.
    before_spike: u64,
    drained_us: Option<u64>,
}

/// What the generator knows at the end.
pub(crate) struct Produced {
    pub(crate) outcomes: Outcomes,
    pub(crate) admitted_at_first: LatencyFigures,
    pub(crate) refused_at_first: LatencyFigures,
}

impl Tracker {
    pub(crate) fn new(plan: LoadPlan) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            offered_end: AtomicU64::new(plan.total()),
            plan,
            started: OnceLock::new(),
            offered: zero(),
            acknowledged: zero(),
            settled: zero(),
            refusals: zero(),
            consumed: zero(),
            late_us_max: zero(),
            backlog: Mutex::default(),
        }
    }

    /// Time of the plan begins.
    pub(crate) fn start(&self) {
        self.started.get_or_init(Instant::now);
    }

    /// Microseconds since the load began; 0 before.
    pub(crate) fn now_us(&self) -> u64 {
        self.started.get().map_or(0, |started| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The phase at a moment; over as soon as the load was ended early, because the backlog was gone.
    pub(crate) fn phase(&self, at_us: u64) -> Phase {
        if self.plan.due(at_us) >= self.offered_end.load(Ordering::Acquire) { Phase::Over } else { self.plan.phase(at_us) }
    }

    pub(crate) fn counts(&self) -> Counts {
        // Consumed first: what is read later can only be more, so a backlog is never shown as less than nothing.
        let consumed = self.consumed.load(Ordering::Acquire);
        Counts {
            consumed,
            acknowledged: self.acknowledged.load(Ordering::Acquire),
            refusals: self.refusals.load(Ordering::Acquire),
            offered: self.offered.load(Ordering::Acquire),
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) >= self.offered_end.load(Ordering::Acquire)
    }

    /// The backlog that fills the bar: what the spike would leave if everything were admitted.
    pub(crate) fn backlog_scale(&self) -> u64 {
        let spike = self.plan.due(self.plan.start_us(Phase::Drain)) - self.plan.due(self.plan.start_us(Phase::Spike));
        spike * 4 / 5
    }

    /// Takes in the counts of a second that ended. The load ends early once the backlog of the spike is gone.
    pub(crate) fn on_second(&self, at_us: u64, counts: &Counts) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let now = counts.backlog();
        backlog.peak = backlog.peak.max(now);
        match self.plan.phase(at_us) {
            Phase::Steady => backlog.before_spike = backlog.before_spike.max(now),
            Phase::Spike => {}
            Phase::Drain | Phase::Over if backlog.drained_us.is_none() => {
                // As low as it was before, or less than the load of a fifth of a second.
                let low = backlog.before_spike.max(self.plan.due(200_000));
                if now <= low {
                    backlog.drained_us = Some(at_us.saturating_sub(self.plan.start_us(Phase::Drain)));
                    // A second more of the steady load, to show that it is over.
                    let end = self.plan.due(at_us + 1_000_000);
                    self.offered_end.fetch_min(end, Ordering::AcqRel);
                }
            }
            Phase::Drain | Phase::Over => {}
        }
    }

    pub(crate) fn report(&self, produced: &Produced, consumed: &Consumed, downstream_per_s: u64) -> Report {
        let backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = &produced.outcomes;
        let steady_per_s = self.plan.rate(Phase::Steady);
        Report {
            steady_per_s,
            spike_per_s: self.plan.rate(Phase::Spike),
            downstream_per_s,
            offered: self.offered.load(Ordering::Acquire),
            acknowledged: outcomes.count(Told::Acknowledged),
            refused: outcomes.count(Told::Refused),
            unknown: outcomes.count(Told::Unknown),
            admitted_at_first: produced.admitted_at_first,
            refused_at_first: produced.refused_at_first,
            backlog_peak: backlog.peak,
            drain_ms: backlog.drained_us.map(|us| us / 1000),
            generator_late_us_max: self.late_us_max.load(Ordering::Acquire),
            verdict: judge(outcomes, consumed),
        }
    }
}

/// Both histograms of a run, while it runs.
pub(crate) struct BothLatencies {
    pub(crate) admitted_at_first: Latencies,
    pub(crate) refused_at_first: Latencies,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_load_ends_once_the_backlog_of_the_spike_is_gone() {
        let tracker =
            Tracker::new(LoadPlan::new(1000, 10, [Duration::from_secs(2), Duration::from_secs(2), Duration::from_secs(30)]));
        let counts = |acknowledged, consumed| Counts { acknowledged, consumed, ..Counts::default() };
        tracker.on_second(1_000_000, &counts(1000, 990));
        tracker.on_second(3_000_000, &counts(11_000, 4000));
        tracker.on_second(5_000_000, &counts(22_000, 8000));
        assert_eq!(tracker.phase(6_000_000), Phase::Drain);
        tracker.on_second(20_000_000, &counts(38_000, 37_900));
        assert_eq!(tracker.phase(20_500_000), Phase::Drain);
        assert_eq!(tracker.phase(21_000_000), Phase::Over);
        let backlog = tracker.backlog.lock().unwrap();
        assert_eq!((backlog.peak, backlog.drained_us), (14_000, Some(16_000_000)));
    }
}
