//! A follower has nothing that its leader still has: it asks for what the leader knew where its log begins.
//!
//! The frames that producer state and leader epochs were made of are gone there. What is still remembered of them, and the
//! frames from the beginning on, make the leader's tables again (`ProducerTable::below`). Deliberately absent: the frames.

use crate::look_up_chain::{LookUpError, LookedUp};
use crate::partitions::Partitions;
use crate::refusal::FetchRefusal;
use sluice_model::{Clock, LeaderEpoch, TopicPartition};
use sluice_replica::{Leader, LogBeginning};
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Where the log of `id` begins, which is led here under `leader_epoch`, and the state there. May have to read one frame.
    pub async fn beginning(&self, id: TopicPartition, leader_epoch: LeaderEpoch) -> Result<LogBeginning, LookUpError> {
        loop {
            let log_start = {
                let cell = self.get(id).ok_or(LookUpError::Refused(FetchRefusal::UnknownPartition(id)))?;
                let partition = cell.borrow();
                let leader = partition.leader().filter(|leader| leader.leader_epoch() == leader_epoch);
                let leader = leader.ok_or(LookUpError::NotLeader(id))?;
                let log_start = partition.log.log_start_offset();
                if let Some(first) = partition.frame_at(log_start) {
                    return Ok(log_beginning(leader, first));
                }
                log_start
            };
            // A log start that moves meanwhile moves on: it does so less often than frames can be read.
            self.look_up_chain(id, log_start).await?;
        }
    }
}

fn log_beginning(leader: &Leader, first: LookedUp) -> LogBeginning {
    let first_offset = first.base_offset;
    let mut epochs = leader.epochs().clone();
    epochs.truncate(first_offset);
    LogBeginning {
        leader_epoch: leader.leader_epoch(),
        first_offset,
        prev_header_crc: first.prev_header_crc,
        epochs,
        producers: leader.producers().below(first_offset),
    }
}
