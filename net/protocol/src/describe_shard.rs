//! DescribeShard: what one shard says of itself, its journal and memory, and of all that is wrong on its disk.
//!
//! Lists are bounded and come with the count of all there are; a list that is shorter than its count was cut.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{DAMAGED_RANGES_PER_ANSWER_MAX, FINDINGS_PER_ANSWER_MAX, MESSAGE_BODY_LEN_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeShardRequest {}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeShardAnswer {
    pub error: u16,
    pub text: String,
    pub shard: u16,
    /// The number of the broker's start; it grows with every one.
    pub incarnation: u64,
    pub partition_count: u32,
    /// Bytes appended and not yet durable.
    pub journal_queued_len: u64,
    /// Bytes of the journal's ring that a checkpoint still needs, and the most there can be.
    pub journal_distance: u64,
    pub journal_capacity: u64,
    /// Bytes of tails and batch cache, and their budget.
    pub tail_used_len: u64,
    pub tail_budget_len: u64,
    /// Produce is refused until there is room.
    pub disk_full: bool,
    pub scrub: ScrubProgress,
    /// Bad places on disk, the oldest first.
    pub findings: Vec<ScrubbedFinding>,
    pub finding_count: u64,
    /// Offsets that are not served.
    pub damaged: Vec<DamagedOffsets>,
    pub damaged_count: u64,
    /// Partitions whose newest acknowledged records may be missing.
    pub possibly_short: Vec<PossiblyShort>,
    pub possibly_short_count: u64,
}

/// How far the scrubber of a shard has come.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Bytes a second of this shard at most; 0: the broker does not scrub.
    pub rate_len: u64,
    /// A pass begins no sooner than this after the one before.
    pub interval_ms: u64,
    /// Passes begun since the broker's start.
    pub pass: u64,
    pub is_running: bool,
    /// Bytes read in this pass (in the last one, while none is running), and all of them, about.
    pub done_len: u64,
    pub total_len: u64,
    /// When the last whole pass ended, milliseconds since 1970.
    pub last_ended_ms: Option<i64>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubbedFinding {
    pub file: String,
    /// Byte of the file at which the bad part begins.
    pub position: u64,
    /// What is wrong.
    pub text: String,
    /// The offsets it costs; `None` when no record is lost by it.
    pub lost: Option<DamagedOffsets>,
    /// Nothing depends on the bad bytes any more.
    pub is_repaired: bool,
}

/// Offsets from `from` (included) to `until` (not included).
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamagedOffsets {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub from: u64,
    pub until: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PossiblyShort {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// Records from this offset on may be missing.
    pub from: u64,
}

const _: () = assert!(
    FINDINGS_PER_ANSWER_MAX * (2 * TEXT_LEN_MAX + 128) + 2 * DAMAGED_RANGES_PER_ANSWER_MAX * 48 + 4 * TEXT_LEN_MAX
        <= MESSAGE_BODY_LEN_MAX,
    "the fullest answer fits"
);

impl Message for DescribeShardRequest {
    const API: Api = Api::DescribeShard;
    const NAME: &'static str = "DescribeShard request";

    fn check(_: &ArchivedDescribeShardRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for DescribeShardRequest {
    type Answer = DescribeShardAnswer;
}

impl Message for DescribeShardAnswer {
    const API: Api = Api::DescribeShard;
    const NAME: &'static str = "DescribeShard answer";

    fn check(archived: &ArchivedDescribeShardAnswer) -> Result<(), Malformed> {
        at_most("findings", archived.findings.len(), FINDINGS_PER_ANSWER_MAX)?;
        at_most("damaged ranges", archived.damaged.len(), DAMAGED_RANGES_PER_ANSWER_MAX)?;
        at_most("partitions that may be short", archived.possibly_short.len(), DAMAGED_RANGES_PER_ANSWER_MAX)?;
        let texts = archived.findings.iter().flat_map(|finding| [finding.file.len(), finding.text.len()]);
        texts.max().map_or(Ok(()), |len| at_most("bytes of text in a finding", len, TEXT_LEN_MAX))
    }
}
