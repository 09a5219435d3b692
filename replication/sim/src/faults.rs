//! What is done to the device and the clocks: errors, too little room, slowness, a wall clock that is set.
//!
//! The expensive mistake is a fault that the oracle is not told of exactly: it would either cry wolf, or forgive what it
//! must not. Deliberately absent: bits that change (`changed_bits`).

use crate::astray::Astray;
use crate::control::Control;
use crate::plan::pick;
use crate::rot::FrameId;
use crate::world::World;
use sluice_model::{ShardIndex, TopicPartition};
use sluice_storage::disk::Disk;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Turns of a call on a device that is not slow, at most.
const TURNS_MAX: u64 = 2;

/// Calls that may fail; those that happen most, and matter most, come up most.
const DEVICE_ERRORS: [FaultKind; 14] = [
    FaultKind::Write,
    FaultKind::Write,
    FaultKind::Write,
    FaultKind::Sync,
    FaultKind::Sync,
    FaultKind::Read,
    FaultKind::Open,
    FaultKind::List,
    FaultKind::Allocate,
    FaultKind::Truncate,
    FaultKind::Rename,
    FaultKind::Remove,
    FaultKind::CreateDir,
    FaultKind::Any,
];

#[derive(Default)]
pub struct Faults {
    /// Calls armed to fail on this device.
    pub device_errors: u64,
    pub is_full: bool,
    pub is_slow: bool,
    /// Turns of a call while the device is slow: of the journal's writes, and of all others.
    pub journal_turns_max: u64,
    pub turns_max: u64,
    /// The wall clock was set once: ages are no longer what they seem.
    pub wall_jumped: bool,
    pub wall_off_ms: i64,
    /// Reads, and openings, that failed on devices before this one, since the last start began.
    pub withheld_before: u64,
    /// As many had failed on this device when the last start began, or when the device came.
    pub withheld_from: u64,
    /// Reads of this device that failed and of which a start has said since what was refused for them.
    pub reads_told: u64,
    /// On a device before this one two reads or more failed: what fails twice is refused, and a start has yet to say so.
    pub reads_failed: bool,
    /// Journals with a changed bit since the last start, and whether it is in the one window: in the last group, and
    /// nothing names that durable.
    pub rotten_journals: BTreeMap<ShardIndex, bool>,
    /// Groups with a changed bit: a ring is not written anew by a start, and what is rebuilt from it finds them again.
    pub rotten_groups: BTreeSet<(ShardIndex, u64)>,
    /// Of each shard, the group from which on some slot needed its ring, when it last had a good one: those before it may
    /// have been written over since, or half of them.
    pub freed_until: BTreeMap<ShardIndex, u64>,
    /// Shards whose ring had not all groups any more from the one on that their spare names, when the last start began:
    /// what came after the spare was written over, or has rotted.
    pub forgetful_journals: BTreeSet<ShardIndex>,
    /// Frames that stood in groups which were whole when the last start began, where that may have had to do without slots.
    pub journaled: BTreeSet<FrameId>,
    /// Shards with a rotten journal, and without a spare that counts, when an attempt of the last start began.
    pub spareless: BTreeSet<ShardIndex>,
    /// Shards one of whose checkpoint slots has a changed bit.
    pub rotten_slots: BTreeSet<ShardIndex>,
    /// Shards both of whose checkpoint slots have a changed bit.
    pub lost_checkpoints: BTreeSet<ShardIndex>,
    /// Shards whose spare has a changed bit too.
    pub lost_spares: BTreeSet<ShardIndex>,
    /// Shards that have lost both slots and whose spare is not flushed: the write or the flush of it had failed, and the
    /// next power cut may take it.
    pub unflushed_spares: BTreeSet<ShardIndex>,
    /// Writes that went astray.
    pub astray: Astray,
    /// Partitions were to move at the last start.
    pub has_moved: bool,
    /// In whose journal each partition's newest records were, at the last start.
    pub homes: BTreeMap<TopicPartition, ShardIndex>,
}

impl Faults {
    /// The power goes, and what was armed on the device goes with it.
    pub fn on_disk_lost(&mut self, disk: &FaultDisk) {
        self.reads_failed |= self.have_reads_failed(disk);
        self.withheld_before = self.withheld(disk);
        (self.device_errors, self.withheld_from, self.reads_told) = (0, 0, 0);
    }

    pub fn on_start_begun(&mut self, disk: &FaultDisk) {
        let (reads, opens) = disk.failed_counts();
        (self.withheld_before, self.withheld_from) = (0, reads + opens);
    }

    /// Reads, and openings, that have failed since the last start began.
    #[must_use]
    pub fn withheld(&self, disk: &FaultDisk) -> u64 {
        let (reads, opens) = disk.failed_counts();
        self.withheld_before + reads + opens - self.withheld_from
    }

    /// Whether a read may have failed twice without anybody having said what is refused for it.
    #[must_use]
    pub fn have_reads_failed(&self, disk: &FaultDisk) -> bool {
        self.reads_failed || disk.failed_counts().0 - self.reads_told > 1
    }

    pub fn on_started(&mut self, control: &Control, disk: &FaultDisk) {
        (self.reads_failed, self.reads_told) = (false, disk.failed_counts().0);
        // A shard that was not opened has still what it had.
        let is_left = |shard: &ShardIndex| u64::from(shard.0) >= control.shard_count;
        self.rotten_journals.retain(|shard, _| is_left(shard));
        self.rotten_slots.retain(is_left);
        self.lost_checkpoints.retain(is_left);
        self.lost_spares.retain(is_left);
        self.unflushed_spares.retain(is_left);
        self.astray.slots.retain(is_left);
        self.astray.spares.retain(is_left);
        self.homes = control.ids().filter_map(|id| Some((id, control.shard_of(id)?))).collect();
    }
}

impl Faults {
    /// How many times as long a start or a stop may take as on a device that is not slow.
    #[must_use]
    pub fn patience(&self) -> u64 {
        if self.is_slow { 10 } else { 1 }
    }

    /// Reads that have to fail before some shard seems to have no checkpoint at all.
    #[must_use]
    pub fn withholdings_needed(&self) -> u64 {
        if self.lost_checkpoints.is_empty() && self.rotten_slots.is_empty() { 3 } else { 1 }
    }

    /// Both slots are lost, and nothing says that the spare is durable.
    #[must_use]
    pub fn may_lack_spare(&self, shard: ShardIndex) -> bool {
        self.lost_spares.contains(&shard) || self.unflushed_spares.contains(&shard)
    }

    /// A slot that has rotted and one that was being written make two.
    #[must_use]
    pub fn may_lack_checkpoints(&self, shard: ShardIndex) -> bool {
        self.lost_checkpoints.contains(&shard) || self.rotten_slots.contains(&shard)
    }
}

impl World {
    /// The next calls of one kind fail, one of them.
    pub fn arm_device_error(&mut self) {
        let kind = DEVICE_ERRORS[pick(&mut self.random, DEVICE_ERRORS.len())];
        let nth = [3, 10, 40][pick(&mut self.random, 3)];
        let nth = self.random.below(nth);
        self.trace.note(format_args!("device error: {kind:?} number {nth} from now"));
        self.disk.fail(kind, nth);
        self.faults.device_errors += 1;
    }

    /// `None` is all the room there can be.
    pub fn set_capacity(&mut self, room: Option<u64>) {
        self.disk.set_capacity(u64::MAX);
        self.faults.is_full = room.is_some();
        let leaves_part = self.random.coin();
        self.disk.set_allocation_leaves_part(leaves_part);
        self.trace.note(format_args!("room on the disk: {room:?}"));
        if let Some(room) = room {
            let free = block_on(self.disk.free_len(Path::new("/data"))).unwrap_or(u64::MAX);
            self.disk.set_capacity(u64::MAX - free + room);
        }
    }

    pub fn change_room(&mut self) {
        let room = if self.faults.is_full && self.random.below(3) > 0 {
            None
        } else {
            Some(self.random.below(self.plan.tail_budget as u64 * 2))
        };
        self.set_capacity(room);
    }

    /// All of the device becomes slow, or the journal alone, or all but the journal: what belongs to one and what to the
    /// other then drift far apart.
    pub fn change_speed(&mut self) {
        self.faults.is_slow = !self.faults.is_slow;
        let turns = if self.faults.is_slow { [10, 100, 400][pick(&mut self.random, 3)] } else { TURNS_MAX };
        let part = self.random.below(3);
        self.faults.journal_turns_max = if part == 1 { TURNS_MAX } else { turns };
        self.faults.turns_max = if part == 2 { TURNS_MAX } else { turns };
        self.trace.note(format_args!(
            "calls take up to {} turns, writes to the journal {}",
            self.faults.turns_max, self.faults.journal_turns_max
        ));
        self.set_speed();
    }

    /// Tells the device, which may be a new one, how slow it is.
    pub fn set_speed(&self) {
        let (journal, other) = (self.faults.journal_turns_max.max(TURNS_MAX), self.faults.turns_max.max(TURNS_MAX));
        if self.faults.is_slow && journal == other {
            self.disk.set_spikes(10, other * 4);
        }
        self.disk.set_turns_max_apart(journal, other);
    }

    pub fn jump_clock(&mut self) {
        // Never further than a producer is remembered: what was forgotten for its age would be taken twice, rightly.
        let by_ms = [500, 5_000, 3_600_000, 3 * 86_400_000][pick(&mut self.random, 4)];
        let by_ms = if self.random.coin() { by_ms } else { -by_ms };
        let by_ms = if self.faults.wall_off_ms == 0 { by_ms } else { -self.faults.wall_off_ms };
        self.faults.wall_off_ms += by_ms;
        self.trace.note(format_args!("the wall clock jumps by {by_ms} ms"));
        self.faults.wall_jumped = true;
        self.clock.jump_ms(by_ms);
    }
}
