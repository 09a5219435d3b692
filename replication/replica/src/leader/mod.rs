//! A leader of one partition: its state, and the one setter of each of its ordered offsets. Each event is a file.

pub mod end_offset;
pub mod on_append;
pub mod on_broker_registered;
pub mod on_follower_fetch;
pub mod on_follower_flush;
pub mod on_isr_answer;
pub mod on_isr_review;
pub mod on_lease;
pub mod on_local_flush;
pub mod on_newer_leader_epoch;
pub mod on_next_epoch;
pub mod on_sent;
pub mod on_truncate;
mod progress;
pub mod timing;

use crate::effect::{Effect, Effects};
use crate::follower::FollowerStart;
use crate::high_watermark;
use crate::in_sync_set::InSyncSet;
use crate::log_position::{LogFacts, LogPosition};
use crate::pending_acks::PendingAcks;
use progress::FollowerProgress;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable, TopicPartition};
use std::collections::BTreeMap;
use timing::{IsrTimes, Pace};

/// What a leader starts from: the recovered log, and what the controller decided.
#[derive(Clone, Debug)]
pub struct LeaderStart {
    pub id: TopicPartition,
    pub broker: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: InSyncSet,
    /// The other replicas, each under its current incarnation; empty for a partition with one replica.
    pub followers: BTreeMap<BrokerId, Incarnation>,
    pub isr_times: IsrTimes,
    pub min_insync_replicas: u32,
    /// Longest frame to be appended, header included, bytes.
    pub frame_len_max: usize,
    pub log_end_offset: Offset,
    /// Everything below this is flushed here.
    pub local_flushed: Offset,
    /// As this replica knew it; the leader before may have known a greater one.
    pub high_watermark: Offset,
    /// `header_crc` of the last frame of the log, 0 for none.
    pub last_header_crc: u32,
    pub epochs: LeaderEpochHistory,
    pub producers: ProducerTable,
}

/// What keeps a leader from acknowledging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLeading {
    /// The broker has no lease with the controller.
    LeaseLost,
    /// There is a leader epoch after this one.
    NewerEpoch { epoch: LeaderEpoch },
}

#[derive(Clone, Debug)]
pub struct Leader {
    id: TopicPartition,
    broker: BrokerId,
    leader_epoch: LeaderEpoch,
    /// The broker's with the controller.
    has_lease: bool,
    /// The greatest that is known, if it is after this one.
    newer_epoch: Option<LeaderEpoch>,
    isr: InSyncSet,
    isr_times: IsrTimes,
    /// No change of the in-sync set is asked for before this, microseconds.
    isr_quiet_until_us: u64,
    min_insync_replicas: u32,
    frame_len_max: usize,
    log_end_offset: Offset,
    /// Everything below this is flushed here.
    local_flushed: Offset,
    high_watermark: Offset,
    last_header_crc: u32,
    /// Where the log ended when this leader epoch began.
    epoch_start_offset: Offset,
    followers: BTreeMap<BrokerId, FollowerProgress>,
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
    pending: PendingAcks,
}

impl Leader {
    /// Takes over a recovered log under a new leader epoch, which must be greater than any in the log.
    #[must_use]
    pub fn new(start: LeaderStart) -> Self {
        assert!(
            start.epochs.latest().is_none_or(|latest| latest < start.leader_epoch),
            "{}: leader epoch {} is not new, the log has {:?}",
            start.id,
            start.leader_epoch,
            start.epochs.latest()
        );
        let others = start.followers.into_iter().filter(|&(broker, _)| broker != start.broker);
        let mut leader = Self {
            id: start.id,
            broker: start.broker,
            leader_epoch: start.leader_epoch,
            has_lease: true,
            newer_epoch: None,
            isr: start.isr,
            isr_times: start.isr_times,
            isr_quiet_until_us: 0,
            min_insync_replicas: start.min_insync_replicas,
            frame_len_max: start.frame_len_max,
            log_end_offset: start.log_end_offset,
            local_flushed: start.local_flushed,
            high_watermark: start.high_watermark,
            last_header_crc: start.last_header_crc,
            epoch_start_offset: start.log_end_offset,
            followers: others.map(|(broker, incarnation)| (broker, FollowerProgress::new(incarnation))).collect(),
            epochs: start.epochs,
            producers: start.producers,
            pending: PendingAcks::default(),
        };
        leader.advance_high_watermark(&mut Effects::new());
        leader.assert_invariants();
        leader
    }

    /// Changes to settings that may change while it leads.
    pub fn on_settings(&mut self, frame_len_max: usize, min_insync_replicas: u32, effects: &mut Effects) {
        self.frame_len_max = frame_len_max;
        self.min_insync_replicas = min_insync_replicas;
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }

    /// Forgets producers that have not appended since `before_ms`; gives back how many.
    pub fn on_expire_producers(&mut self, before_ms: i64) -> usize {
        self.producers.expire(before_ms)
    }

    /// The partition goes away: gives back the tokens of produces that will not be answered as durable.
    pub fn on_removed(&mut self) -> Vec<u64> {
        self.pending.drain_tokens()
    }

    /// Another replica leads under `leader_epoch`, or none does: the log as a follower takes it over, and the tokens of
    /// produces of which nobody can say whether they will be durable.
    pub(crate) fn abdicate(&mut self, leader_epoch: LeaderEpoch, facts: LogFacts) -> (FollowerStart, Vec<u64>) {
        let unknown = self.pending.drain_tokens();
        let log = FollowerStart {
            id: self.id,
            leader_epoch,
            log_start_offset: facts.log_start_offset,
            log_end_offset: self.log_end_offset,
            local_flushed: self.local_flushed,
            high_watermark: self.high_watermark,
            last_header_crc: self.last_header_crc,
            epochs: std::mem::take(&mut self.epochs),
            producers: std::mem::take(&mut self.producers),
            log_state: facts.log_state,
        };
        (log, unknown)
    }

    /// Moves the high watermark as far as the flushed offsets allow and releases the answers that waited for it.
    fn advance_high_watermark(&mut self, effects: &mut Effects) {
        if self.not_leading().is_some() {
            return;
        }
        let (broker, local_flushed, followers) = (self.broker, self.local_flushed, &self.followers);
        let flushed = |member: BrokerId| {
            if member == broker { Some(local_flushed) } else { followers.get(&member).and_then(|follower| follower.flushed) }
        };
        let advanced = high_watermark::advanced(self.high_watermark, &self.isr, self.min_insync_replicas, flushed);
        if advanced > self.high_watermark {
            self.high_watermark = advanced;
            effects.push(Effect::HighWatermarkMoved { high_watermark: advanced });
        }
        self.pending.release(self.local_flushed, self.high_watermark, effects);
    }

    /// The one setter of this replica's own flushed offset.
    fn set_local_flushed(&mut self, flushed: Offset) {
        let before = self.local_flushed;
        assert!(
            before <= flushed && flushed <= self.log_end_offset,
            "{}: flushed {before} -> {flushed}, end {}",
            self.id,
            self.log_end_offset
        );
        self.local_flushed = flushed;
    }

    /// A leader epoch begins: what followers said under another one counts no more.
    fn begin_epoch(&mut self, leader_epoch: LeaderEpoch) {
        self.leader_epoch = leader_epoch;
        self.epoch_start_offset = self.log_end_offset;
        self.followers.values_mut().for_each(FollowerProgress::forget);
        // A lease comes and goes with the broker; what a newer epoch took is given back by one that is as new.
        self.newer_epoch = self.newer_epoch.filter(|&newer| newer > leader_epoch);
    }

    fn pace(&self, flushed: Option<Offset>) -> Pace {
        Pace { flushed, local_flushed: self.local_flushed, log_end: self.log_end_offset }
    }

    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything below this is flushed on this replica.
    #[must_use]
    pub fn local_flushed(&self) -> Offset {
        self.local_flushed
    }

    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochHistory {
        &self.epochs
    }

    #[must_use]
    pub fn pending(&self) -> &PendingAcks {
        &self.pending
    }

    #[must_use]
    pub fn isr(&self) -> &InSyncSet {
        &self.isr
    }

    /// Why it acknowledges nothing now; `None` while it leads.
    #[must_use]
    pub fn not_leading(&self) -> Option<NotLeading> {
        match self.newer_epoch {
            Some(epoch) => Some(NotLeading::NewerEpoch { epoch }),
            None => (!self.has_lease).then_some(NotLeading::LeaseLost),
        }
    }

    /// What `broker` is known to have flushed under this leader epoch and its current incarnation.
    #[must_use]
    pub fn follower_flushed(&self, broker: BrokerId) -> Option<Offset> {
        self.followers.get(&broker)?.flushed
    }

    /// Where `broker` stands, as far as it is proved under this leader epoch and its current incarnation: what comes behind
    /// that may be sent to it. `None` before a fetch was served.
    #[must_use]
    pub fn follower_position(&self, broker: BrokerId) -> Option<LogPosition> {
        self.followers.get(&broker)?.proved
    }

    pub(crate) fn followers(&self) -> &BTreeMap<BrokerId, FollowerProgress> {
        &self.followers
    }
}
