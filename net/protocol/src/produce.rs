//! Produce: one frame for each of several partitions.

use crate::acks::Acks;
use crate::api::Api;
use crate::frames::{FrameRanges, split_frames};
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;

/// Followed by one frame per entry, in the same order. A partition may stand in it more than once; its frames are
/// appended in order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// [`Acks`].
    pub acks: u8,
    pub partitions: Vec<ProducePartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// Header and body, bytes.
    pub frame_len: u32,
}

/// One entry for each of the request's, in its order. With `Acks::None` there is no answer.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceAnswer {
    pub partitions: Vec<ProducedPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducedPartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub error: u16,
    pub text: String,
    /// Offset of the frame's first record.
    pub base_offset: u64,
    pub log_start_offset: u64,
    pub append_time_ms: i64,
    /// [`crate::Durability`].
    pub durability: u8,
    /// With `Retry::Later`: not before this many milliseconds.
    pub retry_after_ms: u32,
    /// With `NotLeader`: where the partition is.
    pub address: Option<ShardAddress>,
}

impl ArchivedProduceRequest {
    /// Where each partition's frame lies in the `frames_len` bytes after the body.
    pub fn frame_ranges(&self, frames_len: usize) -> Result<FrameRanges, Malformed> {
        split_frames(self.partitions.iter().map(|p| p.frame_len.to_native()), frames_len)
    }

    /// The durability asked for; [`Message::check`] has seen that it is one.
    #[must_use]
    pub fn acks(&self) -> Acks {
        Acks::from_u8(self.acks).unwrap_or_default()
    }
}

impl Message for ProduceRequest {
    const API: Api = Api::Produce;
    const NAME: &'static str = "Produce request";

    fn check(archived: &ArchivedProduceRequest) -> Result<(), Malformed> {
        if Acks::from_u8(archived.acks).is_none() {
            return Err(Malformed::Value { what: "acks (0 none, 1 leader, 2 all)", got: u64::from(archived.acks) });
        }
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)
    }
}

impl Request for ProduceRequest {
    type Answer = ProduceAnswer;
}

impl Message for ProduceAnswer {
    const API: Api = Api::Produce;
    const NAME: &'static str = "Produce answer";

    fn check(archived: &ArchivedProduceAnswer) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        archived.partitions.iter().filter_map(|p| p.address.as_ref()).try_for_each(check_host)
    }
}
