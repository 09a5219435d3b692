//! DeleteRecords: moves the log start of one partition; answered when that is durable.

use crate::api::Api;
use crate::message::{Malformed, Message, Request};
use crate::shard_address::{ShardAddress, check_host};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DeleteRecordsRequest {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// Records before this one go; `u64::MAX` is the high watermark.
    pub offset: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRecordsAnswer {
    pub error: u16,
    pub text: String,
    pub log_start_offset: u64,
    /// With `NotLeader`: where the partition is.
    pub address: Option<ShardAddress>,
}

impl Message for DeleteRecordsRequest {
    const API: Api = Api::DeleteRecords;
    const NAME: &'static str = "DeleteRecords request";

    fn check(_: &ArchivedDeleteRecordsRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for DeleteRecordsRequest {
    type Answer = DeleteRecordsAnswer;
}

impl Message for DeleteRecordsAnswer {
    const API: Api = Api::DeleteRecords;
    const NAME: &'static str = "DeleteRecords answer";

    fn check(archived: &ArchivedDeleteRecordsAnswer) -> Result<(), Malformed> {
        archived.address.as_ref().map_or(Ok(()), check_host)
    }
}
