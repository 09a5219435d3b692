//! Metadata: topics, their partitions, and the shard that owns each.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{PARTITIONS_PER_TOPIC_MAX, SETTINGS_PER_TOPIC_MAX, SHARDS_PER_CLUSTER_MAX, TOPICS_PER_REQUEST_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataRequest {
    /// `None` is all topics, by name.
    pub topics: Option<Vec<String>>,
    /// With all topics: go on after this name. An answer that has `more` is followed by a request that names the
    /// last topic it got.
    pub after: Option<String>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataAnswer {
    pub error: u16,
    pub text: String,
    pub cluster_id: [u8; 16],
    pub shards: Vec<ShardAddress>,
    pub topics: Vec<TopicMetadata>,
    /// There are more topics than fit into this answer. Also true when topics were asked for by name and did not
    /// all fit: those left out are asked for again.
    pub more: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicMetadata {
    pub error: u16,
    pub text: String,
    pub name: String,
    pub topic_id: [u8; 16],
    /// Settings that differ from the default, as text.
    pub settings: Vec<(String, String)>,
    /// Largest frame the topic accepts, header included, bytes.
    pub frame_len_max: u32,
    pub partitions: Vec<PartitionMetadata>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub partition: u32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<u32>,
    pub leader_epoch: u32,
    /// The shard of the leader that owns it.
    pub shard: u16,
    /// Brokers in sync.
    pub isr: Vec<u32>,
}

impl Message for MetadataRequest {
    const API: Api = Api::Metadata;
    const NAME: &'static str = "Metadata request";

    fn check(archived: &ArchivedMetadataRequest) -> Result<(), Malformed> {
        at_most("topics", archived.topics.as_ref().map_or(0, |topics| topics.len()), TOPICS_PER_REQUEST_MAX)
    }
}

impl Request for MetadataRequest {
    type Answer = MetadataAnswer;
}

impl Message for MetadataAnswer {
    const API: Api = Api::Metadata;
    const NAME: &'static str = "Metadata answer";

    fn check(archived: &ArchivedMetadataAnswer) -> Result<(), Malformed> {
        at_most("shards", archived.shards.len(), SHARDS_PER_CLUSTER_MAX)?;
        archived.shards.iter().try_for_each(check_host)?;
        for topic in archived.topics.iter() {
            at_most("partitions", topic.partitions.len(), PARTITIONS_PER_TOPIC_MAX as usize)?;
            at_most("settings", topic.settings.len(), SETTINGS_PER_TOPIC_MAX)?;
        }
        Ok(())
    }
}
