//! Writes that the device reports done and that stand somewhere else, or nowhere: what that costs.
//!
//! One write at a time goes astray, of a journal, a segment or a checkpoint, and no other until a start has told what that
//! has cost; then the disk says which bytes ought to stand where, and what they are part of is found as it is for a bit
//! that changes (`rot`). The expensive mistake is a place that is blamed for longer, or in more of its copies, than it
//! costs: what is noted while the broker is down counts as rot does, and what it refuses while it runs has to lie in such
//! a place. Deliberately absent: which write it is, beyond its kind (the disk counts), and two of them at once.

use crate::changed_bits::{class_of, is_unnamed_in, partition_of, shard_of};
use crate::plan::pick;
use crate::rot::{FrameCopy, FrameId, hits_of_journal, hits_of_segment};
use crate::world::World;
use sluice_model::ShardIndex;
use sluice_storage::layout::segment_base_offset;
use sluice_storage::testing::fault_astray::Told;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files whose writes go astray; that of a spare as any of a checkpoint.
const KINDS: [&str; 4] = [".journal", ".journal", ".log", "checkpoint-"];

/// What went astray since a start last told what that had cost.
#[derive(Debug, Default)]
pub struct Astray {
    /// Scars of the disk that a start has told of, and those that were there when it began.
    told: usize,
    noted: usize,
    /// Those of journals that were noted while the last attempt to start was under way.
    noted_in_rings: usize,
    /// Scars of the disk, and its calls, when what may be refused was last looked for.
    looked_at: (usize, usize),
    /// The first attempt of the last start: files that it, or a later one, has set aside were segments before it.
    pub set_aside_from: u64,
    /// Shards a slot, or the spare, of which does not hold what was written there.
    pub slots: BTreeSet<ShardIndex>,
    pub spares: BTreeSet<ShardIndex>,
}

impl World {
    /// One of the next writes goes astray, unless one has, or is about to.
    pub fn arm_astray(&mut self) {
        let name = KINDS[pick(&mut self.random, KINDS.len())];
        let nth = [2, 6, 20][pick(&mut self.random, 3)];
        let (nth, seed) = (self.random.below(nth), self.random.next_u64());
        if self.disk.is_astray_armed() || self.is_astray() {
            return;
        }
        self.trace.note(format_args!("astray: write number {nth} to a {name} from now"));
        self.disk.lead_astray(nth, name, seed);
    }

    /// Whether a write has gone astray of which no start has told.
    #[must_use]
    pub fn is_astray(&self) -> bool {
        self.disk.scar_count() > self.faults.astray.told
    }

    /// The broker is down, or `is_up`, and then has just started: what went astray before that costs what it is part of.
    pub fn note_astray(&mut self, is_up: bool) {
        let count = self.disk.scar_count();
        if !is_up {
            (self.faults.astray.noted, self.faults.astray.noted_in_rings) = (count, count);
            for model in self.oracle.partitions.values_mut() {
                model.astray = Default::default();
            }
        }
        if count == 0 {
            return;
        }
        let told = self.disk.told_from(self.faults.astray.told);
        self.note_slots(&told);
        let in_journals = self.note_journals(&told);
        // Of segments all: where a write was missed, a page cache may have had its bytes from one whose flush had failed, and
        // a power cut shows it only now.
        let in_segments = self.note_segments(&self.disk.told_from(0));
        self.note_rot(&in_segments, &in_journals);
        if is_up {
            // It may have been read before its segments had it.
            for ((id, base), _) in in_journals {
                self.oracle.partitions.get_mut(&id).into_iter().for_each(|model| model.rot(base));
            }
        }
    }

    /// While a start is under way: a write that reaches a journal costs groups before they are replayed, and where the ring is
    /// made anew the files that show it are gone in the end.
    pub fn note_astray_in_rings(&mut self) {
        let from = self.faults.astray.noted_in_rings;
        if self.disk.scar_count() == from {
            return;
        }
        let mut told = self.disk.told_from(from);
        told.retain(|(path, _)| class_of(path) == Some(1));
        // Until it has arrived nothing shows; what lands elsewhere is noted when the start has ended.
        if told.is_empty() {
            return;
        }
        self.faults.astray.noted_in_rings = self.disk.scar_count();
        for ((id, base), _) in self.note_journals(&told) {
            self.oracle.partitions.get_mut(&id).into_iter().for_each(|model| model.rot(base));
        }
    }

    /// A start has told of all that it has found: what went astray while it was under way, the next one tells of.
    pub fn on_astray_told(&mut self) {
        self.faults.astray.told = self.faults.astray.noted;
    }

    /// Whether a journal or a checkpoint of this shard has lost something to a write that went astray: of what they hold
    /// together not more than one copy may be lost at a time.
    #[must_use]
    pub fn has_astray(&self, shard: ShardIndex) -> bool {
        let told = if self.is_astray() { self.disk.told_from(self.faults.astray.told) } else { Vec::new() };
        told.iter().any(|(path, _)| class_of(path).is_some_and(|class| class < 2) && shard_of(path) == Some(shard))
    }

    fn note_slots(&mut self, told: &[(PathBuf, Told)]) {
        let hit: BTreeSet<&Path> = told.iter().map(|(path, _)| path.as_path()).filter(|path| class_of(path) == Some(0)).collect();
        for shard in hit.iter().filter_map(|path| shard_of(path)) {
            let layout = &self.control.layout;
            let slots = [0, 1].map(|slot| hit.contains(layout.checkpoint_slot(shard, slot).as_path()));
            if slots.contains(&true) {
                self.coverage.hit("astray: a checkpoint slot");
                self.faults.rotten_slots.insert(shard);
                self.faults.astray.slots.insert(shard);
            }
            if slots == [true, true] {
                self.coverage.hit("astray: both checkpoint slots");
                self.faults.lost_checkpoints.insert(shard);
            }
            if hit.contains(layout.checkpoint_spare(shard).as_path()) {
                self.coverage.hit("astray: a spare checkpoint");
                self.faults.astray.spares.insert(shard);
            }
        }
    }

    fn note_journals(&mut self, told: &[(PathBuf, Told)]) -> Vec<FrameCopy> {
        let mut frames = Vec::new();
        let files = self.disk.files();
        for (path, told) in told.iter().filter(|(path, _)| class_of(path) == Some(1)) {
            let Some(shard) = shard_of(path) else { continue };
            let hits = hits_of_journal(&self.oracle, &told.bytes, &|from, until| told.first_bad(from, until).is_some());
            if hits.is_empty() {
                continue;
            }
            self.coverage.hit("astray: a journal group");
            for hit in hits {
                // One write may cover the last group and some before it. What is left is then what a journal leaves that ended
                // before them: no single copy can tell. Where any header is left that names a group durable, it is not in
                // the window.
                let in_window = is_unnamed_in(&files, path, &hit);
                let is_in_window = self.faults.rotten_journals.entry(shard).or_default();
                *is_in_window |= in_window;
                self.faults.rotten_groups.insert((shard, hit.sequence));
                for id in &hit.log_starts {
                    self.oracle.partitions.get_mut(id).into_iter().for_each(|model| model.log_start_rotten = true);
                }
                if in_window {
                    self.note_window(&hit.all_frames);
                }
                frames.extend(if in_window { hit.all_frames } else { hit.frames });
            }
        }
        frames
    }

    fn note_segments(&mut self, told: &[(PathBuf, Told)]) -> Vec<FrameId> {
        let mut frames = Vec::new();
        for (id, hit) in self.segments_hit(told) {
            self.coverage.hit("astray: a segment");
            if let Some(model) = self.oracle.partitions.get_mut(&id) {
                model.hide(&hit);
            }
            frames.extend(hit.frames);
        }
        frames
    }

    fn segments_hit(&self, told: &[(PathBuf, Told)]) -> Vec<(sluice_model::TopicPartition, crate::rot::SegmentHit)> {
        let mut found = Vec::new();
        let is_segment = |path: &Path| {
            class_of(path) == Some(2) || set_aside_by(path).is_some_and(|number| number >= self.faults.astray.set_aside_from)
        };
        let of_segments: Vec<_> = told.iter().filter(|(path, _)| is_segment(path)).collect();
        if of_segments.is_empty() {
            return found;
        }
        let known = self.known_segments();
        for (path, told) in of_segments {
            let segment = partition_of(path).zip(path.file_name().and_then(|name| segment_base_offset(name.to_str()?)));
            let Some((id, base)) = segment else { continue };
            let segment = known.get(&(id, base.0)).copied().unwrap_or_default();
            let is_bad = |from, until| told.first_bad(from, until).is_some();
            found.push((id, hits_of_segment(&self.oracle, (id, base.0), segment, &told.bytes, &is_bad)));
        }
        found
    }

    /// While the broker runs: what it may refuse, because the place that it reads it from does not hold it.
    pub fn look_for_astray(&mut self) {
        let now = (self.disk.scar_count(), self.disk.call_count());
        if !self.is_astray() || now == self.faults.astray.looked_at {
            return;
        }
        self.faults.astray.looked_at = now;
        let told = self.disk.told_from(self.faults.astray.told);
        for (id, hit) in self.segments_hit(&told) {
            let Some(model) = self.oracle.partitions.get_mut(&id) else { continue };
            model.astray.0.extend(hit.frames.iter().map(|(_, base)| *base));
            let of_cuts = hit.hidden_from_cuts.filter(|_| model.is_cut());
            model.astray.1 = model.astray.1.into_iter().chain(hit.hidden_from).chain(of_cuts).min();
        }
    }
}

/// The incarnation that has set this file aside.
fn set_aside_by(path: &Path) -> Option<u64> {
    let mut parts = path.iter().skip_while(|part| *part != "set-aside");
    parts.nth(1)?.to_str()?.parse().ok()
}
