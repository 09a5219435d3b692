//! What a start finds out, and moves, before any shard opens.
//!
//! The expensive mistake is to believe the metadata before the folder was looked at: it may be an older copy. Deliberately
//! absent: how folders are read and recovered (`sluice-partition`).

use crate::config::{BrokerConfig, SHARD_IO_MEMORY_LEN};
use crate::data_folder::DataFolder;
use crate::shard_main::journal_config;
use crate::start_error::StartError;
use crate::view::View;
use sluice_metadata::{FolderId, HeldPartitions, Image, Placement, Topic};
use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_partition::{HeldPlacement, PartitionAssignment, Prepare, Prepared, Survey, check_moves, prepare, survey};
use sluice_shard::{Shard, ShardConfig, WaitMode, run_shard};
use sluice_storage::layout::Layout;
use std::sync::Arc;

/// What the checkpoints of the folder say, whatever the metadata does.
pub(crate) fn survey_folder(layout: &Layout, shard_count: usize) -> Result<Survey, StartError> {
    let layout = layout.clone();
    let main =
        move |shard: Shard| async move { survey(&shard.disk(), &layout, shard_count).await.map_err(|error| error.to_string()) };
    on_one_shard(main)
}

/// Runs on a shard that serves nobody.
fn on_one_shard<T: Send + 'static, F: Future<Output = Result<T, String>> + 'static>(
    main: impl FnOnce(Shard) -> F + Send + 'static,
) -> Result<T, StartError> {
    let shard_config =
        ShardConfig { index: ShardIndex(0), core: None, io_memory_len: SHARD_IO_MEMORY_LEN, wait_mode: WaitMode::Asleep };
    let thread = run_shard(shard_config, main).map_err(|error| StartError::Thread { problem: error.to_string() })?;
    thread.join().map_err(|problem| StartError::Recovery { shard: 0, problem })
}

/// A folder stays the broker's that it was registered for: under another id nothing in it would be this broker's.
pub(crate) fn refuse_other_broker(broker: BrokerId, folder: &DataFolder, image: &Image) -> Result<(), StartError> {
    let folder_id = FolderId(folder.folder_id);
    let mut others = image.brokers().filter(|(id, known)| *id != broker && known.folder_id == folder_id);
    match others.next() {
        Some((known, _)) => Err(StartError::InvalidSetting {
            setting: "broker_id",
            problem: format!(
                "{} is the data folder of broker {known}, not of broker {broker}: set it to {known}, or choose another folder",
                folder.layout.data_dir().display()
            ),
        }),
        None => Ok(()),
    }
}

/// Metadata and data that do not belong together. Every start is in the metadata before a shard is used under it, and a
/// topic is there for clients only once a shard's checkpoint names it.
pub(crate) fn compare_ages(broker: BrokerId, folder: &DataFolder, image: &Image, survey: &Survey) -> Result<(), StartError> {
    if folder.is_new && survey.incarnation_number == 0 && image.topics().next().is_some() {
        return Err(data_missing(folder, image.topics_by_name(None).map(|(_, topic)| topic.name.clone())));
    }
    warn_of_older_metadata(broker, image, survey);
    Ok(())
}

/// The same of a broker that is one of several: others may have topics of which it holds nothing, but what it is trusted
/// with has to be there. Were it taken for empty, others would cut off what they have of it.
pub(crate) fn refuse_lost_data(broker: BrokerId, folder: &DataFolder, image: &Image, survey: &Survey) -> Result<(), StartError> {
    let is_own = image.broker(broker).is_some_and(|known| known.folder_id == FolderId(folder.folder_id));
    if is_own && folder.is_new && survey.incarnation_number == 0 {
        let is_trusted = |topic: &Topic| topic.partitions.iter().any(|partition| partition.is_trusted(broker));
        let mut topics = image.topics_by_name(None).filter(|(_, topic)| is_trusted(topic)).peekable();
        if topics.peek().is_some() {
            return Err(data_missing(folder, topics.map(|(_, topic)| topic.name.clone())));
        }
    }
    Ok(())
}

fn data_missing(folder: &DataFolder, topics: impl Iterator<Item = String>) -> StartError {
    StartError::DataMissing { path: folder.layout.data_dir().to_path_buf(), topics: topics.collect() }
}

/// Shards that were used under a start that the metadata does not know.
pub(crate) fn warn_of_older_metadata(broker: BrokerId, image: &Image, survey: &Survey) {
    let known = image.next_incarnation_number(broker).saturating_sub(1);
    if survey.incarnation_number > known {
        tracing::warn!(
            known,
            used = survey.incarnation_number,
            "the metadata is older than the data: it knows the starts up to the first number, the shards were used by the second; topics, \
             settings and deletions made between them are not in it"
        );
    }
}

pub(crate) fn held_partitions(survey: &Survey) -> HeldPartitions {
    let placement = |held: &HeldPlacement| Placement { shard: held.shard, placement_epoch: held.placement_epoch };
    HeldPartitions {
        incarnation_number: survey.incarnation_number,
        placements: survey.held.iter().map(|(&id, held)| (id, placement(held))).collect(),
    }
}

/// Refuses a start that would move partitions while a shard has lost its checkpoints. `view` is what the metadata would say
/// of it; nothing is recorded yet, so that a start with as many shards as before finds everything where it was.
pub(crate) fn refuse_moves(view: &View, survey: &Survey, shard_count: usize) -> Result<(), StartError> {
    let refused = check_moves(survey, &placed(view, shard_count));
    refused.map_err(|error| StartError::Recovery { shard: 0, problem: error.to_string() })
}

fn placed(view: &View, shard_count: usize) -> Vec<(ShardIndex, PartitionAssignment)> {
    let shards = (0..).map(ShardIndex).take(shard_count);
    shards.flat_map(|index| view.assignments(index).into_iter().map(move |assigned| (index, assigned))).collect()
}

/// Recovers the shard folders that partitions move away from, on a shard that serves nobody.
pub(crate) fn prepare_shards(
    config: &Arc<BrokerConfig>,
    folder: &DataFolder,
    incarnation: Incarnation,
    view: &Arc<View>,
    survey: &Survey,
    shard_count: usize,
) -> Result<Prepared, StartError> {
    let shards = || (0..).map(ShardIndex).take(shard_count);
    let stays = |shard: ShardIndex| {
        let held_here = |id| survey.held.get(&id).is_none_or(|held| held.shard == shard);
        view.assignments(shard).iter().all(|assigned| held_here(assigned.id))
    };
    // A shard that has lost its checkpoints may have had what nobody is known to hold.
    if survey.lost.is_empty() && shards().all(stays) {
        let owners = survey.held.iter().map(|(&id, held)| (id, held.shard)).collect();
        return Ok(Prepared { owners, ..Prepared::default() });
    }
    let (config, layout, view) = (Arc::clone(config), folder.layout.clone(), Arc::clone(view));
    let main = move |shard: Shard| async move {
        let journal_layout = layout.clone();
        let plan = Prepare {
            layout,
            incarnation,
            tail_budget: config.tail_budget_len,
            assigned: placed(&view, shard_count),
            deleted: view.deleted(),
            journal_of: Box::new(move |index| journal_config(&config, &journal_layout, index)),
        };
        prepare(&shard.disk(), plan).await.map_err(|error| error.to_string())
    };
    let prepared = on_one_shard(main)?;
    for report in &prepared.reports {
        crate::shard_main::log_recovery(report);
    }
    Ok(prepared)
}
