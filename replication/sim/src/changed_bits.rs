//! Bits that change while the broker is down: rot anywhere, and checkpoints that are lost.
//!
//! The expensive mistake is a bit of which the oracle is told more, or less, than it costs: what it is part of is found
//! before it changes (`rot`), and so is what the slots vouched for.

use crate::plan::pick;
use crate::rot::{FrameCopy, FrameId, JournalHit, KnownSegment};
use crate::rot::{frames_of_journal, group_of_journal, groups_in, hit_of_segment};
use crate::world::World;
use sluice_model::{LeaderEpoch, PartitionIndex, ShardIndex, TopicId, TopicPartition};
use sluice_storage::checkpoint::{PartitionCheckpoint, SealedSegmentInfo};
use sluice_storage::checkpoint_slots::{RingState, SlotFound, read_slots, read_spare};
use sluice_storage::commit_group::GroupHeader;
use sluice_storage::layout::segment_base_offset;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a slot under the checksum of its header, behind the version.
const SLOT_HEADER: Range<usize> = 8..72;

impl World {
    /// Bits change while the broker is down: in one slot and one group of the journal of a shard at most, and anywhere in
    /// segments. `is_marked` when every journal ends with an idle marker.
    pub fn rot(&mut self, is_marked: bool) {
        self.note_freed();
        self.note_astray(false);
        let files = self.disk.files();
        let known = self.known_segments();
        let (mut in_segments, mut in_journals) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(3) {
            let class = self.random.below(3);
            let named: Vec<(&PathBuf, usize)> = files
                .iter()
                .filter(|(path, bytes)| !bytes.is_empty() && class_of(path) == Some(class))
                .map(|(path, bytes)| (path, bytes.len()))
                .collect();
            if named.is_empty() {
                continue;
            }
            let (path, len) = named[pick(&mut self.random, named.len())];
            let position = self.rotten_position(&files[path], len);
            let at = usize::try_from(position).expect("inside a file");
            match (class, shard_of(path)) {
                (0, Some(shard)) if self.faults.rotten_slots.insert(shard) => {}
                (1, Some(shard)) if !self.faults.rotten_journals.contains_key(&shard) => {
                    let hit = group_of_journal(&self.oracle, &files[path], at);
                    let is_last = hit.as_ref().is_some_and(|hit| is_last_in(&files, path, hit));
                    let in_window = is_last && !is_marked;
                    self.faults.rotten_journals.insert(shard, in_window);
                    if let Some(hit) = hit {
                        self.faults.rotten_groups.insert((shard, hit.sequence));
                        for id in &hit.log_starts {
                            self.oracle.partitions.get_mut(id).into_iter().for_each(|model| model.log_start_rotten = true);
                        }
                        if in_window {
                            self.note_window(&hit.all_frames);
                        }
                        in_journals.extend(if in_window { hit.all_frames } else { hit.frames });
                    }
                }
                (0 | 1, _) => continue,
                _ => {
                    let segment = partition_of(path).zip(path.file_name().and_then(|name| segment_base_offset(name.to_str()?)));
                    let Some((id, base)) = segment else { continue };
                    let hit = hit_of_segment(
                        &self.oracle,
                        (id, base.0),
                        known.get(&(id, base.0)).copied().unwrap_or_default(),
                        &files[path],
                        (at, &in_segments),
                    );
                    if let Some(model) = self.oracle.partitions.get_mut(&id) {
                        model.hide(&hit);
                    }
                    in_segments.extend(hit.frames);
                }
            }
            let bit = u8::try_from(self.random.below(8)).expect("below 8");
            self.trace.note(format_args!("rot: bit {bit} of byte {position} of {}", path.display()));
            self.disk.flip_bit(path, position, bit);
        }
        self.note_rot(&in_segments, &in_journals);
    }

    /// What the group holds goes as a whole, and nothing else.
    pub(crate) fn note_window(&mut self, frames: &[FrameCopy]) {
        for &((id, base), _) in frames {
            if let Some(model) = self.oracle.partitions.get_mut(&id) {
                model.window_from = Some(model.window_from.map_or(base, |from| from.min(base)));
            }
        }
    }

    /// Of a frame below the recovery point the segment's copy counts, of the others the journal's. Where no checkpoint says
    /// which, both do. A recovery point from before a truncation is that of other frames.
    pub(crate) fn note_rot(&mut self, in_segments: &[FrameId], in_journals: &[FrameCopy]) {
        // A slot whose flush has failed counts for a start, and is gone when the power is, even in the middle of that start.
        let held = [self.held_by_checkpoints(), self.held_on(&self.without_errors())];
        let in_segments = in_segments.iter().map(|frame| (frame, None));
        for (&(id, base), epoch) in in_segments.chain(in_journals.iter().map(|(frame, epoch)| (frame, Some(*epoch)))) {
            let may_lack = self.home_may_lack_checkpoints(id);
            let counts_by = |known: &PartitionCheckpoint| match epoch {
                None => base < known.recovery_point.offset.0,
                Some(epoch) => base >= known.recovery_point.offset.0 || epoch_of(known, base) != Some(epoch),
            };
            let counts = may_lack || held.iter().any(|held| held.get(&id).is_none_or(counts_by));
            if let Some(model) = self.oracle.partitions.get_mut(&id).filter(|_| counts) {
                self.trace.note(format_args!("  that is the frame of {id} at {base}"));
                model.rot(base);
                if epoch.is_some() {
                    model.forget_producer_of(base);
                }
            }
        }
    }

    /// What a header hides ends where the next segment begins, once there is one.
    pub fn bound_hidden(&mut self) {
        if self.oracle.partitions.values().all(|model| model.hidden.is_empty() && model.hidden_from_cuts.is_empty()) {
            return;
        }
        let paths: Vec<PathBuf> = self.disk.files().into_keys().filter(|path| class_of(path) == Some(2)).collect();
        for path in paths {
            let base = path.file_name().and_then(|name| segment_base_offset(name.to_str()?));
            let model = partition_of(&path).and_then(|id| self.oracle.partitions.get_mut(&id));
            let hidden = model.into_iter().flat_map(|model| model.hidden.iter_mut().chain(&mut model.hidden_from_cuts));
            for (hidden, base) in hidden.zip(base.into_iter().cycle()) {
                if base.0 > hidden.start {
                    hidden.end = hidden.end.min(base.0);
                }
            }
        }
    }

    /// Segments by their first offset, those with a footer certainly.
    pub(crate) fn known_segments(&self) -> BTreeMap<FrameId, KnownSegment> {
        let mut known = BTreeMap::new();
        for partition in self.held_by_checkpoints().into_values() {
            let point = partition.recovery_point;
            let active = KnownSegment { has_footer: false, end: point.offset.0 };
            known.insert((partition.id, point.segment_base.0), active);
            let sealed = |info: &SealedSegmentInfo| KnownSegment { has_footer: info.has_footer, end: info.next_offset.0 };
            known.extend(partition.sealed.iter().map(|info| ((partition.id, info.base_offset.0), sealed(info))));
        }
        known
    }

    /// As the newest checkpoints that are good have them, for a process that starts while the power stays.
    fn held_by_checkpoints(&self) -> BTreeMap<TopicPartition, PartitionCheckpoint> {
        self.held_on(&self.disk.as_read())
    }

    fn held_on(&self, disk: &FaultDisk) -> BTreeMap<TopicPartition, PartitionCheckpoint> {
        let mut held: BTreeMap<TopicPartition, PartitionCheckpoint> = BTreeMap::new();
        for shard in (0..64).map(ShardIndex) {
            let slots = block_on(read_slots(disk, &self.control.layout, shard)).unwrap_or([SlotFound::Bad, SlotFound::Bad]);
            let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
            let newest = good.max_by_key(|found| found.slot_sequence);
            for partition in newest.into_iter().flat_map(|found| found.checkpoint.partitions) {
                if held.get(&partition.id).is_none_or(|known| known.placement_epoch < partition.placement_epoch) {
                    held.insert(partition.id, partition);
                }
            }
        }
        held
    }

    fn home_may_lack_checkpoints(&self, id: TopicPartition) -> bool {
        let home = self.faults.homes.get(&id).copied();
        let disk = self.without_errors();
        let has_good = |shard| {
            let slots = block_on(read_slots(&disk, &self.control.layout, shard));
            slots.is_ok_and(|slots| slots.iter().any(|slot| matches!(slot, SlotFound::Good(_))))
        };
        home.is_none_or(|home| !has_good(home))
    }

    /// Bits change in both slots of some of the shards in use, in what vouches for them, and sometimes in the spare too.
    pub fn lose_checkpoints(&mut self) {
        self.note_freed();
        let (files, disk) = (self.disk.files(), self.without_errors());
        let may_lose_spares = !self.faults.has_moved && !self.has_old_shards(&files);
        let count = u16::try_from(self.control.shard_count).expect("few shards");
        let certain = self.random.below(u64::from(count));
        for shard in (0..count).map(ShardIndex) {
            if u64::from(shard.0) != certain && self.random.coin() {
                continue;
            }
            // What a write that went astray has cost is told first: with the slots goes what vouches for the journal, and a
            // spare that was not written is an older one, which counts when they are gone.
            if self.has_astray(shard) {
                continue;
            }
            let layout = &self.control.layout;
            // The power may have gone while it was written.
            let has_spare = block_on(read_spare(&disk, layout, shard)).is_ok_and(|spare| spare.is_some());
            let is_flushed = self.is_flushed(&layout.checkpoint_spare(shard));
            if !(has_spare && is_flushed) && (!may_lose_spares || u64::from(shard.0) != certain) {
                continue;
            }
            if !has_spare {
                self.faults.lost_spares.insert(shard);
            } else if !is_flushed {
                self.coverage.hit("crash: the spare that is left is not flushed");
                self.faults.unflushed_spares.insert(shard);
            }
            self.faults.lost_checkpoints.insert(shard);
            let mut paths = vec![layout.checkpoint_slot(shard, 0), layout.checkpoint_slot(shard, 1)];
            // Of two shards that have lost everything either may have had a partition last.
            if may_lose_spares && u64::from(shard.0) == certain && self.random.below(3) == 0 {
                paths.push(layout.checkpoint_spare(shard));
                self.faults.lost_spares.insert(shard);
            }
            for path in paths {
                if files.get(&path).is_none_or(|bytes| bytes.len() <= SLOT_HEADER.end) {
                    continue;
                }
                self.lose_slot(&path);
            }
        }
    }

    /// The device as it is, without the errors that it is about to give: looking at it uses none of them up.
    fn without_errors(&self) -> FaultDisk {
        self.disk.crash(PowerCut { call: self.disk.call_count(), unflushed: Unflushed::Kept })
    }

    /// Whether a power cut leaves this file as it is read.
    fn is_flushed(&self, path: &Path) -> bool {
        let lost = self.disk.crash(PowerCut { call: self.disk.call_count(), unflushed: Unflushed::Lost });
        lost.files().get(path) == self.disk.files().get(path)
    }

    /// What the slots say of their rings, as long as they are there to say it.
    pub fn note_freed(&mut self) {
        let disk = self.without_errors();
        for shard in (0..64).map(ShardIndex) {
            let Ok(slots) = block_on(read_slots(&disk, &self.control.layout, shard)) else { continue };
            let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
            if let Some(needed) = good.map(|found| found.checkpoint.journal_sequence).min() {
                self.faults.freed_until.insert(shard, needed);
            }
        }
    }

    /// Which shards no spare tells of log starts that a rotten journal may have lost.
    pub fn note_spareless(&mut self) {
        let disk = self.without_errors();
        for &shard in self.faults.rotten_journals.keys() {
            if !matches!(block_on(read_spare(&disk, &self.control.layout, shard)), Ok(Some(_))) {
                self.faults.spareless.insert(shard);
            }
        }
    }

    /// Which journals have forgotten something since the spare was written, and what they all hold, for a start that may have
    /// to do without slots.
    pub fn note_forgetful_journals(&mut self) {
        self.faults.forgetful_journals.clear();
        self.faults.journaled.clear();
        self.faults.spareless.clear();
        let may_rebuild =
            self.faults.device_errors > 0 || !(self.faults.lost_checkpoints.is_empty() && self.faults.rotten_slots.is_empty());
        if !may_rebuild {
            return;
        }
        let (files, disk) = (self.disk.files(), self.without_errors());
        for shard in (0..64).map(ShardIndex) {
            let of_ring = files.iter().filter(|(path, _)| class_of(path) == Some(1) && shard_of(path) == Some(shard));
            let ring: Vec<&[u8]> = of_ring.map(|(_, bytes)| bytes.as_slice()).collect();
            self.faults.journaled.extend(frames_of_journal(&self.oracle, &ring));
            let Ok(Some(spare)) = block_on(read_spare(&disk, &self.control.layout, shard)) else { continue };
            let is_of_spare = |header: &GroupHeader| header.incarnation == spare.checkpoint.incarnation;
            let groups = ring.iter().flat_map(|bytes| groups_in(bytes)).map(|(_, header)| header).filter(is_of_spare);
            let there: BTreeSet<u64> = groups.map(|header| header.sequence).collect();
            let from = spare.checkpoint.journal_sequence;
            let is_whole = there.last().is_none_or(|last| (from..=*last).all(|sequence| there.contains(&sequence)));
            if !is_whole || spare.ring_state == RingState::InUse && there.is_empty() {
                self.faults.forgetful_journals.insert(shard);
            }
        }
    }

    /// A bit changes in the newer slot of each shard in use both of whose slots are good. Nothing may be lost by it.
    pub fn lose_newest_slots(&mut self) {
        self.note_freed();
        let files = self.disk.files();
        if self.faults.has_moved || self.has_old_shards(&files) {
            return;
        }
        let disk = self.without_errors();
        for shard in (0..u16::try_from(self.control.shard_count).expect("few shards")).map(ShardIndex) {
            let Ok(slots) = block_on(read_slots(&disk, &self.control.layout, shard)) else { continue };
            let [SlotFound::Good(first), SlotFound::Good(second)] = slots else { continue };
            // Only one of the two may be lost, and one that was not written is an older one.
            if self.has_astray(shard) {
                continue;
            }
            let newest = if first.slot_sequence > second.slot_sequence { first.slot } else { second.slot };
            let path = self.control.layout.checkpoint_slot(shard, newest);
            self.coverage.hit("crash: newest checkpoint lost");
            self.lose_slot(&path);
        }
    }

    fn lose_slot(&mut self, path: &Path) {
        let position = SLOT_HEADER.start + pick(&mut self.random, SLOT_HEADER.len());
        let bit = u8::try_from(self.random.below(8)).expect("below 8");
        self.trace.note(format_args!("lost: bit {bit} of byte {position} of {}", path.display()));
        self.disk.flip_bit(path, position as u64, bit);
    }

    /// A shard names partitions that have left it: one out of use for good, others until their next start. When the shard
    /// that has them now loses the spare as well, nobody can say who has what is newest, and the broker refuses to start:
    /// nothing is lost, and nothing more can be learned.
    fn has_old_shards(&self, files: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
        files
            .keys()
            .filter(|path| class_of(path) == Some(0))
            .filter_map(|path| shard_of(path))
            .any(|shard| u64::from(shard.0) >= self.control.shard_count)
    }

    /// Often where something stands: most of a young journal is zeros.
    fn rotten_position(&mut self, bytes: &[u8], len: usize) -> u64 {
        let mut position = pick(&mut self.random, len);
        for _ in 0..20 {
            if bytes[position] != 0 {
                break;
            }
            position = pick(&mut self.random, len);
        }
        position as u64
    }
}

/// Under which leader epoch a checkpoint has the frame at this offset.
fn epoch_of(checkpoint: &PartitionCheckpoint, base: u64) -> Option<LeaderEpoch> {
    checkpoint.epochs.entries().iter().rfind(|(_, start)| start.0 <= base).map(|(epoch, _)| *epoch)
}

/// Whether no group of its incarnation stands behind this one, in any file of the ring.
pub(crate) fn is_last_in(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path, hit: &JournalHit) -> bool {
    let of_ring = files.iter().filter(|(other, _)| other.parent() == path.parent() && class_of(other) == Some(1));
    let mut groups = of_ring.flat_map(|(_, bytes)| groups_in(bytes)).map(|(_, header)| header);
    !groups.any(|header| header.incarnation == hit.incarnation && header.sequence > hit.sequence)
}

/// Whether no header that can be read in the ring names this group durable: with what a write has hit went who did.
pub(crate) fn is_unnamed_in(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path, hit: &JournalHit) -> bool {
    let of_ring = files.iter().filter(|(other, _)| other.parent() == path.parent() && class_of(other) == Some(1));
    let mut groups = of_ring.flat_map(|(_, bytes)| groups_in(bytes)).map(|(_, header)| header);
    !groups.any(|header| header.incarnation == hit.incarnation && header.durable_sequence >= hit.sequence)
}

/// 0 for a checkpoint slot, 1 for a journal file, 2 for a segment.
pub(crate) fn class_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    if path.iter().any(|part| part == "set-aside") {
        return None;
    }
    match name {
        name if name.starts_with("checkpoint-") => Some(0),
        name if name.ends_with(".journal") => Some(1),
        name if name.ends_with(".log") => Some(2),
        _ => None,
    }
}

pub(crate) fn shard_of(path: &Path) -> Option<ShardIndex> {
    sluice_storage::layout::shard_of_dir(path.parent()?.file_name()?.to_str()?)
}

pub(crate) fn partition_of(path: &Path) -> Option<TopicPartition> {
    let partition: u32 = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    let topic_id = TopicId::parse(path.parent()?.parent()?.file_name()?.to_str()?)?;
    Some(TopicPartition { topic_id, partition: PartitionIndex(partition) })
}
