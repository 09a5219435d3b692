//! Metadata: topics, their partitions, and the shard that owns each.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::view::View;
use sluice_metadata::{Topic, topic_name};
use sluice_model::limits::{MESSAGE_BODY_LEN_MAX, TOPIC_NAME_LEN_MAX};
use sluice_model::{BrokerId, ErrorCode, TopicId};
use sluice_protocol::{Malformed, MetadataAnswer, MetadataRequest, PartitionMetadata, TopicMetadata, access};

/// Bytes left for what the estimate below leaves out (padding of the archive, the answer itself).
const SLACK_LEN: usize = 64 * 1024;
/// More than any one string, list or number of an entry takes besides its own bytes.
const FIELD_LEN: usize = 24;

impl DataPlane {
    pub(crate) fn on_metadata(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<MetadataRequest>(body)?;
        let answer = {
            let view = self.parts.view.get();
            match request.topics.as_ref() {
                Some(names) => {
                    let named = names.iter().map(|name| describe_name(&view, name.as_str()));
                    fill(&view, named)
                }
                None => {
                    let after = request.after.as_ref().map(|after| after.as_str());
                    fill(&view, view.image.topics_by_name(after).map(|(id, topic)| describe(id, topic)))
                }
            }
        };
        self.answer(to, &answer);
        Ok(())
    }
}

/// As many topics as fit into one answer.
fn fill(view: &View, topics: impl Iterator<Item = TopicMetadata>) -> MetadataAnswer {
    let mut answer =
        MetadataAnswer { cluster_id: view.image.cluster_id().0, shards: view.shards().collect(), ..Default::default() };
    let mut left = MESSAGE_BODY_LEN_MAX - SLACK_LEN;
    left = left.saturating_sub(answer.shards.iter().map(|shard| shard.host.len() + FIELD_LEN).sum());
    for topic in topics {
        let len = estimate(&topic);
        if len > left {
            answer.more = true;
            break;
        }
        left -= len;
        answer.topics.push(topic);
    }
    answer
}

fn estimate(topic: &TopicMetadata) -> usize {
    let settings: usize = topic.settings.iter().map(|(name, value)| name.len() + value.len() + 2 * FIELD_LEN).sum();
    let partitions: usize = topic.partitions.iter().map(|partition| 2 * FIELD_LEN + 4 * partition.isr.len()).sum();
    8 * FIELD_LEN + topic.name.len() + topic.text.len() + settings + partitions
}

fn describe_name(view: &View, name: &str) -> TopicMetadata {
    if let Some((id, topic)) = view.image.topic_by_name(name) {
        return describe(id, topic);
    }
    let error = match topic_name::check_topic_name(name) {
        Ok(()) => WireError::new(ErrorCode::UnknownTopic, "there is no topic of this name; create it first"),
        Err(fault) => WireError::new(ErrorCode::InvalidTopicName, fault),
    };
    let name: String = name.chars().take(TOPIC_NAME_LEN_MAX).collect();
    TopicMetadata { error: error.code(), text: error.text, name, ..TopicMetadata::default() }
}

fn describe(id: TopicId, topic: &Topic) -> TopicMetadata {
    let settings = topic.settings.overrides().into_iter().map(|(name, value)| (name.to_owned(), value));
    let partitions = topic.numbered_partitions().map(|(partition, state)| PartitionMetadata {
        partition: partition.0,
        leader: state.leader.map(|BrokerId(id)| id),
        leader_epoch: state.leader_epoch.0,
        shard: state.leader.and_then(|leader| state.placement(leader)).map_or(0, |placement| placement.shard.0),
        isr: state.isr.iter().map(|broker| broker.0).collect(),
    });
    TopicMetadata {
        name: topic.name.clone(),
        topic_id: id.0,
        settings: settings.collect(),
        frame_len_max: u32::try_from(topic.settings.frame_len_max()).unwrap_or(u32::MAX),
        partitions: partitions.collect(),
        ..TopicMetadata::default()
    }
}
