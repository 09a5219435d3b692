//! The number of shards has changed: partitions go to other shards, and what their old shards held of them goes along.
//!
//! Before any shard serves, every shard folder there is, of whatever former number of shards, is recovered into
//! segments; the state of each partition then goes to the shard that owns it now. It may be cut off anywhere and done
//! again: until every new owner has made its first checkpoint, the data folder says that this is under way. The
//! expensive mistake is to let a former owner speak for a partition that has moved on since, so only the checkpoint
//! with the greatest placement epoch counts.

use crate::config::BrokerConfig;
use crate::shard_main::journal_config;
use crate::view::View;
use sluice_model::{Incarnation, PlacementEpoch, ShardIndex, TopicPartition};
use sluice_shard::Shard;
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::checkpoint_slots::read_slots;
use sluice_storage::disk::Disk;
use sluice_storage::layout::Layout;
use sluice_storage::log::LogConfig;
use sluice_storage::recovery::{PartitionFate, RecoverShard, RecoveryError, recover_shard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a relocation works with.
pub(crate) struct Relocation {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) layout: Layout,
    /// Smaller than the one the shards will serve under.
    pub(crate) incarnation: Incarnation,
    pub(crate) view: Arc<View>,
    /// Every shard folder that is there.
    pub(crate) shards: Vec<ShardIndex>,
}

/// The newest state of every partition, by the shard that held it.
pub(crate) type Collected = BTreeMap<ShardIndex, Vec<PartitionCheckpoint>>;

/// Runs on a shard that serves nobody.
pub(crate) async fn collect(shard: Shard, relocation: Relocation) -> Result<Collected, RecoveryError> {
    let disk = shard.disk();
    let mut newest: BTreeMap<TopicPartition, PlacementEpoch> = BTreeMap::new();
    for &index in &relocation.shards {
        let (_, found) = read_slots(&disk, &relocation.layout, index).await.map_err(RecoveryError::Io)?;
        for partition in found.iter().flat_map(|found| &found.checkpoint.partitions) {
            let epoch = newest.entry(partition.id).or_default();
            *epoch = (*epoch).max(partition.placement_epoch);
        }
    }
    let mut collected = Collected::new();
    for &index in &relocation.shards {
        collected.insert(index, recover(&disk, &relocation, index, &newest).await?);
    }
    Ok(collected)
}

async fn recover<D: Disk>(
    disk: &D,
    relocation: &Relocation,
    index: ShardIndex,
    newest: &BTreeMap<TopicPartition, PlacementEpoch>,
) -> Result<Vec<PartitionCheckpoint>, RecoveryError> {
    let image = &relocation.view.image;
    let fate = |id: TopicPartition, epoch: Option<PlacementEpoch>| match image.topic(id.topic_id) {
        None => PartitionFate::Deleted,
        Some(_) if epoch != newest.get(&id).copied() => PartitionFate::Elsewhere,
        Some(topic) => PartitionFate::Recover(LogConfig { segment_len: topic.settings.segment_len() }),
    };
    let plan = RecoverShard {
        layout: relocation.layout.clone(),
        shard: index,
        incarnation: relocation.incarnation,
        journal: journal_config(&relocation.config, &relocation.layout, index),
        memory: TailMemory::new(relocation.config.tail_budget_len as u64),
        fate: &fate,
        imports: Vec::new(),
    };
    let recovered = recover_shard(disk, plan).await?;
    tracing::info!(shard = index.0, report = %recovered.report, "recovered for its partitions to move");
    Ok(recovered.partitions.into_values().map(|partition| partition.log.checkpoint(partition.high_watermark)).collect())
}

/// What `shard` takes over from others.
pub(crate) fn imports_of(collected: &Collected, view: &View, shard: ShardIndex) -> Vec<PartitionCheckpoint> {
    let others = collected.iter().filter(|(holder, _)| **holder != shard).flat_map(|(_, partitions)| partitions);
    others
        .filter(|partition| {
            let placement = view.image.partition(partition.id).and_then(|state| state.placement(view.broker));
            placement.is_some_and(|placement| placement.shard == shard)
        })
        .cloned()
        .collect()
}
