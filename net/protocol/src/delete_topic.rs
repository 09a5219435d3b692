//! DeleteTopic: the topic with this name, its partitions and all their records.

use crate::api::Api;
use crate::message::{Malformed, Message, Request};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopicRequest {
    pub name: String,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteTopicAnswer {
    pub error: u16,
    pub text: String,
}

impl Message for DeleteTopicRequest {
    const API: Api = Api::DeleteTopic;
    const NAME: &'static str = "DeleteTopic request";

    fn check(_: &ArchivedDeleteTopicRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for DeleteTopicRequest {
    type Answer = DeleteTopicAnswer;
}

impl Message for DeleteTopicAnswer {
    const API: Api = Api::DeleteTopic;
    const NAME: &'static str = "DeleteTopic answer";

    fn check(_: &ArchivedDeleteTopicAnswer) -> Result<(), Malformed> {
        Ok(())
    }
}
