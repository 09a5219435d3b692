//! Every row of the decision table that a device can lead to, reached by a recovery of such a device.
//!
//! Rows are noted where they are looked up. Six rows say of something without a header that its body is good or its
//! chain follows. In the journal a group without a header is one that was not found: nobody knows where its body
//! would be, or what it names, so both are false there. The same bytes in front of a recovery point are compared with
//! the journal's frame, and there all rows can be met. A seventh is never looked up: the body of a group that is
//! named durable is read only in replay, which does not ask for the chain again, because the answer is the same.

use super::tests::rows;
use super::{Evidence, KnownDurable, decide};
use crate::commit_group::GroupHeader;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::layout::segment_file;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::shard_model::ShardModel;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use std::cell::RefCell;
use std::path::PathBuf;

thread_local! {
    static LOOKED_UP: RefCell<Vec<Evidence>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note(evidence: Evidence) {
    LOOKED_UP.with_borrow_mut(|rows| rows.push(evidence));
}

const NAMED_BODY_AFTER_A_GAP: Evidence =
    Evidence { header_ok: true, body_ok: false, chain_follows: false, durable: KnownDurable::Named };

/// Rows that no device state leads to.
fn is_out_of_reach(row: &Evidence) -> bool {
    let without_header = !row.header_ok && (row.body_ok || row.chain_follows) && row.durable != KnownDurable::Checkpointed;
    without_header || *row == NAMED_BODY_AFTER_A_GAP
}

struct Life {
    shard: TestShard,
    model: ShardModel,
}

impl Life {
    fn new() -> Self {
        let shard = TestShard::start(&FaultDisk::new(3), 1, TestSizes::default()).expect("a new shard");
        Self { shard, model: ShardModel::default() }
    }

    fn append(&mut self, body_len: usize) -> &mut Self {
        let id = test_partition(0);
        self.shard.log(id);
        let frame = self.shard.source(id, body_len as u64).next(1, body_len);
        self.model.on_append(&frame);
        self.shard.append(&frame);
        self.shard.commit();
        self
    }

    /// A life whose recovery point lies `below` bytes behind the beginning of its last frame.
    fn straddled(below: usize) -> Self {
        let mut life = Self::new();
        // One frame that ends `below` bytes before the end of a block, and one that does not fill the next.
        life.append(2 * BLOCK_LEN - sluice_model::FRAME_HEADER_LEN - below).append(2000);
        life.shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
        life.shard.flush();
        life.shard.checkpoint();
        life
    }

    fn crashed(&self) -> FaultDisk {
        self.shard.disk.crash(PowerCut { call: self.shard.disk.call_count(), unflushed: Unflushed::Lost })
    }

    /// Recovers `disk`, serves what can be proved, and gives back the rows that were looked up.
    fn recovered(&self, disk: &FaultDisk, what: &str) -> Vec<Evidence> {
        LOOKED_UP.with_borrow_mut(Vec::clear);
        let mut shard = TestShard::start(disk, 2, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        self.model.check_served(&mut shard, what);
        LOOKED_UP.take()
    }
}

/// Where the groups of the journal are, in order of sequence, but for the one a start begins with.
fn groups(disk: &FaultDisk) -> Vec<(PathBuf, u64)> {
    let dir = test_layout().shard_journal_dir(TEST_SHARD);
    let mut groups = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
        for (block, bytes) in bytes.chunks(BLOCK_LEN).enumerate() {
            if let Some((header, _)) = GroupHeader::parse(bytes).filter(|(header, _)| header.prev_group_crc != 0) {
                groups.push((header.sequence, path.clone(), (block * BLOCK_LEN) as u64));
            }
        }
    }
    groups.sort();
    groups.into_iter().map(|(_, path, position)| (path, position)).collect()
}

const HEADER: u64 = 50;
const BODY: u64 = 300;

/// The journal's rows: four groups, some of them rotten, with and without the idle marker that names them durable.
fn journal_rows() -> Vec<Evidence> {
    let mut looked_up = Vec::new();
    let rot: [&[(usize, u64)]; 8] = [
        &[],
        &[(3, BODY)],
        &[(1, HEADER)],
        &[(2, HEADER), (3, BODY)],
        &[(2, HEADER)],
        &[(1, BODY)],
        &[(1, HEADER), (2, BODY)],
        &[(3, HEADER)],
    ];
    for marked in [false, true] {
        let mut life = Life::new();
        life.append(700).append(700).append(700).append(700);
        if marked {
            life.shard.mark_idle();
        }
        for flips in rot {
            let disk = life.crashed();
            let groups = groups(&disk);
            for &(group, at) in flips {
                let (path, position) = &groups[group];
                disk.flip_bit(path, position + at, 2);
            }
            looked_up.extend(life.recovered(&disk, &format!("marked: {marked}, rot at {flips:?}")));
        }
    }
    // A group behind one that never arrived, which nobody names durable: two in flight is what a later version may do.
    looked_up.extend(life_with_unnamed_hole());
    looked_up
}

/// The last group names a hole in front of it that is not known durable.
fn life_with_unnamed_hole() -> Vec<Evidence> {
    let mut life = Life::new();
    life.append(700).append(700).append(700);
    let disk = life.crashed();
    let (path, position) = groups(&disk)[2].clone();
    let file = block_on(disk.open(&path, OpenMode::DurableWrites)).expect("the journal file opens");
    let mut block = block_on(file.read_at(position, BLOCK_LEN)).expect("the block reads");
    let (mut header, _) = GroupHeader::parse(&block).expect("a group's header");
    header.durable_sequence -= 1;
    header.write((&mut block[..crate::commit_group::GROUP_HEADER_LEN]).try_into().expect("a header's bytes"));
    block_on(file.write_at(position, block)).expect("the block is written");
    let (path, position) = groups(&disk)[1].clone();
    disk.flip_bit(&path, position + HEADER, 2);
    life.recovered(&disk, "a hole that nobody names durable")
}

/// The rows of a frame that straddles the recovery point: its group there or lost, and rot in front of the point.
fn straddle_rows() -> Vec<Evidence> {
    let mut looked_up = Vec::new();
    // Bytes of the frame below the recovery point: too few to tell frames apart, part of a header, part of a body.
    for below in [2, 60, 600] {
        for group_is_lost in [false, true] {
            for flipped in [None, Some(50), Some(300)] {
                let mut life = Life::straddled(below);
                life.append(900);
                life.shard.mark_idle();
                let disk = life.crashed();
                if group_is_lost {
                    let (path, position) = groups(&disk)[1].clone();
                    disk.flip_bit(&path, position + HEADER, 2);
                }
                let path = segment_file(&test_layout().partition_dir(test_partition(0)), sluice_model::Offset::ZERO);
                let start = 3 * BLOCK_LEN - below;
                for at in flipped.into_iter().filter(|&at| at < below) {
                    disk.flip_bit(&path, (start + at) as u64, 2);
                }
                let what = format!("{below} bytes, group lost: {group_is_lost}, rot: {flipped:?}");
                looked_up.extend(life.recovered(&disk, &what));
            }
        }
    }
    looked_up.extend(rot_in_header_and_body());
    looked_up.extend(another_frame_in_front_of_the_point());
    looked_up
}

fn rot_in_header_and_body() -> Vec<Evidence> {
    let life = Life::straddled(600);
    let disk = life.crashed();
    let path = segment_file(&test_layout().partition_dir(test_partition(0)), sluice_model::Offset::ZERO);
    for at in [50, 300] {
        disk.flip_bit(&path, (3 * BLOCK_LEN - 600 + at) as u64, 2);
    }
    life.recovered(&disk, "rot in header and body")
}

/// A misdirected write has put the header of a later frame, and not its body, where the straddling one stood, whose
/// group is lost.
fn another_frame_in_front_of_the_point() -> Vec<Evidence> {
    let mut life = Life::straddled(600);
    life.append(900);
    life.shard.mark_idle();
    let disk = life.crashed();
    let (path, position) = groups(&disk)[1].clone();
    disk.flip_bit(&path, position + HEADER, 2);
    let (journal, position) = groups(&disk)[1].clone();
    let entry = crate::commit_group::GROUP_HEADER_LEN + crate::commit_group::ENTRY_HEADER_LEN;
    let group =
        disk.files()[&journal][usize::try_from(position).expect("small")..][entry..][..sluice_model::FRAME_HEADER_LEN].to_vec();
    let path = segment_file(&test_layout().partition_dir(test_partition(0)), sluice_model::Offset::ZERO);
    let file = block_on(disk.open(&path, OpenMode::Existing)).expect("the segment opens");
    let mut block = block_on(file.read_at(2 * BLOCK_LEN as u64, BLOCK_LEN)).expect("the block reads");
    block[BLOCK_LEN - 600..][..group.len()].copy_from_slice(&group);
    block_on(file.write_at(2 * BLOCK_LEN as u64, block)).expect("the block is written");
    block_on(file.sync()).expect("it is flushed");
    life.recovered(&disk, "another frame's header")
}

#[test]
fn every_row_is_reached_by_a_recovery_or_cannot_be() {
    let looked_up = [journal_rows(), straddle_rows()].concat();
    let mut reached = 0;
    for row in rows() {
        let count = looked_up.iter().filter(|evidence| **evidence == row).count();
        if is_out_of_reach(&row) {
            assert_eq!(count, 0, "{row:?} was reached after all");
        } else {
            assert!(count > 0, "{row:?} was never reached");
            reached += 1;
        }
    }
    println!("{reached} rows reached by {} decisions, {} out of reach", looked_up.len(), rows().count() - reached);
    assert_eq!(reached, 17);
    let in_its_place = Evidence { chain_follows: true, ..NAMED_BODY_AFTER_A_GAP };
    assert_eq!(decide(in_its_place), decide(NAMED_BODY_AFTER_A_GAP), "so that replay need not ask for the chain");
}
