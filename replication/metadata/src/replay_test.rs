//! Whatever is accepted, in whatever order: the log of it gives the same image again, and names find their topics.

use crate::testing::{FOLDER, alter, create, incarnation, register};
use crate::{
    AllocateProducerIds, Batch, ClusterId, DeleteTopic, Image, PurgeTopic, Record, Refusal, RegisterBroker,
    on_allocate_producer_ids, on_alter_topic, on_create_topic, on_delete_topic, on_purge_topic, on_register_broker,
};
use proptest::prelude::*;
use sluice_model::BrokerId;

#[derive(Clone, Debug)]
enum Event {
    Register { broker: u32, number: u64, shard_count: u16 },
    Create { topic: u8, partitions: u32 },
    Alter { topic: u8, partitions: Option<u32>, setting: (&'static str, &'static str) },
    Delete { topic: u8 },
    Purge { topic: u8 },
    ProducerIds { broker: u32, number: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let setting = prop_oneof![
        Just(("retention_ms", "none")),
        Just(("retention_ms", "")),
        Just(("segment_len", "2MiB")),
        Just(("segment_len", "2KiB")),
        Just(("sigment_len", "2MiB")),
    ];
    let event = prop_oneof![
        3 => (1u32..3, 0u64..8, 0u16..6).prop_map(|(broker, number, shard_count)| Event::Register { broker, number, shard_count }),
        4 => (0u8..6, 0u32..12).prop_map(|(topic, partitions)| Event::Create { topic, partitions }),
        3 => (0u8..6, prop::option::of(0u32..16), setting)
            .prop_map(|(topic, partitions, setting)| Event::Alter { topic, partitions, setting }),
        2 => (0u8..6).prop_map(|topic| Event::Delete { topic }),
        1 => (0u8..6).prop_map(|topic| Event::Purge { topic }),
        1 => (1u32..3, 0u64..8).prop_map(|(broker, number)| Event::ProducerIds { broker, number }),
    ];
    prop::collection::vec(event, 1..60)
}

fn decided(image: &Image, event: &Event) -> Result<Vec<Record>, Refusal> {
    match *event {
        Event::Register { broker, number, shard_count } => {
            let request = RegisterBroker { broker: BrokerId(broker), folder_id: FOLDER, ..register(number, shard_count) };
            on_register_broker(image, &request)
        }
        Event::Create { topic, partitions } => on_create_topic(image, &create(topic, partitions)),
        Event::Alter { topic, partitions, setting } => on_alter_topic(image, &alter(topic, partitions, &[setting])),
        Event::Delete { topic } => on_delete_topic(image, &DeleteTopic { name: format!("topic-{topic}") }),
        Event::Purge { topic } => on_purge_topic(image, &PurgeTopic { topic_id: crate::testing::topic_id(topic) }),
        Event::ProducerIds { broker, number } => {
            on_allocate_producer_ids(image, &AllocateProducerIds { broker: BrokerId(broker), incarnation: incarnation(number) })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_log_replays_to_the_same_image(events in events()) {
        let mut image = Image::new(ClusterId([1; 16]));
        let mut log = Vec::new();
        for event in &events {
            let before = image.clone();
            let Ok(records) = decided(&image, event) else { continue };
            let batch = Batch { records };
            let applied = image.apply_batch(&batch);
            prop_assert_eq!(applied, Ok(()), "{:?} gave {:?}", event, batch);
            prop_assert_eq!(batch.records.is_empty(), image == before, "no records, no change: {:?}", event);
            log.push(batch.encode());
        }
        let mut replayed = Image::new(ClusterId([1; 16]));
        for bytes in &log {
            replayed.apply_batch(&Batch::decode(bytes).unwrap()).unwrap();
        }
        prop_assert_eq!(&replayed, &image);
        prop_assert_eq!(image.partition_count(), image.partitions().count());
        prop_assert_eq!(image.topics_by_name(None).count(), image.topics().count());
        for (topic_id, topic) in image.topics() {
            prop_assert_eq!(image.topic_by_name(&topic.name), Some((topic_id, topic)));
            prop_assert!(!image.is_deleted(topic_id));
        }
    }
}
