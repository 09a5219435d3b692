//! The same broker is elected again: the log goes on where it is, under another leader epoch.

use super::Leader;
use super::progress::FollowerProgress;
use crate::effect::Effects;
use crate::in_sync_set::InSyncSet;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch};
use std::collections::BTreeMap;

impl Leader {
    /// Leads on under `leader_epoch`, greater than any so far, with these replicas. What waits to be committed goes on
    /// waiting: it is in the log, and the new epoch commits it.
    pub(crate) fn on_next_epoch(
        &mut self,
        leader_epoch: LeaderEpoch,
        isr: InSyncSet,
        replicas: &BTreeMap<BrokerId, Incarnation>,
        effects: &mut Effects,
    ) {
        self.isr = isr;
        self.isr_quiet_until_us = 0;
        let others = replicas.iter().filter(|&(&broker, _)| broker != self.broker);
        self.followers = others.map(|(&broker, &incarnation)| (broker, FollowerProgress::new(incarnation))).collect();
        self.on_leader_epoch(leader_epoch);
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }
}
