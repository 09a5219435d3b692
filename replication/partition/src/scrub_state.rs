//! What the scrubber of a shard has done and found, as others see it.
//!
//! The list is bounded and the count is not. A finding is news once: what a later pass finds at the same place is the same
//! finding, and one that a whole pass did not find again is forgotten, its file removed or rewritten. All of it is in memory
//! only: a restart begins with pass 1. Deliberately absent: scrubbing.

use sluice_model::Now;
use sluice_storage::scrub_finding::ScrubFinding;
use std::cell::RefCell;

/// Findings kept; more are counted.
const FINDINGS_MAX: usize = 256;

/// How far a shard's scrubber has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Passes begun since the start of the shard.
    pub pass: u64,
    pub is_running: bool,
    /// Bytes of this pass (of the last one, while none is running) that were read, and all of them, about.
    pub done_len: u64,
    pub total_len: u64,
    /// When the last whole pass ended, milliseconds since 1970.
    pub last_ended_ms: Option<i64>,
    /// Places that are bad, those that the list has no room for included.
    pub finding_count: u64,
}

/// A finding, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubReport {
    pub finding: ScrubFinding,
    /// Nothing depends on the bad bytes any more.
    pub is_repaired: bool,
}

#[derive(Default)]
pub(crate) struct ScrubState(RefCell<State>);

#[derive(Default)]
struct State {
    status: ScrubStatus,
    kept: Vec<Kept>,
    /// Not yet given to whoever logs them.
    news: Vec<ScrubReport>,
    last_began_us: Option<u64>,
}

struct Kept {
    report: ScrubReport,
    /// The pass that found it last.
    pass: u64,
}

impl ScrubState {
    pub(crate) fn begin(&self, now: Now, total_len: u64) {
        let mut state = self.0.borrow_mut();
        state.last_began_us = Some(now.mono_us);
        let status = &mut state.status;
        (status.pass, status.is_running, status.done_len, status.total_len) = (status.pass + 1, true, 0, total_len);
    }

    pub(crate) fn on_read(&self, len: usize) {
        let status = &mut self.0.borrow_mut().status;
        status.done_len += len as u64;
        status.total_len = status.total_len.max(status.done_len);
    }

    pub(crate) fn note(&self, finding: ScrubFinding, is_repaired: bool) {
        let state = &mut *self.0.borrow_mut();
        let pass = state.status.pass;
        let same = |kept: &&mut Kept| {
            let known = &kept.report.finding;
            (&known.file, known.position) == (&finding.file, finding.position)
        };
        let report = ScrubReport { finding: finding.clone(), is_repaired };
        match state.kept.iter_mut().find(same) {
            // What was repaired before has gone bad anew.
            Some(known) if !known.report.is_repaired => (known.report, known.pass) = (report, pass),
            Some(known) => {
                (known.report, known.pass) = (report.clone(), pass);
                state.news.push(report);
            }
            None => {
                state.status.finding_count += 1;
                if state.kept.len() < FINDINGS_MAX {
                    state.kept.push(Kept { report: report.clone(), pass });
                    state.news.push(report);
                }
            }
        }
    }

    /// Every byte was read once.
    pub(crate) fn end(&self, now: Now) {
        let state = &mut *self.0.borrow_mut();
        let pass = state.status.pass;
        if state.kept.len() < FINDINGS_MAX {
            state.kept.retain(|kept| kept.pass == pass);
            state.status.finding_count = state.kept.len() as u64;
        }
        state.status.is_running = false;
        state.status.total_len = state.status.done_len;
        state.status.last_ended_ms = Some(now.wall_ms);
    }

    /// Whether a pass is due that begins no sooner than `interval_us` after the one before did.
    pub(crate) fn is_due(&self, now: Now, opened_us: u64, first_after_us: u64, interval_us: u64) -> bool {
        let state = self.0.borrow();
        match state.last_began_us {
            _ if state.status.is_running => false,
            Some(began_us) => now.mono_us.saturating_sub(began_us) >= interval_us,
            None => now.mono_us.saturating_sub(opened_us) >= first_after_us.min(interval_us),
        }
    }

    pub(crate) fn status(&self) -> ScrubStatus {
        self.0.borrow().status
    }

    pub(crate) fn reports(&self) -> Vec<ScrubReport> {
        self.0.borrow().kept.iter().map(|kept| kept.report.clone()).collect()
    }

    pub(crate) fn take_news(&self) -> Vec<ScrubReport> {
        std::mem::take(&mut self.0.borrow_mut().news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_storage::scrub_finding::ScrubKind;

    fn finding(position: u64) -> ScrubFinding {
        ScrubFinding { file: "a".into(), position, kind: ScrubKind::Unreadable, id: None, lost: None }
    }

    #[test]
    fn a_finding_is_news_once_and_gone_when_a_pass_does_not_find_it() {
        let (state, now) = (ScrubState::default(), Now::default());
        for pass in 1..=2 {
            state.begin(now, 10);
            state.note(finding(1), false);
            state.note(finding(2), pass == 1);
            state.end(now);
            let news: Vec<u64> = state.take_news().iter().map(|report| report.finding.position).collect();
            assert_eq!(news, if pass == 1 { vec![1, 2] } else { vec![2] }, "what was repaired and is bad again is news");
            assert_eq!((state.status().pass, state.status().finding_count), (pass, 2));
        }
        state.begin(now, 10);
        state.note(finding(2), false);
        assert_eq!(state.reports().len(), 2, "known until the pass has ended");
        state.end(now);
        assert_eq!(state.reports().iter().map(|report| report.finding.position).collect::<Vec<_>>(), [2]);
        assert!(state.take_news().is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let (state, now) = (ScrubState::default(), Now::default());
        state.begin(now, 10);
        (0..1000).for_each(|position| state.note(finding(position), false));
        assert_eq!((state.status().finding_count, state.reports().len(), state.take_news().len()), (1000, 256, 256));
    }

    #[test]
    fn a_pass_is_due_by_the_interval_and_the_first_soon_after_the_start() {
        let at = |seconds: u64| Now { mono_us: seconds * 1_000_000, wall_ms: 0 };
        let state = ScrubState::default();
        let due = |now, interval: u64| state.is_due(now, 0, 60_000_000, interval * 1_000_000);
        assert!(!due(at(59), 1000) && due(at(60), 1000) && due(at(5), 5));
        state.begin(at(60), 1);
        assert!(!due(at(5000), 1000), "it is running");
        state.end(at(100));
        assert!(!due(at(1059), 1000) && due(at(1060), 1000));
    }
}
