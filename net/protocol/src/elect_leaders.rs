//! ElectLeaders: partitions are led by their preferred replicas again; or, for one partition alone and by its own word, by a
//! replica that may lack what was acknowledged.

use crate::api::Api;
use crate::describe_partitions::PartitionRef;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::{PARTITION_TEXT_LEN_MAX, TEXT_LEN_MAX};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{PARTITION_ANSWER_LEN_MAX, PARTITIONS_PER_REQUEST_MAX, REPLICAS_PER_PARTITION_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ElectLeadersRequest {
    pub election: Election,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// Every partition is led by the first of its replicas, where that is in sync.
    AllPreferred,
    /// The same of these, each answered for itself.
    Preferred(Vec<PartitionRef>),
    /// A replica leads that may lack what was acknowledged. Refused while there is a leader.
    Unclean(UncleanElection),
}

/// What an operator was shown, and what it decided.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UncleanElection {
    pub partition: PartitionRef,
    /// That is to lead.
    pub broker_id: u32,
    /// Of the state that was shown; refused when it has changed since.
    pub partition_epoch: u32,
    /// Each replica that was shown, `broker_id` among them and asked.
    pub shown: Vec<ShownReplicaEnd>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShownReplicaEnd {
    pub broker_id: u32,
    /// Leader epoch of its last frame and the offset after its last record; `None` when it could not be asked.
    pub end: Option<ReplicaEndShown>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaEndShown {
    pub leader_epoch: u32,
    pub end_offset: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectLeadersAnswer {
    pub error: u16,
    pub text: String,
    /// Some partition is another one than before.
    pub has_changed: bool,
    /// One entry for each partition that was named, in the order of the request; none without names.
    pub partitions: Vec<ElectedLeader>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectedLeader {
    /// `InvalidArgument` when the partition stays as it is; the text says why.
    pub error: u16,
    pub text: String,
    pub leader: Option<u32>,
    pub leader_epoch: u32,
}

const _: () = assert!(PARTITION_TEXT_LEN_MAX + 72 <= PARTITION_ANSWER_LEN_MAX);

impl Message for ElectLeadersRequest {
    const API: Api = Api::ElectLeaders;
    const NAME: &'static str = "ElectLeaders request";

    fn check(archived: &ArchivedElectLeadersRequest) -> Result<(), Malformed> {
        match &archived.election {
            ArchivedElection::AllPreferred => Ok(()),
            ArchivedElection::Preferred(partitions) => at_most("partitions", partitions.len(), PARTITIONS_PER_REQUEST_MAX),
            ArchivedElection::Unclean(unclean) => {
                at_most("replicas of a partition", unclean.shown.len(), REPLICAS_PER_PARTITION_MAX as usize)
            }
        }
    }
}

impl Request for ElectLeadersRequest {
    type Answer = ElectLeadersAnswer;
}

impl Message for ElectLeadersAnswer {
    const API: Api = Api::ElectLeaders;
    const NAME: &'static str = "ElectLeaders answer";

    fn check(archived: &ArchivedElectLeadersAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("partitions", archived.partitions.len(), PARTITIONS_PER_REQUEST_MAX)?;
        let texts = archived.partitions.iter().map(|partition| partition.text.len());
        texts.max().map_or(Ok(()), |len| at_most("bytes of text of a partition", len, PARTITION_TEXT_LEN_MAX))
    }
}
