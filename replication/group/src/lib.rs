//! Consumer groups as rules: membership, assignment and committed offsets of all groups of one coordinator.
//!
//! A coordinator is a partition of an internal topic. Its log holds one [`Batch`] of [`Record`]s per frame, and
//! [`Image::apply_batch`] is the only way an image changes, so whoever has the same log has the same image. Each
//! `on_<event>` of [`Coordinator`] decides one event and changes nothing: it gives a [`Decision`], or a [`Refusal`]. Once
//! its records are appended, `on_appended` makes them so, and says what may be told to whom as soon as they are committed.
//! A partition moves only when its owner has said that it has given it up, or is gone; nobody waits for anybody else.
//!
//! The expensive mistake is a partition that two members have at the same time: each delivers what the other does.
//! Deliberately absent: clocks, randomness (member ids come in as arguments), hash maps, a barrier that all members of a
//! group have to reach.

pub mod batch;
pub mod coordinator;
pub mod decision;
pub mod describe;
pub mod group;
pub mod ids;
pub mod image;
pub mod invariants;
pub mod limits;
pub mod record;
pub mod refusal;
pub mod replay;
pub mod subscription;
pub mod topics;

pub mod on_appended;
pub mod on_commit_offsets;
pub mod on_delete_group;
pub mod on_expiry;
pub mod on_fetch_offsets;
pub mod on_heartbeat;
pub mod on_join;
pub mod on_leave;
pub mod on_reset_offsets;
pub mod on_snapshot;
pub mod on_time;
pub mod on_topics_changed;

mod assignor;
mod draft;
mod reconcile;
mod sessions;

pub use batch::{Batch, BatchError};
pub use coordinator::{Coordinator, Settings};
pub use decision::{Answer, Assigned, Assignment, Decision, Effect};
pub use describe::{GroupDescription, GroupListing, MemberDescription};
pub use group::{Group, Member};
pub use ids::{BatchNumber, GroupEpoch, GroupId, MemberEpoch, MemberId};
pub use image::{ApplyError, Image};
pub use on_commit_offsets::{CommitOffsets, CommitRefusal, OffsetCommit};
pub use on_delete_group::DeleteGroup;
pub use on_fetch_offsets::FetchOffsets;
pub use on_heartbeat::{Heartbeat, SubscriptionChange};
pub use on_join::JoinGroup;
pub use on_leave::LeaveGroup;
pub use on_reset_offsets::{OffsetChange, OffsetReset, ResetOffsets};
pub use record::{Assignor, CommittedOffset, Hold, Mode, Record};
pub use refusal::Refusal;
pub use replay::{Replay, ReplayError};
pub use subscription::{Subscription, SubscriptionFault};
pub use topics::Topics;

#[cfg(test)]
mod testing;
