//! What is true of a replica after every event.

use crate::follower::Follower;
use crate::leader::Leader;

impl Leader {
    /// Asserted at the end of every event.
    pub(crate) fn assert_invariants(&self) {
        let (hw, flushed, end) = (self.high_watermark(), self.local_flushed(), self.log_end_offset());
        assert!(flushed <= end, "{}: flushed {flushed} beyond the log end {end}", self.id());
        assert!(hw <= end, "{}: high watermark {hw} beyond the log end {end}", self.id());
        let (on_leader, on_all) = self.pending().oldest();
        assert!(on_leader.is_none_or(|o| o > flushed), "{}: an answer waits for {on_leader:?}, flushed is {flushed}", self.id());
        assert!(on_all.is_none_or(|o| o > hw), "{}: an answer waits for {on_all:?}, high watermark is {hw}", self.id());
        if let Some(reason) = self.not_leading() {
            assert!(self.pending().is_empty(), "{}: an answer waits for a leader that does not lead: {reason:?}", self.id());
        }
        for (broker, follower) in self.followers() {
            let proved = follower.proved.map(|proved| proved.offset);
            assert!(
                follower.flushed <= proved && proved.is_none_or(|proved| proved <= end),
                "{}: broker {broker} has flushed {:?}, proved {proved:?}, log end {end}",
                self.id(),
                follower.flushed
            );
        }
    }
}

impl Follower {
    /// Asserted at the end of every event.
    pub(crate) fn assert_invariants(&self) {
        let (start, hw, end) = (self.log_start_offset(), self.high_watermark(), self.log_end_offset());
        assert!(start <= end && hw <= end, "{}: log start {start}, high watermark {hw}, log end {end}", self.id());
        assert!(self.flushed() <= end, "{}: flushed {} beyond the log end {end}", self.id(), self.flushed());
        let (epoch, latest) = (self.leader_epoch(), self.epochs().latest());
        assert!(latest.is_none_or(|latest| latest <= epoch), "{}: frames of {latest:?} under leader epoch {epoch}", self.id());
    }
}
