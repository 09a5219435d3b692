//! The plain values every other package speaks in: identities, offsets, the frame, limits, error codes.
//!
//! The expensive mistake here is a layout that two builds read differently, so every layout is asserted at
//! compile time. Deliberately absent: clocks, randomness, files, sockets, async.

pub mod backoff;
pub mod clock;
pub mod error_code;
pub mod frame;
pub mod ids;
pub mod leader_epoch_history;
pub mod limits;
pub mod nearest;
pub mod producer_table;
pub mod record_batch;
pub mod stage_histogram;

pub use backoff::Backoff;
pub use clock::{Clock, Now};
pub use error_code::{ErrorCode, Outcome};
pub use frame::{FRAME_HEADER_LEN, FrameError, FrameHeader, ProducerBatch};
pub use ids::{
    BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, PlacementEpoch, ProducerEpoch, ProducerId,
    Sequence, ShardIndex, TopicId, TopicPartition,
};
pub use leader_epoch_history::LeaderEpochHistory;
pub use producer_table::{ProducerEntry, ProducerTable, RecentBatch};
pub use stage_histogram::StageHistogram;
