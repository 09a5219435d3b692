//! When a snapshot is made: once the log is so long that a start would be slow, and only where there is room for it. The
//! engine would end for want of room; without a snapshot the log just stays longer.

use crate::node::Shared;

#[derive(Default)]
pub(crate) struct Snapshots {
    /// Length of the log at which it is asked again after one that did not come about, bytes.
    again_at: u64,
}

impl Snapshots {
    pub(crate) fn begin_when_due(&mut self, shared: &Shared) {
        let store = &shared.peers.state.store;
        let (len, due) = (store.log_len(), shared.config.snapshot_after_len);
        if len < due {
            self.again_at = 0;
        }
        if len < due.max(self.again_at) {
            return;
        }
        self.again_at = len + due;
        if store.check_room().is_err() {
            return;
        }
        let raft = shared.raft();
        // An engine that has ended needs none.
        tokio::spawn(async move { raft.trigger().snapshot().await });
    }
}
