//! The time frames are stamped with, and retention by age is judged by: a clock that never goes back while it runs.
//!
//! A wall clock may jump, and be wrong when a broker starts. Ages must not change with it, so while the wall clock
//! disagrees with the monotonic one, the monotonic one counts and deletion by age waits. A clock that was set forward is
//! believed once it has been steady for a while. One that was set back is not followed at all: records stamped in the
//! past would look old once it is set right, and all before them. The clock then stays ahead of the wall clock, at the
//! same pace, and ages stay true. Across a start the last believed time (`clock_floor`) stands in for the monotonic clock.
//!
//! A start long after that time is either a long stop or a wrong clock. Frames are then stamped by the wall clock, lest
//! they look as old as the stop was long, and nothing is deleted until it has been steady; should it go back meanwhile,
//! the stamps do too, and a segment's time (the smallest from it to the log end) forgets the wrong ones.

use sluice_model::Now;

/// Clocks that differ by more than this disagree, milliseconds.
const DISAGREEMENT_MS: i64 = 2_000;
/// A wall clock that has been steady for this long after a jump is believed again, microseconds (10 minutes).
const BELIEVED_AFTER_US: u64 = 600 * 1_000_000;
/// A stop for longer than this may as well be a wrong clock, milliseconds (1 hour).
const STOP_MS_MAX: i64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendClock {
    /// The believed time at `mono_us` 0. Never falls.
    base_ms: i64,
    /// `wall_ms` at `mono_us` 0 of the wall clock as it was last agreed on; below `base_ms` when it was set back.
    wall_base_ms: i64,
    /// The base a jumped wall clock would give, and since when it has given it.
    candidate: Option<(i64, u64)>,
    /// Since a start with a doubtful wall clock: how long the stop was is not known, and stamps follow a candidate ahead.
    on_trial: bool,
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
    /// `floor_ms` is the last time an earlier start believed; the change is what a jump would be.
    pub(crate) fn new(now: Now, floor_ms: Option<i64>) -> (Self, ClockChange) {
        let wall_base_ms = base_of(now);
        let believed = Self { base_ms: wall_base_ms, wall_base_ms, candidate: None, on_trial: false };
        let Some(floor_ms) = floor_ms else { return (believed, ClockChange::None) };
        let base_ms = floor_ms.saturating_sub(mono_ms(now));
        let by_ms = wall_base_ms.saturating_sub(base_ms);
        if is_after_a_stop(by_ms) {
            return (Self { base_ms: base_ms.max(wall_base_ms), ..believed }, ClockChange::None);
        }
        let clock = Self { base_ms, wall_base_ms: base_ms, candidate: Some((wall_base_ms, now.mono_us)), on_trial: true };
        (clock, ClockChange::Jumped { by_ms })
    }

    /// To be called at every tick.
    pub(crate) fn observe(&mut self, now: Now) -> ClockChange {
        let base = base_of(now);
        // Small drift is followed, so that a slewed clock never adds up to a jump.
        let is_set_right = self.on_trial && is_after_a_stop(base.saturating_sub(self.base_ms));
        if is_near(base, self.wall_base_ms) || is_near(base, self.base_ms) || is_set_right {
            return if self.believe(base) { ClockChange::Settled } else { ClockChange::None };
        }
        match self.candidate {
            Some((candidate, since_us)) if is_near(candidate, base) => {
                if now.mono_us.saturating_sub(since_us) < BELIEVED_AFTER_US {
                    return ClockChange::None;
                }
                self.believe(base);
                ClockChange::Settled
            }
            before => {
                self.candidate = Some((base, now.mono_us));
                if before.is_some() {
                    ClockChange::None
                } else {
                    ClockChange::Jumped { by_ms: base.saturating_sub(self.wall_base_ms) }
                }
            }
        }
    }

    /// The wall clock is right, or at least steady. Whether that was in question.
    fn believe(&mut self, base: i64) -> bool {
        self.wall_base_ms = base;
        self.base_ms = self.base_ms.max(base);
        self.on_trial = false;
        self.candidate.take().is_some()
    }

    /// What a frame appended now is stamped with, milliseconds since 1970.
    pub(crate) fn append_time_ms(&self, now: Now) -> i64 {
        let base_ms = match self.candidate {
            Some((candidate, _)) if self.on_trial => candidate.max(self.base_ms),
            _ => self.base_ms,
        };
        base_ms.saturating_add(mono_ms(now))
    }

    /// What the next start may rely on.
    pub(crate) fn believed_ms(&self, now: Now) -> i64 {
        self.base_ms.saturating_add(mono_ms(now))
    }

    /// Whether deletion by age may go on.
    pub(crate) fn is_settled(&self) -> bool {
        self.candidate.is_none()
    }
}

/// So much after the last believed time a start is that of a broker that was off for a while.
fn is_after_a_stop(by_ms: i64) -> bool {
    (-DISAGREEMENT_MS..=STOP_MS_MAX).contains(&by_ms)
}

fn is_near(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= DISAGREEMENT_MS.unsigned_abs()
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

    const DAY_MS: i64 = 24 * 3_600_000;

    fn now(wall_ms: i64, mono_s: u64) -> Now {
        Now { wall_ms, mono_us: mono_s * 1_000_000 }
    }

    fn started(wall_ms: i64) -> AppendClock {
        AppendClock::new(now(wall_ms, 0), None).0
    }

    #[test]
    fn a_jump_is_ignored_until_it_has_lasted() {
        let mut clock = started(1_000_000);
        assert_eq!(clock.observe(now(1_001_000, 1)), ClockChange::None);
        assert_eq!(clock.observe(now(9_002_000, 2)), ClockChange::Jumped { by_ms: 8_000_000 });
        assert!(!clock.is_settled());
        assert_eq!(clock.append_time_ms(now(9_003_000, 3)), 1_003_000);
        assert_eq!(clock.observe(now(9_603_000, 603)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(9_604_000, 604)), 9_604_000);
    }

    #[test]
    fn a_jump_that_is_taken_back_leaves_no_trace() {
        let mut clock = started(1_000_000);
        clock.observe(now(0, 1));
        assert_eq!(clock.observe(now(1_002_000, 2)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(0, 3)), 1_003_000);
    }

    #[test]
    fn a_clock_that_was_set_back_is_never_followed() {
        let mut clock = started(10 * DAY_MS);
        let back = |mono_s: u64| now(7 * DAY_MS + mono_s as i64 * 1000, mono_s);
        assert_eq!(clock.observe(back(1)), ClockChange::Jumped { by_ms: -3 * DAY_MS });
        assert_eq!(clock.observe(back(700)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(back(701)), 10 * DAY_MS + 701_000);
        // Set right, it agrees at once.
        assert_eq!(clock.observe(now(10 * DAY_MS + 800_000, 800)), ClockChange::None);
        assert!(clock.is_settled());
        assert_eq!(clock.append_time_ms(now(10 * DAY_MS + 801_000, 801)), 10 * DAY_MS + 801_000);
    }

    #[test]
    fn a_start_with_a_clock_set_back_goes_on_from_the_last_believed_time() {
        let (mut clock, change) = AppendClock::new(now(7 * DAY_MS, 50), Some(10 * DAY_MS));
        assert_eq!(change, ClockChange::Jumped { by_ms: -3 * DAY_MS });
        assert!(!clock.is_settled());
        assert_eq!(clock.append_time_ms(now(7 * DAY_MS, 50)), 10 * DAY_MS);
        assert_eq!(clock.observe(now(7 * DAY_MS + 700_000, 750)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(7 * DAY_MS, 750)), 10 * DAY_MS + 700_000);
    }

    #[test]
    fn a_start_long_after_the_last_believed_time_deletes_nothing_at_first() {
        let (mut clock, change) = AppendClock::new(now(20 * DAY_MS, 0), Some(10 * DAY_MS));
        assert_eq!(change, ClockChange::Jumped { by_ms: 10 * DAY_MS });
        assert!(!clock.is_settled());
        assert_eq!(clock.append_time_ms(now(20 * DAY_MS, 0)), 20 * DAY_MS);
        assert_eq!(clock.believed_ms(now(20 * DAY_MS, 0)), 10 * DAY_MS);
        // It was wrong after all, and is set right: the stamps go back with it.
        assert_eq!(clock.observe(now(10 * DAY_MS + 61_000, 60)), ClockChange::Settled);
        assert_eq!(clock.append_time_ms(now(10 * DAY_MS + 62_000, 61)), 10 * DAY_MS + 62_000);
    }

    #[test]
    fn a_clock_that_is_set_right_after_a_start_is_believed_at_once() {
        for wrong_ms in [20 * DAY_MS, DAY_MS] {
            let (mut clock, _) = AppendClock::new(now(wrong_ms, 0), Some(10 * DAY_MS));
            assert!(!clock.is_settled());
            // The stop took ten seconds, of which the last believed time knows nothing.
            assert_eq!(clock.observe(now(10 * DAY_MS + 11_000, 1)), ClockChange::Settled);
            assert_eq!(clock.append_time_ms(now(0, 2)), 10 * DAY_MS + 12_000);
        }
    }

    #[test]
    fn a_short_stop_is_believed_at_once() {
        let (clock, change) = AppendClock::new(now(10 * DAY_MS + 60_000, 0), Some(10 * DAY_MS));
        assert_eq!((change, clock.is_settled()), (ClockChange::None, true));
        assert_eq!(clock.append_time_ms(now(0, 5)), 10 * DAY_MS + 65_000);
    }

    #[test]
    fn clocks_at_the_ends_of_time_do_not_overflow() {
        for wall_ms in [i64::MIN, i64::MAX] {
            let (mut clock, _) = AppendClock::new(now(wall_ms, 9), Some(-wall_ms.saturating_add(1)));
            clock.observe(now(0, 10));
            clock.observe(now(wall_ms, 11));
            let _saturated = (clock.append_time_ms(now(wall_ms, 12)), clock.believed_ms(now(0, u64::MAX / 1_000_000)));
        }
    }
}
