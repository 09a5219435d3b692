//! What a shard keeps on disk, and how it gets there and back: the journal that makes appends durable, the logs whose
//! segments hold them, the checkpoint that ties the two together, and recovery.
//!
//! Everything asks the device through one seam (`disk`), so the same code runs on direct I/O and on a disk that
//! fails on purpose (`testing::fault_disk`). The expensive mistake in this package is to call durable what is only
//! written. Deliberately absent: clocks, threads, any named runtime, and who leads a partition.

pub mod accepted_loss;
mod active_segment;
pub mod batch_cache;
mod careful_read;
pub mod checkpoint;
mod checkpoint_codec;
pub mod checkpoint_slots;
pub mod commit_group;
pub mod damage;
mod damaged_ranges;
pub mod disk;
pub mod entry_address;
pub mod flush;
mod footer_plan;
pub mod frame_reader;
pub mod frame_walk;
mod held_state;
pub mod journal;
mod journal_files;
pub mod journal_ring;
mod journal_scan;
pub mod layout;
pub mod log;
pub mod lost_shard;
pub mod offset_index;
mod open_segments;
mod pending_group;
mod proven_run;
pub mod read_plan;
pub mod read_turns;
pub mod recovery;
pub mod recovery_decision;
mod recovery_journal;
mod recovery_leftovers;
mod recovery_rebuild;
mod recovery_rebuild_held;
mod recovery_rebuild_journal;
mod recovery_replay;
mod recovery_replayed;
pub mod recovery_report;
mod recovery_segments;
mod recovery_truncation;
mod recovery_unknown;
pub mod restored_index;
pub mod retention;
mod run_bounded;
pub mod scrub;
pub mod scrub_finding;
mod scrub_footer;
pub mod scrub_journal;
mod scrub_lost;
mod scrub_pads;
mod scrub_read;
mod scrub_seen;
mod scrub_segment;
pub mod scrub_slot;
mod sealed_segment;
pub mod segment_check;
pub mod segment_cut;
pub mod segment_format;
pub mod segment_index;
pub mod segment_repair;
mod segment_walk;
mod tail;
pub mod testing;
pub mod time_index;
pub mod timestamp_lookup;
pub mod truncation;
mod truncation_walk;
pub mod unnamed_partition;
mod value_codec;
pub mod write_back;
