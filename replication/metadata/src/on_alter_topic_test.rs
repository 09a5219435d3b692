use super::*;
use crate::testing::{alter, altered, loads, shards_of, topic_id, with_topics};
use sluice_model::limits::PARTITIONS_PER_TOPIC_MAX;

#[test]
fn more_partitions_go_where_the_topic_has_fewest() {
    let mut image = with_topics(3, &[2, 4]);
    let before = image.topic(topic_id(1)).unwrap().partitions.clone();
    let records = altered(&mut image, &alter(1, Some(5), &[])).unwrap();
    assert!(matches!(&records[..], [Record::PartitionsAdded(added)] if added.first == PartitionIndex(2)));
    assert_eq!(image.topic(topic_id(1)).unwrap().partitions[..2], before);
    assert_eq!(shards_of(&image, 1), [0, 1, 2, 0, 1]);
    assert_eq!(loads(&image), [3, 3, 3]);
}

#[test]
fn settings_and_partitions_change_together_or_not_at_all() {
    let mut image = with_topics(1, &[2]);
    let before = image.clone();
    assert!(altered(&mut image, &alter(1, Some(1), &[("segment_len", "1MiB")])).is_err());
    assert!(altered(&mut image, &alter(1, Some(3), &[("segment_len", "1KiB")])).is_err());
    assert_eq!(image, before);
    assert_eq!(altered(&mut image, &alter(1, Some(3), &[("segment_len", "1MiB")])).unwrap().len(), 2);
    assert_eq!(image.topic(topic_id(1)).unwrap().settings.segment_len(), 1 << 20);
    assert_eq!(altered(&mut image, &alter(1, None, &[("segment_len", "")])).unwrap().len(), 1);
    assert_eq!(altered(&mut image, &alter(1, Some(3), &[("segment_len", "")])), Ok(Vec::new()), "so already");
}

#[test]
fn what_is_refused() {
    let mut image = with_topics(1, &[2]);
    assert_eq!(altered(&mut image, &alter(1, Some(1), &[])), Err(Refusal::FewerPartitions { got: 1, current: 2 }));
    let got = PARTITIONS_PER_TOPIC_MAX + 1;
    let too_many = Refusal::InvalidPartitionCount { got, max: PARTITIONS_PER_TOPIC_MAX };
    assert_eq!(altered(&mut image, &alter(1, Some(got), &[])), Err(too_many));
    assert_eq!(altered(&mut image, &alter(9, None, &[])), Err(Refusal::UnknownTopic { name: "topic-9".into() }));
}
