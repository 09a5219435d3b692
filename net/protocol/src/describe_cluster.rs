//! DescribeCluster: the brokers, the controller, and how many partitions are not as they should be, as the broker that
//! answers knows it.
//!
//! A broker that has lost touch with the others answers as well, with what it heard last; [`DescribeClusterAnswer::heard_ms_ago`]
//! tells. Lists are bounded and come with the count of all there are; a list that is shorter than its count was cut.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{
    AILING_PARTITIONS_PER_ANSWER_MAX, BROKERS_PER_ANSWER_MAX, CLUSTER_VOTERS_MAX, HOST_LEN_MAX, MESSAGE_BODY_LEN_MAX,
    RACK_LEN_MAX, REPLICAS_PER_PARTITION_MAX, TOPIC_NAME_LEN_MAX,
};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeClusterRequest {}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeClusterAnswer {
    pub error: u16,
    pub text: String,
    pub cluster_id: [u8; 16],
    /// The broker that answers.
    pub broker_id: u32,
    /// The broker that decides for the cluster; `None` while none is known here.
    pub controller: Option<u32>,
    /// Of the controller; grows with every new one.
    pub term: u64,
    /// Milliseconds since the controller last confirmed this broker's lease; `None`: not since its start. The answer may be
    /// that old, or older by the time that a change takes to arrive.
    pub heard_ms_ago: Option<u64>,
    /// Brokers that elect the controller.
    pub voters: Vec<u32>,
    /// By id.
    pub brokers: Vec<ClusterBroker>,
    pub broker_count: u64,
    pub counts: PartitionCounts,
    /// Partitions without a leader first, then those below min in-sync, then the others that are under-replicated.
    pub ailing: Vec<AilingPartition>,
    pub ailing_count: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClusterBroker {
    pub broker_id: u32,
    /// The number of its start; it grows with every one.
    pub incarnation: u64,
    /// [`ClusterBrokerState`].
    pub state: u8,
    pub rack: Option<String>,
    /// Its first shard.
    pub address: ShardAddress,
    pub shard_count: u16,
}

/// How far a broker's start has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClusterBrokerState {
    /// Registered; what its folder holds is not yet known.
    Recovering = 0,
    /// It holds no lease: it leads nothing, and nobody waits for it.
    Fenced = 1,
    /// It holds a lease, may lead and may be in sync.
    Active = 2,
    /// It gives away what it leads, and ends.
    ShuttingDown = 3,
}

impl ClusterBrokerState {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Recovering),
            1 => Some(Self::Fenced),
            2 => Some(Self::Active),
            3 => Some(Self::ShuttingDown),
            _ => None,
        }
    }
}

/// Of all partitions of all topics. One partition may count several times.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounts {
    pub total: u64,
    /// Not all replicas are in sync.
    pub under_replicated: u64,
    /// Fewer are in sync than the topic's `min_insync_replicas`: nothing more is acknowledged to `acks=all`.
    pub below_min_insync: u64,
    pub without_leader: u64,
    /// Led by another broker than the first of its replicas.
    pub not_led_by_preferred: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AilingPartition {
    pub topic: String,
    pub partition: u32,
    pub leader: Option<u32>,
    /// Every broker that holds it, preferred leader first.
    pub replicas: Vec<u32>,
    pub isr: Vec<u32>,
    pub min_insync_replicas: u32,
}

const AILING_LEN_MAX: usize = TOPIC_NAME_LEN_MAX + 2 * 4 * REPLICAS_PER_PARTITION_MAX as usize + 64;
const _: () = assert!(
    BROKERS_PER_ANSWER_MAX * (HOST_LEN_MAX + RACK_LEN_MAX + 96)
        + AILING_PARTITIONS_PER_ANSWER_MAX * AILING_LEN_MAX
        + CLUSTER_VOTERS_MAX * 4
        + TEXT_LEN_MAX
        + 512
        <= MESSAGE_BODY_LEN_MAX,
    "the fullest answer fits"
);

impl Message for DescribeClusterRequest {
    const API: Api = Api::DescribeCluster;
    const NAME: &'static str = "DescribeCluster request";

    fn check(_: &ArchivedDescribeClusterRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for DescribeClusterRequest {
    type Answer = DescribeClusterAnswer;
}

impl Message for DescribeClusterAnswer {
    const API: Api = Api::DescribeCluster;
    const NAME: &'static str = "DescribeCluster answer";

    fn check(archived: &ArchivedDescribeClusterAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("voters", archived.voters.len(), CLUSTER_VOTERS_MAX)?;
        at_most("brokers", archived.brokers.len(), BROKERS_PER_ANSWER_MAX)?;
        for broker in archived.brokers.iter() {
            check_host(&broker.address)?;
            at_most("bytes of a rack's name", broker.rack.as_ref().map_or(0, |rack| rack.len()), RACK_LEN_MAX)?;
            if ClusterBrokerState::from_u8(broker.state).is_none() {
                return Err(Malformed::Value { what: "state of a broker", got: broker.state.into() });
            }
        }
        at_most("ailing partitions", archived.ailing.len(), AILING_PARTITIONS_PER_ANSWER_MAX)?;
        for partition in archived.ailing.iter() {
            at_most("bytes of a topic's name", partition.topic.len(), TOPIC_NAME_LEN_MAX)?;
            let longest = partition.replicas.len().max(partition.isr.len());
            at_most("replicas of a partition", longest, REPLICAS_PER_PARTITION_MAX as usize)?;
        }
        Ok(())
    }
}
