//! DescribeReplicas: who holds partitions and whom the controller trusts with them, and how far the log of the shard that
//! answers goes, where it holds one.
//!
//! Any shard answers, as far as its broker knows; leaders are not needed. It is how an operator is shown what there is
//! before an unclean election.

use crate::api::Api;
use crate::describe_partitions::PartitionRef;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::PARTITION_TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{PARTITION_ANSWER_LEN_MAX, PARTITIONS_PER_REQUEST_MAX, REPLICAS_PER_PARTITION_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DescribeReplicasRequest {
    pub partitions: Vec<PartitionRef>,
}

/// One entry for each of the request's, in its order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeReplicasAnswer {
    pub partitions: Vec<DescribedReplicas>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedReplicas {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub error: u16,
    pub text: String,
    /// One more with every change of anything that follows.
    pub partition_epoch: u32,
    /// `None` while no broker may lead it.
    pub leader: Option<u32>,
    pub leader_epoch: u32,
    /// Preferred leader first.
    pub replicas: Vec<PlacedReplica>,
    /// Brokers in sync.
    pub isr: Vec<u32>,
    /// Not in sync, but known to hold all that was acknowledged (KIP-966).
    pub eligible_leader_replicas: Vec<u32>,
    /// They may lack what was acknowledged, and neither lead nor join until they are repaired.
    pub damaged: Vec<u32>,
    /// The log of the shard that answers; `None` when it holds none, or is being recovered.
    pub log: Option<ReplicaLog>,
}

/// A broker that holds a partition, and its shard.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlacedReplica {
    pub broker_id: u32,
    pub shard: u16,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLog {
    pub log_start_offset: u64,
    pub high_watermark: u64,
    /// The offset after the last record.
    pub log_end_offset: u64,
    /// Leader epoch of the last frame; 0 when there is none.
    pub last_epoch: u32,
}

const _: () = assert!(
    PARTITION_TEXT_LEN_MAX + REPLICAS_PER_PARTITION_MAX as usize * (8 + 4 + 4) + 136 <= PARTITION_ANSWER_LEN_MAX,
    "every replica is in sync, eligible or neither, so these two lists are one in length; few are damaged"
);

impl Message for DescribeReplicasRequest {
    const API: Api = Api::DescribeReplicas;
    const NAME: &'static str = "DescribeReplicas request";

    fn check(archived: &ArchivedDescribeReplicasRequest) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)
    }
}

impl Request for DescribeReplicasRequest {
    type Answer = DescribeReplicasAnswer;
}

impl Message for DescribeReplicasAnswer {
    const API: Api = Api::DescribeReplicas;
    const NAME: &'static str = "DescribeReplicas answer";

    fn check(archived: &ArchivedDescribeReplicasAnswer) -> Result<(), Malformed> {
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        for partition in archived.partitions.iter() {
            at_most("bytes of text", partition.text.len(), PARTITION_TEXT_LEN_MAX)?;
            let in_sync = partition.isr.len().max(partition.eligible_leader_replicas.len());
            let longest = partition.replicas.len().max(in_sync).max(partition.damaged.len());
            at_most("replicas of a partition", longest, REPLICAS_PER_PARTITION_MAX as usize)?;
        }
        Ok(())
    }
}
