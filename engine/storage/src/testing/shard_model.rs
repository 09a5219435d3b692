//! What must be there after a power cut or rot, whatever storage does: the model that tests hold a shard against.

use crate::testing::frames::TestFrame;
use crate::testing::test_shard::TestShard;
use sluice_model::{Offset, ProducerTable, TopicPartition};
use std::collections::BTreeMap;

/// What was appended and what was acknowledged, with the call of the disk by which it was.
#[derive(Clone, Debug, Default)]
pub struct ShardModel {
    partitions: BTreeMap<TopicPartition, PartitionModel>,
}

#[derive(Clone, Debug, Default)]
struct PartitionModel {
    frames: Vec<TestFrame>,
    /// Call count when the frame was acknowledged.
    acknowledged: Vec<Option<usize>>,
    /// The commit group of each frame, where that is followed; `u64::MAX` where it is not.
    groups: Vec<u64>,
    /// Log starts asked for, with the call counts before the entry was appended and when it was acknowledged.
    log_starts: Vec<(Offset, usize, usize)>,
}

impl ShardModel {
    pub fn on_append(&mut self, frame: &TestFrame) {
        self.on_append_to(u64::MAX, frame);
    }

    /// An append into the commit group of this sequence.
    pub fn on_append_to(&mut self, group: u64, frame: &TestFrame) {
        let partition = self.partitions.entry(frame.header.topic_partition()).or_default();
        partition.frames.push(frame.clone());
        partition.acknowledged.push(None);
        partition.groups.push(group);
    }

    /// The group of this sequence, and with it all before it, is durable, as of this many calls.
    pub fn on_group(&mut self, group: u64, calls: usize) {
        for partition in self.partitions.values_mut() {
            for (acknowledged, _) in partition.acknowledged.iter_mut().zip(&partition.groups).filter(|(_, of)| **of <= group) {
                acknowledged.get_or_insert(calls);
            }
        }
    }

    /// Where a partition's log ends as far as it was acknowledged.
    #[must_use]
    pub fn acknowledged_end(&self, id: TopicPartition) -> Offset {
        let Some(partition) = self.partitions.get(&id) else { return Offset::ZERO };
        let acknowledged = partition.frames.iter().zip(&partition.acknowledged).filter(|(_, calls)| calls.is_some());
        acknowledged.map(|(frame, _)| frame.header.next_offset()).max().unwrap_or_default()
    }

    /// Where a partition's log ends, acknowledged or not.
    #[must_use]
    pub fn appended_end(&self, id: TopicPartition) -> Offset {
        let last = self.partitions.get(&id).and_then(|partition| partition.frames.last());
        last.map_or(Offset::ZERO, |frame| frame.header.next_offset())
    }

    /// The same without the last frame of a partition.
    #[must_use]
    pub fn without_last(&self, id: TopicPartition) -> Self {
        let mut without = self.clone();
        if let Some(partition) = without.partitions.get_mut(&id) {
            partition.frames.pop();
            partition.acknowledged.pop();
            partition.groups.pop();
        }
        without
    }

    /// How many frames were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.partitions.values().map(|partition| partition.acknowledged.iter().flatten().count()).sum()
    }

    /// All that was appended is durable, as of this many calls.
    pub fn on_commit(&mut self, calls: usize) {
        for acknowledged in self.partitions.values_mut().flat_map(|partition| &mut partition.acknowledged) {
            acknowledged.get_or_insert(calls);
        }
    }

    pub fn on_log_start(&mut self, id: TopicPartition, offset: Offset, before: usize, calls: usize) {
        self.partitions.entry(id).or_default().log_starts.push((offset, before, calls));
    }

    /// After rot: what is served is what was appended, and of what was acknowledged nothing is missing without a
    /// word. Gives back how many frames are missing.
    pub fn check_rotten(&self, shard: &mut TestShard, what: &str) -> usize {
        self.check_rotten_before(u64::MAX, shard, what)
    }

    /// The same; frames of the group of this sequence and later ones may be missing without a word.
    pub fn check_rotten_before(&self, group: u64, shard: &mut TestShard, what: &str) -> usize {
        let mut missing = 0;
        for (&id, partition) in &self.partitions {
            missing += partition.check_rotten(group, shard, id, what);
        }
        missing
    }

    /// The sequence of the last commit group that has frames, where groups are followed.
    #[must_use]
    pub fn last_group(&self) -> u64 {
        self.partitions.values().filter_map(|partition| partition.groups.last()).max().copied().unwrap_or(0)
    }

    /// Whatever happened: what is served was appended, in order.
    pub fn check_served(&self, shard: &mut TestShard, what: &str) {
        for (&id, partition) in &self.partitions {
            if !shard.shard.partitions.contains_key(&id) {
                continue;
            }
            let mut appended = partition.frames.iter();
            for bytes in shard.read_good(id).0 {
                assert!(appended.any(|frame| frame.bytes() == bytes), "{what}: {id} serves what was never appended");
            }
        }
    }

    /// The model of what goes on after a recovery: its logs, all of them durable at this many calls.
    #[must_use]
    pub fn resumed(&self, shard: &TestShard, calls: usize) -> Self {
        let mut resumed = Self::default();
        for (&id, partition) in &self.partitions {
            let Some(recovered) = shard.shard.partitions.get(&id) else { continue };
            let end = recovered.log.log_end_offset();
            let frames: Vec<_> = partition.frames.iter().filter(|frame| frame.header.next_offset() <= end).cloned().collect();
            let acknowledged = vec![Some(calls); frames.len()];
            let groups = vec![0; frames.len()];
            let log_starts = vec![(recovered.log.log_start_offset(), 0, calls)];
            resumed.partitions.insert(id, PartitionModel { frames, acknowledged, groups, log_starts });
        }
        resumed
    }

    /// Holds a recovered shard against what was acknowledged before call `cut` was issued. The message names `what`.
    pub fn check(&self, shard: &mut TestShard, cut: usize, what: &str) {
        for (&id, partition) in &self.partitions {
            partition.check(shard, id, cut, what);
        }
    }
}

impl PartitionModel {
    fn check(&self, shard: &mut TestShard, id: TopicPartition, cut: usize, what: &str) {
        let acknowledged = self.acknowledged.iter().filter(|calls| calls.is_some_and(|calls| calls <= cut)).count();
        let Some(recovered) = shard.shard.partitions.get(&id) else {
            assert_eq!(acknowledged, 0, "{what}: partition {id} is gone");
            return;
        };
        let (start, end) = (recovered.log.log_start_offset(), recovered.log.log_end_offset());
        let end_known = self.frames[..acknowledged].last().map_or(Offset::ZERO, |frame| frame.header.next_offset());
        assert!(end >= end_known, "{what}: {id} ends at {end}, acknowledged up to {end_known}");
        let start_min = self.log_starts.iter().filter(|s| s.2 <= cut).map(|s| s.0).max().unwrap_or_default();
        let start_max = self.log_starts.iter().filter(|s| s.1 <= cut).map(|s| s.0).max().unwrap_or_default();
        assert!(start_min <= start && start <= start_max, "{what}: {id} starts at {start}, not in {start_min} to {start_max}");
        let expected: Vec<&TestFrame> = self.frames.iter().filter(|frame| frame.header.next_offset() <= end).collect();
        assert_eq!(expected.last().map_or(Offset::ZERO, |f| f.header.next_offset()), end, "{what}: {id} has half a frame");
        let mut producers = ProducerTable::default();
        expected.iter().for_each(|frame| producers.on_append(&frame.header));
        let epoch = expected.last().map(|frame| frame.header.leader_epoch());
        assert_eq!(recovered.epochs.latest(), epoch, "{what}: {id} has another epoch");
        assert_eq!(recovered.producers, producers, "{what}: {id} has other producers");
        let got = shard.read_all(id);
        let served: Vec<Vec<u8>> =
            expected.iter().filter(|frame| frame.header.next_offset() > start).map(|frame| frame.bytes()).collect();
        assert_eq!(got.len(), served.len(), "{what}: {id} serves another number of frames");
        for (got, expected) in got.iter().zip(&served) {
            assert!(got == expected, "{what}: {id} serves other bytes");
        }
    }

    fn check_rotten(&self, excused_from: u64, shard: &mut TestShard, id: TopicPartition, what: &str) -> usize {
        let recovered = &shard.shard.partitions[&id];
        let (start, end) = (recovered.log.log_start_offset(), recovered.log.log_end_offset());
        let short = recovered.possibly_short;
        let (got, refused) = shard.read_good(id);
        let mut got = got.iter().peekable();
        let mut missing = 0;
        let frames = self.frames.iter().zip(&self.groups).filter(|(frame, _)| frame.header.next_offset() > start);
        for (frame, group) in frames {
            let (from, until) = (frame.header.base_offset(), frame.header.next_offset());
            if got.next_if(|bytes| **bytes == frame.bytes()).is_some() {
                continue;
            }
            missing += 1;
            let named = refused.iter().any(|range| range.from <= from.max(start) && until <= range.until);
            let excused = *group >= excused_from && *group != u64::MAX;
            assert!(named || (short && from >= end) || excused, "{what}: {id} lost {from} up to {until} without a word");
        }
        assert!(got.next().is_none(), "{what}: {id} serves what was never appended");
        missing
    }
}
