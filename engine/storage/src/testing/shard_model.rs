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
    history: History,
    /// What the log was before each truncation, with the call counts before its entry was appended and when it was
    /// acknowledged.
    truncated: Vec<(History, usize, usize)>,
    /// A truncation may have reached into the oldest segment that retention has left, and with it forgotten batches
    /// of segments that are gone.
    may_forget: bool,
    /// Log starts asked for, with the call counts before the entry was appended and when it was acknowledged.
    log_starts: Vec<(Offset, usize, usize)>,
}

#[derive(Clone, Debug, Default)]
struct History {
    frames: Vec<TestFrame>,
    /// Call count when the frame was acknowledged.
    acknowledged: Vec<Option<usize>>,
    /// The commit group of each frame, where that is followed; `u64::MAX` where it is not.
    groups: Vec<u64>,
}

impl ShardModel {
    pub fn on_append(&mut self, frame: &TestFrame) {
        self.on_append_to(u64::MAX, frame);
    }

    /// An append into the commit group of this sequence.
    pub fn on_append_to(&mut self, group: u64, frame: &TestFrame) {
        let partition = self.partitions.entry(frame.header.topic_partition()).or_default();
        partition.history.frames.push(frame.clone());
        partition.history.acknowledged.push(None);
        partition.history.groups.push(group);
    }

    /// The group of this sequence, and with it all before it, is durable, as of this many calls.
    pub fn on_group(&mut self, group: u64, calls: usize) {
        for partition in self.partitions.values_mut() {
            for (acknowledged, _) in
                partition.history.acknowledged.iter_mut().zip(&partition.history.groups).filter(|(_, of)| **of <= group)
            {
                acknowledged.get_or_insert(calls);
            }
        }
    }

    /// Where a partition's log ends as far as it was acknowledged.
    #[must_use]
    pub fn acknowledged_end(&self, id: TopicPartition) -> Offset {
        let Some(partition) = self.partitions.get(&id) else { return Offset::ZERO };
        let acknowledged =
            partition.history.frames.iter().zip(&partition.history.acknowledged).filter(|(_, calls)| calls.is_some());
        acknowledged.map(|(frame, _)| frame.header.next_offset()).max().unwrap_or_default()
    }

    /// Where a partition's log ends, acknowledged or not.
    #[must_use]
    pub fn appended_end(&self, id: TopicPartition) -> Offset {
        let last = self.partitions.get(&id).and_then(|partition| partition.history.frames.last());
        last.map_or(Offset::ZERO, |frame| frame.header.next_offset())
    }

    /// The same without the last frame of a partition.
    #[must_use]
    pub fn without_last(&self, id: TopicPartition) -> Self {
        let mut without = self.clone();
        if let Some(partition) = without.partitions.get_mut(&id) {
            partition.history.frames.pop();
            partition.history.acknowledged.pop();
            partition.history.groups.pop();
        }
        without
    }

    /// How many frames were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.partitions.values().map(|partition| partition.history.acknowledged.iter().flatten().count()).sum()
    }

    /// All that was appended is durable, as of this many calls.
    pub fn on_commit(&mut self, calls: usize) {
        for acknowledged in self.partitions.values_mut().flat_map(|partition| &mut partition.history.acknowledged) {
            acknowledged.get_or_insert(calls);
        }
    }

    pub fn on_log_start(&mut self, id: TopicPartition, offset: Offset, before: usize, calls: usize) {
        self.partitions.entry(id).or_default().log_starts.push((offset, before, calls));
    }

    /// The log ends at `end_offset`, acknowledged or not: before the entry was appended, and when it was durable.
    pub fn on_truncate(&mut self, id: TopicPartition, end_offset: Offset, before: usize, calls: usize) {
        let partition = self.partitions.entry(id).or_default();
        partition.truncated.push((partition.history.clone(), before, calls));
        partition.may_forget |= !partition.log_starts.is_empty();
        let history = &mut partition.history;
        let kept = history.frames.partition_point(|frame| frame.header.next_offset() <= end_offset);
        history.frames.truncate(kept);
        history.acknowledged.truncate(kept);
        history.groups.truncate(kept);
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
        self.partitions.values().filter_map(|partition| partition.history.groups.last()).max().copied().unwrap_or(0)
    }

    /// Whatever happened: what is served was appended, in order.
    pub fn check_served(&self, shard: &mut TestShard, what: &str) {
        for (&id, partition) in &self.partitions {
            if !shard.shard.partitions.contains_key(&id) {
                continue;
            }
            let served = shard.read_good(id).0;
            let is_part_of = |history: &History| {
                let mut appended = history.frames.iter();
                served.iter().all(|bytes| appended.any(|frame| frame.bytes() == *bytes))
            };
            let mut histories = partition.truncated.iter().map(|(history, ..)| history).chain([&partition.history]);
            assert!(histories.any(is_part_of), "{what}: {id} serves what was never appended");
        }
    }

    /// The model of what goes on after a recovery: its logs, all of them durable at this many calls.
    #[must_use]
    pub fn resumed(&self, shard: &TestShard, calls: usize) -> Self {
        let mut resumed = Self::default();
        for (&id, partition) in &self.partitions {
            let Some(recovered) = shard.shard.partitions.get(&id) else { continue };
            let (end, last) = (recovered.log.log_end_offset(), recovered.log.last_header_crc());
            let histories = partition.truncated.iter().map(|(history, ..)| history).chain([&partition.history]);
            let recovered_to = |history: &History| history.up_to(end).last().map_or(0, |f| f.header.header_crc.to_native());
            let history = histories.rev().find(|history| recovered_to(history) == last).unwrap_or(&partition.history);
            let frames: Vec<_> = history.up_to(end).cloned().collect();
            let acknowledged = vec![Some(calls); frames.len()];
            let log_starts = vec![(recovered.log.log_start_offset(), 0, calls)];
            let groups = vec![0; frames.len()];
            let history = History { frames, acknowledged, groups };
            resumed
                .partitions
                .insert(id, PartitionModel { history, log_starts, may_forget: partition.may_forget, ..Default::default() });
        }
        resumed
    }

    /// [`Self::check`] after a start without checkpoints: deleted records may be back, and that is all.
    pub fn check_rebuilt(&self, shard: &mut TestShard, cut: usize, what: &str) {
        for (&id, partition) in &self.partitions {
            partition.check(shard, id, cut, (true, what));
        }
    }

    /// Holds a recovered shard against what was acknowledged before call `cut` was issued. The message names `what`.
    pub fn check(&self, shard: &mut TestShard, cut: usize, what: &str) {
        for (&id, partition) in &self.partitions {
            partition.check(shard, id, cut, (false, what));
        }
    }
}

impl PartitionModel {
    fn check(&self, shard: &mut TestShard, id: TopicPartition, cut: usize, (rebuilt, what): (bool, &str)) {
        let possible = self.possible(cut);
        let failures: Vec<String> =
            possible.iter().map_while(|history| self.check_history(history, shard, id, (cut, rebuilt)).err()).collect();
        assert!(failures.len() < possible.len(), "{what}: {id} {}", failures.join("; or, if not truncated: "));
    }

    /// What the log may be after a cut, newest first: a truncation that was under way may have happened or not.
    fn possible(&self, cut: usize) -> Vec<&History> {
        let mut possible = Vec::new();
        let mut newer = &self.history;
        for (older, before, calls) in self.truncated.iter().rev() {
            if *before <= cut {
                possible.push(newer);
            }
            if *calls <= cut {
                return possible;
            }
            newer = older;
        }
        possible.push(newer);
        possible
    }

    fn check_history(
        &self,
        history: &History,
        shard: &mut TestShard,
        id: TopicPartition,
        (cut, rebuilt): (usize, bool),
    ) -> Result<(), String> {
        let acknowledged = history.acknowledged.iter().filter(|calls| calls.is_some_and(|calls| calls <= cut)).count();
        let Some(recovered) = shard.shard.partitions.get(&id) else {
            return ensure(acknowledged == 0, || "is gone".to_owned());
        };
        let (start, end) = (recovered.log.log_start_offset(), recovered.log.log_end_offset());
        let end_known = history.frames[..acknowledged].last().map_or(Offset::ZERO, |frame| frame.header.next_offset());
        ensure(end >= end_known, || format!("ends at {end}, acknowledged up to {end_known}"))?;
        let start_min = if rebuilt { None } else { self.log_starts.iter().filter(|s| s.2 <= cut).map(|s| s.0).max() };
        let start_min = start_min.unwrap_or_default();
        let start_max = self.log_starts.iter().filter(|s| s.1 <= cut).map(|s| s.0).max().unwrap_or_default();
        ensure(start_min <= start && start <= start_max, || format!("starts at {start}, not in {start_min} to {start_max}"))?;
        let expected: Vec<&TestFrame> = history.up_to(end).collect();
        ensure(expected.last().map_or(Offset::ZERO, |f| f.header.next_offset()) == end, || {
            format!("ends at {end}, no boundary")
        })?;
        let mut producers = ProducerTable::default();
        expected.iter().for_each(|frame| producers.on_append(&frame.header));
        let epoch = expected.last().map(|frame| frame.header.leader_epoch());
        // Epochs below the log start are forgotten, all of them when a truncation leaves nothing above it.
        let forgotten = self.may_forget && start == end && recovered.epochs.latest().is_none();
        ensure(recovered.epochs.latest() == epoch || forgotten, || {
            format!("has epoch {:?}, not {epoch:?}", recovered.epochs.latest())
        })?;
        ensure(
            recovered.producers == producers || (self.may_forget && is_newest_part(&recovered.producers, &producers)),
            || format!("has producers {:?}, not {producers:?}", recovered.producers),
        )?;
        let got = shard.read_all(id);
        let served: Vec<Vec<u8>> =
            expected.iter().filter(|frame| frame.header.next_offset() > start).map(|frame| frame.bytes()).collect();
        ensure(got.len() == served.len(), || format!("serves {} frames, not {}", got.len(), served.len()))?;
        ensure(got == served, || "serves other bytes".to_owned())
    }

    fn check_rotten(&self, excused_from: u64, shard: &mut TestShard, id: TopicPartition, what: &str) -> usize {
        let recovered = &shard.shard.partitions[&id];
        let (start, end) = (recovered.log.log_start_offset(), recovered.log.log_end_offset());
        let short = recovered.possibly_short;
        let (got, refused) = shard.read_good(id);
        let mut got = got.iter().peekable();
        let mut missing = 0;
        let frames = self.history.frames.iter().zip(&self.history.groups).filter(|(frame, _)| frame.header.next_offset() > start);
        for (frame, group) in frames {
            let (from, until) = (frame.header.base_offset(), frame.header.next_offset());
            if got.next_if(|bytes| **bytes == frame.bytes()).is_some() {
                continue;
            }
            missing += 1;
            let named = refused.iter().any(|range| range.from <= from.max(start) && until <= range.until);
            let excused = *group >= excused_from && *group != u64::MAX;
            assert!(
                named || short.is_some_and(|short| from >= short.min(end)) || excused,
                "{what}: {id} lost {from} up to {until} without a word"
            );
        }
        assert!(got.next().is_none(), "{what}: {id} serves what was never appended");
        missing
    }
}

impl History {
    fn up_to(&self, end: Offset) -> impl DoubleEndedIterator<Item = &TestFrame> {
        self.frames.iter().filter(move |frame| frame.header.next_offset() <= end)
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Whether `got` has of each producer the newest batches that `expected` has.
fn is_newest_part(got: &ProducerTable, expected: &ProducerTable) -> bool {
    got.iter().all(|(id, entry)| {
        let batches = expected.get(id).map(|entry| entry.batches.iter().rev());
        batches.is_some_and(|mut batches| entry.batches.iter().rev().all(|batch| batches.next() == Some(batch)))
    })
}
