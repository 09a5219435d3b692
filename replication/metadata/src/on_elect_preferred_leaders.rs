//! Partitions are led by their first replica again, where that is in sync: after restarts, leaders are spread as the
//! assignment has spread them.

use crate::election::Settling;
use crate::image::Image;
use crate::partition_refusal::{Answered, PartitionRefusal, Sequence};
use crate::partition_state::PartitionState;
use crate::record::Record;
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, TopicPartition};

/// Those partitions, at most `PARTITIONS_PER_COMMAND_MAX`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ElectPreferredLeaders {
    pub partitions: Vec<TopicPartition>,
}

/// Each partition is answered for itself, with what it is afterwards.
pub fn on_elect_preferred_leaders(image: &Image, request: &ElectPreferredLeaders) -> Result<Answered, Refusal> {
    let settling = Settling::new(image);
    let mut sequence = Sequence::of(request.partitions.len())?;
    for &id in &request.partitions {
        sequence.answer(image, id, |topic, partition| {
            let next = preferred(&settling, partition)?;
            Ok(settling.settled(partition, next, topic.min_insync()))
        });
    }
    Ok(sequence.answered)
}

/// The same of every partition where it can be done.
#[must_use]
pub fn elect_all_preferred_leaders(image: &Image) -> Vec<Record> {
    let settling = Settling::new(image);
    settling.records(|_, partition| preferred(&settling, partition).ok())
}

fn preferred(settling: &Settling<'_>, partition: &PartitionState) -> Result<PartitionState, PartitionRefusal> {
    if partition.leader.is_none() {
        return Err(PartitionRefusal::NoLeader);
    }
    let broker = partition.preferred_leader().unwrap_or(BrokerId(0));
    if !partition.isr.contains(&broker) {
        return Err(PartitionRefusal::NotInSync { broker });
    }
    if partition.leader != Some(broker) && !settling.is_active(broker) {
        return Err(PartitionRefusal::MemberNotActive { broker });
    }
    Ok(PartitionState { leader: Some(broker), ..partition.clone() })
}

#[cfg(test)]
#[path = "on_elect_preferred_leaders_test.rs"]
mod tests;
