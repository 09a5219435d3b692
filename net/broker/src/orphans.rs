//! Partitions in the data folder that the metadata does not know: which they are, and one line about each topic.
//!
//! They are recovered and kept in the checkpoints, never served and never deleted; `sluice orphan` gives them a topic or
//! does away with them. The expensive mistake is to say nothing: a topic that is missing because older metadata was put
//! back looks like one that was deleted.

use sluice_metadata::Image;
use sluice_model::limits::PARTITIONS_PER_TOPIC_MAX;
use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use sluice_partition::Survey;
use sluice_storage::layout::{Layout, partition_of_dir, segment_base_offset};
use sluice_storage::recovery_report::RecoveryReport;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Partitions whose topic, or whose place in it, the metadata does not know.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Named by a checkpoint or a journal, so their records are kept.
    pub(crate) held: BTreeSet<TopicPartition>,
    /// Segments that neither names: left alone.
    unnamed: BTreeSet<TopicPartition>,
}

impl Orphans {
    pub(crate) fn find(image: &Image, survey: &Survey, reports: &[&RecoveryReport], layout: &Layout) -> Self {
        let known = |id: &TopicPartition| image.partition(*id).is_some() || image.is_deleted(id.topic_id);
        let named: BTreeSet<TopicPartition> =
            survey.held.keys().chain(reports.iter().flat_map(|report| &report.unknown)).copied().collect();
        let topics: BTreeSet<TopicId> = named.iter().map(|id| id.topic_id).collect();
        let unnamed =
            unknown_topic_folders(image, &topics, layout).flat_map(|topic_id| partitions_with_segments(layout, topic_id));
        Self { unnamed: unnamed.collect(), held: named.into_iter().filter(|id| !known(id)).collect() }
    }

    /// A warning for each topic.
    pub(crate) fn warn(&self, image: &Image) {
        for (topic_id, partitions) in by_topic(&self.held) {
            let topic = image.topic(topic_id).map_or("", |topic| topic.name.as_str());
            tracing::warn!(
                %topic_id, topic, partitions,
                "the metadata does not know these partitions of the data folder: they are kept and not served; `sluice orphan list` on \
                 the stopped broker says more, `sluice orphan adopt` gives them a topic"
            );
        }
        for (topic_id, partitions) in by_topic(&self.unnamed) {
            tracing::warn!(
                %topic_id, partitions,
                "no metadata, checkpoint or journal names these segments in the data folder: they are left alone and not served; \
                 `sluice orphan list` on the stopped broker says more"
            );
        }
    }
}

/// A partition that a topic would get anew with `count` of them, and that lies in the folder with records.
pub(crate) fn orphan_in_the_way(
    image: &Image,
    layout: &Layout,
    orphans: &BTreeSet<TopicPartition>,
    topic: &str,
    count: u32,
) -> Option<TopicPartition> {
    let (topic_id, topic) = image.topic_by_name(topic)?;
    let first = u32::try_from(topic.partitions.len()).ok()?;
    let new = (first..count.min(PARTITIONS_PER_TOPIC_MAX)).map(PartitionIndex);
    let mut ids = new.map(|partition| TopicPartition { topic_id, partition });
    // One that no checkpoint names shows by its files alone.
    let has_files = |id| fs::read_dir(layout.partition_dir(id)).is_ok_and(|mut entries| entries.next().is_some());
    ids.find(|id| orphans.contains(id) || has_files(*id))
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> BTreeMap<TopicId, String> {
    let mut topics: BTreeMap<TopicId, String> = BTreeMap::new();
    for id in partitions {
        let text = topics.entry(id.topic_id).or_default();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&id.partition.to_string());
    }
    topics
}

/// Topics with a folder that nobody names. A folder that cannot be read is nobody's business here.
fn unknown_topic_folders<'a>(
    image: &'a Image,
    named: &'a BTreeSet<TopicId>,
    layout: &Layout,
) -> impl Iterator<Item = TopicId> + use<'a> {
    let names = names_in(&layout.partitions_dir());
    let topics = names.into_iter().filter_map(|name| TopicId::parse(&name));
    topics.filter(|id| image.topic(*id).is_none() && !image.is_deleted(*id) && !named.contains(id))
}

fn partitions_with_segments(layout: &Layout, topic_id: TopicId) -> Vec<TopicPartition> {
    let names = names_in(&layout.topic_dir(topic_id));
    let ids = names.iter().filter_map(|name| partition_of_dir(name)).map(|partition| TopicPartition { topic_id, partition });
    ids.filter(|id| names_in(&layout.partition_dir(*id)).iter().any(|name| segment_base_offset(name).is_some())).collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
