//! The rules of one replica of one partition: what may be appended, what counts as flushed, when a produce is
//! answered, how far consumers may read.
//!
//! Events come in as `on_<event>`, effects go out as values, and every event ends with the invariants asserted.
//! The expensive mistake is an acknowledgement before its condition holds, so an acknowledgement is never
//! anything but a value released by an offset that has moved. Deliberately absent: bytes of records, clocks,
//! files, sockets, async.

pub mod effect;
pub mod high_watermark;
pub mod idempotence;
pub mod in_sync_set;
mod invariants;
pub mod leader;
pub mod pending_acks;

pub use effect::{Acks, Durability, Effect, Effects};
pub use idempotence::SequenceRefusal;
pub use in_sync_set::InSyncSet;
pub use leader::on_append::{AppendRefusal, ProduceBatch};
pub use leader::on_truncate::TruncatedLog;
pub use leader::{Leader, LeaderStart};
