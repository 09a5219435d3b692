//! AlterTopic: settings to change, and a greater number of partitions.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::SETTINGS_PER_TOPIC_MAX;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AlterTopicRequest {
    pub name: String,
    /// Settings named here change, the others stay. An empty value puts the default back.
    pub settings: Vec<(String, String)>,
    /// `None`: as many as there are. Never fewer.
    pub partitions: Option<u32>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterTopicAnswer {
    pub error: u16,
    pub text: String,
}

impl Message for AlterTopicRequest {
    const API: Api = Api::AlterTopic;
    const NAME: &'static str = "AlterTopic request";

    fn check(archived: &ArchivedAlterTopicRequest) -> Result<(), Malformed> {
        at_most("settings", archived.settings.len(), SETTINGS_PER_TOPIC_MAX)
    }
}

impl Request for AlterTopicRequest {
    type Answer = AlterTopicAnswer;
}

impl Message for AlterTopicAnswer {
    const API: Api = Api::AlterTopic;
    const NAME: &'static str = "AlterTopic answer";

    fn check(_: &ArchivedAlterTopicAnswer) -> Result<(), Malformed> {
        Ok(())
    }
}
