//! A leader whose own flush has become slow gives what it leads to in-sync replicas that are faster, many partitions
//! at once. It stays in sync; whether it is too slow for that is for the new leaders to say (`on_alter_partitions`).
//!
//! Which replica is faster only the leader knows, and so it names it. Deliberately absent: hysteresis, which needs time.

use crate::election::Settling;
use crate::image::Image;
use crate::partition_refusal::{Answered, PartitionRefusal, Sequence, check_leader};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, TopicPartition};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HandOverLeaders {
    /// The leader.
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// At most `PARTITIONS_PER_COMMAND_MAX`.
    pub partitions: Vec<HandOver>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    pub id: TopicPartition,
    /// The one it leads under.
    pub leader_epoch: LeaderEpoch,
    pub to: BrokerId,
}

/// Each partition is answered for itself, with what it is afterwards.
pub fn on_hand_over_leaders(image: &Image, request: &HandOverLeaders) -> Result<Answered, Refusal> {
    let HandOverLeaders { broker, incarnation, ref partitions } = *request;
    image.registered(broker, incarnation)?;
    let settling = Settling::new(image);
    let mut sequence = Sequence::of(partitions.len())?;
    for &HandOver { id, leader_epoch, to } in partitions {
        sequence.answer(image, id, |topic, partition| {
            check_leader(partition, broker, leader_epoch)?;
            if !partition.isr.contains(&to) {
                return Err(PartitionRefusal::NotInSync { broker: to });
            }
            if !settling.is_active(to) {
                return Err(PartitionRefusal::MemberNotActive { broker: to });
            }
            let mut next = partition.clone();
            next.leader = Some(to);
            Ok(settling.settled(partition, next, topic.min_insync()))
        });
    }
    Ok(sequence.answered)
}

#[cfg(test)]
#[path = "on_hand_over_leaders_test.rs"]
mod tests;
