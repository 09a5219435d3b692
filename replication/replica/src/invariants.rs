//! What is true of a leader after every event.

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
    }
}
