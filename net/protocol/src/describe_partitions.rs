//! DescribePartitions: what the owning shard knows of partitions.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DescribePartitionsRequest {
    pub partitions: Vec<PartitionRef>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRef {
    pub topic_id: [u8; 16],
    pub partition: u32,
}

/// One entry for each of the request's, in its order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribePartitionsAnswer {
    pub partitions: Vec<DescribedPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedPartition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub error: u16,
    pub text: String,
    pub log_start_offset: u64,
    pub high_watermark: u64,
    pub log_end_offset: u64,
    /// Bytes of frames from log start to log end.
    pub log_len: u64,
    pub segment_count: u32,
    pub leader_epoch: u32,
    /// With `NotLeader`: where the partition is.
    pub address: Option<ShardAddress>,
}

impl Message for DescribePartitionsRequest {
    const API: Api = Api::DescribePartitions;
    const NAME: &'static str = "DescribePartitions request";

    fn check(archived: &ArchivedDescribePartitionsRequest) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)
    }
}

impl Request for DescribePartitionsRequest {
    type Answer = DescribePartitionsAnswer;
}

impl Message for DescribePartitionsAnswer {
    const API: Api = Api::DescribePartitions;
    const NAME: &'static str = "DescribePartitions answer";

    fn check(archived: &ArchivedDescribePartitionsAnswer) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        archived.partitions.iter().filter_map(|p| p.address.as_ref()).try_for_each(check_host)
    }
}
