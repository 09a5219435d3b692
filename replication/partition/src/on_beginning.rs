//! All that a follower has is deleted on its leader: it asks where that one's log begins, and begins there too.

use crate::partitions::Partitions;
use crate::run_follower_effects::Before;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_replica::{BeginningRefusal, LogBeginning};
use sluice_storage::commit_group::OFFSET_MAX;
use sluice_storage::disk::Disk;
use std::fmt;

/// Why a log does not begin where the leader has said. Nothing has changed; the next fetch tells again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginningFailure {
    UnknownPartition(TopicPartition),
    /// This shard leads it.
    NotFollower(TopicPartition),
    /// No log reaches this offset.
    OffsetTooLarge {
        got: Offset,
    },
    Rules(BeginningRefusal),
}

impl fmt::Display for BeginningFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotFollower(id) => write!(f, "this broker leads partition {id}"),
            Self::OffsetTooLarge { got } => write!(f, "the leader says that its log begins at {got}, which no log reaches"),
            Self::Rules(BeginningRefusal::Stale) => write!(f, "nobody asks for the beginning of this leader's log any more"),
            Self::Rules(BeginningRefusal::Epochs) => write!(f, "the leader sent leader epochs from beyond its log's beginning"),
        }
    }
}

impl std::error::Error for BeginningFailure {}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// What was to be fetched is deleted. `true`: the leader is to be asked for [`Self::beginning`], and its answer given to
    /// [`Self::on_beginning`], or [`Self::on_beginning_failed`] called. `false`: it is not an answer to the fetch under way.
    pub fn on_below_log_start(
        &self,
        id: TopicPartition,
        leader_epoch: LeaderEpoch,
        fetch_offset: Offset,
        first_offset: Offset,
    ) -> bool {
        self.follower_event(id, |follower, effects| {
            follower.on_below_log_start(leader_epoch, fetch_offset, first_offset, effects)
        })
    }

    /// Moves followers whose leaders are to be asked in the same way into `into`: nothing of their logs could be kept when
    /// they were to be cut off.
    pub fn take_beginnings(&self, into: &mut Vec<TopicPartition>) {
        self.shared.completions.take_wake();
        into.append(&mut self.shared.replication.beginnings.borrow_mut());
    }

    /// The leader could not be asked.
    pub fn on_beginning_failed(&self, id: TopicPartition) {
        self.follower_event(id, |follower, _| {
            follower.on_beginning_failed();
            true
        });
    }

    /// The log is going to be an empty one that begins where the leader's does.
    pub fn on_beginning(&self, id: TopicPartition, beginning: LogBeginning) -> Result<(), BeginningFailure> {
        let cell = self.get(id).ok_or(BeginningFailure::UnknownPartition(id))?;
        let mut partition = cell.borrow_mut();
        if beginning.first_offset.0 > OFFSET_MAX {
            return Err(BeginningFailure::OffsetTooLarge { got: beginning.first_offset });
        }
        self.shared.replication.with_effects(|effects| {
            let follower = partition.follower_mut().ok_or(BeginningFailure::NotFollower(id))?;
            let before = Before { now: self.shared.clock.now(), bodies: &[], high_watermark: follower.high_watermark() };
            follower.on_beginning(beginning, effects).map_err(BeginningFailure::Rules)?;
            self.run_follower_effects(&cell, &mut partition, before, effects);
            Ok(())
        })
    }
}
