//! The rules of one replica of one partition: what may be appended, what counts as flushed, when a produce is
//! answered, how far consumers may read, who is in sync, and what a follower copies and cuts off.
//!
//! Events come in as `on_<event>`, effects go out as values, and every event ends with the invariants asserted.
//! The expensive mistake is an acknowledgement before its condition holds, so an acknowledgement is never
//! anything but a value released by an offset that has moved. Deliberately absent: bytes of records, clocks,
//! files, sockets, async.

pub mod effect;
pub mod follower;
pub mod high_watermark;
pub mod idempotence;
pub mod in_sync_set;
mod invariants;
pub mod leader;
pub mod log_position;
pub mod pending_acks;
pub mod replica;
pub mod session;

#[cfg(test)]
mod regressions_test;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod walk_test;

pub use effect::{Acks, Durability, Effect, Effects};
pub use follower::on_below_log_start::{BeginningRefusal, LogBeginning};
pub use follower::on_diverging::Diverging;
pub use follower::on_fetched::{FetchedFrames, FetchedRefusal};
pub use follower::{Follower, FollowerEffect, FollowerEffects, FollowerPosition, FollowerStart, Phase, Trouble};
pub use idempotence::SequenceRefusal;
pub use in_sync_set::InSyncSet;
pub use leader::end_offset::EndOffsetRefusal;
pub use leader::on_append::{AppendRefusal, ProduceBatch};
pub use leader::on_follower_fetch::{FetchOutcome, FollowerFetch, FollowerRefusal, LeaderLog, Link};
pub use leader::on_follower_flush::FollowerFlush;
pub use leader::on_isr_answer::IsrAnswer;
pub use leader::on_isr_review::IsrProposal;
pub use leader::on_truncate::TruncatedLog;
pub use leader::timing::IsrTimes;
pub use leader::{Leader, LeaderStart, NotLeading};
pub use log_position::{LogFacts, LogPosition, LogState};
pub use replica::{LeaderSettings, PartitionState, Replica, Role, RoleChange, StateRefusal};
