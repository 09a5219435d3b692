//! What the tests of this package share.

mod cluster;

pub(crate) use cluster::{Cluster, end, show, tp};

use crate::batch::Batch;
use crate::identity::{ClusterId, FolderId};
use crate::image::Image;
use crate::on_alter_topic::{AlterTopic, on_alter_topic};
use crate::on_create_topic::{CreateTopic, on_create_topic};
use crate::on_register_broker::{RegisterBroker, Start, on_register_broker};
use crate::record::{Address, Record};
use crate::refusal::Refusal;
use sluice_model::{BrokerId, Incarnation, ShardIndex, TopicId};

pub(crate) const FOLDER: FolderId = FolderId([0xf0; 16]);

pub(crate) fn incarnation(number: u64) -> Incarnation {
    Incarnation { number, random: 0xabcd_0000 + number }
}

pub(crate) fn topic_id(number: u8) -> TopicId {
    TopicId([number; 16])
}

pub(crate) fn register(number: u64, shard_count: u16) -> RegisterBroker {
    let addresses = (0..shard_count).map(|shard| Address { host: "localhost".into(), port: 7400 + shard }).collect();
    RegisterBroker {
        broker: BrokerId(1),
        incarnation: incarnation(number),
        folder_id: FOLDER,
        addresses,
        held: Default::default(),
        start: Start::Alone,
    }
}

pub(crate) fn create(number: u8, partitions: u32) -> CreateTopic {
    let (topic_id, name) = (topic_id(number), format!("topic-{number}"));
    CreateTopic { topic_id, name, partitions, replication_factor: None, settings: Vec::new() }
}

pub(crate) fn alter(number: u8, partitions: Option<u32>, settings: &[(&str, &str)]) -> AlterTopic {
    let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    AlterTopic { name: format!("topic-{number}"), settings, partitions }
}

/// Decides, applies what was decided, and gives it back.
pub(crate) fn decide(image: &mut Image, event: impl Fn(&Image) -> Result<Vec<Record>, Refusal>) -> Result<Vec<Record>, Refusal> {
    let records = event(image)?;
    image.apply_batch(&Batch { records: records.clone() }).unwrap_or_else(|error| panic!("{error}: {records:?}"));
    Ok(records)
}

/// An image with broker 1 in its first incarnation.
pub(crate) fn one_broker(shard_count: u16) -> Image {
    let mut image = Image::new(ClusterId([1; 16]));
    decide(&mut image, |i| on_register_broker(i, &register(1, shard_count))).unwrap();
    image
}

pub(crate) fn with_topics(shard_count: u16, partitions: &[u32]) -> Image {
    let mut image = one_broker(shard_count);
    for (number, &count) in (1..).zip(partitions) {
        decide(&mut image, |i| on_create_topic(i, &create(number, count))).unwrap();
    }
    image
}

pub(crate) fn altered(image: &mut Image, request: &AlterTopic) -> Result<Vec<Record>, Refusal> {
    decide(image, |i| on_alter_topic(i, request))
}

/// The shard of each partition of a topic.
pub(crate) fn shards_of(image: &Image, topic: u8) -> Vec<u16> {
    let topic = image.topic(topic_id(topic)).unwrap();
    topic.partitions.iter().map(|p| p.placement(BrokerId(1)).unwrap().shard.0).collect()
}

/// Partitions per shard of broker 1.
pub(crate) fn loads(image: &Image) -> Vec<usize> {
    let count = image.broker(BrokerId(1)).unwrap().shard_count();
    let on = |shard| move |p: &crate::PartitionState| p.placement(BrokerId(1)).is_some_and(|placed| placed.shard == shard);
    (0..).map(ShardIndex).take(count).map(|shard| image.partitions().filter(|(_, p)| on(shard)(p)).count()).collect()
}
