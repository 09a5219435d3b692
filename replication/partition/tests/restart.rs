//! What a shard finds again after a clean stop, a crash, a deletion, and with other neighbours than before.

mod support;

use sluice_model::{LeaderEpoch, Offset};
use sluice_partition::pace::{Pace, PaceClass, PacePermit};
use sluice_partition::{CatchUpRead, Completed, FetchRefusal, ProduceRefusal, Reader};
use sluice_storage::commit_group::GroupHeader;
use sluice_storage::restored_index::INDEX_PIECE_LEN;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use support::{ReadFrame, Setup, TestProducer, TestShard, assignment, busy_round, fill, id};

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(3, 1));
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    fill(&mut shard, &mut producers, 20, 5000);
    let before: Vec<Vec<ReadFrame>> = (0..3).map(|p| shard.read_all(p, 0).unwrap()).collect();
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.close().await }).unwrap();
    assert!(matches!(shard.append(&producers[0].frame_of(5), 1), Err(ProduceRefusal::ShuttingDown)));
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(3, 2));
    assert_eq!(shard.report.entries_replayed, 0, "{:?}", shard.report);
    let after: Vec<Vec<ReadFrame>> = (0..3).map(|p| shard.read_all(p, 0).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn every_cut_of_a_busy_while_keeps_what_was_acknowledged() {
    let disk = FaultDisk::new(7);
    let mut shard = TestShard::open(&disk, Setup { tail_budget: 128 * 1024, ..Setup::new(2, 1) });
    let mut producers: Vec<_> = (0..2).map(|p| TestProducer::new(p, 5)).collect();
    // After each settle: how many calls the disk has seen, and how many frames of each partition are acknowledged.
    let mut marks = vec![(disk.call_count(), [0usize; 2])];
    let mut counts = [0usize; 2];
    for round in 0..40u64 {
        busy_round(&mut shard, &mut producers, round, &mut counts);
        marks.push((disk.call_count(), counts));
    }
    let full: Vec<Vec<ReadFrame>> = (0..2).map(|p| shard.read_all(p, 0).unwrap()).collect();
    let first = marks[0].0;
    for at in first..disk.call_count() {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(at as u64)] {
            let image = disk.crash(PowerCut { call: at, unflushed });
            let mut restarted = TestShard::open(&image, Setup::new(2, 2));
            let acknowledged = marks.iter().rev().find(|mark| mark.0 <= at).unwrap().1;
            for p in 0..2u32 {
                let frames = restarted.read_all(p, 0).unwrap();
                let expected = &full[p as usize];
                assert!(frames.len() >= acknowledged[p as usize], "cut {at} {unflushed:?}: {} of {acknowledged:?}", frames.len());
                assert!(frames[..] == expected[..frames.len()], "cut {at} {unflushed:?}: partition {p} is altered");
            }
        }
    }
}

#[test]
fn deleted_records_stay_deleted_and_their_files_go() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    let mut producers = [TestProducer::new(0, 5)];
    fill(&mut shard, &mut producers, 60, 5000);
    shard.advance_ms(3000);
    let segments = shard.partitions.status(id(0)).unwrap().segment_count;
    assert!(segments > 3, "{segments}");
    shard.completions();
    shard.partitions.delete_records(id(0), Offset(45), 9).unwrap();
    assert!(matches!(shard.partitions.delete_records(id(0), Offset(100), 9), Err(FetchRefusal::OutOfRange { .. })));
    shard.settle();
    assert!(matches!(shard.completions()[..], [c] if c.outcome == Completed::RecordsDeleted { log_start_offset: Offset(45) }));
    shard.advance_ms(3000);
    assert!(shard.partitions.status(id(0)).unwrap().segment_count < segments);
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(1, 2));
    assert!(matches!(shard.read_all(0, 44), Err(FetchRefusal::OutOfRange { log_start_offset: Offset(45), .. })));
    assert_eq!(shard.read_all(0, 45).unwrap().first().unwrap().base_offset, 45);
}

#[test]
fn a_deletion_is_answered_with_what_is_durable_and_no_more() {
    for turns in 0..12 {
        let mut shard = TestShard::open(&FaultDisk::new(turns), Setup::new(1, 1));
        fill(&mut shard, &mut [TestProducer::new(0, 5)], 10, 100);
        shard.completions();
        shard.partitions.delete_records(id(0), Offset(4), 1).unwrap();
        (0..turns).for_each(|_| {
            shard.turn();
        });
        shard.partitions.delete_records(id(0), Offset(9), 2).unwrap();
        shard.settle();
        let answers: Vec<_> = shard.completions().into_iter().map(|completion| (completion.token, completion.outcome)).collect();
        let deleted = |offset| Completed::RecordsDeleted { log_start_offset: Offset(offset) };
        assert_eq!(answers, [(1, deleted(4)), (2, deleted(9))], "{turns} turns between them");
    }
}

#[test]
fn retention_by_bytes_and_by_age_removes_whole_segments() {
    let mut setup = Setup::new(2, 1);
    setup.assigned[0].settings.retention_bytes = Some(100 * 1024);
    setup.assigned[1].settings.retention_ms = Some(60_000);
    let mut shard = TestShard::open(&FaultDisk::new(1), setup);
    let mut producers: Vec<_> = (0..2).map(|p| TestProducer::new(p, 5)).collect();
    fill(&mut shard, &mut producers, 60, 5000);
    shard.advance_ms(5_000);
    let (by_bytes, by_age) = (shard.partitions.status(id(0)).unwrap(), shard.partitions.status(id(1)).unwrap());
    assert!(by_bytes.log_start_offset > Offset(20) && by_bytes.log_len >= 100 * 1024, "{by_bytes:?}");
    assert_eq!(by_age.log_start_offset, Offset(0));
    shard.advance_ms(60_000);
    let by_age = shard.partitions.status(id(1)).unwrap();
    assert!(by_age.log_start_offset > Offset(30), "{by_age:?}");
    assert_eq!(shard.read_all(1, by_age.log_start_offset.0).unwrap().last().unwrap().base_offset, 59);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = FaultDisk::new(1);
    let mut setup = Setup { tail_budget: 256 * 1024, ..Setup::new(1, 1) };
    setup.assigned[0].settings.retention_bytes = Some(512 * 1024);
    let mut shard = TestShard::open(&disk, setup);
    disk.set_capacity(9 * 1024 * 1024);
    let mut blocked = Setup::new(1, 1).assigned.remove(0).settings;
    shard.partitions.alter(id(0), blocked);
    let mut producer = TestProducer::new(0, 5);
    let mut acknowledged = 0;
    let mut was_full = false;
    for round in 0..2000u64 {
        let before = producer.next_sequence;
        match shard.append(&producer.frame_of(9_000), round) {
            Ok(()) => {}
            Err(refusal) => {
                producer.next_sequence = before;
                was_full |= refusal == ProduceRefusal::DiskFull;
            }
        }
        shard.settle();
        if round % 20 == 0 {
            shard.advance_ms(200);
        }
        acknowledged += shard.acknowledged().len();
        if was_full {
            break;
        }
    }
    assert!(was_full, "the disk never filled");
    assert_eq!(shard.read_all(0, 0).unwrap().len(), acknowledged);
    blocked.retention_bytes = Some(512 * 1024);
    shard.partitions.alter(id(0), blocked);
    shard.advance_ms(5_000);
    assert!(!shard.partitions.shard_status().disk_full, "{:?}", shard.partitions.shard_status());
    shard.append(&producer.frame_of(9_000), 1).unwrap();
    assert!(shard.failures.borrow().is_empty(), "{:?}", shard.failures.borrow());
}

#[test]
fn partitions_are_created_and_removed_while_others_work() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.create(vec![assignment(1, 1), assignment(2, 1)]).await }).unwrap();
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    fill(&mut shard, &mut producers, 30, 5000);
    shard.append(&producers[2].frame_of(100), 77).unwrap();
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.remove(&[id(2)]).await }).unwrap();
    assert!(matches!(shard.partitions.fetch(id(2), Offset(0), 1000), Err(FetchRefusal::UnknownPartition(_))));
    fill(&mut shard, &mut producers[..2], 5, 5000);
    drop(shard);
    assert!(!disk.files().keys().any(|path| path.parent().is_some_and(|dir| dir.ends_with("2"))), "{:?}", disk.files().keys());
    let mut shard = TestShard::open(&disk, Setup::new(2, 2));
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 35);
    assert_eq!(shard.read_all(1, 0).unwrap().len(), 35);
}

#[test]
fn a_failed_journal_write_ends_the_shard_and_acknowledges_nothing() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    disk.fail(sluice_storage::testing::fault_disk::FaultKind::Write, 0);
    shard.append(&TestProducer::new(0, 5).frame_of(100), 1).unwrap();
    shard.settle();
    assert_eq!(shard.completions(), []);
    assert_eq!(shard.failures.borrow().len(), 1);
}

#[test]
fn a_partition_that_may_have_lost_its_last_records_is_named_until_the_log_start_passes_them() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(2, 1));
    let mut producers: Vec<_> = (0..2).map(|p| TestProducer::new(p, 5)).collect();
    fill(&mut shard, &mut producers, 3, 500);
    // One more of partition 0, in a group of its own, which an idle marker names durable before its header rots.
    shard.append(&producers[0].frame_of(500), 9).unwrap();
    shard.settle();
    shard.advance_ms(100);
    assert_eq!(shard.acknowledged().len(), 7);
    drop(shard);
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let (path, position) = last_group_with_entries(&crashed);
    crashed.flip_bit(&path, position + 50, 3);

    // Nobody knows whose frames were in it, so both are in doubt, and stay so over restarts.
    let mut image = crashed;
    for start in 2..4 {
        let shard = TestShard::open(&image, Setup::new(2, start));
        let (short, count) = shard.partitions.possibly_short(10);
        assert_eq!((short, count), (vec![(id(0), Offset(3)), (id(1), Offset(3))], 2), "start {start}: {}", shard.report);
        assert_eq!(shard.partitions.possibly_short(1), (vec![(id(0), Offset(3))], 2));
        drop(shard);
        image = image.crash(PowerCut { call: image.call_count(), unflushed: Unflushed::Lost });
    }
    let mut shard = TestShard::open(&image, Setup::new(2, 4));
    producers[1].next_sequence = 3;
    shard.append(&producers[1].frame_of(500), 1).unwrap();
    shard.settle();
    shard.partitions.delete_records(id(1), Offset(4), 2).unwrap();
    shard.settle();
    assert_eq!(shard.partitions.possibly_short(10), (vec![(id(0), Offset(3))], 1));
}

/// Where the journal's last group that is no idle marker begins.
fn last_group_with_entries(disk: &FaultDisk) -> (std::path::PathBuf, u64) {
    let mut last: Option<(u64, std::path::PathBuf, u64)> = None;
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "journal")) {
        for position in (0..bytes.len()).step_by(4096) {
            let header = GroupHeader::parse(&bytes[position..]).map(|(header, _)| header);
            let Some(header) = header.filter(|header| header.entry_count > 0) else { continue };
            if last.as_ref().is_none_or(|(sequence, ..)| *sequence < header.sequence) {
                last = Some((header.sequence, path.clone(), position as u64));
            }
        }
    }
    let (_, path, position) = last.expect("a group with entries");
    (path, position)
}

/// Class and length of every turn at the device, and how much had been read when it was taken.
type Turns = Rc<RefCell<Vec<(PaceClass, usize, u64)>>>;

/// Says of every turn at the device how much was read since the one before.
struct Watch {
    disk: FaultDisk,
    turns: Turns,
}

impl Pace for Watch {
    fn acquire(&self, class: PaceClass, len: usize) -> Pin<Box<dyn Future<Output = PacePermit>>> {
        self.turns.borrow_mut().push((class, len, self.disk.read_len()));
        Box::pin(std::future::ready(Box::new(()) as PacePermit))
    }
}

fn watched(disk: &FaultDisk, turns: &Turns, segment_len: u64, start: u64) -> Setup {
    let mut setup = Setup { tail_budget: 8 << 20, ..Setup::new(1, start) };
    setup.assigned[0].settings.segment_len = segment_len;
    setup.pacer = Rc::new(Watch { disk: disk.clone(), turns: turns.clone() });
    setup
}

/// A shard's life that leaves one partition's first segment; its file.
fn one_filled_segment(disk: &FaultDisk, setup: Setup) -> std::path::PathBuf {
    let mut shard = TestShard::open(disk, setup);
    fill(&mut shard, &mut [TestProducer::new(0, 5)], 90, 50_000);
    shard.advance_ms(3000);
    drop(shard);
    disk.files().into_keys().find(|path| path.ends_with("00000000000000000000.log")).expect("a segment")
}

/// The most that was read between two turns, or after the last.
fn longest_turn(disk: &FaultDisk, turns: &Turns) -> u64 {
    let read: Vec<u64> = turns.borrow().iter().map(|turn| turn.2).chain([disk.read_len()]).collect();
    read.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

#[test]
fn a_segment_of_before_a_restart_is_sealed_in_bounded_steps() {
    let (disk, turns) = (FaultDisk::new(1), Turns::default());
    let setup = |start| watched(&disk, &turns, 6 << 20, start);
    let mut producer = TestProducer::new(0, 5);
    let mut fill = |shard: &mut TestShard, count: u64| {
        for n in 0..count {
            shard.append(&producer.frame_of(50_000), n).unwrap();
            shard.settle();
            if n % 2 == 1 {
                shard.advance_ms(1500);
            }
        }
        shard.completions();
    };
    let mut shard = TestShard::open(&disk, setup(1));
    fill(&mut shard, 110);
    drop(shard);
    let mut shard = TestShard::open(&disk, setup(2));
    turns.borrow_mut().clear();
    fill(&mut shard, 30);
    shard.advance_ms(5000);
    assert_eq!(shard.partitions.status(id(0)).unwrap().segment_count, 2, "the first segment has ended");
    let turns = turns.take();
    let longest = turns.windows(2).map(|pair| pair[1].2 - pair[0].2).max().unwrap();
    assert!(longest <= 600_000, "{longest} bytes are read in one turn");
    let pieces = turns.iter().filter(|(class, len, _)| (*class, *len) == (PaceClass::WriteBack, INDEX_PIECE_LEN)).count();
    assert!(pieces >= 15, "only {pieces} pieces of the index were read");
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 140);
}

#[test]
fn who_meets_damage_walks_a_segment_a_window_in_each_turn() {
    // What is broken of a segment of 4 MiB, sealed or not, and how much at least has to be walked for it.
    for (what, segment_len, bad) in [
        ("nothing, and all of it is unread", 6 << 20, None),
        ("a frame of what is unread", 6 << 20, Some(2 << 20)),
        ("a header block", 6 << 20, Some(100)),
        ("a trailer", 4 << 20, Some((4 << 20) - 4096 + 100)),
    ] {
        let (disk, turns) = (FaultDisk::new(1), Turns::default());
        let setup = |start| watched(&disk, &turns, segment_len, start);
        let path = one_filled_segment(&disk, setup(1));
        if let Some(position) = bad {
            let position = position.min(disk.files()[&path].len() as u64 - 4096 + 100);
            disk.flip_bit(&path, position, 3);
        }
        let mut shard = TestShard::open(&disk, setup(2));
        for (asked, offset) in [("a read", Some(Offset(60))), ("a search by time", None)] {
            turns.borrow_mut().clear();
            let (before, partitions) = (disk.read_len(), shard.partitions.clone());
            let done = Rc::new(Cell::new(false));
            let set = done.clone();
            shard.spawn(async move {
                match offset {
                    Some(offset) => {
                        partitions
                            .catch_up(CatchUpRead {
                                id: id(0),
                                offset,
                                len_max: 100_000,
                                piece_len: 100_000,
                                reader: Reader::Consumer,
                            })
                            .await;
                    }
                    None => {
                        let lookup = partitions.offset_for_timestamp(id(0), i64::MAX).expect("it is led here");
                        let _damaged_or_none = partitions.look_up(lookup).await;
                    }
                }
                set.set(true);
            });
            shard.settle();
            assert!(done.get(), "{what}: {asked}");
            let longest = longest_turn(&disk, &turns);
            let turns = turns.borrow();
            println!("{what}: {asked} takes {} turns for {} bytes, {longest} at most", turns.len(), disk.read_len() - before);
            assert!(longest <= 600_000, "{what}: {asked} reads {longest} bytes in one turn");
            assert!(turns.iter().all(|(class, ..)| *class == PaceClass::CatchUpRead));
        }
    }
}

#[test]
fn a_truncation_walks_a_segment_a_window_in_each_turn() {
    // What is broken of a segment of 4 MiB that is cut near its end, so that nearly all of it is walked.
    for (what, bad) in [("nothing", None), ("a frame", Some(2 << 20)), ("the header block", Some(100))] {
        let (disk, turns) = (FaultDisk::new(1), Turns::default());
        let setup = |start| watched(&disk, &turns, 6 << 20, start);
        let path = one_filled_segment(&disk, setup(1));
        bad.into_iter().for_each(|position| disk.flip_bit(&path, position, 3));
        let mut shard = TestShard::open(&disk, setup(2));
        turns.borrow_mut().clear();
        let (before, partitions) = (disk.read_len(), shard.partitions.clone());
        let end = shard.run(async move { partitions.truncate(id(0), Offset(85), LeaderEpoch(3)).await }).expect("it is cut");
        assert_eq!(end, Offset(85), "{what}");
        let longest = longest_turn(&disk, &turns);
        let (turns, len) = (turns.borrow(), disk.read_len() - before);
        println!("{what}: {} turns for {len} bytes, {longest} at most", turns.len());
        assert!(len > 3_500_000 && longest <= 600_000, "{what}: {longest} of {len} bytes are read in one turn");
        assert!(turns.iter().all(|(class, ..)| *class == PaceClass::UrgentWriteBack), "{what}");
    }
}
