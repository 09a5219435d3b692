//! Every limit of groups, with their relations. A largest group, changed as a whole, is one frame of the log.

use sluice_model::limits::{FRAME_BODY_LEN_MAX, MESSAGE_BODY_LEN_MAX, PARTITIONS_PER_CLUSTER_MAX};

/// Longest group id, bytes.
pub const GROUP_ID_LEN_MAX: usize = 255;
/// Longest instance id of a static member, bytes.
pub const INSTANCE_ID_LEN_MAX: usize = 255;
/// Longest text that is committed with an offset, bytes.
pub const METADATA_LEN_MAX: usize = 4096;
/// Metadata of all offsets of one request together, bytes.
pub const METADATA_LEN_PER_REQUEST_MAX: usize = MESSAGE_BODY_LEN_MAX;
/// Most topics that a subscription names, and most patterns.
pub const TOPICS_PER_SUBSCRIPTION_MAX: usize = 1000;
pub const PATTERNS_PER_SUBSCRIPTION_MAX: usize = 32;
/// Most members of one group.
pub const MEMBERS_PER_GROUP_MAX: usize = 1000;
/// Most groups of one coordinator, and most members and offsets of all of them.
pub const GROUPS_PER_COORDINATOR_MAX: usize = 10_000;
pub const MEMBERS_PER_COORDINATOR_MAX: usize = 50_000;
pub const OFFSETS_PER_COORDINATOR_MAX: usize = 1_000_000;
/// Metadata of all offsets of one coordinator, bytes.
pub const METADATA_LEN_PER_COORDINATOR_MAX: usize = 64 * 1024 * 1024;

/// Shortest and longest session, milliseconds.
pub const SESSION_TIMEOUT_MS_MIN: u32 = 1_000;
pub const SESSION_TIMEOUT_MS_MAX: u32 = 30 * 60 * 1000;
/// Shortest and longest time between two polls of an application, milliseconds.
pub const POLL_TIMEOUT_MS_MIN: u32 = 1_000;
pub const POLL_TIMEOUT_MS_MAX: u32 = 24 * 3600 * 1000;

/// Largest encoded batch, bytes. It is the value of one record, which is the only one of its frame.
pub const BATCH_LEN_MAX: usize = FRAME_BODY_LEN_MAX - 1024;
/// A snapshot's batches are closed at about this many bytes.
pub const SNAPSHOT_BATCH_LEN_TARGET: usize = 256 * 1024;

/// Bytes of one partition in a record when it is alone of its topic: as a target, and as held.
const TARGET_ENTRY_LEN: usize = 16 + 8 + 4;
const HELD_ENTRY_LEN: usize = 16 + 8 + 16;
const SUBSCRIPTION_LEN_MAX: usize = (TOPICS_PER_SUBSCRIPTION_MAX + PATTERNS_PER_SUBSCRIPTION_MAX) * 260;

const _: () = assert!(
    PARTITIONS_PER_CLUSTER_MAX * (TARGET_ENTRY_LEN + HELD_ENTRY_LEN) + SUBSCRIPTION_LEN_MAX + MEMBERS_PER_GROUP_MAX * 512
        < BATCH_LEN_MAX,
    "a join that gives every partition of the cluster to one member is one batch"
);
const _: () = assert!(METADATA_LEN_PER_REQUEST_MAX * 4 < BATCH_LEN_MAX, "a largest commit is one batch");
