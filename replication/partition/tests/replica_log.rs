//! What becomes of a follower's log: cut off where histories part, begun anew where the leader's begins, and found again
//! after a power cut at any moment of all that.

mod support;

use sluice_model::{LeaderEpoch, Offset};
use sluice_partition::{PartitionAssignment, StateTaken};
use sluice_replica::{FetchOutcome, LogState, Trouble};
use sluice_storage::commit_group::GroupHeader;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use support::cluster::{Answer, Cluster, id};
use support::{ReadFrame, Setup, TestProducer, assignment};

fn fill(cluster: &mut Cluster, producer: &mut TestProducer, count: u64, len: usize) {
    for n in 0..count {
        cluster.produce(producer, 1000 + n, len);
        cluster.settle();
    }
    cluster.copy_all();
    let leader = cluster.leader();
    cluster.answers(leader);
}

/// Every power cut of `disk` from `first` on, a few ways each.
fn cuts(disk: &FaultDisk, first: usize) -> impl Iterator<Item = (FaultDisk, PowerCut)> {
    let cuts = (first..=disk.call_count()).flat_map(|call| {
        let unflushed = [Unflushed::Lost, Unflushed::Torn(call as u64), Unflushed::Reordered(call as u64)];
        unflushed.map(|unflushed| PowerCut { call, unflushed })
    });
    cuts.map(|cut| (disk.crash(cut), cut))
}

fn frames(cluster: &mut Cluster) -> Vec<ReadFrame> {
    let leader = cluster.leader();
    let log_start = cluster.nodes[leader].shard.partitions.status(id()).unwrap().log_start_offset.0;
    cluster.nodes[leader].shard.read_all(0, log_start).unwrap()
}

/// The log of `nodes[at]` is what its leader's is: it leads with it.
fn assert_same(cluster: &mut Cluster, at: usize, expected: &[ReadFrame]) {
    let status = cluster.nodes[at].shard.partitions.status(id()).unwrap();
    assert_eq!((status.damaged.as_slice(), status.possibly_short), (&[][..], None));
    cluster.elect(at);
    assert_eq!(frames(cluster), expected);
}

#[test]
fn what_a_follower_says_is_flushed_a_power_cut_does_not_take() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    let first = cluster.nodes[1].disk.call_count();
    // By the number of calls of its disk: what it had said.
    let mut said = vec![(first, Offset(0))];
    for n in 0..24 {
        cluster.produce(&mut producer, n, 3000 + 500 * usize::try_from(n % 5).unwrap());
        cluster.fetch(1);
        if n % 3 == 0 {
            cluster.settle();
        }
        if n % 9 == 5 {
            cluster.nodes[1].shard.advance_ms(2100);
        }
        let flushed = cluster.nodes[1].shard.partitions.follower_position(id()).unwrap().flushed;
        said.push((cluster.nodes[1].disk.call_count(), flushed));
    }
    cluster.copy_all();
    let expected = frames(&mut cluster);
    let disk = cluster.nodes[1].disk.clone();
    let mut partly = 0;
    for (crashed, cut) in cuts(&disk, first).step_by(3) {
        cluster.restart(1, crashed);
        let node = &cluster.nodes[1];
        let [(_, recovered)] = node.shard.partitions.recovered_replicas()[..] else { panic!("one partition") };
        let promised = said.iter().rev().find(|(calls, _)| *calls <= cut.call).unwrap().1;
        assert!(recovered.end_offset >= promised, "{cut:?}: {promised} was said to be flushed, {recovered:?}");
        assert_eq!((recovered.log_state, recovered.has_accepted_loss), (LogState::Whole, false), "{cut:?}");
        assert_eq!(recovered.leader_epoch.0, u32::from(recovered.end_offset > Offset(0)));
        partly += u32::from(recovered.end_offset > Offset(0) && recovered.end_offset < Offset(24));
        assert!(node.high_watermark(id()) <= recovered.end_offset);
        cluster.copy_all();
    }
    assert!(partly > 20, "{partly}");
    assert_same(&mut cluster, 1, &expected);
}

/// The first broker has frames that nobody else has, the second leads and has gone on.
fn parted() -> (Cluster, TestProducer, Vec<ReadFrame>) {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 12, 9000);
    cluster.nodes[0].shard.advance_ms(3000);
    for token in 0..6 {
        cluster.produce(&mut producer, token, 7000);
        cluster.nodes[0].shard.settle();
    }
    assert_eq!((cluster.nodes[0].end(id()), cluster.nodes[0].high_watermark(id())), (Offset(18), Offset(12)));
    cluster.decide_isr(&[1]);
    cluster.elect(1);
    cluster.answers(0);
    producer.next_sequence = 12;
    for token in 10..14 {
        cluster.produce(&mut producer, token, 5000);
    }
    cluster.settle();
    let expected = frames(&mut cluster);
    (cluster, producer, expected)
}

#[test]
fn what_the_new_leader_has_not_is_cut_off_and_a_power_cut_leaves_one_of_both() {
    let (mut cluster, mut producer, expected) = parted();
    let first = cluster.nodes[0].disk.call_count();
    let (at, fetch) = cluster.send_fetch(0).unwrap();
    let Some(Answer::Diverging { epoch: Some(LeaderEpoch(1)), end_offset: Offset(12) }) = cluster.answer(0, at, &fetch) else {
        panic!("the histories part")
    };
    cluster.deliver(0, at, &fetch, Answer::Diverging { epoch: Some(LeaderEpoch(1)), end_offset: Offset(12) });
    assert_eq!(cluster.nodes[0].shard.partitions.follower_position(id()), None, "it is being cut off");
    // It may be elected meanwhile, and is told so in its time.
    cluster.copy_all();
    assert_eq!(cluster.nodes[0].end(id()), Offset(16));
    let disk = cluster.nodes[0].disk.clone();
    let mut ends = [0; 2];
    for (crashed, cut) in cuts(&disk, first) {
        cluster.restart(0, crashed);
        let end = cluster.nodes[0].end(id());
        assert!(cluster.nodes[0].shard.report.is_clean(), "{cut:?}: {}", cluster.nodes[0].shard.report);
        ends[usize::from(end < Offset(18))] += 1;
        cluster.copy_all();
    }
    assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
    // Whose sequences it knows: those of the leader's log, and not of what was cut off.
    cluster.decide_isr(&[0, 1]);
    cluster.copy_all();
    assert_same(&mut cluster, 0, &expected);
    producer.next_sequence = 15;
    cluster.produce(&mut producer, 50, 5000);
    cluster.produce(&mut producer, 51, 5000);
    cluster.copy_all();
    assert_eq!((cluster.answers(0).0, cluster.nodes[0].end(id())), (vec![50, 51], Offset(17)));
}

#[test]
fn a_follower_that_is_elected_while_it_is_cut_off_leads_when_that_is_done() {
    let (mut cluster, _, _) = parted();
    let (at, fetch) = cluster.send_fetch(0).unwrap();
    let answer = cluster.answer(0, at, &fetch).unwrap();
    cluster.deliver(0, at, &fetch, answer);
    cluster.state.isr = cluster.nodes.iter().map(|node| node.broker).collect();
    let taken = cluster.elect(0);
    assert_eq!(taken[0], Some(StateTaken::Later));
    assert!(!cluster.nodes[0].shard.partitions.status(id()).unwrap().is_leader);
    cluster.nodes[0].shard.settle();
    let status = cluster.nodes[0].shard.partitions.status(id()).unwrap();
    assert_eq!((status.is_leader, status.log_end_offset, status.leader_epoch), (true, Offset(12), LeaderEpoch(3)));
}

#[test]
fn below_the_high_watermark_nothing_is_cut_off_before_the_damage_is_declared() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 6, 3000);
    // Somebody elects a broker whose folder is new.
    cluster.restart(1, FaultDisk::new(77));
    cluster.state.isr = [cluster.nodes[1].broker].into();
    cluster.elect(1);
    producer.next_sequence = 0;
    cluster.produce(&mut producer, 1, 100);
    cluster.settle();
    assert!(cluster.fetch(0));
    let partitions = cluster.nodes[0].shard.partitions.clone();
    let mut troubles = Vec::new();
    partitions.take_troubles(&mut troubles);
    let trouble = Trouble::DivergesBelowHighWatermark { end_offset: Offset(0), high_watermark: Offset(6) };
    assert_eq!(troubles, [(id(), trouble)]);
    assert_eq!((partitions.follower_position(id()), partitions.status(id()).unwrap().trouble), (None, Some(trouble)));
    cluster.settle();
    assert_eq!(cluster.nodes[0].end(id()), Offset(6));
    assert!(partitions.on_damage_declared(id()));
    cluster.copy_all();
    assert_eq!(cluster.nodes[0].end(id()), Offset(1));
    let expected = frames(&mut cluster);
    cluster.decide_isr(&[0, 1]);
    cluster.copy_all();
    assert_same(&mut cluster, 0, &expected);
}

/// Frames that differ under the same leader epoch: no election explains that.
#[test]
fn a_log_that_differs_is_copied_again_once_the_damage_is_declared_wherever_it_begins() {
    for inside in [false, true] {
        let mut other = Cluster::new(2, 1);
        let mut producer = TestProducer::new(0, 9);
        for n in 0..5 {
            let frame = producer.frame(&[&vec![n; 900], b"other"]);
            other.nodes[0].shard.append(&frame, 1).unwrap();
        }
        other.copy_all();
        if inside {
            other.nodes[0].shard.partitions.delete_records(id(), Offset(7), 3).unwrap();
            other.settle();
            other.fetch(1);
        }
        other.nodes[1].shard.advance_ms(3000);
        let mut cluster = Cluster::new(2, 1);
        let mut producer = TestProducer::new(0, 5);
        for n in 0..6 {
            let frame = producer.frame(&[&vec![n; 700], b"x"]);
            cluster.nodes[0].shard.append(&frame, 2).unwrap();
        }
        cluster.copy_all();
        let expected = frames(&mut cluster);
        cluster.restart(1, other.nodes[1].disk.clone());
        assert!(cluster.fetch(1));
        let partitions = cluster.nodes[1].shard.partitions.clone();
        let mut troubles = Vec::new();
        partitions.take_troubles(&mut troubles);
        assert_eq!(troubles, [(id(), Trouble::ChainMismatch { offset: Offset(10) })]);
        assert!(partitions.on_damage_declared(id()));
        assert!(cluster.fetch(1));
        cluster.settle();
        // Nothing is left of a log that begins inside a frame: it asks where the leader's begins.
        let mut beginnings = Vec::new();
        partitions.take_beginnings(&mut beginnings);
        assert_eq!(beginnings, if inside { vec![id()] } else { vec![] });
        if inside {
            cluster.ask_beginning(1);
        }
        cluster.copy_all();
        cluster.decide_isr(&[0, 1]);
        cluster.copy_all();
        assert_same(&mut cluster, 1, &expected);
    }
}

#[test]
fn a_new_replica_copies_everything_from_segments() {
    let mut cluster = Cluster::new(1, 1);
    let mut producer = TestProducer::new(0, 5);
    // More than memory holds.
    for _ in 0..30 {
        fill(&mut cluster, &mut producer, 10, 9000);
        cluster.nodes[0].shard.advance_ms(500);
    }
    let expected = frames(&mut cluster);
    cluster.join(FaultDisk::new(9));
    cluster.len_max = 100_000;
    for _ in 0..5 {
        cluster.fetch(1);
        cluster.settle();
    }
    // One that starts again on the way is looked up on disk, where it stands; others are remembered.
    cluster.restart(1, cluster.nodes[1].disk.clone());
    let (leader, follower) = (cluster.nodes[0].shard.partitions.clone(), cluster.nodes[1].from());
    let fetch = cluster.nodes[1].shard.partitions.follower_position(id()).unwrap().fetch();
    let judged = leader.follower_fetch(leader.now(), follower, id(), &fetch).unwrap();
    assert_eq!(judged, FetchOutcome::LookUp { offset: fetch.position.offset });
    cluster.fetch(1);
    cluster.settle();
    let fetch = cluster.nodes[1].shard.partitions.follower_position(id()).unwrap().fetch();
    let judged = leader.follower_fetch(leader.now(), follower, id(), &fetch).unwrap();
    assert_eq!(judged, FetchOutcome::Serve { from: fetch.position.offset });
    cluster.copy_all();
    fill(&mut cluster, &mut producer, 10, 3000);
    assert_eq!(cluster.nodes[1].end(id()), Offset(310));
    cluster.decide_isr(&[0, 1]);
    cluster.copy_all();
    let copied = frames(&mut cluster);
    assert_eq!(copied[..300], expected);
    assert_same(&mut cluster, 1, &copied);
}

/// The leader has 40 frames of two records, and has deleted the first records, the last of them in the middle of a frame.
/// The follower has eight records, which it knows to be committed only if it `is_told`.
fn deleted(inside: bool, is_told: bool) -> (Cluster, [TestProducer; 2], u64) {
    let mut cluster = Cluster::with(2, 1, Setup::new(0, 1));
    let mut producers = [TestProducer::new(0, 5), TestProducer::new(0, 6)];
    for n in 0..4 {
        let frame = producers[0].frame(&[&vec![n; 2000], b"x"]);
        cluster.nodes[0].shard.append(&frame, 1).unwrap();
    }
    cluster.settle();
    cluster.fetch(1);
    cluster.settle();
    if is_told {
        cluster.copy_all();
    }
    cluster.decide_isr(&[0]);
    for n in 0..36 {
        let producer = usize::from(n >= 20);
        let frame = producers[producer].frame(&[&vec![n; 6000], b"y"]);
        cluster.nodes[0].shard.append(&frame, 2).unwrap();
        cluster.nodes[0].shard.settle();
    }
    let log_start = 40 + u64::from(inside);
    cluster.nodes[0].shard.partitions.delete_records(id(), Offset(log_start), 3).unwrap();
    cluster.nodes[0].shard.advance_ms(5000);
    cluster.nodes[0].shard.completions();
    (cluster, producers, log_start)
}

#[test]
fn a_log_that_is_wholly_deleted_on_the_leader_is_replaced_and_a_power_cut_leaves_one_of_both() {
    for inside in [false, true] {
        let (mut cluster, mut producers, log_start) = deleted(inside, true);
        let expected = frames(&mut cluster);
        assert_eq!(expected.len(), 20);
        let first = cluster.nodes[1].disk.call_count();
        assert!(cluster.fetch(1));
        assert_eq!(cluster.nodes[1].shard.partitions.follower_position(id()), None, "it is being replaced");
        cluster.copy_all();
        let disk = cluster.nodes[1].disk.clone();
        let mut starts = [0; 2];
        for (crashed, cut) in cuts(&disk, first).step_by(if inside { 5 } else { 1 }) {
            cluster.restart(1, crashed);
            let report = &cluster.nodes[1].shard.report;
            assert!(report.is_clean(), "{cut:?}: {report}");
            let status = cluster.nodes[1].shard.partitions.status(id()).unwrap();
            let is_old = status.log_start_offset == Offset(0) && status.log_end_offset == Offset(8);
            let is_new = status.log_start_offset >= Offset(40) && status.high_watermark >= Offset(40);
            assert!(is_old || is_new, "{cut:?}: {status:?}");
            starts[usize::from(is_new)] += 1;
            cluster.copy_all();
        }
        assert!(starts[0] > 0 && starts[1] > 0, "{starts:?}");
        let status = cluster.nodes[1].shard.partitions.status(id()).unwrap();
        assert_eq!(status.log_start_offset, Offset(log_start));
        cluster.decide_isr(&[0, 1]);
        cluster.copy_all();
        assert_same(&mut cluster, 1, &expected);
        // A producer all of whose batches were deleted is still known by its last ones.
        producers[0].next_sequence -= 2;
        for (producer, token) in producers.iter_mut().zip([60, 61]) {
            cluster.nodes[1].shard.append(&producer.frame(&[&[24u8; 6000], b"y"]), token).unwrap();
        }
        cluster.copy_all();
        assert_eq!((cluster.answers(1).0, cluster.nodes[1].end(id())), (vec![60, 61], Offset(82)));
    }
}

#[test]
fn a_checkpoint_before_a_log_is_replaced_claims_nothing_that_it_has_not() {
    let (mut cluster, _, _) = deleted(false, false);
    let before = cluster.nodes[1].high_watermark(id());
    assert_eq!((before, cluster.nodes[1].end(id())), (Offset(0), Offset(8)));
    assert!(cluster.fetch(1));
    assert!(cluster.nodes[1].high_watermark(id()) > before);
    let first = cluster.nodes[1].disk.call_count();
    // Something else is checkpointed first.
    let other = PartitionAssignment { state: None, ..assignment(7, 1) };
    block_on(cluster.nodes[1].shard.partitions.create(vec![other])).unwrap();
    cluster.nodes[1].shard.settle();
    let (disk, mut olds) = (cluster.nodes[1].disk.clone(), 0);
    for (crashed, cut) in cuts(&disk, first) {
        cluster.restart(1, crashed);
        let status = cluster.nodes[1].shard.partitions.status(id()).unwrap();
        assert!(status.log_end_offset > Offset(8) || status.high_watermark <= before, "{cut:?}: {status:?}");
        olds += u32::from(status.log_end_offset == Offset(8));
    }
    assert!(olds > 20, "{olds}");
}

#[test]
fn a_follower_that_may_be_short_is_whole_again_once_it_has_copied_what_is_committed() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    for _ in 0..12 {
        fill(&mut cluster, &mut producer, 1, 3000);
    }
    cluster.nodes[1].shard.advance_ms(100);
    let disk = &cluster.nodes[1].disk;
    // The last group of its journal that holds anything rots, and the idle marker behind it says that there was one.
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let mut groups = Vec::new();
    for (path, bytes) in crashed.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "journal")) {
        for position in (0..bytes.len()).step_by(4096) {
            let header = GroupHeader::parse(&bytes[position..]).map(|(header, _)| header);
            groups.extend(header.filter(|header| header.entry_count > 0).map(|header| (header.sequence, path.clone(), position)));
        }
    }
    let (_, path, position) = groups.into_iter().max().expect("there are groups");
    crashed.flip_bit(&path, position as u64 + 20, 3);
    cluster.restart(1, crashed);
    let [(_, recovered)] = cluster.nodes[1].shard.partitions.recovered_replicas()[..] else { panic!("one partition") };
    assert_eq!((recovered.log_state, recovered.end_offset), (LogState::PossiblyShort, Offset(11)));
    let status = cluster.nodes[1].shard.partitions.status(id()).unwrap();
    assert_eq!(status.possibly_short, Some(Offset(11)));
    cluster.copy_all();
    fill(&mut cluster, &mut producer, 1, 100);
    let position = cluster.nodes[1].shard.partitions.follower_position(id()).unwrap();
    assert_eq!((position.log_state, position.position.offset), (LogState::Whole, Offset(13)));
    cluster.nodes[1].shard.advance_ms(3000);
    cluster.restart(1, cluster.nodes[1].disk.clone());
    let [(_, recovered)] = cluster.nodes[1].shard.partitions.recovered_replicas()[..] else { panic!("one partition") };
    assert_eq!((recovered.log_state, recovered.end_offset), (LogState::Whole, Offset(13)));
}
