use super::*;
use crate::load::schedule::Phase;
use crate::load::thread_time::ThreadTime;
use crate::system::RefusedBecause;
use sluice_tuning::LatencyHistogram;

const STALL: std::ops::Range<u64> = 60_000_000..140_000_000;

/// A system whose answers come at once, but for what its kind says.
struct Fake {
    kind: Kind,
    begin: Instant,
    waiting: Vec<Waiting>,
    refusals: u32,
    /// Stamps of records that were refused once.
    refused: std::collections::HashSet<u64>,
    /// Of partitions that were refused: nothing is to come before this.
    closed_until: std::collections::HashMap<u32, Instant>,
}

struct Waiting {
    token: u64,
    stamp: u64,
    partition: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Answers,
    /// Says nothing during `STALL`.
    Stalls,
    /// Has no room during `STALL`.
    IsFull,
    /// Refuses each of the first ten records once, and wants nothing for that partition before the time it names.
    RefusesTen,
    /// Refuses each of the first ten records three times, and its client offers them again by itself.
    OffersAgainItself,
    /// Breaks at the twentieth record.
    Breaks,
    NeverAnswers,
}

impl Fake {
    fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.begin).as_nanos() as u64
    }
}

impl Producer for Fake {
    fn has_room(&self, _: u32, _: u32) -> bool {
        self.kind != Kind::IsFull || !STALL.contains(&self.now_ns())
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        assert!(record.value.len() >= STAMP_LEN);
        assert!(Instant::now() >= self.begin, "nothing is handed over before a round begins");
        let closed_until = self.closed_until.get(&record.partition);
        assert!(closed_until.is_none_or(|until| Instant::now() >= *until), "partition {} was told to wait", record.partition);
        let stamp = record.value.first_chunk().map_or(0, |stamp| u64::from_le_bytes(*stamp));
        self.waiting.push(Waiting { token, stamp, partition: record.partition });
        if self.kind == Kind::Breaks && token == 19 {
            return Err(BenchError::protocol("gone"));
        }
        if self.kind == Kind::Breaks {
            self.waiting.clear()
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        let is_silent = self.kind == Kind::NeverAnswers || (self.kind == Kind::Stalls && STALL.contains(&self.now_ns()));
        if self.waiting.is_empty() || is_silent {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(5)));
            return Ok(());
        }
        for Waiting { token, stamp, partition } in self.waiting.drain(..) {
            let is_first = self.kind == Kind::RefusesTen && self.refused.len() < 10 && self.refused.insert(stamp);
            let outcome = if is_first {
                self.closed_until.insert(partition, Instant::now() + Duration::from_millis(30));
                Outcome::Refused { retry_after: Duration::from_millis(30), because: RefusedBecause::from("full") }
            } else if self.kind == Kind::OffersAgainItself && self.refusals < 10 {
                self.refusals += 1;
                Outcome::AcknowledgedLater { refusal_count: 3 }
            } else {
                Outcome::Acknowledged
            };
            settled.push(Settled { token, outcome });
        }
        Ok(())
    }
}

fn schedule(seconds: f64, per_s: f64) -> Schedule {
    Schedule::new(&[Phase { name: "load".to_owned(), seconds, from_per_s: per_s, to_per_s: per_s, is_counted: true }])
}

fn plan(on_full: OnFull) -> LanePlan {
    LanePlan { lane: 0, lane_count: 1, partition_count: 3, connection_count: 1, batch_len_max: 4096, window: 1, on_full }
}

fn run(kind: Kind, seconds: f64) -> (LaneFigures, Schedule) {
    run_on_full(kind, seconds, OnFull::Block)
}

fn run_on_full(kind: Kind, seconds: f64, on_full: OnFull) -> (LaneFigures, Schedule) {
    let schedule = schedule(seconds, 1000.0);
    let (shared, stop, begin) = (Shared::new(0, 0), Stop::default(), Instant::now() + Duration::from_millis(10));
    let job = LaneJob {
        schedule: &schedule,
        begin,
        tick: Duration::ZERO,
        drain: if kind == Kind::NeverAnswers { Duration::ZERO } else { Duration::from_secs(5) },
        value_len: 64,
        is_stamped: true,
        shared: &shared,
        stop: &stop,
    };
    if kind == Kind::NeverAnswers {
        // Its patience would be long: a wish to stop is what ends it here.
        let (stop, wait) = (stop.clone(), Duration::from_secs_f64(seconds));
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            stop.ask();
        });
    }
    let fake = Box::new(Fake {
        kind,
        begin,
        waiting: Vec::new(),
        refusals: 0,
        refused: Default::default(),
        closed_until: Default::default(),
    });
    (run_lane(fake, plan(on_full), job), schedule)
}

#[test]
fn a_lane_whose_flows_wait_for_room_sleeps_a_tick_at_a_time() {
    const TICK_NS: u64 = 1_000_000;
    let (schedule, shared, stop, begin) = (schedule(1.0, 1e6), Shared::new(0, 0), Stop::default(), Instant::now());
    let (tick, drain) = (Duration::from_nanos(TICK_NS), Duration::ZERO);
    let (shared, stop) = (&shared, &stop);
    let job = LaneJob { schedule: &schedule, begin, tick, drain, value_len: 64, is_stamped: true, shared, stop };
    let fake = Fake {
        kind: Kind::IsFull,
        begin,
        waiting: Vec::new(),
        refusals: 0,
        refused: Default::default(),
        closed_until: Default::default(),
    };
    let mut lane = Lane::new(Box::new(fake), plan(OnFull::Block), job);
    let (now_ns, handed_at_ns) = (50 * TICK_NS, 50 * TICK_NS - TICK_NS / 2);
    assert_eq!(lane.wake_at(now_ns, handed_at_ns), handed_at_ns + TICK_NS, "nothing is due: a tick after the last hand-over");
    lane.take_due(now_ns);
    assert_eq!(lane.wake_at(now_ns, handed_at_ns), now_ns + TICK_NS, "a record every microsecond falls due without room");
    assert_eq!(lane.wake_at(now_ns, 0), now_ns + TICK_NS);
}

/// Whatever else happened, every record that was due during the stall waited for at least what was left of it.
fn assert_stall_shows(figures: &LaneFigures, schedule: &Schedule) {
    for left_ms in [10, 30, 50] {
        let due_before_ns = STALL.end - left_ms * 1_000_000;
        let due_during = schedule.due(due_before_ns) - schedule.due(STALL.start + 5_000_000);
        let waited = count_above(&figures.latencies, Duration::from_millis(left_ms));
        assert!(waited >= due_during, "{waited} of {due_during} records show a stall of {left_ms} ms or more");
    }
}

/// How many samples took at least this long: each has a rank, and its quantile is that sample's latency.
fn count_above(latencies: &LatencyHistogram, latency: Duration) -> u64 {
    let (count, us) = (latencies.count(), latency.as_secs_f64() * 1e6);
    (0..count).filter(|rank| latencies.quantile_us((*rank as f64 + 0.5) / count as f64) >= us).count() as u64
}

#[test]
fn all_that_is_asked_for_is_handed_over_once_and_settled() {
    let (figures, schedule) = run(Kind::Answers, 0.1);
    assert_eq!(figures.acknowledged_total, schedule.count());
    assert_eq!(figures.latencies.count(), schedule.count());
    assert_eq!((figures.unoffered_count, figures.timed_out_count, figures.refused_count), (0, 0, 0));
    assert_eq!(figures.error, None);
}

#[test]
fn a_system_that_falls_silent_shows_it_in_every_record_due_meanwhile() {
    let (figures, schedule) = run(Kind::Stalls, 0.2);
    assert_eq!(figures.latencies.count(), schedule.count());
    assert_stall_shows(&figures, &schedule);
}

#[test]
fn a_system_without_room_shows_it_in_every_record_due_meanwhile() {
    let (figures, schedule) = run(Kind::IsFull, 0.2);
    assert_eq!(figures.latencies.count(), schedule.count());
    assert_stall_shows(&figures, &schedule);
}

#[test]
fn what_finds_no_room_when_it_is_due_is_refused_where_the_workload_says_so() {
    let (figures, schedule) = run_on_full(Kind::IsFull, 0.2, OnFull::Fail);
    let due_during = schedule.due(STALL.end - 5_000_000) - schedule.due(STALL.start + 5_000_000);
    assert!(figures.turned_away_count >= due_during, "{} of {due_during}", figures.turned_away_count);
    assert_eq!(figures.latencies_refused_first.count(), figures.turned_away_count);
    assert_eq!(figures.latencies.count() + figures.turned_away_count, schedule.count());
    let (waiting, _) = run(Kind::IsFull, 0.2);
    assert_eq!((waiting.turned_away_count, waiting.latencies_refused_first.count()), (0, 0));
}

#[test]
fn what_was_refused_first_has_a_row_of_its_own_from_the_same_intended_time() {
    let (figures, schedule) = run(Kind::RefusesTen, 0.1);
    assert_eq!((figures.refused_count, figures.latencies_refused_first.count()), (10, 10));
    assert_eq!(figures.latencies.count(), schedule.count() - 10);
    assert!(figures.latencies_refused_first.quantile_us(0.0) >= 29_900.0, "none is offered again before its time");
    assert_eq!(figures.refused_because.as_deref(), Some("full"));
}

#[test]
fn what_a_client_offered_again_by_itself_is_in_that_row_too() {
    let (figures, schedule) = run(Kind::OffersAgainItself, 0.1);
    assert_eq!((figures.refused_count, figures.latencies_refused_first.count()), (30, 10));
    assert_eq!((figures.latencies.count(), figures.acknowledged_total), (schedule.count() - 10, schedule.count()));
}

#[test]
fn a_connection_that_breaks_ends_the_lane_and_nothing_is_lost_sight_of() {
    let (figures, schedule) = run(Kind::Breaks, 0.1);
    assert!(figures.error.as_deref().is_some_and(|error| error.contains("gone")), "{:?}", figures.error);
    assert_eq!(figures.unoffered_count + figures.timed_out_count + figures.acknowledged_total, schedule.count());
}

#[test]
fn what_is_never_answered_has_timed_out() {
    let (figures, schedule) = run(Kind::NeverAnswers, 0.1);
    assert_eq!(figures.acknowledged_total, 0);
    assert_eq!(figures.unoffered_count + figures.timed_out_count, schedule.count());
}

#[test]
fn the_generator_is_behind_when_the_figures_would_be_better_had_it_been_on_time() {
    let us = Duration::from_micros;
    // (latency, of which the generator's own): of 100 records so many are like the second.
    let behind = |usual: (u64, u64), odd: (u64, u64), odd_count: u64| {
        let mut figures = LaneFigures::new(1.0);
        for ((latency, own), count) in [(usual, 100 - odd_count), (odd, odd_count)] {
            figures.latencies.record_n(us(latency), count);
            figures.punctual.record_n(us(latency - own), count);
        }
        figures.time = ThreadTime { cpu: us(120_000), core_wait: us(1_450_000) };
        figures.lateness()
    };
    assert_eq!(behind((300, 80), (400, 150), 2), None, "to wake a core takes that long");
    assert_eq!(behind((300, 10), (5_000, 900), 2), None, "less than a fifth of what is measured");
    assert_eq!(behind((300, 10), (5_000, 4_000), 0), None);
    let text = behind((300, 10), (1_000, 600), 2).expect("more than half of the p99 is the generator's");
    assert!(text.contains("p99") && text.contains("of the 1000 µs"), "{text}");
    assert!(text.contains("worked for 0.12 s and waited for 1.45 s"), "who had the cores: {text}");
    assert!(behind((2_000, 900), (2_000, 900), 0).expect("nearly half").contains("p50"));
}
