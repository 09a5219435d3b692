//! What a shard's folder says that it is: one with a checkpoint, one that has lost them, or none yet.
//!
//! The expensive mistake is to take a shard that was in use for a new one, or to rebuild one of which nobody says what it
//! held. A slot that the device does not give back is made a lost one here, before anything else is written.

use crate::checkpoint_slots::{CHECKPOINT_FORMAT_VERSION, FoundCheckpoint, SlotFound, forget_slot, read_slots, read_spare};
use crate::disk::Disk;
use crate::journal_files::has_files;
use crate::recovery::{RecoverShard, RecoveryError};
use crate::recovery_report::RecoveryReport;

/// What a shard's slots say of it.
pub(crate) enum FoundShard {
    /// The newest good checkpoint.
    Checkpoint(Box<FoundCheckpoint>),
    /// It was never in use.
    Nothing,
    /// It was in use and has lost both slots; the spare, when that is left and counts.
    CheckpointsLost(Option<Box<FoundCheckpoint>>),
}

pub(crate) async fn find_checkpoint<D: Disk>(
    disk: &D,
    plan: &RecoverShard<'_>,
    report: &mut RecoveryReport,
) -> Result<FoundShard, RecoveryError> {
    let slots = read_slots(disk, &plan.layout, plan.shard).await?;
    for (index, slot) in slots.iter().enumerate() {
        if let SlotFound::OtherVersion { found } = *slot {
            let (path, known) = (plan.layout.checkpoint_slot(plan.shard, index), CHECKPOINT_FORMAT_VERSION.into());
            return Err(RecoveryError::OtherVersion { path, found: found.into(), known });
        }
    }
    let bad = slots.iter().filter(|slot| slot.is_lost()).count();
    let is_good = slots.iter().any(|slot| matches!(slot, SlotFound::Good(_)));
    // A shard that is being made has its first slot before its journal and before its second slot.
    let in_use = is_good || bad == 2 || has_files(disk, &plan.layout.shard_journal_dir(plan.shard)).await?;
    let is_lost = in_use && !is_good;
    // It names every partition that the shard ever took a record of.
    let spare = if is_lost { read_spare(disk, &plan.layout, plan.shard).await? } else { None };
    if is_lost && spare.is_none() && !plan.may_rebuild {
        return Err(RecoveryError::CheckpointsLost { shard: plan.shard });
    }
    for (index, slot) in slots.iter().enumerate() {
        if matches!(slot, SlotFound::Unreadable { .. }) {
            forget_slot(disk, &plan.layout, plan.shard, index).await?;
        }
    }
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
    let newest = good.max_by_key(|found| found.slot_sequence);
    report.checkpoint_slots_bad = u32::try_from(bad).expect("two slots");
    Ok(match newest {
        Some(found) => FoundShard::Checkpoint(found),
        None if in_use => FoundShard::CheckpointsLost(spare),
        None => FoundShard::Nothing,
    })
}
