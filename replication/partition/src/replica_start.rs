//! The replica that a log begins its life with: recovered or new, and what the controller is known to have decided.
//!
//! A replica knows nothing but its log until it is told a state. The expensive mistake is to lead because one led before
//! the start: only a state that names this very incarnation makes a leader. Deliberately absent: recovery itself.

use crate::lifecycle::{OpenError, log_config};
use crate::partition::{Partition, log_state};
use crate::partitions::{PartitionCell, Partitions};
use crate::settings::PartitionAssignment;
use sluice_model::{Clock, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable, TopicPartition};
use sluice_replica::{FollowerStart, LogState, PartitionState, Replica};
use sluice_storage::disk::Disk;
use sluice_storage::log::Log;
use sluice_storage::recovery::RecoveredPartition;
use std::cell::RefCell;
use std::rc::Rc;

/// What a replica starts from, beside its log.
#[derive(Default)]
struct State {
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
    high_watermark: Offset,
}

/// What the opening of a shard found of one replica, for the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredReplica {
    /// Of its last frame; 0 when it has none.
    pub leader_epoch: LeaderEpoch,
    pub end_offset: Offset,
    /// By what is damaged and not accepted as lost, and by what may be missing at the end.
    pub log_state: LogState,
    /// A group of the shard's journal was begun and not whole, and was cut off; it may have held frames of this log.
    pub cut_torn_group: bool,
    /// An operator has given up a range of it, which other replicas may have.
    pub has_accepted_loss: bool,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// What was found of every replica that was assigned when the shard was opened, by partition.
    #[must_use]
    pub fn recovered_replicas(&self) -> Vec<(TopicPartition, RecoveredReplica)> {
        self.shared.replication.recovered.borrow().clone()
    }

    pub(crate) fn note_recovered(&self, partition: &Partition<D>, cut_torn_group: bool) {
        let log = &partition.log;
        let log_state = match (log.damaged().is_empty(), log.possibly_short()) {
            (false, _) => LogState::Damaged,
            (true, Some(_)) => LogState::PossiblyShort,
            (true, None) => LogState::Whole,
        };
        let recovered = RecoveredReplica {
            leader_epoch: partition.replica.leader_epoch(),
            end_offset: log.log_end_offset(),
            log_state,
            cut_torn_group,
            has_accepted_loss: !log.accepted().is_empty(),
        };
        self.shared.replication.recovered.borrow_mut().push((log.id(), recovered));
    }

    pub(crate) fn created(&self, assignment: &PartitionAssignment) -> PartitionCell<D> {
        let dir = self.shared.config.layout.partition_dir(assignment.id);
        let disk = self.shared.disk.clone();
        let memory = self.shared.memory.clone();
        let log = Log::create(disk, dir, assignment.id, assignment.placement_epoch, log_config(&assignment.settings), memory);
        self.untold(assignment, log, State::default())
    }

    pub(crate) fn restored(
        &self,
        assignment: &PartitionAssignment,
        mut own: RecoveredPartition<D>,
    ) -> Result<PartitionCell<D>, OpenError> {
        let broker = self.shared.config.broker;
        let led = assignment.state.as_ref().filter(|state| state.leader == Some(broker)).map(|state| state.leader_epoch);
        if let (Some(found), Some(given)) = (own.epochs.latest(), led)
            && found > given
        {
            return Err(OpenError::LeaderEpochTooLow { id: assignment.id, found, given });
        }
        own.log.set_placement_epoch(assignment.placement_epoch);
        let state = State { epochs: own.epochs, producers: own.producers, high_watermark: own.high_watermark };
        Ok(self.untold(assignment, own.log, state))
    }

    /// A replica that nobody has told yet what it is.
    fn untold(&self, assignment: &PartitionAssignment, log: Log<D>, state: State) -> PartitionCell<D> {
        let shared = &self.shared;
        let start = FollowerStart {
            id: assignment.id,
            leader_epoch: state.epochs.latest().unwrap_or_default(),
            log_start_offset: log.log_start_offset(),
            log_end_offset: log.log_end_offset(),
            local_flushed: log.log_end_offset(),
            high_watermark: state.high_watermark.min(log.log_end_offset()),
            last_header_crc: log.last_header_crc(),
            epochs: state.epochs,
            producers: state.producers,
            log_state: log_state(&log),
        };
        let settings = shared.config.leader_settings(&assignment.settings);
        let mut replica = Replica::new(shared.config.broker, shared.incarnation, settings, start);
        if !shared.replication.has_lease.get() {
            let unknown = replica.on_lease_lost();
            assert!(unknown.is_empty(), "nobody waits for a replica that has just begun");
        }
        Rc::new(RefCell::new(Partition::new(log, replica, assignment.settings)))
    }

    pub(crate) fn take_first_state(&self, cell: &PartitionCell<D>, state: Option<PartitionState>) {
        if let Some(state) = state {
            self.take_kept_state(cell, &mut cell.borrow_mut(), state);
        }
    }
}
