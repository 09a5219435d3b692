//! A topic is deleted. It is gone for clients at once; a tombstone stays until nothing that a broker holds can name it
//! (`on_purge_topic`), so that whatever a start finds of it is dropped.

use crate::image::Image;
use crate::record::{Record, TopicDeleted};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    pub name: String,
}

pub fn on_delete_topic(image: &Image, request: &DeleteTopic) -> Result<Vec<Record>, Refusal> {
    match image.topic_by_name(&request.name) {
        Some((topic_id, _)) => Ok(vec![Record::TopicDeleted(TopicDeleted { topic_id })]),
        None => Err(Refusal::UnknownTopic { name: request.name.clone() }),
    }
}
