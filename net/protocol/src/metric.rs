//! The names under which a shard answers DescribeMetrics: those that a client may look for.
//!
//! An answer may have more names than stand here, and from an older broker it has fewer; a name never changes its
//! meaning. Lengths are bytes, counts and lengths run from the shard's start.

/// Stages of a produce, in their order; each request of which anything was appended and that was answered is one sample
/// of each. From the turn of the shard that took the first byte of the request (what waits unread in a socket is not
/// seen) to all of its frames in the log and in commit groups,
pub const ADMIT: &str = "admit";
/// from there until the commit group of the last frame went to the device,
pub const QUEUE: &str = "queue";
/// until that was durable,
pub const WRITE_FLUSH: &str = "write_flush";
/// until the durability asked for was reached (0 where this broker is the only replica),
pub const REPLICATE: &str = "replicate";
/// until the answer was handed to the socket, last byte included.
pub const ANSWER: &str = "answer";
/// The five in their order.
pub const PRODUCE_STAGES: [&str; 5] = [ADMIT, QUEUE, WRITE_FLUSH, REPLICATE, ANSWER];
/// From that first byte to the answer in the socket: the sum of the five, sample by sample.
pub const PRODUCE: &str = "produce";

/// From a fetch (or, when it was parked, from the turn that woke it) to its frames, all of them in memory,
pub const READ_MEMORY: &str = "read_memory";
/// or some of them read from segments, the wait for the pacer included.
pub const READ_DISK: &str = "read_disk";

/// Frames appended: how many, their records, their bytes with headers.
pub const ADMITTED_BATCHES: &str = "admitted_batches";
pub const ADMITTED_RECORDS: &str = "admitted_records";
pub const ADMITTED_LEN: &str = "admitted_len";
/// Frames refused, for all reasons; each reason has a counter of its own, which begins with [`REFUSED_PREFIX`].
pub const REFUSED_BATCHES: &str = "refused_batches";
pub const REFUSED_PREFIX: &str = "refused_for_";

/// Commit groups with entries: each is one durable write. Their entries, and bytes of all groups.
pub const GROUPS: &str = "groups";
pub const GROUP_ENTRIES: &str = "group_entries";
pub const JOURNAL_WRITTEN_LEN: &str = "journal_written_len";
pub const SEGMENT_WRITTEN_LEN: &str = "segment_written_len";
pub const CHECKPOINT_WRITTEN_LEN: &str = "checkpoint_written_len";
/// Everything the shard has given to its device, the zeros of a new journal included.
pub const DEVICE_WRITTEN_LEN: &str = "device_written_len";
pub const DEVICE_READ_LEN: &str = "device_read_len";

/// Bytes of frames in answers to fetches, by where they came from.
pub const FETCHED_MEMORY_LEN: &str = "fetched_memory_len";
pub const FETCHED_DISK_LEN: &str = "fetched_disk_len";
