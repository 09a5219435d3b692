//! What a shard does when the end of a log is cut off under it, and what it finds again.

mod support;

use sluice_model::{LeaderEpoch, Offset};
use sluice_partition::pace::{Pace, PaceClass, PacePermit};
use sluice_partition::{CatchUpRead, CaughtUp, Completed, FetchRefusal, ProduceRefusal, Reader, TruncateError};
use sluice_storage::commit_group::GroupHeader;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use support::{ReadFrame, Setup, TestProducer, TestShard, busy_round, id};

fn truncate(shard: &mut TestShard, partition: u32, end_offset: u64, epoch: u32) -> Result<Offset, TruncateError> {
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.truncate(id(partition), Offset(end_offset), LeaderEpoch(epoch)).await })
}

fn fill(shard: &mut TestShard, producer: &mut TestProducer, count: u64, len: usize) {
    for n in 0..count {
        shard.append(&producer.frame_of(len), 1000 + n).unwrap();
        shard.settle();
    }
    shard.completions();
}

#[test]
fn the_replica_goes_on_from_the_cut() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    let mut producer = TestProducer::new(0, 5);
    fill(&mut shard, &mut producer, 40, 5000);
    shard.advance_ms(3000);
    let before = shard.read_all(0, 0).unwrap();
    assert_eq!(truncate(&mut shard, 0, 25, 2).unwrap(), Offset(25));
    let status = shard.partitions.status(id(0)).unwrap();
    assert_eq!((status.log_end_offset, status.high_watermark, status.leader_epoch), (Offset(25), Offset(25), LeaderEpoch(2)));
    assert_eq!(shard.read_all(0, 0).unwrap(), before[..25]);
    assert!(matches!(shard.read_all(0, 26), Err(FetchRefusal::OutOfRange { high_watermark: Offset(25), .. })));
    // Sequences are those of the cut: the last batch that stayed is a duplicate, the first that went is new.
    producer.next_sequence = 24;
    shard.append(&producer.frame_of(5000), 1).unwrap();
    shard.append(&producer.frame_of(100), 2).unwrap();
    shard.settle();
    assert_eq!(shard.acknowledged(), [(1, 24), (2, 25)]);
    producer.next_sequence = 40;
    assert!(matches!(shard.append(&producer.frame_of(10), 3), Err(ProduceRefusal::Append(_))));
    producer.next_sequence = 26;
    fill(&mut shard, &mut producer, 20, 5000);
    shard.advance_ms(3000);
    let after = shard.read_all(0, 0).unwrap();
    assert_eq!((after.len(), &after[..25]), (46, &before[..25]));
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(1, 3));
    assert_eq!(shard.read_all(0, 0).unwrap(), after);
    producer.next_sequence = 46;
    shard.append(&producer.frame_of(10), 1).unwrap();
    shard.settle();
    assert_eq!(shard.acknowledged(), [(1, 46)]);
}

#[test]
fn a_log_that_is_cut_off_at_the_start_of_a_restored_segment_goes_on_from_there() {
    let disk = FaultDisk::new(1);
    let mut producer = TestProducer::new(0, 5);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    fill(&mut shard, &mut producer, 3, 2000);
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(1, 2));
    assert_eq!(truncate(&mut shard, 0, 0, 3).unwrap(), Offset(0));
    producer.next_sequence = 0;
    fill(&mut shard, &mut producer, 3, 2000);
    shard.advance_ms(3000);
    let after = shard.read_all(0, 0).unwrap();
    assert_eq!(after.len(), 3);
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(1, 4));
    assert!(shard.report.is_clean(), "{}", shard.report);
    assert_eq!(shard.read_all(0, 0).unwrap(), after);
}

/// One write that goes astray may hit both groups that know of a truncation, because they stand side by side.
#[test]
fn a_truncation_that_was_answered_survives_the_loss_of_both_its_groups() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(2, 1));
    let mut producers: Vec<_> = (0..2).map(|p| TestProducer::new(p, 5)).collect();
    producers.iter_mut().for_each(|producer| fill(&mut shard, producer, 6, 900));
    // Of the other partition something may come between the two groups.
    shard.append(&producers[1].frame_of(900), 77).unwrap();
    assert_eq!(truncate(&mut shard, 0, 4, 2).unwrap(), Offset(4));
    let answered = disk.call_count();
    producers[0].next_sequence = 4;
    producers.iter_mut().for_each(|producer| fill(&mut shard, producer, 2, 700));
    shard.advance_ms(100);
    let (cut, other) = (shard.read_all(0, 0).unwrap(), shard.read_all(1, 0).unwrap());
    assert_eq!((cut.len(), other.len()), (6, 9));
    drop(shard);
    let mut groups = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "journal")) {
        for position in (0..bytes.len()).step_by(4096) {
            let header = GroupHeader::parse(&bytes[position..]).map(|(header, _)| header);
            groups.extend(header.filter(|header| header.truncates).map(|_| (path.clone(), position as u64)));
        }
    }
    assert_eq!(groups.len(), 2, "it stands in two groups");
    for (call, expected) in [(answered, &cut[..4]), (disk.call_count(), &cut[..])] {
        for lost in [&groups[..1], &groups[1..], &groups[..]] {
            for at in [50, 64 + 20] {
                let crashed = disk.crash(PowerCut { call, unflushed: Unflushed::Lost });
                lost.iter().for_each(|(path, position)| crashed.flip_bit(path, position + at, 3));
                let mut restarted = TestShard::open(&crashed, Setup::new(2, 9));
                let what = format!("call {call}, byte {at} of {lost:?}: {}", restarted.report);
                assert_eq!(restarted.read_all(0, 0).unwrap(), expected, "{what}");
                let has_other = restarted.read_all(1, 0).is_ok_and(|frames| other.starts_with(&frames) && frames.len() >= 6);
                assert!(has_other || !restarted.report.is_clean(), "{what}");
            }
        }
    }
}

#[test]
fn what_cannot_be_truncated_is_refused_and_stays_as_it_is() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 4));
    let mut producer = TestProducer::new(0, 5);
    fill(&mut shard, &mut producer, 20, 5000);
    shard.append(&producer.frame(&[b"a", b"b", b"c"]), 1).unwrap();
    shard.settle();
    assert!(matches!(truncate(&mut shard, 1, 0, 5), Err(TruncateError::UnknownPartition(_))));
    let stale = truncate(&mut shard, 0, 10, 4);
    assert!(matches!(stale, Err(TruncateError::StaleEpoch { got: LeaderEpoch(4), current: LeaderEpoch(4) })), "{stale:?}");
    // At the log end, and beyond it, only the epoch is new.
    assert_eq!(truncate(&mut shard, 0, 23, 5).unwrap(), Offset(23));
    assert_eq!(truncate(&mut shard, 0, 99, 6).unwrap(), Offset(23));
    assert_eq!(shard.partitions.status(id(0)).unwrap().leader_epoch, LeaderEpoch(6));
    // Inside a batch it is the boundary below that counts.
    shard.partitions.delete_records(id(0), Offset(21), 2).unwrap();
    shard.settle();
    for end_offset in [20, 22] {
        let below = truncate(&mut shard, 0, end_offset, 7);
        assert!(matches!(below, Err(TruncateError::BelowLogStart { end_offset: Offset(20), .. })), "{below:?}");
    }
    assert_eq!(shard.partitions.status(id(0)).unwrap().leader_epoch, LeaderEpoch(6));
    shard.append(&producer.frame_of(10), 3).unwrap();
    shard.settle();
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.close().await }).unwrap();
    assert!(matches!(truncate(&mut shard, 0, 22, 9), Err(TruncateError::ShuttingDown)));
    assert!(shard.failures.borrow().is_empty());
}

#[test]
fn what_waits_above_the_cut_is_answered_as_unknown_and_parked_fetches_are_woken() {
    for seed in 0..20 {
        let disk = FaultDisk::new(seed);
        let mut shard = TestShard::open(&disk, Setup { seed, ..Setup::new(1, 1) });
        let mut producer = TestProducer::new(0, 5);
        fill(&mut shard, &mut producer, 10, 3000);
        shard.partitions.watch(77, &[id(0)]);
        // Taken, and on their way when the truncation begins.
        for n in 10..16 {
            shard.append(&producer.frame_of(3000), n).unwrap();
        }
        assert_eq!(truncate(&mut shard, 0, 12, 2).unwrap(), Offset(12));
        let mut answered = Vec::new();
        for completion in shard.completions() {
            match completion.outcome {
                Completed::Produced { base_offset, .. } => assert_eq!(base_offset, Some(Offset(completion.token)), "seed {seed}"),
                Completed::Truncated => assert!(completion.token >= 12, "seed {seed}: {completion:?} is below the cut"),
                other => panic!("seed {seed}: {other:?}"),
            }
            answered.push(completion.token);
        }
        answered.sort_unstable();
        assert_eq!(answered, [10, 11, 12, 13, 14, 15], "seed {seed}: each is answered once");
        let mut watched = Vec::new();
        shard.partitions.take_watched(&mut watched);
        assert_eq!(watched, [77], "seed {seed}");
        assert_eq!(shard.read_all(0, 0).unwrap().len(), 12, "seed {seed}");
    }
}

#[test]
fn produces_that_wait_are_told_before_anything_is_durable() {
    // A journal group for each frame, and one file that takes them all: the log is often on disk before its journal.
    let mut unknown = 0;
    for seed in 0..20 {
        let disk = FaultDisk::new(seed);
        let mut setup = Setup { seed, tail_budget: 4 * 1024 * 1024, ..Setup::new(1, 1) };
        setup.assigned[0].settings.segment_len = 4 * 1024 * 1024;
        let mut shard = TestShard::open(&disk, setup);
        let mut producer = TestProducer::new(0, 5);
        disk.set_turns_max(20);
        for n in 0..15 {
            shard.append(&producer.frame_of(60_000), n).unwrap();
        }
        assert_eq!(truncate(&mut shard, 0, 2, 2).unwrap(), Offset(2));
        let completions = shard.completions();
        assert_eq!(completions.len(), 15, "seed {seed}: each is answered once");
        unknown += completions.iter().filter(|completion| completion.outcome == Completed::Truncated).count();
        assert!(shard.failures.borrow().is_empty());
    }
    println!("{unknown} of 260 were told that nobody can say");
    assert!(unknown > 0, "every produce was durable before it was cut off");
}

/// A log as it may be found: what was acknowledged of it must be there.
#[derive(Clone)]
struct Life {
    frames: Vec<ReadFrame>,
    /// After so many calls of the disk, so many frames were acknowledged.
    acknowledged: Vec<(usize, usize)>,
    /// The call before which its truncation had not begun, and the one by which it was done.
    ended: Option<(usize, usize)>,
}

#[test]
fn every_cut_of_a_while_with_truncations_keeps_what_was_acknowledged_and_nothing_else_comes_back() {
    let disk = FaultDisk::new(7);
    let mut shard = TestShard::open(&disk, Setup { tail_budget: 128 * 1024, ..Setup::new(2, 1) });
    let first_call = disk.call_count();
    let mut producers: Vec<_> = (0..2).map(|p| TestProducer::new(p, 5)).collect();
    let mut lives: Vec<Life> = Vec::new();
    let (mut counts, mut acknowledged) = ([0usize; 2], vec![(0, 0)]);
    let mut other_acknowledged = vec![(0, 0)];
    for round in 0..40u64 {
        busy_round(&mut shard, &mut producers, round, &mut counts);
        acknowledged.push((disk.call_count(), counts[0]));
        other_acknowledged.push((disk.call_count(), counts[1]));
        if round % 9 == 5 {
            let frames = shard.read_all(0, 0).unwrap();
            let (kept, begun) = (counts[0] - counts[0].min(2 + usize::try_from(round).unwrap() % 13), disk.call_count());
            // The other partition goes on meanwhile.
            let partitions = shard.partitions.clone();
            let epoch = LeaderEpoch(100 + u32::try_from(round).unwrap());
            if shard.append(&producers[1].frame_of(2000), round).is_ok() {
                counts[1] += 1;
            }
            let end = shard.run(async move { partitions.truncate(id(0), Offset(kept as u64), epoch).await }).unwrap();
            assert_eq!(end, Offset(kept as u64));
            lives.push(Life { frames, acknowledged: acknowledged.clone(), ended: Some((begun, disk.call_count())) });
            acknowledged.iter_mut().for_each(|mark| mark.1 = mark.1.min(kept));
            counts[0] = kept;
            producers[0].next_sequence = i32::try_from(kept).unwrap();
        }
    }
    lives.push(Life { frames: shard.read_all(0, 0).unwrap(), acknowledged, ended: None });
    let other = Life { frames: shard.read_all(1, 0).unwrap(), acknowledged: other_acknowledged, ended: None };
    assert_eq!(lives.len(), 5);
    assert!(shard.failures.borrow().is_empty());
    let (mut images, mut short) = (0, 0);
    for at in first_call..=disk.call_count() {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(at as u64)] {
            let image = disk.crash(PowerCut { call: at, unflushed });
            let mut restarted = TestShard::open(&image, Setup::new(2, 500));
            let what = format!("cut {at} ({}) {unflushed:?}", disk.describe_call(at));
            assert!(restarted.report.is_clean(), "{what}: {}", restarted.report);
            let (truncated, whole) = (restarted.read_all(0, 0).unwrap(), restarted.read_all(1, 0).unwrap());
            let fits = |life: &Life, frames: &[ReadFrame]| {
                let acknowledged = life.acknowledged.iter().rev().find(|mark| mark.0 <= at).unwrap().1;
                acknowledged <= frames.len() && frames.len() <= life.frames.len() && frames == &life.frames[..frames.len()]
            };
            let began = |life: usize| life == 0 || lives[life - 1].ended.unwrap().0 <= at;
            let over = |life: usize| lives[life].ended.is_some_and(|(_, done)| done <= at);
            let possible: Vec<usize> = (0..lives.len()).filter(|&life| began(life) && !over(life)).collect();
            assert!(
                possible.iter().any(|&life| fits(&lives[life], &truncated)),
                "{what}: {} frames fit none of {possible:?}",
                truncated.len()
            );
            assert!(fits(&other, &whole), "{what}: the other partition has {} frames", whole.len());
            images += 1;
            short += usize::from(possible.len() > 1);
        }
    }
    println!("{images} images, {short} of them inside a truncation");
    assert!(images > 400 && short > 50);
}

/// Lets so many reads for fetches begin, and no more.
#[derive(Clone, Default)]
struct Gate(Rc<RefCell<(usize, Option<Waker>)>>);

impl Gate {
    fn open(&self, count: usize) {
        let mut gate = self.0.borrow_mut();
        gate.0 = count;
        gate.1.take().into_iter().for_each(Waker::wake);
    }
}

impl Pace for Gate {
    fn acquire(&self, class: PaceClass, _len: usize) -> Pin<Box<dyn Future<Output = PacePermit>>> {
        let gate = self.0.clone();
        Box::pin(poll_fn(move |context| {
            let (left, waker) = &mut *gate.borrow_mut();
            if class == PaceClass::CatchUpRead {
                let Some(less) = left.checked_sub(1) else {
                    *waker = Some(context.waker().clone());
                    return Poll::Pending;
                };
                *left = less;
            }
            Poll::Ready(Box::new(()) as PacePermit)
        }))
    }
}

#[test]
fn an_answer_of_several_reads_has_nothing_of_before_a_truncation_in_it() {
    // Before which of its turns at the device the log is cut, below or within what is read by then; and whether more is
    // appended. The first turn of a piece may be for an index.
    let early = [(1, 5, true), (2, 5, true), (3, 22, true), (2, 5, false), (0, 5, true), (3, 0, true)];
    for (pieces, cut, goes_on) in early.into_iter().chain([(5, 5, true), (6, 22, true), (6, 5, false)]) {
        let what = format!("cut at {cut} after {pieces} turns, more is appended: {goes_on}");
        let gate = Gate::default();
        let setup = Setup { pacer: Rc::new(gate.clone()), tail_budget: 512 * 1024, ..Setup::new(1, 1) };
        let mut shard = TestShard::open(&FaultDisk::new(1), setup);
        let mut producer = TestProducer::new(0, 5);
        fill(&mut shard, &mut producer, 60, 20_000);
        shard.advance_ms(3000);
        let partitions = shard.partitions.clone();
        let read = CatchUpRead { id: id(0), offset: Offset(0), len_max: 700_000, piece_len: 100_000, reader: Reader::Consumer };
        let answer = Rc::new(Cell::new(None));
        let put = answer.clone();
        shard.spawn(async move { put.set(Some(partitions.catch_up(read).await)) });
        gate.open(pieces);
        shard.settle();
        assert!(answer.take().is_none() && gate.0.borrow().0 == 0, "{what}: so many turns are taken, and no more");
        assert_eq!(truncate(&mut shard, 0, cut, 2).unwrap(), Offset(cut), "{what}");
        if goes_on {
            producer.next_sequence = i32::try_from(cut).unwrap();
            fill(&mut shard, &mut producer, 60, 10_000);
            shard.advance_ms(3000);
        }
        gate.open(usize::MAX);
        shard.settle();
        let CaughtUp::Frames { slices, .. } = answer.take().expect("the answer is there") else { panic!("{what}: no frames") };
        let given = support::frames_of(&slices.concat());
        assert!(!given.is_empty() || cut == 0 && !goes_on, "{what}");
        assert_eq!(given, shard.read_all(0, 0).unwrap()[..given.len()], "{what}");
    }
}
