//! Where the time of produces and fetches goes, stage by stage, on one shard.
//!
//! One sample of each stage per request, recorded when it is over, from readings of one clock: the turn's, one after
//! the appends, two of the commit loop, one after the send. The expensive mistake is a stage that ends before the one
//! before it, so a produce's moments are put in order first: what waited for nothing (a duplicate) took no time.
//! Deliberately absent: which names the stages have (`sluice_protocol::metric`).

use sluice_model::StageHistogram;
use sluice_partition::CommitTimes;
use std::cell::{Ref, RefCell};

#[derive(Debug, Default)]
pub(crate) struct Stage(RefCell<StageHistogram>);

impl Stage {
    pub(crate) fn record(&self, us: u64) {
        self.0.borrow_mut().record(us);
    }

    pub(crate) fn times(&self) -> Ref<'_, StageHistogram> {
        self.0.borrow()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Stages {
    pub(crate) admit: Stage,
    pub(crate) queue: Stage,
    pub(crate) write_flush: Stage,
    pub(crate) replicate: Stage,
    pub(crate) answer: Stage,
    /// All five.
    pub(crate) produce: Stage,
    pub(crate) read_memory: Stage,
    pub(crate) read_disk: Stage,
}

/// What is still to be timed of an answer: it waits with it for the socket. Microseconds by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerTimes {
    began_us: u64,
    committed_us: u64,
}

impl Stages {
    /// A produce whose first byte came at `began_us` and whose last frame was appended at `appended_us` is settled.
    pub(crate) fn on_committed(&self, began_us: u64, appended_us: u64, times: CommitTimes) -> AnswerTimes {
        let appended_us = appended_us.max(began_us);
        let issued_us = times.issued_us.max(appended_us);
        let durable_us = times.durable_us.max(issued_us);
        let committed_us = times.committed_us.max(durable_us);
        self.admit.record(appended_us - began_us);
        self.queue.record(issued_us - appended_us);
        self.write_flush.record(durable_us - issued_us);
        self.replicate.record(committed_us - durable_us);
        AnswerTimes { began_us, committed_us }
    }

    /// The last byte of its answer was taken by the socket.
    pub(crate) fn on_answered(&self, times: AnswerTimes, now_us: u64) {
        let now_us = now_us.max(times.committed_us);
        self.answer.record(now_us - times.committed_us);
        self.produce.record(now_us - times.began_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(stages: &Stages) -> [u64; 6] {
        let Stages { admit, queue, write_flush, replicate, answer, produce, .. } = stages;
        [admit, queue, write_flush, replicate, answer, produce].map(|stage| stage.times().sum_us())
    }

    #[test]
    fn the_stages_of_a_produce_add_up_to_it() {
        let stages = Stages::default();
        let times = CommitTimes { issued_us: 130, durable_us: 180, committed_us: 250 };
        let answer = stages.on_committed(100, 110, times);
        assert_eq!((stages.replicate.times().count(), stages.answer.times().count()), (1, 0));
        stages.on_answered(answer, 255);
        assert_eq!(sums(&stages), [10, 20, 50, 70, 5, 155]);
    }

    #[test]
    fn a_duplicate_of_what_was_durable_waited_for_nothing() {
        let stages = Stages::default();
        // Its group is long past, and it was committed by the reading of the turn it came in.
        let times = CommitTimes { issued_us: 30, durable_us: 80, committed_us: 100 };
        let answer = stages.on_committed(100, 110, times);
        stages.on_answered(answer, 115);
        assert_eq!(sums(&stages), [10, 0, 0, 0, 5, 15]);
        // No group was ever durable.
        let answer = stages.on_committed(200, 210, CommitTimes::default());
        stages.on_answered(answer, 205);
        assert_eq!(sums(&stages), [20, 0, 0, 0, 5, 25]);
    }
}
