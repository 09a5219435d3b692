//! What the controller would know: topics, where each partition is placed, and how often it was moved. Durable by
//! decree; its own storage is proved elsewhere.

use crate::plan::{Plan, RingShape, pick, ring_shape};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionIndex, PlacementEpoch, ShardIndex, TopicId, TopicPartition};
use sluice_partition::{IsrTimes, PartitionState};
use sluice_partition::{PartitionAssignment, PartitionSettings, PartitionsConfig};
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;
use sluice_storage::testing::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub const BROKER: BrokerId = BrokerId(1);

pub struct Control {
    pub layout: Layout,
    pub settings: BTreeMap<TopicId, PartitionSettings>,
    placement: BTreeMap<TopicPartition, (ShardIndex, PlacementEpoch)>,
    /// Deleted, and perhaps not wholly removed yet.
    pub deleted: BTreeSet<TopicId>,
    pub shard_count: u64,
    pub ring: RingShape,
    leader_epochs: u32,
    incarnations: u64,
    topics_made: u8,
    seed: u64,
}

impl Control {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            layout: Layout::new(Path::new("/data")),
            settings: BTreeMap::new(),
            placement: BTreeMap::new(),
            deleted: BTreeSet::new(),
            shard_count: 1,
            ring: plan.ring,
            leader_epochs: 0,
            incarnations: 0,
            topics_made: 0,
            seed: plan.seed,
        }
    }

    /// A new topic; its partitions are placed at once.
    pub fn create_topic(&mut self, partitions: u64, settings: PartitionSettings) -> Vec<TopicPartition> {
        self.topics_made += 1;
        let topic_id = TopicId([self.topics_made; 16]);
        self.settings.insert(topic_id, settings);
        let partitions = u32::try_from(partitions).expect("small");
        let ids: Vec<_> = (0..partitions).map(|index| TopicPartition { topic_id, partition: PartitionIndex(index) }).collect();
        for id in &ids {
            self.placement.insert(*id, (self.shard_for(*id), PlacementEpoch(1)));
        }
        ids
    }

    pub fn delete_topic(&mut self, topic_id: TopicId) -> Vec<TopicPartition> {
        let ids: Vec<_> = self.placement.keys().filter(|id| id.topic_id == topic_id).copied().collect();
        self.settings.remove(&topic_id);
        self.placement.retain(|id, _| id.topic_id != topic_id);
        self.deleted.insert(topic_id);
        ids
    }

    pub fn ids(&self) -> impl Iterator<Item = TopicPartition> {
        self.placement.keys().copied()
    }

    #[must_use]
    pub fn shard_of(&self, id: TopicPartition) -> Option<ShardIndex> {
        self.placement.get(&id).map(|(shard, _)| *shard)
    }

    /// Another number of shards from the next start on. Gives back how many partitions move.
    pub fn set_shard_count(&mut self, count: u64) -> u64 {
        self.shard_count = count;
        let mut moved = 0;
        for id in self.ids().collect::<Vec<_>>() {
            let shard = self.shard_for(id);
            let place = self.placement.get_mut(&id).expect("an id of the map");
            if place.0 != shard {
                *place = (shard, PlacementEpoch(place.1.0 + 1));
                moved += 1;
            }
        }
        moved
    }

    pub fn set_ring(&mut self, random: &mut Random, frame_len_max: u64) {
        let shape = ring_shape(random);
        if shape.file_len >= 4 * frame_len_max {
            self.ring = shape;
        }
    }

    /// The number of the next incarnation.
    #[must_use]
    pub fn next_incarnation(&self) -> u64 {
        self.incarnations + 1
    }

    /// Two new incarnations: one to move partitions under, one to open shards under.
    pub fn begin_start(&mut self) -> (Incarnation, Incarnation) {
        self.leader_epochs += 1;
        self.incarnations += 2;
        (self.incarnation(self.incarnations - 1), self.incarnation(self.incarnations))
    }

    fn incarnation(&self, number: u64) -> Incarnation {
        Incarnation { number, random: self.seed.wrapping_mul(31).wrapping_add(number) }
    }

    /// Greater than any so far.
    pub fn next_leader_epoch(&mut self) -> LeaderEpoch {
        self.leader_epochs += 1;
        LeaderEpoch(self.leader_epochs)
    }

    #[must_use]
    pub fn assignment(&self, id: TopicPartition) -> Option<PartitionAssignment> {
        let (_, placement_epoch) = *self.placement.get(&id)?;
        let settings = *self.settings.get(&id.topic_id)?;
        let leader_epoch = LeaderEpoch(self.leader_epochs);
        let state = Some(PartitionState::alone(BROKER, self.incarnation(self.incarnations), leader_epoch));
        Some(PartitionAssignment { id, placement_epoch, state, settings })
    }

    #[must_use]
    pub fn assignments(&self) -> Vec<(ShardIndex, PartitionAssignment)> {
        self.ids().filter_map(|id| Some((self.shard_of(id)?, self.assignment(id)?))).collect()
    }

    #[must_use]
    pub fn journal(&self, shard: ShardIndex) -> JournalConfig {
        let RingShape { file_len, file_count, group_len_target } = self.ring;
        JournalConfig { dir: self.layout.shard_journal_dir(shard), file_len, file_count, group_len_target }
    }

    #[must_use]
    pub fn config(&self, plan: &Plan, shard: ShardIndex) -> PartitionsConfig {
        PartitionsConfig {
            layout: self.layout.clone(),
            shard,
            broker: BROKER,
            journal: self.journal(shard),
            tail_budget: plan.tail_budget,
            journal_buffer_budget: plan.journal_buffer_budget,
            produce_delay_ms_max: plan.produce_delay_ms_max,
            write_back_interval_ms: plan.write_back_interval_ms,
            checkpoint_interval_ms: plan.checkpoint_interval_ms,
            scrub_interval_ms: 600_000,
            isr_times: IsrTimes::default(),
        }
    }

    fn shard_for(&self, id: TopicPartition) -> ShardIndex {
        let number = u64::from(id.topic_id.0[0]) * 7 + u64::from(id.partition.0);
        ShardIndex(u16::try_from(number % self.shard_count).expect("few shards"))
    }
}

/// Settings as an operator might choose them, at the scale of a run.
pub fn topic_settings(random: &mut Random, plan: &Plan) -> PartitionSettings {
    let segment_len = [16, 32, 64, 128][pick(random, 4)] * 1024;
    PartitionSettings {
        segment_len,
        retention_bytes: (random.below(4) == 0).then(|| segment_len * (1 + random.below(3))),
        retention_ms: (random.below(4) == 0).then(|| [300, 3_000, 60_000][pick(random, 3)]),
        frame_len_max: if random.below(5) == 0 { plan.body_len_max / 2 } else { plan.body_len_max } + 200,
        min_insync_replicas: if random.below(12) == 0 { 2 } else { 1 },
    }
}
