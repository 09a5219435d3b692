//! A log driven by a replica's rules, and everything one shard owns of them.
//!
//! `partition.rs` is the place to begin: the life of a produce and of a fetch, a line per stage. The expensive
//! mistake is to hold a borrow of a partition across a wait; every loop here plans under a borrow, waits without
//! one, and books the result under a new one. Deliberately absent: runtimes, clocks (time comes in), sockets.

mod admission;
mod append;
mod append_clock;
mod beginning;
mod catch_up;
mod checkpointing;
mod clock_floor;
mod close;
mod commit_loop;
mod completions;
mod end_offset;
mod failed_shard;
mod fetch;
mod follower_fetch;
mod follower_positions;
mod isr;
mod lease;
mod lifecycle;
mod log_work;
mod look_up_chain;
mod lost_shards;
mod on_beginning;
mod on_diverging;
mod on_fetched;
mod on_local_flush;
mod on_partition_state;
pub mod pace;
mod partition;
mod partitions;
mod preparation;
mod refusal;
mod removal;
mod replica_frames;
mod replica_start;
mod replica_watch;
mod replication;
mod run_effects;
mod run_follower_effects;
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

pub use catch_up::{CatchUpRead, CaughtUp, Reader};
pub use completions::{CommitTimes, Completed, Completion};
pub use end_offset::EndRefusal;
pub use fetch::{Fetched, FetchedFrames};
pub use follower_fetch::{From, ReplicaRefusal};
pub use lifecycle::{OpenError, OpenShard};
pub use look_up_chain::LookUpError;
pub use lost_shards::check_moves;
pub use on_beginning::BeginningFailure;
pub use on_fetched::{Copied, CopyRefusal, FetchedReplica};
pub use on_partition_state::{PartitionStateRefusal, StateTaken};
pub use partitions::{PartitionStatus, Partitions, ShardStatus};
pub use preparation::{Prepare, Prepared, prepare};
pub use refusal::{Failure, FetchRefusal, Overload, ProduceRefusal};
pub use replica_frames::{ReplicaFrames, ReplicaFramesRefusal};
pub use replica_start::RecoveredReplica;
pub use scrub_state::{ScrubReport, ScrubStatus};
pub use settings::{PartitionAssignment, PartitionSettings, PartitionsConfig};
pub use sluice_replica::{Acks, Durability, IsrTimes, PartitionState};
pub use survey::{HeldPlacement, Survey, survey};
pub use truncate::TruncateError;
pub use written::WriteCounts;
