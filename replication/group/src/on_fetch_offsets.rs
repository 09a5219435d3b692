//! Where a group goes on. The answer waits for the last batch, like any other: a member that takes a partition over must
//! not begin at an offset that a failover forgets.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision};
use crate::ids::GroupId;
use crate::refusal::Refusal;
use sluice_model::TopicPartition;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    pub group_id: GroupId,
    /// At most `PARTITIONS_PER_REQUEST_MAX`.
    pub partitions: Vec<TopicPartition>,
}

impl Coordinator {
    pub fn on_fetch_offsets(&self, request: &FetchOffsets) -> Result<Decision, Refusal> {
        let FetchOffsets { group_id, partitions } = request;
        self.known_group(group_id)?;
        if partitions.len() > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refusal::TooManyAtOnce { got: partitions.len(), max: PARTITIONS_PER_REQUEST_MAX });
        }
        let offsets = partitions.iter().map(|&id| (id, self.image.offset(group_id, id).cloned())).collect();
        Ok(Decision::answered(Vec::new(), Answer::Offsets(offsets)))
    }
}

#[cfg(test)]
#[path = "on_fetch_offsets_test.rs"]
mod tests;
