//! InitProducer: a fresh producer id. Epochs are the client's own: a greater one begins at sequence 0.

use crate::api::Api;
use crate::message::{Malformed, Message, Request};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InitProducerRequest {}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InitProducerAnswer {
    pub error: u16,
    pub text: String,
    pub producer_id: i64,
    /// Always 0 for a fresh id.
    pub epoch: i16,
    /// With `Retry::Later`: not before this many milliseconds.
    pub retry_after_ms: u32,
}

impl Message for InitProducerRequest {
    const API: Api = Api::InitProducer;
    const NAME: &'static str = "InitProducer request";

    fn check(_: &ArchivedInitProducerRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for InitProducerRequest {
    type Answer = InitProducerAnswer;
}

impl Message for InitProducerAnswer {
    const API: Api = Api::InitProducer;
    const NAME: &'static str = "InitProducer answer";

    fn check(_: &ArchivedInitProducerAnswer) -> Result<(), Malformed> {
        Ok(())
    }
}
