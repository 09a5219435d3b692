//! The files of a deleted topic are gone, durably, and no journal or checkpoint can name it any more: its tombstone goes.
//!
//! The expensive mistake is to forget it sooner. Frames of it that a journal still holds would be replayed at a start
//! and come back as the data of a topic that nobody knows. A journal's groups count by their incarnation: what is
//! replayed is always of one incarnation, and never of one older than any whose groups the ring holds. So nothing
//! that was written before the deletion is replayed once every ring of the broker holds groups of a later incarnation.

use crate::image::{DeletedTopic, Image};
use crate::record::{Record, TopicPurged};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, TopicId};

/// What a start of a broker, which has recovered all its shards with the tombstone in force, found in its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderSurvey {
    pub broker: BrokerId,
    /// The lowest, over its shards, of the greatest incarnation number that the groups of a ring had when the start
    /// began; a ring that is new does not count, one that has lost its groups counts as 0.
    pub rings_from: u64,
    /// The greatest incarnation number under which a shard was used that is out of use now and whose folder is still
    /// there; `None` when there is no such folder.
    pub out_of_use_until: Option<u64>,
}

impl FolderSurvey {
    /// Whether something in the folder may still name a topic with this tombstone.
    #[must_use]
    pub fn may_name(&self, topic: &DeletedTopic) -> bool {
        let in_rings = self.rings_from <= topic.last_incarnation(self.broker);
        let out_of_use = self.out_of_use_until.is_some_and(|until| topic.first_incarnation(self.broker) <= until);
        in_rings || out_of_use
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeTopic {
    pub topic_id: TopicId,
}

pub fn on_purge_topic(image: &Image, request: &PurgeTopic) -> Result<Vec<Record>, Refusal> {
    let topic_id = request.topic_id;
    if image.is_deleted(topic_id) {
        Ok(vec![Record::TopicPurged(TopicPurged { topic_id })])
    } else {
        Err(Refusal::TopicNotDeleted { topic_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{create, decide, one_broker, register, topic_id};
    use crate::{DeleteTopic, on_create_topic, on_delete_topic, on_register_broker};

    const BROKER: BrokerId = BrokerId(1);

    /// Topic 1, created in incarnation 3 and deleted in incarnation 5.
    fn deleted() -> Image {
        let mut image = one_broker(1);
        decide(&mut image, |i| on_register_broker(i, &register(3, 1))).unwrap();
        decide(&mut image, |i| on_create_topic(i, &create(1, 2))).unwrap();
        decide(&mut image, |i| on_register_broker(i, &register(5, 1))).unwrap();
        decide(&mut image, |i| on_delete_topic(i, &DeleteTopic { name: "topic-1".into() })).unwrap();
        decide(&mut image, |i| on_register_broker(i, &register(7, 1))).unwrap();
        image
    }

    fn may_name(rings_from: u64, out_of_use_until: Option<u64>) -> bool {
        let image = deleted();
        let (_, topic) = image.deleted_topics().next().unwrap();
        assert_eq!((topic.first_incarnation(BROKER), topic.last_incarnation(BROKER)), (3, 5));
        FolderSurvey { broker: BROKER, rings_from, out_of_use_until }.may_name(topic)
    }

    #[test]
    fn a_ring_names_it_until_a_later_incarnation_wrote_to_it() {
        assert!(may_name(4, None) && may_name(5, None));
        assert!(!may_name(6, None) && !may_name(u64::MAX, None));
    }

    #[test]
    fn a_shard_out_of_use_names_it_unless_the_topic_is_younger() {
        assert!(!may_name(9, Some(2)));
        assert!(may_name(9, Some(3)) && may_name(9, Some(u64::MAX)));
    }

    #[test]
    fn another_broker_never_held_it() {
        let image = deleted();
        let (_, topic) = image.deleted_topics().next().unwrap();
        let survey = FolderSurvey { broker: BrokerId(2), rings_from: 1, out_of_use_until: None };
        assert!(!survey.may_name(topic));
    }

    #[test]
    fn only_a_tombstone_is_purged_and_only_once() {
        let mut image = deleted();
        let purge = PurgeTopic { topic_id: topic_id(1) };
        decide(&mut image, |i| on_purge_topic(i, &purge)).unwrap();
        assert_eq!(on_purge_topic(&image, &purge), Err(Refusal::TopicNotDeleted { topic_id: topic_id(1) }));
    }
}
