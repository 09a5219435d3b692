//! Who may begin a piece of I/O now, and if nobody, when to look again. A rule: time comes in as an argument.

use std::collections::BTreeSet;

/// Who asks, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PaceClass {
    /// Write-back while the tail memory is short of room: the alternative is to refuse produce.
    UrgentWriteBack,
    WriteBack,
    CatchUpRead,
    Scrub,
}

impl PaceClass {
    fn lane(self) -> usize {
        match self {
            PaceClass::UrgentWriteBack | PaceClass::WriteBack => WRITES,
            PaceClass::CatchUpRead | PaceClass::Scrub => READS,
        }
    }
}

const WRITES: usize = 0;
const READS: usize = 1;

/// What one shard may ask of a device beside produce. Rates in bytes a second, none of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacerConfig {
    /// Reads and write-back together, while nothing is urgent.
    pub total_rate: u64,
    /// Reads at most.
    pub read_rate_max: u64,
    /// Reads get this much whatever is written.
    pub read_rate_min: u64,
    /// Scrubbing at most, whatever the others leave.
    pub scrub_rate: u64,
    /// Write-back when it is urgent.
    pub urgent_rate: u64,
    /// Bytes of reads under way at once, and while there is no produce.
    pub read_in_flight_len: u64,
    pub quiet_read_in_flight_len: u64,
    /// Bytes of write-back under way at once, and while it is urgent.
    pub write_in_flight_len: u64,
    pub urgent_in_flight_len: u64,
}

impl Default for PacerConfig {
    /// Cautious: a device nobody has probed.
    fn default() -> PacerConfig {
        PacerConfig {
            total_rate: 400_000_000,
            read_rate_max: 300_000_000,
            read_rate_min: 100_000_000,
            scrub_rate: 20_000_000,
            urgent_rate: 2_000_000_000,
            read_in_flight_len: 256 * 1024,
            quiet_read_in_flight_len: 5 * 1024 * 1024,
            write_in_flight_len: 1024 * 1024,
            urgent_in_flight_len: 4 * 1024 * 1024,
        }
    }
}

impl PacerConfig {
    /// The share of one of `shard_count` shards on the same device.
    pub fn per_shard(self, shard_count: usize) -> PacerConfig {
        let part = |rate: u64| (rate / shard_count.max(1) as u64).max(1);
        PacerConfig {
            total_rate: part(self.total_rate),
            read_rate_max: part(self.read_rate_max),
            read_rate_min: part(self.read_rate_min),
            scrub_rate: part(self.scrub_rate),
            urgent_rate: part(self.urgent_rate),
            ..self
        }
    }
}

/// The answer to one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// Not before this time (microseconds), and perhaps not then.
    At(u64),
    /// When another has begun, ended or given up.
    AfterAnother,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    class: PaceClass,
    number: u64,
    len: u64,
}

#[derive(Debug)]
pub(super) struct PacerState {
    config: PacerConfig,
    waiting: BTreeSet<Ticket>,
    next_number: u64,
    in_flight: [u64; 2],
    total: Meter,
    read_max: Meter,
    read_min: Meter,
    scrub: Meter,
    urgent: Meter,
}

impl PacerState {
    pub(super) fn new(config: PacerConfig) -> PacerState {
        PacerState {
            config,
            waiting: BTreeSet::new(),
            next_number: 0,
            in_flight: [0; 2],
            total: Meter::new(config.total_rate),
            read_max: Meter::new(config.read_rate_max),
            read_min: Meter::new(config.read_rate_min),
            scrub: Meter::new(config.scrub_rate),
            urgent: Meter::new(config.urgent_rate),
        }
    }

    pub(super) fn enter(&mut self, class: PaceClass, len: u64) -> Ticket {
        let ticket = Ticket { class, number: self.next_number, len };
        self.next_number += 1;
        self.waiting.insert(ticket);
        ticket
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Lets the ticket through, and counts it, when everything allows it. `is_quiet`: there is no produce to stand
    /// back for.
    pub(super) fn admit(&mut self, ticket: Ticket, now_us: u64, is_quiet: bool) -> Admission {
        let lane = ticket.class.lane();
        let first = self.waiting.iter().find(|other| other.class.lane() == lane);
        let goes_unpaced = is_quiet && ticket.class == PaceClass::CatchUpRead && !self.write_waits();
        if first.is_some_and(|first| *first < ticket) || !self.fits_in_flight(ticket, goes_unpaced) {
            return Admission::AfterAnother;
        }
        let ready_us = if goes_unpaced { now_us } else { self.ready_us(ticket.class, now_us) };
        if ready_us > now_us {
            return Admission::At(ready_us);
        }
        self.charge(ticket, now_us);
        self.waiting.remove(&ticket);
        self.in_flight[lane] += ticket.len;
        Admission::Admitted
    }

    pub(super) fn release(&mut self, class: PaceClass, len: u64) {
        let in_flight = &mut self.in_flight[class.lane()];
        assert!(len <= *in_flight, "{len} bytes released of {in_flight} in flight");
        *in_flight -= len;
    }

    pub(super) fn in_flight_len(&self) -> u64 {
        self.in_flight.iter().sum()
    }

    /// One piece of a lane is always let through, however large.
    fn fits_in_flight(&self, ticket: Ticket, goes_unpaced: bool) -> bool {
        let lane = ticket.class.lane();
        let most = match ticket.class {
            PaceClass::UrgentWriteBack => self.config.urgent_in_flight_len,
            PaceClass::WriteBack => self.config.write_in_flight_len,
            PaceClass::CatchUpRead if goes_unpaced => self.config.quiet_read_in_flight_len,
            PaceClass::CatchUpRead | PaceClass::Scrub => self.config.read_in_flight_len,
        };
        self.in_flight[lane] == 0 || self.in_flight[lane].saturating_add(ticket.len) <= most
    }

    /// Whether a write waits for nothing but its rate.
    fn write_waits(&self) -> bool {
        self.waiting.iter().any(|other| other.class.lane() == WRITES && self.fits_in_flight(*other, false))
    }

    /// When the rates let a piece of this class begin.
    fn ready_us(&self, class: PaceClass, now_us: u64) -> u64 {
        match class {
            PaceClass::UrgentWriteBack => self.urgent.ready_us(),
            PaceClass::WriteBack => self.total.ready_us(),
            PaceClass::CatchUpRead | PaceClass::Scrub => {
                let behind_writes = self.write_waits();
                // Behind a write that waits for its rate, only the floor counts.
                let of_total = if behind_writes { u64::MAX } else { self.total.ready_us() };
                let floor = if class == PaceClass::Scrub && of_total > now_us { u64::MAX } else { self.read_min.ready_us() };
                let own = if class == PaceClass::Scrub { self.scrub.ready_us() } else { 0 };
                let ready_us = self.read_max.ready_us().max(of_total.min(floor)).min(now_us.saturating_add(LOOK_AGAIN_US));
                ready_us.max(own)
            }
        }
    }

    fn charge(&mut self, ticket: Ticket, now_us: u64) {
        self.total.charge(ticket.len, now_us);
        match ticket.class {
            PaceClass::UrgentWriteBack => self.urgent.charge(ticket.len, now_us),
            PaceClass::WriteBack => {}
            PaceClass::CatchUpRead | PaceClass::Scrub => {
                if ticket.class == PaceClass::Scrub {
                    self.scrub.charge(ticket.len, now_us);
                }
                self.read_max.charge(ticket.len, now_us);
                self.read_min.charge(ticket.len, now_us);
            }
        }
    }
}

/// Pieces may begin this much ahead of their rate, which makes up for timers that fire late.
const BURST_US: u64 = 2_000;
/// What was let through above a rate (urgent writes, single large pieces) is held against it for at most this long.
const DEBT_US_MAX: u64 = 10_000;
/// Longest wait before a read that has to stand back for writes looks again.
const LOOK_AGAIN_US: u64 = 20_000;

/// A rate, as the moment at which all that was let through would have been done at that rate.
#[derive(Debug)]
struct Meter {
    rate: u64,
    done_us: u64,
}

impl Meter {
    fn new(rate: u64) -> Meter {
        assert!(rate > 0, "a rate of zero lets nothing through");
        Meter { rate, done_us: 0 }
    }

    fn ready_us(&self) -> u64 {
        self.done_us.saturating_sub(BURST_US)
    }

    fn charge(&mut self, len: u64, now_us: u64) {
        let cost_us = u64::try_from(u128::from(len) * 1_000_000 / u128::from(self.rate)).unwrap_or(u64::MAX);
        self.done_us = self.done_us.max(now_us).saturating_add(cost_us);
        self.done_us = self.done_us.min(now_us.saturating_add(DEBT_US_MAX.max(cost_us) + BURST_US));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 256 * 1024;

    /// Runs classes that always want the next piece, each piece taking no time on the device, and returns the bytes
    /// each got in one second.
    fn one_second(config: PacerConfig, classes: &[PaceClass]) -> Vec<u64> {
        let mut state = PacerState::new(config);
        let mut tickets: Vec<Ticket> = classes.iter().map(|class| state.enter(*class, PIECE)).collect();
        let mut got = vec![0; classes.len()];
        for now_us in (0..1_000_000).step_by(50) {
            for (place, class) in classes.iter().enumerate() {
                while state.admit(tickets[place], now_us, false) == Admission::Admitted {
                    state.release(*class, PIECE);
                    got[place] += PIECE;
                    tickets[place] = state.enter(*class, PIECE);
                }
            }
        }
        got
    }

    fn close_to(got: u64, expected: u64) -> bool {
        got.abs_diff(expected) < expected / 20
    }

    #[test]
    fn each_class_alone_gets_its_rate() {
        let config = PacerConfig::default();
        assert!(close_to(one_second(config, &[PaceClass::WriteBack])[0], config.total_rate));
        assert!(close_to(one_second(config, &[PaceClass::UrgentWriteBack])[0], config.urgent_rate));
        assert!(close_to(one_second(config, &[PaceClass::CatchUpRead])[0], config.read_rate_max));
        assert!(close_to(one_second(config, &[PaceClass::Scrub])[0], config.scrub_rate));
    }

    #[test]
    fn write_back_comes_before_reads_and_reads_keep_their_floor() {
        let config = PacerConfig::default();
        let got = one_second(config, &[PaceClass::CatchUpRead, PaceClass::WriteBack]);
        assert!(close_to(got[0], config.read_rate_min), "{got:?}");
        assert!(close_to(got[0] + got[1], config.total_rate), "{got:?}");
        let got = one_second(config, &[PaceClass::CatchUpRead, PaceClass::UrgentWriteBack]);
        assert!(close_to(got[0], config.read_rate_min), "{got:?}");
        assert!(close_to(got[1], config.urgent_rate), "{got:?}");
    }

    #[test]
    fn scrub_gets_what_is_left_and_nothing_beside_write_back() {
        let config = PacerConfig::default();
        let got = one_second(config, &[PaceClass::Scrub, PaceClass::CatchUpRead]);
        assert!(got[0] <= PIECE, "{got:?}");
        let got = one_second(config, &[PaceClass::Scrub, PaceClass::WriteBack]);
        assert!(got[0] <= PIECE, "{got:?}");
    }

    #[test]
    fn bytes_in_flight_are_bounded_and_one_piece_always_fits() {
        let config = PacerConfig { read_in_flight_len: PIECE, ..PacerConfig::default() };
        let mut state = PacerState::new(config);
        let huge = state.enter(PaceClass::CatchUpRead, 100 * PIECE);
        assert_eq!(state.admit(huge, 0, false), Admission::Admitted);
        let next = state.enter(PaceClass::CatchUpRead, 1);
        assert_eq!(state.admit(next, 10_000_000, false), Admission::AfterAnother);
        state.release(PaceClass::CatchUpRead, 100 * PIECE);
        assert_eq!(state.in_flight_len(), 0);
        assert_eq!(state.admit(next, 10_000_000, false), Admission::Admitted);
    }

    #[test]
    fn the_more_urgent_of_a_lane_goes_first_and_one_who_leaves_makes_room() {
        let mut state = PacerState::new(PacerConfig::default());
        let early = state.enter(PaceClass::WriteBack, PIECE);
        let urgent = state.enter(PaceClass::UrgentWriteBack, PIECE);
        let read = state.enter(PaceClass::CatchUpRead, PIECE);
        assert_eq!(state.admit(early, 0, false), Admission::AfterAnother);
        state.leave(urgent);
        assert_eq!(state.admit(early, 0, false), Admission::Admitted);
        assert_eq!(state.admit(read, 0, false), Admission::Admitted);
    }

    #[test]
    fn a_wait_for_the_rate_names_its_end() {
        let config = PacerConfig { total_rate: 1_000_000, ..PacerConfig::default() };
        let mut state = PacerState::new(config);
        let first = state.enter(PaceClass::WriteBack, 10_000);
        assert_eq!(state.admit(first, 1_000_000, false), Admission::Admitted);
        state.release(PaceClass::WriteBack, 10_000);
        let second = state.enter(PaceClass::WriteBack, 10_000);
        let at = 1_000_000 + 10_000 - BURST_US;
        assert_eq!(state.admit(second, 1_000_000, false), Admission::At(at));
        assert_eq!(state.admit(second, at, false), Admission::Admitted);
    }

    #[test]
    fn in_the_quiet_a_read_waits_for_nothing_but_a_write() {
        let mut state = PacerState::new(PacerConfig::default());
        for _ in 0..1000 {
            let read = state.enter(PaceClass::CatchUpRead, PIECE);
            assert_eq!(state.admit(read, 5, true), Admission::Admitted);
            state.release(PaceClass::CatchUpRead, PIECE);
        }
        let read = state.enter(PaceClass::CatchUpRead, PIECE);
        assert!(matches!(state.admit(read, 5, false), Admission::At(_)), "beside produce it is paced");
        state.enter(PaceClass::WriteBack, PIECE);
        assert!(matches!(state.admit(read, 5, true), Admission::At(_)), "a write waits");
    }

    #[test]
    fn in_the_quiet_more_is_read_at_once() {
        let mut state = PacerState::new(PacerConfig { quiet_read_in_flight_len: 3 * PIECE, ..PacerConfig::default() });
        for _ in 0..3 {
            let read = state.enter(PaceClass::CatchUpRead, PIECE);
            assert_eq!(state.admit(read, 5, true), Admission::Admitted);
        }
        let read = state.enter(PaceClass::CatchUpRead, PIECE);
        assert_eq!(state.admit(read, 5, true), Admission::AfterAnother);
        state.release(PaceClass::CatchUpRead, 2 * PIECE);
        assert_eq!(state.admit(read, 5, false), Admission::AfterAnother, "beside produce one is all there may be");
        assert_eq!(state.admit(read, 5, true), Admission::Admitted);
    }

    #[test]
    fn shards_share_the_rates() {
        let config = PacerConfig::default().per_shard(4);
        assert_eq!((config.total_rate, config.read_rate_max), (100_000_000, 75_000_000));
        assert_eq!(PacerConfig::default().per_shard(0), PacerConfig::default());
    }
}
