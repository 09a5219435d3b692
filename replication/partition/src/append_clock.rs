//! The time frames are stamped with. A wall clock may jump, and retention by age would then delete good records;
//! so while the wall clock disagrees with the monotonic one, the monotonic one counts and deletion by age waits.

use sluice_model::Now;

/// Clocks that differ by more than this disagree, milliseconds.
const DISAGREEMENT_MS: i64 = 2_000;
/// A wall clock that has been steady for this long after a jump is believed again, microseconds (10 minutes).
const BELIEVED_AFTER_US: u64 = 600 * 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendClock {
    /// `wall_ms` of the believed clock at `mono_us` 0.
    base_ms: i64,
    /// The base a jumped wall clock would give, and since when it has given it.
    candidate: Option<(i64, u64)>,
}

/// What an observation of the clocks has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockChange {
    None,
    /// The wall clock jumped by this many milliseconds against the monotonic one.
    Jumped {
        by_ms: i64,
    },
    /// They agree again, or the wall clock is believed again.
    Settled,
}

impl AppendClock {
    pub(crate) fn new(now: Now) -> Self {
        Self { base_ms: base_of(now), candidate: None }
    }

    /// To be called at every tick.
    pub(crate) fn observe(&mut self, now: Now) -> ClockChange {
        let base = base_of(now);
        if base.abs_diff(self.base_ms) <= DISAGREEMENT_MS.unsigned_abs() {
            // Small drift is followed, so that a slewed clock never adds up to a jump.
            self.base_ms = base;
            return if self.candidate.take().is_some() { ClockChange::Settled } else { ClockChange::None };
        }
        match self.candidate {
            Some((candidate, since_us)) if candidate.abs_diff(base) <= DISAGREEMENT_MS.unsigned_abs() => {
                if now.mono_us.saturating_sub(since_us) < BELIEVED_AFTER_US {
                    return ClockChange::None;
                }
                self.base_ms = base;
                self.candidate = None;
                ClockChange::Settled
            }
            before => {
                self.candidate = Some((base, now.mono_us));
                if before.is_some() {
                    ClockChange::None
                } else {
                    ClockChange::Jumped { by_ms: base.saturating_sub(self.base_ms) }
                }
            }
        }
    }

    /// What a frame appended now is stamped with, milliseconds since 1970.
    pub(crate) fn append_time_ms(&self, now: Now) -> i64 {
        self.base_ms.saturating_add(mono_ms(now))
    }

    /// Whether deletion by age may go on.
    pub(crate) fn is_settled(&self) -> bool {
        self.candidate.is_none()
    }
}

fn mono_ms(now: Now) -> i64 {
    i64::try_from(now.mono_us / 1000).unwrap_or(i64::MAX)
}

fn base_of(now: Now) -> i64 {
    now.wall_ms.saturating_sub(mono_ms(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall_ms: i64, mono_s: u64) -> Now {
        Now { wall_ms, mono_us: mono_s * 1_000_000 }
    }

    #[test]
    fn a_jump_is_ignored_until_it_has_lasted() {
        let mut clock = AppendClock::new(now(1_000_000, 0));
        assert_eq!(clock.observe(now(1_001_000, 1)), ClockChange::None);
        assert_eq!(clock.observe(now(9_002_000, 2)), ClockChange::Jumped { by_ms: 8_000_000 });
        assert!(!clock.is_settled());
        assert_eq!(clock.append_time_ms(now(9_003_000, 3)), 1_003_000);
        assert_eq!(clock.observe(now(9_603_000, 603)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(9_604_000, 604)), 9_604_000);
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_no_trace() {
        let mut clock = AppendClock::new(now(1_000_000, 0));
        clock.observe(now(0, 1));
        assert_eq!(clock.observe(now(1_002_000, 2)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(0, 3)), 1_003_000);
    }
}
