//! A follower of one partition: a copy of the leader's log, frame by frame and byte by byte. Each event is a file.
//!
//! Everything below its high watermark may have been acknowledged. The expensive mistake is to cut that off because
//! somebody says so: a follower that is told to does nothing, keeps what it has, and reports it, until an operator
//! declares the damage. Deliberately absent: bytes of records and checksums over them (the driver hands over frames that
//! it has verified), and when to fetch.

mod effect;
pub mod on_below_log_start;
pub mod on_damage;
pub mod on_diverging;
pub mod on_fetched;
pub mod on_leader;
pub mod on_local_flush;
pub mod on_truncated;

pub use effect::{FollowerEffect, FollowerEffects, Trouble};

use crate::log_position::{LogPosition, LogState};
use crate::session::PartitionFetch;
use sluice_model::{BrokerId, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable, TopicPartition};

/// What a follower starts from: the recovered log.
#[derive(Clone, Debug)]
pub struct FollowerStart {
    pub id: TopicPartition,
    /// The newest leader epoch that is known, not below that of the last frame; 0 for none.
    pub leader_epoch: LeaderEpoch,
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    /// Everything below this is flushed here.
    pub local_flushed: Offset,
    pub high_watermark: Offset,
    /// `header_crc` of the last frame of the log, 0 for none.
    pub last_header_crc: u32,
    pub epochs: LeaderEpochHistory,
    pub producers: ProducerTable,
    pub log_state: LogState,
}

/// What a follower is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It fetches, when there is a leader.
    Fetching,
    /// Its log is being cut off to end there; nothing is appended until it is.
    Truncating { end_offset: Offset },
    /// All it has is deleted on the leader, which it asks about the place where that one's log begins.
    AskingBeginning { first_offset: Offset },
    /// Its log is being replaced by an empty one; nothing is appended until it is.
    Replacing,
    /// Its log and the leader's cannot both be right, or it would have to give up what may have been acknowledged.
    Stopped(Trouble),
}

/// A place to fetch from, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub position: LogPosition,
    pub flushed: Offset,
    pub log_state: LogState,
}

impl FollowerPosition {
    /// What a fetch says of it.
    #[must_use]
    pub fn fetch(&self) -> PartitionFetch {
        let FollowerPosition { leader_epoch, position, flushed, log_state, .. } = *self;
        PartitionFetch { leader_epoch, position, flushed, log_state }
    }
}

#[derive(Clone, Debug)]
pub struct Follower {
    id: TopicPartition,
    leader_epoch: LeaderEpoch,
    leader: Option<BrokerId>,
    phase: Phase,
    log_state: LogState,
    /// An operator has given up what this replica has and the leader has not.
    damage_is_declared: bool,
    log_start_offset: Offset,
    log_end_offset: Offset,
    flushed: Offset,
    high_watermark: Offset,
    last_header_crc: u32,
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
}

impl Follower {
    /// A replica that follows nobody yet.
    #[must_use]
    pub fn new(start: FollowerStart) -> Self {
        let follower = Self {
            id: start.id,
            leader_epoch: start.leader_epoch,
            leader: None,
            phase: Phase::Fetching,
            log_state: start.log_state,
            damage_is_declared: false,
            log_start_offset: start.log_start_offset,
            log_end_offset: start.log_end_offset,
            flushed: start.local_flushed,
            high_watermark: start.high_watermark,
            last_header_crc: start.last_header_crc,
            epochs: start.epochs,
            producers: start.producers,
        };
        follower.assert_invariants();
        follower
    }

    /// Where to fetch, and what of it is flushed; `None` while there is no leader or nothing can be appended.
    #[must_use]
    pub fn fetch_position(&self) -> Option<FollowerPosition> {
        let leader = self.leader.filter(|_| self.phase == Phase::Fetching)?;
        Some(FollowerPosition {
            leader,
            leader_epoch: self.leader_epoch,
            position: self.position(),
            flushed: self.flushed,
            log_state: self.log_state,
        })
    }

    /// The end of its log.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { offset: self.log_end_offset, last_epoch: self.epochs.latest(), last_header_crc: self.last_header_crc }
    }

    /// The driver is cutting off or replacing the log: until it says what came of that, nobody else may use it.
    #[must_use]
    pub fn log_is_in_work(&self) -> bool {
        matches!(self.phase, Phase::Truncating { .. } | Phase::Replacing)
    }

    /// It stops until somebody looks at it, or a new leader epoch shows that it need not have.
    fn stop(&mut self, trouble: Trouble, effects: &mut FollowerEffects) {
        self.phase = Phase::Stopped(trouble);
        effects.push(FollowerEffect::Report { trouble });
    }

    /// What the leader has committed, as far as it is here; it never moves back.
    fn advance_high_watermark(&mut self, leaders: Offset, effects: &mut FollowerEffects) {
        let advanced = leaders.min(self.log_end_offset);
        if advanced > self.high_watermark {
            self.high_watermark = advanced;
            effects.push(FollowerEffect::HighWatermarkMoved { high_watermark: advanced });
        }
    }

    /// Forgets producers that have not appended since `before_ms`; gives back how many.
    pub fn on_expire_producers(&mut self, before_ms: i64) -> usize {
        self.producers.expire(before_ms)
    }

    /// Everything it knows, for a leader to start from.
    pub(crate) fn take_start(&mut self) -> FollowerStart {
        FollowerStart {
            id: self.id,
            leader_epoch: self.leader_epoch,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            local_flushed: self.flushed,
            high_watermark: self.high_watermark,
            last_header_crc: self.last_header_crc,
            epochs: std::mem::take(&mut self.epochs),
            producers: std::mem::take(&mut self.producers),
            log_state: self.log_state,
        }
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
    pub fn leader(&self) -> Option<BrokerId> {
        self.leader
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    #[must_use]
    pub fn log_state(&self) -> LogState {
        self.log_state
    }

    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything below this is flushed on this replica.
    #[must_use]
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochHistory {
        &self.epochs
    }

    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }
}
