//! Does a follower keep up? Two questions, asked with the time in hand: how long since it held everything, and how much
//! later than the leader does it flush.
//!
//! The expensive mistake is a replica that leaves and joins in turns, each change a commit of the controller: what leaves
//! for being slow comes back only after it has been clearly quicker than that for a while. Deliberately absent: the size
//! of the in-sync set, which forbids some leaves.

use sluice_model::Offset;

/// When a follower leaves the in-sync set and when it may come back, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsrTimes {
    /// One that has not held everything for this long leaves.
    pub lag_us_max: u64,
    /// A flush that comes this much later than the leader's is a slow one.
    pub slow_us: u64,
    /// One whose flushes have been slow for this long leaves; one that has left for it comes back after as long with no
    /// flush slower than half of `slow_us`.
    pub slow_for_us: u64,
    /// A change whose answer has not come after this long, or that was refused, is asked for again.
    pub retry_us: u64,
}

impl Default for IsrTimes {
    fn default() -> Self {
        Self { lag_us_max: 30_000_000, slow_us: 500_000, slow_for_us: 3_000_000, retry_us: 1_000_000 }
    }
}

/// What a leader remembers of one follower's pace under one leader epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timing {
    /// When it was last known to hold all that there was; `None` until anybody has looked.
    caught_up_us: Option<u64>,
    /// A log end that it has not flushed up to, and when it was one. It stays until it is reached, however many fetches
    /// that takes: a follower whose flushes overlap its fetches is never seen to hold what there was one fetch ago.
    lag_mark: Option<(Offset, u64)>,
    /// An offset that the leader has flushed and the follower not, and since when.
    mark: Option<(Offset, u64)>,
    slow_since_us: Option<u64>,
    quick_since_us: Option<u64>,
    left_for_slowness: bool,
}

/// The offsets that a follower's pace is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) flushed: Option<Offset>,
    pub(crate) local_flushed: Offset,
    pub(crate) log_end: Offset,
}

impl Timing {
    /// It has fetched, or said what it has flushed.
    pub(crate) fn on_report(&mut self, now_us: u64, pace: Pace, times: &IsrTimes) {
        let flushed = pace.flushed.unwrap_or(Offset::ZERO);
        if let Some((offset, since_us)) = self.mark
            && flushed >= offset
        {
            self.mark = None;
            self.on_delay(now_us, now_us.saturating_sub(since_us), times);
        } else if self.mark.is_none() && flushed >= pace.local_flushed {
            self.on_delay(now_us, 0, times);
        }
        self.look(now_us, pace, times);
    }

    /// Time has passed.
    pub(crate) fn look(&mut self, now_us: u64, pace: Pace, times: &IsrTimes) {
        let caught_up_us = self.caught_up_us.get_or_insert(now_us);
        let flushed = pace.flushed.unwrap_or(Offset::ZERO);
        if let Some((_, at_us)) = self.lag_mark.take_if(|(end, _)| flushed >= *end) {
            // It holds what there was then (after KIP-16).
            *caught_up_us = (*caught_up_us).max(at_us);
        }
        if flushed >= pace.log_end {
            *caught_up_us = now_us;
        } else {
            self.lag_mark.get_or_insert((pace.log_end, now_us));
        }
        if flushed < pace.local_flushed {
            let (_, since_us) = *self.mark.get_or_insert((pace.local_flushed, now_us));
            let delay_us = now_us.saturating_sub(since_us);
            // A flush that has not come yet can show that it is slow, and not that it is quick.
            if delay_us > times.slow_us {
                self.slow_since_us.get_or_insert(now_us);
            }
            if delay_us > times.slow_us / 2 {
                self.quick_since_us = None;
            }
        } else if self.mark.is_none() {
            self.on_quick(now_us, times);
        }
    }

    fn on_delay(&mut self, now_us: u64, delay_us: u64, times: &IsrTimes) {
        if delay_us > times.slow_us {
            self.slow_since_us.get_or_insert(now_us);
        } else {
            self.slow_since_us = None;
        }
        if delay_us <= times.slow_us / 2 {
            self.on_quick(now_us, times);
        } else {
            self.quick_since_us = None;
        }
    }

    /// It keeps nobody waiting: it has flushed quickly, or there is nothing that it has not flushed. After a while of that
    /// what was slow before is forgotten, or one slow flush before a silence would keep it out as long as that lasts.
    fn on_quick(&mut self, now_us: u64, times: &IsrTimes) {
        let since_us = *self.quick_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) >= times.slow_for_us {
            self.left_for_slowness = false;
            self.slow_since_us = None;
        }
    }

    /// It has not held everything for too long.
    pub(crate) fn lags(&self, now_us: u64, times: &IsrTimes) -> bool {
        self.caught_up_us.is_some_and(|since_us| now_us.saturating_sub(since_us) > times.lag_us_max)
    }

    /// Since when its flushes have been slow, when that is long enough for it to leave. While it keeps nobody waiting it stays.
    pub(crate) fn slow_since_us(&self, now_us: u64, times: &IsrTimes) -> Option<u64> {
        let is_quick = self.quick_since_us.is_some();
        self.slow_since_us.filter(|since_us| !is_quick && now_us.saturating_sub(*since_us) >= times.slow_for_us)
    }

    /// It is proposed without this follower, because its flushes are slow.
    pub(crate) fn on_left_for_slowness(&mut self) {
        self.left_for_slowness = true;
        self.quick_since_us = None;
    }

    /// Nothing that was measured keeps it out.
    pub(crate) fn may_join(&self, now_us: u64, times: &IsrTimes) -> bool {
        !self.left_for_slowness && !self.lags(now_us, times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: IsrTimes = IsrTimes { lag_us_max: 1000, slow_us: 100, slow_for_us: 300, retry_us: 50 };

    fn pace(flushed: u64, local_flushed: u64) -> Pace {
        Pace { flushed: Some(Offset(flushed)), local_flushed: Offset(local_flushed), log_end: Offset(local_flushed) }
    }

    #[test]
    fn golden_table() {
        // reports (time, follower's flushed, leader's flushed), time of the question -> lags, slow, may join
        type Row = (&'static [(u64, u64, u64)], u64, (bool, bool, bool));
        let rows: [Row; 7] = [
            (&[], 0, (false, false, true)),
            (&[(0, 5, 5)], 1001, (false, false, true)),
            (&[(0, 5, 9)], 1001, (true, true, false)),
            // Always behind, and yet it holds what there was a fetch ago.
            (&[(0, 5, 9), (900, 9, 12), (1800, 12, 20)], 1900, (false, true, true)),
            // One slow flush is none.
            (&[(0, 0, 5), (150, 5, 5), (200, 9, 9)], 600, (false, false, true)),
            (&[(0, 0, 5), (150, 5, 9), (300, 9, 12), (450, 12, 15)], 470, (false, true, true)),
            (&[(0, 0, 5), (150, 5, 9), (300, 9, 12), (350, 12, 12)], 470, (false, false, true)),
        ];
        for (reports, now_us, expected) in rows {
            let mut timing = Timing::default();
            for &(at_us, flushed, local) in reports {
                timing.on_report(at_us, pace(flushed, local), &TIMES);
            }
            let last = reports.last().map_or((0, 0), |&(_, flushed, local)| (flushed, local));
            // A driver looks every so often.
            let from_us = reports.last().map_or(0, |&(at_us, ..)| at_us);
            (from_us..=now_us).step_by(10).for_each(|at_us| timing.look(at_us, pace(last.0, last.1), &TIMES));
            let got =
                (timing.lags(now_us, &TIMES), timing.slow_since_us(now_us, &TIMES).is_some(), timing.may_join(now_us, &TIMES));
            assert_eq!(got, expected, "{reports:?} at {now_us}");
        }
    }

    /// Reports come with changes only: a partition that nobody writes to brings none.
    #[test]
    fn one_slow_flush_before_a_silence_neither_drives_it_out_nor_keeps_it_out() {
        let slow_once = |timing: &mut Timing| {
            timing.on_report(0, pace(0, 5), &TIMES);
            timing.look(110, pace(0, 5), &TIMES);
            timing.on_report(150, pace(5, 5), &TIMES);
        };
        let (mut stays, mut left) = (Timing::default(), Timing::default());
        slow_once(&mut stays);
        slow_once(&mut left);
        left.on_left_for_slowness();
        for at_us in (160..440).step_by(10) {
            stays.look(at_us, pace(5, 5), &TIMES);
            left.look(at_us, pace(5, 5), &TIMES);
            assert_eq!((stays.slow_since_us(at_us, &TIMES), left.may_join(at_us, &TIMES)), (None, false), "at {at_us}");
        }
        for timing in [&mut stays, &mut left] {
            (440..2000).step_by(10).for_each(|at_us| timing.look(at_us, pace(5, 5), &TIMES));
            assert_eq!((timing.slow_since_us(2000, &TIMES), timing.may_join(2000, &TIMES)), (None, true));
        }
    }

    #[test]
    fn what_left_for_being_slow_stays_away_until_it_has_been_quick_for_a_while() {
        let mut timing = Timing::default();
        timing.on_left_for_slowness();
        timing.on_report(0, pace(0, 5), &TIMES);
        timing.on_report(80, pace(5, 9), &TIMES);
        assert!(!timing.may_join(80, &TIMES), "neither slow nor quick");
        timing.on_report(120, pace(9, 9), &TIMES);
        timing.on_report(400, pace(12, 12), &TIMES);
        assert!(!timing.may_join(400, &TIMES));
        timing.on_report(420, pace(12, 12), &TIMES);
        assert!(timing.may_join(420, &TIMES));
    }
}
