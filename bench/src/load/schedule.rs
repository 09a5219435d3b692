//! When each record is meant to be sent: fixed before the first one is, whatever happens to it then.
//!
//! A schedule is a row of phases, each with a rate at its begin and one at its end and a straight line between them. Record
//! `k` is due at the time at which `k` records have been asked for in all; several lanes deal the records out by turns. The
//! expensive mistake is a schedule that waits for answers: then a stall delays what would have shown it.

/// A stretch of the schedule.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    /// Records a second at its begin and at its end.
    pub from_per_s: f64,
    pub to_per_s: f64,
    /// False for a warm-up: it is shown over time and in nothing else.
    pub is_counted: bool,
}

/// All phases, with what was asked for before each.
#[derive(Clone, Debug)]
pub struct Schedule {
    segments: Vec<Segment>,
    seconds: f64,
    count: u64,
    counted_ns: std::ops::Range<u64>,
}

#[derive(Clone, Debug)]
struct Segment {
    phase: Phase,
    begin_s: f64,
    /// Records asked for before it.
    first: f64,
}

impl Phase {
    /// Records asked for in its first `seconds`.
    fn amount(&self, seconds: f64) -> f64 {
        let slope = if self.seconds > 0.0 { (self.to_per_s - self.from_per_s) / self.seconds } else { 0.0 };
        self.from_per_s * seconds + slope * seconds * seconds / 2.0
    }

    /// The time after which `amount` records have been asked for; `amount` is below that of the whole phase.
    fn seconds_of(&self, amount: f64) -> f64 {
        let slope = (self.to_per_s - self.from_per_s) / self.seconds;
        let seconds = if slope.abs() < 1e-9 {
            amount / self.from_per_s
        } else {
            // The root of slope/2 t² + from t = amount that loses no digits to cancellation.
            2.0 * amount / (self.from_per_s + (self.from_per_s * self.from_per_s + 2.0 * slope * amount).max(0.0).sqrt())
        };
        if seconds.is_finite() { seconds.clamp(0.0, self.seconds) } else { 0.0 }
    }
}

impl Schedule {
    pub fn new(phases: &[Phase]) -> Self {
        let (mut begin_s, mut first) = (0.0, 0.0);
        let mut segments = Vec::with_capacity(phases.len());
        for phase in phases {
            segments.push(Segment { phase: phase.clone(), begin_s, first });
            begin_s += phase.seconds;
            first += phase.amount(phase.seconds);
        }
        let counted_ns = counted(&segments, begin_s);
        Self { segments, seconds: begin_s, count: (first - 1e-6).ceil().max(0.0) as u64, counted_ns }
    }

    /// Records in all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Length of all phases together.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Begin of the first and end of the last counted phase, nanoseconds; the whole when none is counted.
    pub fn counted_ns(&self) -> std::ops::Range<u64> {
        self.counted_ns.clone()
    }

    /// The intended time of record `number`, nanoseconds from the begin.
    pub fn intended_ns(&self, number: u64) -> u64 {
        let number = number as f64;
        let index = self.segments.partition_point(|segment| segment.first <= number);
        let Some(segment) = self.segments[..index].last() else { return 0 };
        to_ns(segment.begin_s + segment.phase.seconds_of(number - segment.first))
    }

    /// How many records are due at this time, and the intended time of the first of them is 0.
    pub fn due(&self, now_ns: u64) -> u64 {
        let now_s = now_ns as f64 / 1e9;
        let index = self.segments.partition_point(|segment| segment.begin_s <= now_s);
        let Some(segment) = self.segments[..index].last() else { return 0 };
        let asked = segment.first + segment.phase.amount((now_s - segment.begin_s).min(segment.phase.seconds));
        (asked.floor() as u64 + 1).min(self.count)
    }

    /// How many records have an intended time from `from_ns` on and before `to_ns`.
    pub fn asked_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let before = |at_ns: u64| at_ns.checked_sub(1).map_or(0, |at_ns| self.due(at_ns));
        before(to_ns).saturating_sub(before(from_ns))
    }

    /// How many records of `lane` are due at this time.
    pub fn lane_due(&self, now_ns: u64, lane: u32, lane_count: u32) -> u64 {
        of_lane(self.due(now_ns), lane, lane_count)
    }

    /// How many records `lane` has in all.
    pub fn lane_count(&self, lane: u32, lane_count: u32) -> u64 {
        of_lane(self.count, lane, lane_count)
    }

    /// Name of the phase at this time; the last one's afterwards.
    pub fn phase_at(&self, at_s: f64) -> &str {
        let index = self.segments.partition_point(|segment| segment.begin_s <= at_s + 1e-9).max(1);
        self.segments.get(index - 1).map_or("", |segment| segment.phase.name.as_str())
    }
}

fn counted(segments: &[Segment], seconds: f64) -> std::ops::Range<u64> {
    let mut counted = segments.iter().filter(|segment| segment.phase.is_counted);
    let Some(first) = counted.next() else { return 0..to_ns(seconds) };
    let last = counted.next_back().unwrap_or(first);
    to_ns(first.begin_s)..to_ns(last.begin_s + last.phase.seconds)
}

/// Of the first `count` records, those that are this lane's.
fn of_lane(count: u64, lane: u32, lane_count: u32) -> u64 {
    count.saturating_sub(u64::from(lane)).div_ceil(u64::from(lane_count))
}

fn to_ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(seconds: f64, from_per_s: f64, to_per_s: f64) -> Phase {
        Phase { name: format!("{from_per_s}"), seconds, from_per_s, to_per_s, is_counted: true }
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let schedule = Schedule::new(&[phase(2.0, 1000.0, 1000.0)]);
        assert_eq!((schedule.count(), schedule.seconds()), (2000, 2.0));
        assert_eq!([0, 1, 1999].map(|number| schedule.intended_ns(number)), [0, 1_000_000, 1_999_000_000]);
        assert_eq!(schedule.asked_between(0, 1_000_000_000), 1000);
        assert_eq!([0, 999_999, 1_000_001, u64::MAX / 2].map(|now| schedule.due(now)), [1, 1, 2, 2000]);
    }

    #[test]
    fn a_spike_asks_for_what_its_phases_add_up_to_in_order() {
        let phases = [phase(1.0, 100.0, 100.0), phase(0.5, 100.0, 1000.0), phase(1.0, 1000.0, 1000.0), phase(0.5, 0.0, 0.0)];
        let schedule = Schedule::new(&phases);
        assert_eq!(schedule.count(), 100 + 275 + 1000);
        let times: Vec<u64> = (0..schedule.count()).map(|number| schedule.intended_ns(number)).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "intended times grow");
        assert!((1_000_000_000..1_011_000_000).contains(&times[100]), "{}", times[100]);
        assert_eq!(times[375], 1_500_000_000, "the hold begins");
        assert!(times.iter().all(|&at| at < 2_500_000_000), "nothing is due in a pause");
        for (number, &at) in times.iter().enumerate() {
            let due = schedule.due(at + 1_000);
            assert!(due > number as u64, "record {number} is due at its time, {due} are");
        }
    }

    #[test]
    fn lanes_share_the_records_out() {
        let schedule = Schedule::new(&[phase(1.0, 10.0, 10.0)]);
        assert_eq!([0, 1, 2].map(|lane| schedule.lane_count(lane, 3)), [4, 3, 3]);
        assert_eq!([0, 1, 2].map(|lane| schedule.lane_due(150_000_000, lane, 3)), [1, 1, 0]);
    }

    #[test]
    fn a_warm_up_is_not_counted() {
        let warm_up = Phase { is_counted: false, name: "warm-up".to_owned(), ..phase(1.0, 5.0, 5.0) };
        let schedule = Schedule::new(&[warm_up, phase(2.0, 5.0, 5.0)]);
        assert_eq!(schedule.counted_ns(), 1_000_000_000..3_000_000_000);
        assert_eq!([0.0, 0.99, 1.0, 99.0].map(|at| schedule.phase_at(at)), ["warm-up", "warm-up", "5", "5"]);
    }
}
