//! `orphan adopt`: the metadata gets a topic with the id of the partitions found.
//!
//! The expensive mistake is to adopt what a start could not open: a partition that no checkpoint names, beside which
//! the topic's other partitions would be served from nothing. Such a topic is refused whole.

use super::AdoptArgs;
use super::found::{self, FoundPartition, NamedBy};
use super::stopped_folder::{Standing, StoppedFolder, command_failure};
use crate::exit_status::{ExitStatus, Failure};
use sluice_broker::BROKER;
use sluice_metadata::{AdoptTopic, PRODUCER_ID_PLAUSIBLE_END, ReserveProducerIds};
use sluice_model::{PartitionIndex, TopicId};
use std::collections::BTreeMap;

pub(crate) fn adopt(args: &AdoptArgs) -> Result<(), Failure> {
    let data_dir = &args.folder.data_dir;
    let mut folder = StoppedFolder::open(data_dir)?;
    folder.controller()?;
    let found = orphans_of(&folder, args.topic_id)?;
    check_named(args.topic_id, &found)?;
    let known = folder.image().and_then(|image| image.topic(args.topic_id)).map(|topic| topic.name.clone());
    let Some(name) = args.name.clone().or(known) else {
        return Err(Failure::usage("the metadata does not know this topic, so it has no name").remedy("--name NAME"));
    };
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

fn check_named(topic_id: TopicId, found: &BTreeMap<PartitionIndex, FoundPartition>) -> Result<(), Failure> {
    for (partition, found) in found {
        let (what, remedy) = match found.named_by {
            NamedBy::Checkpoint => continue,
            NamedBy::Journal => ("only the journal names it", "start and stop the broker once: that recovers it, then adopt"),
            NamedBy::Nobody => (
                "no checkpoint names its segments",
                "put back the folder shard-N that belongs to this data folder; or move the partition's folder away, and adopt the others",
            ),
        };
        let what = format!("partition {partition} of topic {topic_id} cannot be adopted: {what}");
        return Err(Failure::new(ExitStatus::Refused, what).remedy(remedy));
    }
    Ok(())
}

fn adopted(found: &FoundPartition) -> Option<sluice_metadata::FoundPartition> {
    Some(sluice_metadata::FoundPartition {
        shard: found.shard?,
        placement_epoch: found.placement_epoch,
        leader_epoch: found.leader_epoch,
    })
}
