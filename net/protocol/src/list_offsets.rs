//! ListOffsets: the offset at a time, at the beginning or at the end of partitions.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;

/// In `timestamp_ms`: the high watermark.
pub const TIMESTAMP_END: i64 = -1;
/// In `timestamp_ms`: the log start offset.
pub const TIMESTAMP_BEGINNING: i64 = -2;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ListOffsetsRequest {
    pub partitions: Vec<ListOffsetsPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsPartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// Milliseconds since 1970, or [`TIMESTAMP_END`] or [`TIMESTAMP_BEGINNING`].
    pub timestamp_ms: i64,
}

/// One entry for each of the request's, in its order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOffsetsAnswer {
    pub partitions: Vec<ListedOffset>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedOffset {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub error: u16,
    pub text: String,
    /// An offset at or before the first record with a timestamp at or after the one asked for, in the same frame;
    /// the high watermark when there is none.
    pub offset: u64,
    /// The timestamp found, -1 when there is none.
    pub timestamp_ms: i64,
    /// With `NotLeader`: where the partition is.
    pub address: Option<ShardAddress>,
}

impl Message for ListOffsetsRequest {
    const API: Api = Api::ListOffsets;
    const NAME: &'static str = "ListOffsets request";

    fn check(archived: &ArchivedListOffsetsRequest) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)
    }
}

impl Request for ListOffsetsRequest {
    type Answer = ListOffsetsAnswer;
}

impl Message for ListOffsetsAnswer {
    const API: Api = Api::ListOffsets;
    const NAME: &'static str = "ListOffsets answer";

    fn check(archived: &ArchivedListOffsetsAnswer) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        archived.partitions.iter().filter_map(|p| p.address.as_ref()).try_for_each(check_host)
    }
}
