//! A log driven by a replica's rules, and everything one shard owns of them.
//!
//! `partition.rs` is the place to begin: the life of a produce and of a fetch, a line per stage. The expensive
//! mistake is to hold a borrow of a partition across a wait; every loop here plans under a borrow, waits without
//! one, and books the result under a new one. Deliberately absent: runtimes, clocks (time comes in), sockets.

mod admission;
mod append;
mod append_clock;
mod catch_up;
mod checkpointing;
mod clock_floor;
mod close;
mod commit_loop;
mod completions;
mod failed_shard;
mod fetch;
mod lifecycle;
mod lost_shards;
pub mod pace;
mod partition;
mod partitions;
mod preparation;
mod refusal;
mod removal;
mod run_effects;
mod scrub_loop;
mod scrub_state;
mod settings;
mod space_reserve;
mod survey;
mod tick;
mod truncate;
mod turn_lock;
mod write_back_loop;
mod written;

pub use catch_up::{CatchUpRead, CaughtUp};
pub use completions::{CommitTimes, Completed, Completion};
pub use fetch::{Fetched, FetchedFrames};
pub use lifecycle::{OpenError, OpenShard};
pub use lost_shards::check_moves;
pub use partitions::{PartitionStatus, Partitions, ShardStatus};
pub use preparation::{Prepare, Prepared, prepare};
pub use refusal::{Failure, FetchRefusal, Overload, ProduceRefusal};
pub use scrub_state::{ScrubReport, ScrubStatus};
pub use settings::{PartitionAssignment, PartitionSettings, PartitionsConfig};
pub use sluice_replica::{Acks, Durability};
pub use survey::{HeldPlacement, Survey, survey};
pub use truncate::TruncateError;
pub use written::WriteCounts;
