//! Fetch: whole frames of several partitions from an offset on, waiting for some when there are none.

use crate::api::Api;
use crate::frames::{FrameRanges, split_frames};
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Wait at most this long for `len_min` bytes, milliseconds; the broker takes `FETCH_WAIT_MS_MAX` for more.
    pub wait_ms_max: u32,
    pub len_min: u32,
    /// Largest answer, its body included, bytes.
    pub len_max: u32,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// The leader epoch the client knows; 0 is any.
    pub leader_epoch: u32,
    /// The first frame answered is the one that holds this offset.
    pub offset: u64,
    /// Most bytes of frames of this partition.
    pub len_max: u32,
}

/// Followed by the frames of each entry, in order. The whole answer is never longer than the request's `len_max`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchAnswer {
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedPartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub error: u16,
    pub text: String,
    pub high_watermark: u64,
    pub log_start_offset: u64,
    pub log_end_offset: u64,
    /// Bytes of this partition's frames after the body.
    pub frames_len: u32,
    /// With `FetchTooSmall`: length of the frame at the offset, bytes.
    pub needed_len: u32,
    /// With `Damaged`: the first offset after the damaged range that can be fetched again. Without an error and above the
    /// offset asked for: an operator has accepted that the records up to here are lost, and the answer begins here.
    pub damaged_until: u64,
    /// With `NotLeader`: where the partition is.
    pub address: Option<ShardAddress>,
}

impl ArchivedFetchAnswer {
    /// Where each partition's frames lie in the `frames_len` bytes after the body.
    pub fn frame_ranges(&self, frames_len: usize) -> Result<FrameRanges, Malformed> {
        split_frames(self.partitions.iter().map(|p| p.frames_len.to_native()), frames_len)
    }
}

impl FetchAnswer {
    /// Where each partition's frames lie in the `frames_len` bytes after the body.
    pub fn frame_ranges(&self, frames_len: usize) -> Result<FrameRanges, Malformed> {
        split_frames(self.partitions.iter().map(|p| p.frames_len), frames_len)
    }
}

impl Message for FetchRequest {
    const API: Api = Api::Fetch;
    const NAME: &'static str = "Fetch request";

    fn check(archived: &ArchivedFetchRequest) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)
    }
}

impl Request for FetchRequest {
    type Answer = FetchAnswer;
}

impl Message for FetchAnswer {
    const API: Api = Api::Fetch;
    const NAME: &'static str = "Fetch answer";

    fn check(archived: &ArchivedFetchAnswer) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        archived.partitions.iter().filter_map(|p| p.address.as_ref()).try_for_each(check_host)
    }
}
