//! Every limit of the format and of the protocol, in one place, with their relations asserted.
//! Settings an operator may change live in the program's configuration; their bounds are here.

/// The unit of every direct write and the block of journal and segments, bytes.
pub const BLOCK_LEN: usize = 4096;

/// Largest body of one frame (the records section of one batch), bytes.
pub const FRAME_BODY_LEN_MAX: usize = 8 * 1024 * 1024;
/// Default for the largest frame a topic accepts, header included, bytes (setting `frame_len_max` of a topic).
pub const FRAME_LEN_MAX_DEFAULT: usize = 1024 * 1024 + 4096;
/// Most records in one batch.
pub const RECORDS_PER_BATCH_MAX: u32 = 1_000_000;
/// Most headers of one record.
pub const HEADERS_PER_RECORD_MAX: usize = 1024;

/// Largest native message, prefix included, bytes.
pub const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;
/// Largest rkyv body of a native message (without frames), bytes.
pub const MESSAGE_BODY_LEN_MAX: usize = 1024 * 1024;
/// Most partitions named in one produce or fetch request.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 2048;
/// Longest entry of one partition in an answer, its text and its address included, bytes.
pub const PARTITION_ANSWER_LEN_MAX: usize = 511;
/// Most findings of the scrubber in one answer.
pub const FINDINGS_PER_ANSWER_MAX: usize = 128;
/// Most damaged ranges in one answer.
pub const DAMAGED_RANGES_PER_ANSWER_MAX: usize = 2048;
/// Most brokers in one description of a cluster, and most partitions in it that are not as they should be.
pub const BROKERS_PER_ANSWER_MAX: usize = 1024;
pub const AILING_PARTITIONS_PER_ANSWER_MAX: usize = 256;
/// Most counters, and most gauges, that a shard names in one answer.
pub const METRICS_PER_ANSWER_MAX: usize = 256;
/// Most histograms that a shard names in one answer.
pub const HISTOGRAMS_PER_ANSWER_MAX: usize = 64;
/// Longest name of any of them, bytes.
pub const METRIC_NAME_LEN_MAX: usize = 64;
/// Longest host name in an address, bytes.
pub const HOST_LEN_MAX: usize = 255;
/// Longest client id in a Hello, bytes.
pub const CLIENT_ID_LEN_MAX: usize = 256;
/// Most apis in the version list of a Hello.
pub const APIS_PER_HELLO_MAX: usize = 256;
/// Most topics named in one metadata request.
pub const TOPICS_PER_REQUEST_MAX: usize = 2048;
/// Most settings of one topic.
pub const SETTINGS_PER_TOPIC_MAX: usize = 64;
/// Most shards of one cluster.
pub const SHARDS_PER_CLUSTER_MAX: usize = 2048;
/// Longest a fetch may be parked, milliseconds.
pub const FETCH_WAIT_MS_MAX: u32 = 60_000;
/// Largest answer to one fetch, bytes.
pub const FETCH_LEN_MAX: u32 = MESSAGE_LEN_MAX as u32 - MESSAGE_BODY_LEN_MAX as u32;
/// A reservation without progress for this long is given back and its connection closed, milliseconds.
pub const REQUEST_STALL_MS_MAX: u64 = 5_000;
/// Requests of one connection that wait for an answer; more are left unread in the socket.
pub const REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: usize = 256;

/// Most partitions that one request of a fetch session between two brokers names, and forgets, together.
pub const REPLICAS_PER_FETCH_MAX: usize = 16 * 1024;
/// Most bytes of one partition in such a request, and in an answer that says nothing of it in words.
pub const REPLICA_ENTRY_LEN_MAX: usize = 60;
/// Most producers in one answer about where a log begins; the others come with further answers.
pub const PRODUCERS_PER_BEGINNING_MAX: usize = 4096;
/// Most leader epochs in such an answer: the newest.
pub const EPOCHS_PER_BEGINNING_MAX: usize = 4096;
/// Longest part of what controllers say to each other, bytes; and longest message of them, in all its parts.
pub const CONTROLLER_PART_LEN_MAX: usize = 1024 * 1024;
pub const CONTROLLER_MESSAGE_LEN_MAX: usize = 72 * 1024 * 1024;
/// Shortest and longest secret of a cluster, bytes.
pub const CLUSTER_SECRET_LEN_MIN: usize = 32;
pub const CLUSTER_SECRET_LEN_MAX: usize = 1024;
/// Most voters of a cluster's controller quorum.
pub const CLUSTER_VOTERS_MAX: usize = 9;

/// Longest topic name, bytes; letters, digits, `.`, `_` and `-`, as Kafka's.
pub const TOPIC_NAME_LEN_MAX: usize = 249;
/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;
/// Most partitions that one command to the controller names: all of a largest topic.
pub const PARTITIONS_PER_COMMAND_MAX: usize = PARTITIONS_PER_TOPIC_MAX as usize;
/// Most partitions of all topics of one cluster together.
pub const PARTITIONS_PER_CLUSTER_MAX: usize = 100_000;
/// Most replicas of one partition.
pub const REPLICAS_PER_PARTITION_MAX: u32 = 15;
/// Longest name of a rack, bytes.
pub const RACK_LEN_MAX: usize = 255;
/// Most shards of one broker.
pub const SHARDS_PER_BROKER_MAX: usize = 1024;
/// Producer ids are given out in blocks of this many.
pub const PRODUCER_ID_BLOCK_LEN: u32 = 1000;

/// Recent batches kept per producer and partition, so a retry of any of them is recognised (KIP-98).
pub const BATCHES_PER_PRODUCER: usize = 5;
/// Most idempotent producers one partition remembers; at the bound new producers are refused.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;
/// A producer is forgotten this long after its last append, milliseconds (7 days).
pub const PRODUCER_EXPIRY_MS: i64 = 7 * 24 * 3600 * 1000;
/// Longest delivery timeout a client may set, milliseconds (1 day).
pub const DELIVERY_TIMEOUT_MS_MAX: u64 = 24 * 3600 * 1000;

/// A commit group is closed at this many bytes, unless its first frame alone is larger.
pub const GROUP_LEN_TARGET: usize = 1024 * 1024;
/// Largest commit group: header, one largest frame with its entry header, rounded to blocks.
pub const GROUP_LEN_MAX: usize = FRAME_BODY_LEN_MAX + 4 * BLOCK_LEN;
/// Write-back starts when a partition has gathered this many bytes.
pub const WRITE_BACK_LEN: usize = 256 * 1024;
/// Tails grow in chunks of this many bytes.
pub const TAIL_CHUNK_LEN: usize = 16 * 1024;
/// Bytes of log between two entries of an offset index.
pub const INDEX_INTERVAL_LEN: u64 = 64 * 1024;

pub const SEGMENT_LEN_DEFAULT: u64 = 256 * 1024 * 1024;
pub const SEGMENT_LEN_MIN: u64 = 1024 * 1024;
pub const SEGMENT_LEN_MAX: u64 = 1024 * 1024 * 1024;

const _: () = assert!(FRAME_BODY_LEN_MAX + crate::frame::FRAME_HEADER_LEN + 2 * BLOCK_LEN <= GROUP_LEN_MAX);
const _: () = assert!(FRAME_BODY_LEN_MAX + MESSAGE_BODY_LEN_MAX < MESSAGE_LEN_MAX, "one largest frame fits in a message");
const _: () = assert!(FRAME_LEN_MAX_DEFAULT <= FRAME_BODY_LEN_MAX);
const _: () = assert!(DELIVERY_TIMEOUT_MS_MAX < PRODUCER_EXPIRY_MS as u64, "a producer outlives its longest retry");
const _: () = assert!(BLOCK_LEN.is_power_of_two() && GROUP_LEN_MAX.is_multiple_of(BLOCK_LEN));
const _: () = assert!(
    PARTITIONS_PER_REQUEST_MAX * PARTITION_ANSWER_LEN_MAX + 64 <= MESSAGE_BODY_LEN_MAX,
    "an answer for all partitions fits"
);
const _: () = assert!(
    REPLICAS_PER_FETCH_MAX * REPLICA_ENTRY_LEN_MAX + 256 <= MESSAGE_BODY_LEN_MAX,
    "a request that names as many replicas as it may fits"
);
const _: () = assert!(CONTROLLER_PART_LEN_MAX + MESSAGE_BODY_LEN_MAX < MESSAGE_LEN_MAX);
const _: () =
    assert!(SHARDS_PER_BROKER_MAX <= SHARDS_PER_CLUSTER_MAX && PARTITIONS_PER_TOPIC_MAX as usize <= PARTITIONS_PER_CLUSTER_MAX);
