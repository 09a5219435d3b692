//! A topic is deleted. It is gone for clients at once; its id is remembered until no broker holds files of it
//! (`on_purge_topic`), so that a broker that was down in between still knows that it may remove them.

use crate::image::Image;
use crate::record::{Record, TopicDeleted};
use crate::refusal::Refusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    pub name: String,
}

pub fn on_delete_topic(image: &Image, request: &DeleteTopic) -> Result<Vec<Record>, Refusal> {
    match image.topic_by_name(&request.name) {
        Some((topic_id, _)) => Ok(vec![Record::TopicDeleted(TopicDeleted { topic_id })]),
        None => Err(Refusal::UnknownTopic { name: request.name.clone() }),
    }
}
