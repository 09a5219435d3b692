//! The files of a deleted topic are gone, durably, on every broker that held them: its id need not be remembered.

use crate::image::Image;
use crate::record::{Record, TopicPurged};
use crate::refusal::Refusal;
use sluice_model::TopicId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
