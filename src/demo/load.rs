//! The load of the demo, fixed before it starts: which record is due when, and what it says.
//!
//! The load is open: a record's intended time never moves, however slow the broker, the client or this generator is,
//! and its latency counts from then. The expensive mistake is to time from the actual send, which counts a stall
//! once instead of for every record that had to wait. Deliberately absent: clocks; time comes in as an argument.

use std::time::Duration;

pub(crate) const KEY_COUNT: u64 = 4096;
pub(crate) const VALUE_LEN: usize = 1024;
/// Id and sequence of the key, at the front of every value; the rest is filler that follows from the id.
const VALUE_HEAD_LEN: usize = 16;
const FILLER_LEN: usize = 8192;

/// The parts of the load, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Steady,
    Spike,
    /// The steady load again, while the backlog of the spike drains.
    Drain,
    /// Nothing is offered any more.
    Over,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Spike => "SPIKE",
            Self::Drain => "drain",
            Self::Over => "over",
        }
    }
}

/// Rates and lengths of the phases. Times are microseconds from the start of the load.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    phases: [(Phase, u64, u64); 3],
}

impl LoadPlan {
    /// `steady_per_s` records a second, `spike_factor` times that during the spike; rates must not be 0.
    pub(crate) fn new(steady_per_s: u64, spike_factor: u64, lengths: [Duration; 3]) -> Self {
        assert!(steady_per_s > 0 && spike_factor > 0, "a load has a rate");
        let us = lengths.map(|length| u64::try_from(length.as_micros()).expect("a demo takes less than 500,000 years"));
        let spike_per_s = steady_per_s * spike_factor;
        Self {
            phases: [
                (Phase::Steady, steady_per_s, us[0]),
                (Phase::Spike, spike_per_s, us[1]),
                (Phase::Drain, steady_per_s, us[2]),
            ],
        }
    }

    /// How many records the whole load has.
    pub(crate) fn total(&self) -> u64 {
        self.phases.iter().map(|&(_, per_s, len_us)| count_in(per_s, len_us)).sum()
    }

    /// How many records are due at `at_us`: ids below it.
    pub(crate) fn due(&self, at_us: u64) -> u64 {
        let (mut start_us, mut count) = (0, 0);
        for &(_, per_s, len_us) in &self.phases {
            if at_us < start_us {
                break;
            }
            count += count_in(per_s, (at_us - start_us + 1).min(len_us));
            start_us += len_us;
        }
        count
    }

    /// When the record `id` is to be sent; `id` must be below `total`.
    pub(crate) fn intended_us(&self, id: u64) -> u64 {
        let (mut start_us, mut first) = (0, 0);
        for &(_, per_s, len_us) in &self.phases {
            let count = count_in(per_s, len_us);
            if id < first + count {
                return start_us + (id - first) * 1_000_000 / per_s;
            }
            first += count;
            start_us += len_us;
        }
        panic!("record {id} is not among the {first} of the load")
    }

    pub(crate) fn phase(&self, at_us: u64) -> Phase {
        let mut end_us = 0;
        for &(phase, _, len_us) in &self.phases {
            end_us += len_us;
            if at_us < end_us {
                return phase;
            }
        }
        Phase::Over
    }

    /// Records a second in a phase.
    pub(crate) fn rate(&self, wanted: Phase) -> u64 {
        self.phases.iter().find(|&&(phase, ..)| phase == wanted).map_or(0, |&(_, per_s, _)| per_s)
    }

    /// When the phase begins.
    pub(crate) fn start_us(&self, wanted: Phase) -> u64 {
        self.phases.iter().take_while(|&&(phase, ..)| phase != wanted).map(|&(_, _, len_us)| len_us).sum()
    }
}

/// Records whose intended time lies in the first `len_us` of a phase.
fn count_in(per_s: u64, len_us: u64) -> u64 {
    (len_us * per_s).div_ceil(1_000_000)
}

/// What the record `id` says. Keys take turns, so the sequence within a key follows from the id too; both are
/// written into the record all the same, so that the proof reads them from what came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) id: u64,
    pub(crate) sequence: u64,
}

/// Makes values and recognises them again, byte for byte.
pub(crate) struct Contents {
    filler: Vec<u8>,
}

impl Contents {
    pub(crate) fn new() -> Self {
        // Bytes of a fixed xorshift, so that nothing along the way can compress them.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let filler = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        Self { filler: filler.take(FILLER_LEN + VALUE_LEN).collect() }
    }

    pub(crate) fn key(id: u64) -> [u8; 8] {
        let mut key = *b"key-0000";
        let mut rest = id % KEY_COUNT;
        for digit in key[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
        }
        key
    }

    pub(crate) fn write_value(&self, id: u64, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&id.to_le_bytes());
        value.extend_from_slice(&(id / KEY_COUNT).to_le_bytes());
        value.extend_from_slice(self.filler_of(id));
    }

    /// Reads a value back; `None` when key or any byte is not what `write_value` wrote.
    pub(crate) fn read(&self, key: &[u8], value: &[u8]) -> Option<Content> {
        let id = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
        let sequence = u64::from_le_bytes(value.get(8..VALUE_HEAD_LEN)?.try_into().ok()?);
        (key == Self::key(id) && &value[VALUE_HEAD_LEN..] == self.filler_of(id)).then_some(Content { id, sequence })
    }

    fn filler_of(&self, id: u64) -> &[u8] {
        let start = usize::try_from(id % FILLER_LEN as u64).expect("a remainder fits");
        &self.filler[start..start + VALUE_LEN - VALUE_HEAD_LEN]
    }
}

const _: () = assert!(KEY_COUNT <= 10_000, "a key has four digits");

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> LoadPlan {
        LoadPlan::new(3000, 10, [Duration::from_secs(2), Duration::from_millis(1500), Duration::from_secs(1)])
    }

    #[test]
    fn every_record_is_due_exactly_at_its_intended_time() {
        let plan = plan();
        assert_eq!(plan.total(), 6000 + 45_000 + 3000);
        for id in (0..plan.total()).step_by(97).chain([5999, 6000, 50_999, 51_000, 53_999]) {
            let at = plan.intended_us(id);
            assert!(plan.due(at) > id, "record {id} is due at {at}");
            assert!(at == 0 || plan.due(at - 1) <= id, "record {id} is not due before {at}");
        }
        assert_eq!(plan.due(u64::from(u32::MAX)), plan.total());
    }

    #[test]
    fn intended_times_never_go_back() {
        let plan = plan();
        let times: Vec<_> = (0..plan.total()).map(|id| plan.intended_us(id)).collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn phases_follow_one_another() {
        let plan = plan();
        for (at, phase) in [
            (0, Phase::Steady),
            (1_999_999, Phase::Steady),
            (2_000_000, Phase::Spike),
            (3_500_000, Phase::Drain),
            (4_500_000, Phase::Over),
        ] {
            assert_eq!(plan.phase(at), phase, "{at}");
        }
        assert_eq!((plan.start_us(Phase::Spike), plan.start_us(Phase::Over)), (2_000_000, 4_500_000));
    }

    #[test]
    fn a_value_is_recognised_and_any_change_is_not() {
        let contents = Contents::new();
        let mut value = Vec::new();
        let id = 123_456;
        contents.write_value(id, &mut value);
        assert_eq!(value.len(), VALUE_LEN);
        assert_eq!(contents.read(&Contents::key(id), &value), Some(Content { id, sequence: id / KEY_COUNT }));
        assert_eq!(contents.read(b"key-9999", &value), None);
        for at in [0, 16, VALUE_LEN - 1] {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert_eq!(contents.read(&Contents::key(id), &changed), None, "byte {at}");
        }
        assert_eq!(contents.read(&Contents::key(id), &value[..VALUE_LEN - 1]), None);
        assert_eq!(contents.read(b"", b""), None);
    }
}
