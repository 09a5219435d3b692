//! `orphan adopt`: the metadata gets a topic with the id of the partitions found.
//!
//! The expensive mistake is to adopt what a start could not open: a partition that no checkpoint names, beside which
//! the topic's other partitions would be served from nothing. One that only segments name is put into a checkpoint first;
//! where a start has still to find out what a journal says of it, the topic is refused whole.

use super::AdoptArgs;
use super::found::{self, FoundPartition, NamedBy};
use super::stopped_folder::{Standing, StoppedFolder, command_failure};
use crate::exit_status::{ExitStatus, Failure};
use crate::log::files::{self, ShardFiles};
use crate::log::plain_disk::PlainDisk;
use sluice_broker::BROKER;
use sluice_metadata::{AdoptTopic, PRODUCER_ID_PLAUSIBLE_END, ReserveProducerIds};
use sluice_model::{Offset, PartitionIndex, PlacementEpoch, TopicId, TopicPartition};
use sluice_storage::unnamed_partition::{name_partitions, unnamed_partition};
use std::collections::BTreeMap;

pub(crate) fn adopt(args: &AdoptArgs) -> Result<(), Failure> {
    let data_dir = &args.folder.data_dir;
    let mut folder = StoppedFolder::open(data_dir)?;
    folder.controller()?;
    let mut found = orphans_of(&folder, args.topic_id)?;
    check_named(&folder, args.topic_id, &found)?;
    let known = folder.image().and_then(|image| image.topic(args.topic_id)).map(|topic| topic.name.clone());
    let Some(name) = args.name.clone().or(known) else {
        return Err(Failure::usage("the metadata does not know this topic, so it has no name").remedy("--name NAME"));
    };
    let unnamed = name_unnamed(&folder, args.topic_id, &mut found)?;
    let request = AdoptTopic {
        topic_id: args.topic_id,
        name: Some(name.clone()),
        settings: args.settings.clone(),
        broker: BROKER,
        found: found.iter().filter_map(|(&partition, found)| Some((partition, adopted(found)?))).collect(),
    };
    let controller = folder.controller()?;
    // Before there is a topic to produce to: an id that these partitions know must not be a new producer's.
    let producer_ids = found.values().filter_map(|found| found.producer_id_max).filter(|id| *id < PRODUCER_ID_PLAUSIBLE_END);
    if let Some(up_to) = producer_ids.max() {
        let reserve = ReserveProducerIds { broker: BROKER, up_to };
        controller.reserve_producer_ids(&reserve).map_err(|error| command_failure(&error))?;
    }
    controller.adopt_topic(&request).map_err(|error| command_failure(&error))?;
    let (records, count) = (found.values().map(|found| found.record_count).sum::<u64>(), found.len());
    eprintln!("adopted {count} partition(s) with {records} records as topic {name}; the broker's next start serves them");
    for (partition, from) in unnamed {
        eprintln!(
            "partition {partition} was named by no checkpoint and is taken from its segments; it is reported as possibly short from offset \
             {from} on, until `sluice log accept-loss` accepts that"
        );
    }
    if found.values().any(|found| found.is_damaged) {
        eprintln!("some of it is damaged and will not be served; `sluice log verify {}` says what", data_dir.display());
    }
    Ok(())
}

/// The partitions of a topic id that no topic has; at least one.
pub(super) fn orphans_of(folder: &StoppedFolder, topic_id: TopicId) -> Result<BTreeMap<PartitionIndex, FoundPartition>, Failure> {
    let wanted = |id: sluice_model::TopicPartition| id.topic_id == topic_id && folder.standing(id) == Some(Standing::Unknown);
    let found = found::find(&folder.files, &wanted)
        .map_err(|error| Failure::io(format_args!("cannot read {}", folder.layout.data_dir().display()), &error))?;
    if !found.is_empty() {
        return Ok(found.into_iter().map(|(id, partition)| (id.partition, partition)).collect());
    }
    let what = match folder.image() {
        Some(image) if image.is_deleted(topic_id) => {
            format!("topic {topic_id} was deleted; what is left of it goes at the broker's next start")
        }
        Some(image) if image.topic(topic_id).is_some() => {
            let name = image.topic(topic_id).map_or("", |topic| topic.name.as_str());
            format!("topic {topic_id} is known, as {name}, with every partition that was found of it")
        }
        _ => format!("the folder holds no partition of a topic {topic_id}"),
    };
    Err(Failure::new(ExitStatus::Refused, what).remedy("`sluice orphan list` shows what there is"))
}

fn check_named(
    folder: &StoppedFolder,
    topic_id: TopicId,
    found: &BTreeMap<PartitionIndex, FoundPartition>,
) -> Result<(), Failure> {
    let in_use = |shard: &&ShardFiles| shard.newest().is_none() && !shard.journal.is_empty();
    let to_rebuild = folder.files.shards.iter().find(in_use).map(|shard| shard.shard);
    for (partition, found) in found {
        let what = match (found.named_by, to_rebuild) {
            (NamedBy::Journal, _) => "only the journal names it".to_owned(),
            (NamedBy::Nobody, Some(shard)) => {
                format!("shard {shard} has lost both checkpoints, and its journal may have more of it")
            }
            _ => continue,
        };
        let what = format!("partition {partition} of topic {topic_id} cannot be adopted: {what}");
        return Err(
            Failure::new(ExitStatus::Refused, what).remedy("start and stop the broker once: that recovers it, then adopt")
        );
    }
    Ok(())
}

/// Puts partitions that only segments name into the checkpoint of the first shard that has one; gives back where each
/// of them ends.
fn name_unnamed(
    folder: &StoppedFolder,
    topic_id: TopicId,
    found: &mut BTreeMap<PartitionIndex, FoundPartition>,
) -> Result<Vec<(PartitionIndex, Offset)>, Failure> {
    let nobody = found.iter().filter(|(_, found)| found.named_by == NamedBy::Nobody).map(|(&partition, _)| partition);
    let nobody: Vec<PartitionIndex> = nobody.collect();
    if nobody.is_empty() {
        return Ok(Vec::new());
    }
    let Some(newest) = folder.files.shards.iter().find_map(ShardFiles::newest) else {
        let what = format!("{} has no good checkpoint that could name the partitions", folder.layout.data_dir().display());
        return Err(Failure::new(ExitStatus::Damaged, what).remedy("start and stop the broker once, then adopt"));
    };
    let shard = newest.checkpoint.shard;
    let (mut named, mut ends) = (Vec::new(), Vec::new());
    for partition in nobody {
        let id = TopicPartition { topic_id, partition };
        let read = files::ready(unnamed_partition(&PlainDisk::READ_ONLY, &folder.layout, id, PlacementEpoch(0)));
        let read = read.map_err(|error| Failure::new(ExitStatus::DataFolder, error.to_string()))?;
        let Some(checkpoint) = read else { continue };
        let of_frames = found.remove(&partition);
        let mut taken = FoundPartition::of_checkpoint(shard, &checkpoint);
        if let Some(of_frames) = of_frames {
            taken.leader_epoch = taken.leader_epoch.max(of_frames.leader_epoch);
            taken.producer_id_max = taken.producer_id_max.max(of_frames.producer_id_max);
            taken.is_damaged = of_frames.is_damaged || !checkpoint.damaged.is_empty();
        }
        found.insert(partition, taken);
        ends.push((partition, checkpoint.recovery_point.offset));
        named.push(checkpoint);
    }
    let written = files::ready(name_partitions(&PlainDisk::WRITABLE, &folder.layout, newest, named));
    let dir = folder.layout.shard_dir(shard);
    written.map_err(|error| Failure::io(format_args!("cannot write the checkpoints in {}", dir.display()), &error))?;
    Ok(ends)
}

fn adopted(found: &FoundPartition) -> Option<sluice_metadata::FoundPartition> {
    Some(sluice_metadata::FoundPartition {
        shard: found.shard?,
        placement_epoch: found.placement_epoch,
        leader_epoch: found.leader_epoch,
    })
}
