//! CreateTopic: answered when its partitions can be produced to, or with why not.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::SETTINGS_PER_TOPIC_MAX;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CreateTopicRequest {
    pub name: String,
    /// 1 to `PARTITIONS_PER_TOPIC_MAX`.
    pub partitions: u32,
    /// Of each partition, 1 to `REPLICAS_PER_PARTITION_MAX`; `None`: the cluster's default.
    pub replicas: Option<u32>,
    pub settings: Vec<(String, String)>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTopicAnswer {
    pub error: u16,
    pub text: String,
    pub topic_id: [u8; 16],
}

impl Message for CreateTopicRequest {
    const API: Api = Api::CreateTopic;
    const NAME: &'static str = "CreateTopic request";

    fn check(archived: &ArchivedCreateTopicRequest) -> Result<(), Malformed> {
        at_most("settings", archived.settings.len(), SETTINGS_PER_TOPIC_MAX)
    }
}

impl Request for CreateTopicRequest {
    type Answer = CreateTopicAnswer;
}

impl Message for CreateTopicAnswer {
    const API: Api = Api::CreateTopic;
    const NAME: &'static str = "CreateTopic answer";

    fn check(_: &ArchivedCreateTopicAnswer) -> Result<(), Malformed> {
        Ok(())
    }
}
