//! Every bit of a small journal, segment, footer and checkpoint flipped, one at a time: what is served afterwards was
//! appended, and what is missing is named.
//!
//! Each flip is followed by a whole recovery and by reading everything. A flip that costs nothing has to show that:
//! all that was acknowledged is served then, under a clean report.

use sluice_model::limits::BLOCK_LEN;
use sluice_storage::layout::{journal_file, segment_file};
use sluice_storage::testing::fault_disk::{FaultDisk, Unflushed};
use sluice_storage::testing::frames::test_partition;
use sluice_storage::testing::shard_model::ShardModel;
use sluice_storage::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use sluice_storage::write_back::WriteBackKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

const SEED: u64 = 21;
const WHOLE_BLOCKS: WriteBackKind = WriteBackKind::WholeBlocks { at_least: BLOCK_LEN };

fn sizes() -> TestSizes {
    TestSizes { journal_file_blocks: 3, journal_file_count: 3, group_blocks: 1, segment_len: 8 * 1024, tail_budget_len: 1 << 20 }
}

/// A shard and what it has acknowledged.
struct Small {
    shard: TestShard,
    model: ShardModel,
}

impl Small {
    fn new() -> Self {
        let shard = TestShard::start(&FaultDisk::new(SEED), 1, sizes()).expect("a new shard");
        Self { shard, model: ShardModel::default() }
    }

    fn append(&mut self, partition: u32, body_len: usize) {
        self.shard.log(test_partition(partition));
        let frame = self.shard.source(test_partition(partition), SEED).next(2, body_len);
        self.model.on_append(&frame);
        self.shard.append(&frame);
    }

    fn append_and_commit(&mut self, partition: u32, body_len: usize) {
        self.append(partition, body_len);
        self.shard.commit();
        self.model.on_commit(self.shard.disk.call_count());
    }

    fn settle(&mut self, kind: WriteBackKind) {
        self.shard.write_back(kind);
        self.shard.flush();
        self.shard.checkpoint();
    }

    /// Groups of one or two frames in the journal and nothing in segments; the idle marker when asked for.
    fn journal(marked: bool) -> Self {
        let mut small = Self::new();
        small.append_and_commit(0, 40);
        small.append(0, 300);
        small.append_and_commit(1, 900);
        small.append_and_commit(0, 700);
        if marked {
            small.shard.mark_idle();
        }
        small
    }

    /// Two sealed segments, and one whose recovery point lies inside a frame that the journal has.
    fn segments() -> Self {
        let mut small = Self::new();
        for body_len in [300, 2000, 1500, 2500, 700, 1000, 4000] {
            small.append_and_commit(0, body_len);
            small.settle(WHOLE_BLOCKS);
        }
        small.shard.mark_idle();
        small
    }
}

/// What the flips of a stretch of a file came to.
#[derive(Clone, Copy, Debug, Default)]
struct Flips {
    flips: usize,
    /// Of these, nothing was missing.
    harmless: usize,
    frames_missing: usize,
    slots_bad: usize,
}

/// Flips each bit of these bytes of a file, on the image that a cut at the end of the life leaves.
fn flip_all(make: fn() -> Small, path: &Path, bytes: Range<u64>, judge: fn(&Small, &mut TestShard, &str) -> usize) -> Flips {
    let small = make();
    let cut = small.shard.disk.cuts().at(small.shard.disk.call_count());
    let mut flips = Flips::default();
    for position in bytes {
        for bit in 0..8 {
            let rotten = cut.image(Unflushed::Lost);
            rotten.flip_bit(path, position, bit);
            let what = format!("seed {SEED}, bit {bit} of byte {position} of {}", path.display());
            let mut shard = TestShard::start(&rotten, 2, sizes()).unwrap_or_else(|error| panic!("{what}: {error}"));
            flips.flips += 1;
            flips.slots_bad += shard.report().checkpoint_slots_bad as usize;
            let missing = judge(&small, &mut shard, &what);
            flips.frames_missing += missing;
            flips.harmless += usize::from(missing == 0);
        }
    }
    flips
}

/// Two halves of a file on two threads.
fn flip_file(make: fn() -> Small, path: &Path, len: u64, judge: fn(&Small, &mut TestShard, &str) -> usize) -> Flips {
    let halves = std::thread::scope(|scope| {
        let halves = [0..len / 2, len / 2..len].map(|half| scope.spawn(move || flip_all(make, path, half, judge)));
        halves.map(|half| half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let [a, b] = halves;
    let both = Flips {
        flips: a.flips + b.flips,
        harmless: a.harmless + b.harmless,
        frames_missing: a.frames_missing + b.frames_missing,
        slots_bad: a.slots_bad + b.slots_bad,
    };
    assert_eq!(both.flips as u64, len * 8, "every bit once");
    println!("{}: {both:?}", path.display());
    both
}

/// What is missing is refused by readers, or its partition is reported as possibly short.
fn named(small: &Small, shard: &mut TestShard, what: &str) -> usize {
    small.model.check_rotten(shard, what)
}

/// The same, and recovery itself has said that something is wrong.
fn named_and_reported(small: &Small, shard: &mut TestShard, what: &str) -> usize {
    let missing = named(small, shard, what);
    assert!(missing == 0 || !shard.report().is_clean(), "{what}: the report is clean, and {missing} frames are missing");
    missing
}

/// Nothing is missing at all.
fn nothing_lost(small: &Small, shard: &mut TestShard, what: &str) -> usize {
    assert!(shard.report().is_clean(), "{what}: {}", shard.report());
    small.model.check(shard, usize::MAX, what);
    0
}

fn file_len(small: &Small, path: &Path) -> u64 {
    small.shard.disk.files()[path].len() as u64
}

fn journal_path(file: u32) -> PathBuf {
    journal_file(&test_layout().shard_journal_dir(TEST_SHARD), file)
}

#[test]
fn every_bit_of_a_journal() {
    let mut missing = 0;
    for file in 0..2 {
        let path = journal_path(file);
        let len = file_len(&Small::journal(true), &path);
        missing += flip_file(|| Small::journal(true), &path, len, named_and_reported).frames_missing;
    }
    assert!(missing > 10_000, "only {missing} frames were ever lost");
}

#[test]
fn every_bit_of_the_one_window() {
    // Nothing names the last group durable: rot there looks like a torn end, and costs that group alone. The first file is
    // full: the group that a start begins with, and two others.
    let path = journal_path(1);
    let last_block = 0..BLOCK_LEN as u64;
    let flips = flip_all(
        || Small::journal(false),
        &path,
        last_block,
        |small, shard, what| {
            let id = test_partition(0);
            let is_whole = shard.shard.partitions[&id].log.log_end_offset() == small.model.appended_end(id);
            let expected = if is_whole { small.model.clone() } else { small.model.without_last(id) };
            assert_eq!(expected.check_rotten(shard, what), 0, "{what}: more than the last group is missing");
            usize::from(!is_whole)
        },
    );
    println!("the window: {flips:?}");
    assert!(flips.frames_missing > 1000 && flips.harmless > 1000, "{flips:?}");
}

#[test]
fn every_bit_of_segments() {
    let small = Small::segments();
    let id = test_partition(0);
    let mut names: Vec<PathBuf> =
        small.shard.disk.files().into_keys().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    assert_eq!(names[0], segment_file(&test_layout().partition_dir(id), sluice_model::Offset::ZERO));
    let sealed = flip_file(Small::segments, &names[0], file_len(&small, &names[0]), named);
    let active = names.last().expect("three names");
    let active = flip_file(Small::segments, active, file_len(&small, active), named);
    assert!(sealed.frames_missing > 1000 && active.harmless > 1000, "{sealed:?}, {active:?}");
}

#[test]
fn every_bit_of_both_checkpoint_slots() {
    for slot in 0..2 {
        let path = test_layout().checkpoint_slot(TEST_SHARD, slot);
        let len = file_len(&Small::journal(true), &path);
        let flips = flip_file(|| Small::journal(true), &path, len, nothing_lost);
        assert!(flips.slots_bad > 1000, "{flips:?}");
    }
}
