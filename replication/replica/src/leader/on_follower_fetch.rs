//! A follower asks for what comes after its log end, and says what of its log is flushed.
//!
//! In order: is this the leader it means, is it a replica under its current incarnation, do both logs agree up to where
//! it stands (leader epochs first, KIP-101 and KIP-320, then the chain), and only then does what it has flushed count.
//! The chain at the fetch offset covers every frame below it, so it proves the flushed offset too, which never lies
//! beyond. The expensive mistake is to count a flush of other records than the leader's.
//!
//! Deliberately absent: the bytes to send, which the driver reads from its log, and a look into that log: where the rules
//! do not remember the chain at an offset, they ask for it and nothing has changed.

use super::{Leader, NotLeading};
use crate::effect::Effects;
use crate::log_position::{LogPosition, LogState};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset};
use std::fmt;

/// One follower's place in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// The leader epoch that it follows.
    pub leader_epoch: LeaderEpoch,
    /// Its log end.
    pub position: LogPosition,
    /// Everything below this is on its disk, device cache included.
    pub flushed: Offset,
    pub log_state: LogState,
}

/// What the leader's own log says about a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderLog {
    /// Base offset of the first frame that is kept; the log end where there is none.
    pub first_offset: Offset,
    /// What stands at the fetch offset, where it was asked for.
    pub link: Link,
}

/// What the leader's log has at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nobody has looked.
    NotLookedUp,
    /// A frame with this `header_crc` ends there (for the first offset of the log: the one before it did, 0 for none).
    Frame { header_crc: u32 },
    /// No frame ends there.
    NoBoundary,
}

/// What the follower gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Frames from here on, as soon as there are any; below the log end, not the high watermark.
    Serve { from: Offset },
    /// The histories part: the leader has no more than this of the follower's last epoch. `epoch` is the greatest of the
    /// leader's that is not above that one; `None` when all are.
    Diverging { epoch: Option<LeaderEpoch>, end_offset: Offset },
    /// What it asks for is deleted here: it begins again where the leader's log begins.
    BelowLogStart { first_offset: Offset },
    /// The driver looks up what its log has there, and comes again. Nothing has changed.
    LookUp { offset: Offset },
}

/// Why a fetch counts for nothing. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerRefusal {
    NotLeading(NotLeading),
    FencedLeaderEpoch {
        got: LeaderEpoch,
        current: LeaderEpoch,
    },
    /// The follower knows of a greater epoch: the driver tells this leader so (`on_newer_leader_epoch`).
    UnknownLeaderEpoch {
        got: LeaderEpoch,
        current: LeaderEpoch,
    },
    UnknownReplica(BrokerId),
    /// An earlier start of that broker speaks, or one that this leader has not heard of yet (KIP-903).
    OtherIncarnation {
        got: Incarnation,
        current: Incarnation,
    },
    /// It cannot have flushed more than it has, or more than is proved.
    FlushedBeyond {
        flushed: Offset,
        end: Offset,
    },
    /// It has been further than this: an old message.
    Stale {
        got: Offset,
        known: Offset,
    },
    /// Frames of one leader epoch differ, which no election explains: one of the two logs is damaged.
    ChainMismatch {
        offset: Offset,
    },
}

impl fmt::Display for FollowerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeading(NotLeading::LeaseLost) => write!(f, "the leader has no lease with the controller"),
            Self::NotLeading(NotLeading::NewerEpoch { epoch }) => write!(f, "leader epoch {epoch} has begun elsewhere"),
            Self::FencedLeaderEpoch { got, current } => write!(f, "leader epoch {got} is fenced by epoch {current}"),
            Self::UnknownLeaderEpoch { got, current } => {
                write!(f, "leader epoch {got} is not known here yet, where {current} is the latest")
            }
            Self::UnknownReplica(broker) => write!(f, "broker {broker} has no replica of this partition"),
            Self::OtherIncarnation { got, current } => {
                write!(f, "incarnation {got} is not the one that is registered, {current}")
            }
            Self::FlushedBeyond { flushed, end } => {
                write!(f, "flushed offset {flushed} lies beyond {end}, where its log is proved to end")
            }
            Self::Stale { got, known } => write!(f, "offset {got} is behind {known}, which it has reported before"),
            Self::ChainMismatch { offset } => write!(
                f,
                "the frames below offset {offset} differ from the leader's under the same leader epochs: one of the two logs is damaged"
            ),
        }
    }
}

impl Leader {
    /// Judges where a follower stands and counts what it has flushed.
    pub fn on_follower_fetch(
        &mut self,
        now_us: u64,
        fetch: &FollowerFetch,
        log: LeaderLog,
        effects: &mut Effects,
    ) -> Result<FetchOutcome, FollowerRefusal> {
        self.check_follower(fetch.broker, fetch.incarnation, fetch.leader_epoch)?;
        let position = fetch.position;
        if fetch.flushed > position.offset {
            return Err(FollowerRefusal::FlushedBeyond { flushed: fetch.flushed, end: position.offset });
        }
        if position.offset < log.first_offset {
            return Ok(FetchOutcome::BelowLogStart { first_offset: log.first_offset });
        }
        let parts = self.divergence(position);
        // Where this log begins with the epochs that it keeps, it does not know those before: then the chain alone says
        // whether a follower that ends there has what was deleted here, or something else.
        if let Some((epoch, end_offset)) = parts.filter(|&(epoch, end)| epoch.is_some() || end < position.offset) {
            return Ok(FetchOutcome::Diverging { epoch, end_offset });
        }
        match (self.chain_at(fetch.broker, position.offset, log.link), parts) {
            (Link::NotLookedUp, _) => return Ok(FetchOutcome::LookUp { offset: position.offset }),
            (Link::Frame { header_crc }, _) if header_crc == position.last_header_crc => {}
            (_, Some((epoch, end_offset))) => return Ok(FetchOutcome::Diverging { epoch, end_offset }),
            (_, None) => return Err(FollowerRefusal::ChainMismatch { offset: position.offset }),
        }
        self.on_proved(now_us, fetch)?;
        self.advance_high_watermark(effects);
        self.assert_invariants();
        Ok(FetchOutcome::Serve { from: position.offset })
    }

    /// Is this the leader, under this epoch, of that replica in that incarnation?
    pub(super) fn check_follower(
        &self,
        broker: BrokerId,
        incarnation: Incarnation,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), FollowerRefusal> {
        let current = self.leader_epoch;
        if leader_epoch < current {
            return Err(FollowerRefusal::FencedLeaderEpoch { got: leader_epoch, current });
        }
        if leader_epoch > current {
            return Err(FollowerRefusal::UnknownLeaderEpoch { got: leader_epoch, current });
        }
        if let Some(reason) = self.not_leading() {
            return Err(FollowerRefusal::NotLeading(reason));
        }
        let follower = self.followers.get(&broker).ok_or(FollowerRefusal::UnknownReplica(broker))?;
        if incarnation != follower.incarnation {
            return Err(FollowerRefusal::OtherIncarnation { got: incarnation, current: follower.incarnation });
        }
        Ok(())
    }

    /// Where the leader's history parts from one that ends at `position`, as far as leader epochs tell.
    fn divergence(&self, position: LogPosition) -> Option<(Option<LeaderEpoch>, Offset)> {
        let Some(last_epoch) = position.last_epoch else {
            // It has no frame at all. Then only the place where a log begins is one to go on from, which the chain tells.
            return (position.offset > self.log_end_offset).then_some((None, self.log_end_offset));
        };
        match self.epochs.floor(last_epoch, self.log_end_offset) {
            Some((epoch, end)) if epoch == last_epoch && position.offset <= end => None,
            Some((epoch, end)) => Some((Some(epoch), end.min(position.offset))),
            // None of the leader's epochs is as old: nothing of what it keeps is the follower's.
            None => {
                Some((None, self.epochs.entries().first().map_or(self.log_end_offset, |&(_, start)| start).min(position.offset)))
            }
        }
    }

    /// The chain at `offset`, remembered or looked up.
    fn chain_at(&self, broker: BrokerId, offset: Offset, link: Link) -> Link {
        let remembered = if offset == self.log_end_offset {
            Some(self.last_header_crc)
        } else if offset == Offset::ZERO {
            Some(0)
        } else {
            self.followers.get(&broker).and_then(|follower| follower.crc_at(offset))
        };
        remembered.map_or(link, |header_crc| Link::Frame { header_crc })
    }

    /// Both logs are the same up to the fetch offset.
    fn on_proved(&mut self, now_us: u64, fetch: &FollowerFetch) -> Result<(), FollowerRefusal> {
        let follower = self.followers.get_mut(&fetch.broker).expect("check_follower has found it");
        // A log that is whole only grows. One that is damaged may have been cut off to be copied again.
        if fetch.log_state == LogState::Whole && follower.log_state == LogState::Whole {
            let proved = follower.proved.map_or(Offset::ZERO, |proved| proved.offset);
            if fetch.position.offset < proved {
                return Err(FollowerRefusal::Stale { got: fetch.position.offset, known: proved });
            }
            if let Some(known) = follower.flushed.filter(|known| fetch.flushed < *known) {
                return Err(FollowerRefusal::Stale { got: fetch.flushed, known });
            }
        }
        follower.log_state = fetch.log_state;
        follower.proved = Some(fetch.position);
        // A log with holes holds nothing for anybody.
        follower.flushed = (fetch.log_state == LogState::Whole).then_some(fetch.flushed);
        self.note_report(now_us, fetch.broker);
        Ok(())
    }

    /// The follower's pace, now that it has said something.
    pub(super) fn note_report(&mut self, now_us: u64, broker: BrokerId) {
        let Some(flushed) = self.followers.get(&broker).map(|follower| follower.flushed) else { return };
        let pace = self.pace(flushed);
        let times = self.isr_times;
        if let Some(follower) = self.followers.get_mut(&broker) {
            follower.timing.on_report(now_us, pace, &times);
        }
    }
}

#[cfg(test)]
#[path = "on_follower_fetch_test.rs"]
mod tests;
