//! What the metadata places on a shard, made so: partitions opened, altered and removed.
//!
//! The expensive mistake is to serve on after an error that says the device cannot be trusted: want of space heals and
//! is tried again, everything else ends the process. Deliberately absent: when the view changes (`shard_main`).

use crate::data_plane::ShardPartitions;
use crate::view::ViewCell;
use sluice_model::{ShardIndex, TopicPartition};
use sluice_partition::{Failure, OpenError, PartitionState, PartitionStateRefusal};
use sluice_replica::StateRefusal;
use sluice_shard::{FatalReason, Shard, fatal};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Partitions that could not be opened for want of disk space are tried again this often.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// Tries again to open what a full disk kept closed.
pub(crate) async fn reopen(shard: Shard, partitions: ShardPartitions, view: ViewCell, is_behind: Rc<Cell<bool>>) {
    loop {
        shard.sleep(REOPEN_INTERVAL).await;
        if is_behind.get() {
            is_behind.set(!apply_view(shard.index(), &partitions, &view).await);
        }
    }
}

/// Opens, alters and removes partitions until the shard has what the view places on it. `false`: some could not be
/// opened now.
pub(crate) async fn apply_view(shard: ShardIndex, partitions: &ShardPartitions, view: &ViewCell) -> bool {
    let (assigned, gone) = {
        let view = view.get();
        let gone: Vec<_> = partitions.ids().into_iter().filter(|id| view.image.topic(id.topic_id).is_none()).collect();
        (view.assignments(shard), gone)
    };
    let mut missing = Vec::new();
    for assignment in assigned {
        if !partitions.alter(assignment.id, assignment.settings) {
            missing.push(assignment);
        } else if let Some(state) = assignment.state {
            take_state(partitions, assignment.id, state);
        }
    }
    // Before anything that a full disk ends: what an earlier start of a follower has said must not count on that account.
    for (broker, incarnation) in view.take_registrations() {
        partitions.on_broker_registered(broker, incarnation);
    }
    if !gone.is_empty()
        && let Err(error) = partitions.remove(&gone).await
    {
        return survive(shard, error);
    }
    if !missing.is_empty()
        && let Err(error) = partitions.create(missing).await
    {
        return survive(shard, error);
    }
    view.note_applied();
    true
}

/// What the controller has decided about a partition that is here already. It is told again with every view.
fn take_state(partitions: &ShardPartitions, id: TopicPartition, state: PartitionState) {
    match partitions.on_partition_state(id, state) {
        Ok(_) | Err(PartitionStateRefusal::UnknownPartition(_) | PartitionStateRefusal::Refused(StateRefusal::Stale { .. })) => {}
        Err(PartitionStateRefusal::Refused(refusal)) => log_refused_state(id, &refusal),
    }
}

/// One about another start of this broker is followed by one about this start; the others should not be there.
pub(crate) fn log_refused_state(id: TopicPartition, refusal: &StateRefusal) {
    match refusal {
        StateRefusal::Impossible | StateRefusal::CannotLead { .. } => {
            tracing::warn!(partition = %id, %refusal, "what the controller has decided cannot be done here");
        }
        _ => tracing::debug!(partition = %id, %refusal, "what the controller has decided changes nothing here"),
    }
}

/// Want of disk space heals; everything else ends the process.
fn survive(shard: ShardIndex, error: OpenError) -> bool {
    match error {
        OpenError::DiskFull => {
            tracing::error!(shard = shard.0, "partitions cannot be opened while the disk is full; trying again");
            false
        }
        OpenError::Checkpoint(failure) => end_process(&failure),
        error => fatal(FatalReason::DamagedData(error.to_string())),
    }
}

pub(crate) fn end_process(failure: &Failure) -> ! {
    fatal(FatalReason::IoFailure(failure.to_string()))
}
