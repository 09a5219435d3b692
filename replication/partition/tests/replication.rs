//! A shard that leads and shards that follow: frames are copied as they are, counted when they are flushed, and whoever
//! waits is told what is so.

mod support;

use sluice_model::{FrameError, LeaderEpoch, Offset};
use sluice_partition::{
    Acks, CopyRefusal, EndRefusal, FetchRefusal, FetchedReplica, ProduceRefusal, ReplicaFramesRefusal, ReplicaRefusal, StateTaken,
};
use sluice_replica::{
    AppendRefusal, EndOffsetRefusal, FetchOutcome, FetchedRefusal, FollowerRefusal, IsrAnswer, IsrTimes, LogPosition, NotLeading,
};
use support::cluster::{Answer, Cluster, id, judged};
use support::{Setup, TestProducer};

/// `count` frames of `len` bytes, each known to everybody before the next is produced.
fn fill(cluster: &mut Cluster, producer: &mut TestProducer, count: u64, len: usize) {
    for n in 0..count {
        cluster.produce(producer, 1000 + n, len);
        cluster.settle();
    }
    cluster.copy_all();
}

#[test]
fn a_follower_copies_and_what_it_has_flushed_is_committed() {
    let mut cluster = Cluster::new(2, 2);
    let mut producer = TestProducer::new(0, 5);
    for token in 0..20 {
        cluster.produce(&mut producer, token, 3000);
    }
    cluster.settle();
    assert_eq!(cluster.answers(0).0, [0u64; 0], "flushed on the leader alone");
    assert_eq!(cluster.nodes[0].high_watermark(id()), Offset(0));
    cluster.len_max = 10_000;
    cluster.copy_all();
    assert_eq!(cluster.answers(0), ((0..20).collect(), vec![]));
    let copied = cluster.nodes[0].shard.read_all(0, 0).unwrap();
    // The other one leads on with the same bytes, and knows whose batches it has.
    assert_eq!(cluster.elect(1), [Some(StateTaken::Follows), Some(StateTaken::Leads)]);
    assert_eq!(cluster.nodes[1].shard.read_all(0, 0).unwrap(), copied);
    producer.next_sequence = 19;
    cluster.produce(&mut producer, 20, 3000);
    cluster.produce(&mut producer, 21, 3000);
    cluster.copy_all();
    assert_eq!((cluster.answers(1).0, cluster.nodes[0].end(id())), (vec![20, 21], Offset(21)));
}

#[test]
fn a_follower_may_flush_before_its_leader_and_neither_alone_commits() {
    let mut cluster = Cluster::new(2, 2);
    let mut producer = TestProducer::new(0, 5);
    cluster.produce(&mut producer, 1, 3000);
    // It is sent what is appended and not flushed.
    assert!(cluster.fetch(1));
    cluster.nodes[1].shard.settle();
    let (at, fetch) = cluster.send_fetch(1).unwrap();
    assert_eq!((fetch.position.offset, fetch.flushed), (Offset(1), Offset(1)));
    let answer = cluster.answer(1, at, &fetch).unwrap();
    assert_eq!((cluster.answers(0).0.len(), cluster.nodes[0].high_watermark(id())), (0, Offset(0)));
    cluster.deliver(1, at, &fetch, answer);
    cluster.nodes[0].shard.settle();
    assert_eq!((cluster.answers(0).0, cluster.nodes[0].high_watermark(id())), (vec![1], Offset(1)));
}

#[test]
fn what_is_flushed_while_a_fetch_is_parked_is_said_at_once() {
    let mut cluster = Cluster::new(2, 2);
    let mut producer = TestProducer::new(0, 5);
    cluster.produce(&mut producer, 1, 3000);
    cluster.nodes[0].shard.settle();
    assert!(cluster.fetch(1));
    // The next fetch goes out while the frame is being flushed; it proves the place and says nothing of a flush.
    let (at, fetch) = cluster.send_fetch(1).unwrap();
    assert_eq!((fetch.position.offset, fetch.flushed), (Offset(1), Offset(0)));
    let from = cluster.nodes[1].from();
    assert!(matches!(judged(&mut cluster.nodes[0].shard, from, &fetch), Ok(FetchOutcome::Serve { .. })));
    let mut news = Vec::new();
    let leader = cluster.nodes[0].shard.partitions.clone();
    leader.watch_replica(7, id());
    leader.take_replica_news(&mut news);
    assert_eq!(std::mem::take(&mut news), [(7, id())], "a watch comes true at once");
    cluster.nodes[1].shard.settle();
    assert!(cluster.say_flushed(1).is_some());
    assert_eq!(cluster.say_flushed(1), None);
    assert_eq!(cluster.answers(0).0, [1]);
    // The high watermark has moved, which the parked fetch is to tell; and a watch is told once until it is taken.
    cluster.produce(&mut producer, 2, 3000);
    leader.take_replica_news(&mut news);
    assert_eq!(std::mem::take(&mut news), [(7, id())]);
    leader.take_replica_news(&mut news);
    assert_eq!(news, []);
    leader.unwatch_replica(7, id());
    cluster.produce(&mut producer, 3, 3000);
    leader.take_replica_news(&mut news);
    assert_eq!(news, []);
    let answer = cluster.answer(1, at, &fetch).unwrap();
    assert!(matches!(&answer, Answer::Frames { told, .. } if told.high_watermark == Offset(1)), "{answer:?}");
}

#[test]
fn leadership_moves_over_and_back_and_what_waits_is_unknown() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 5, 2000);
    cluster.answers(0);
    // Flushed here and copied by nobody; the second is not even flushed.
    cluster.produce(&mut producer, 1, 2000);
    cluster.nodes[0].shard.settle();
    cluster.produce(&mut producer, 2, 2000);
    let watched = cluster.nodes[0].shard.partitions.clone();
    watched.watch(9, &[id()]);
    cluster.elect(1);
    assert_eq!(cluster.answers(0), (vec![], vec![1, 2]));
    let mut tokens = Vec::new();
    watched.take_watched(&mut tokens);
    assert_eq!(tokens, [9], "whoever waits for records has to ask elsewhere");
    assert_eq!(cluster.nodes[0].shard.append(&producer.frame_of(10), 3), Err(ProduceRefusal::NotLeader(id())));
    assert_eq!(watched.fetch(id(), Offset(0), 1000).map(drop), Err(FetchRefusal::NotLeader(id())));
    assert_eq!(watched.delete_records(id(), Offset(1), 4), Err(FetchRefusal::NotLeader(id())));
    // The producer sends both again, to the new leader, where they are new.
    producer.next_sequence = 5;
    for token in 5..8 {
        cluster.produce(&mut producer, token, 1500);
    }
    cluster.copy_all();
    assert_eq!((cluster.answers(1), cluster.nodes[0].end(id())), ((vec![5, 6, 7], vec![]), Offset(8)));
    let frames = cluster.nodes[1].shard.read_all(0, 0).unwrap();
    cluster.elect(0);
    assert_eq!(cluster.nodes[0].shard.read_all(0, 0).unwrap(), frames);
    fill(&mut cluster, &mut producer, 3, 100);
    assert_eq!(cluster.nodes[1].end(id()), Offset(11));
    // One leader is elected again: what waits goes on waiting.
    cluster.produce(&mut producer, 20, 100);
    assert_eq!(cluster.elect(0), [Some(StateTaken::Leads), Some(StateTaken::Follows)]);
    cluster.answers(1);
    cluster.copy_all();
    assert!(cluster.answers(0).0.ends_with(&[20]));
}

#[test]
fn bytes_from_outside_change_nothing_unless_they_are_the_next_frames() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 2, 100);
    for token in 0..2 {
        cluster.produce(&mut producer, token, 60);
    }
    let (at, fetch) = cluster.send_fetch(1).unwrap();
    let Some(Answer::Frames { frames, told }) = cluster.answer(1, at, &fetch) else { panic!("there are frames") };
    let (first_len, count) = (frames.len() / 2, frames.len());
    let partitions = cluster.nodes[1].shard.partitions.clone();
    let give = |bytes: &[u8], leader_epoch: u32, fetch_offset: u64, log_start: u64| {
        let fetched = FetchedReplica {
            leader_epoch: LeaderEpoch(leader_epoch),
            fetch_offset: Offset(fetch_offset),
            frames: bytes,
            high_watermark: told.high_watermark,
            log_start_offset: Offset(log_start),
        };
        partitions.on_fetched(partitions.now(), id(), fetched)
    };
    let stale = Err(CopyRefusal::Rules(FetchedRefusal::Stale));
    assert_eq!(give(&frames, 2, 2, 0), stale);
    assert_eq!(give(&frames, 1, 1, 0), stale);
    assert!(matches!(give(&frames, 1, 2, 99), Err(CopyRefusal::Rules(FetchedRefusal::LogStart { .. }))));
    // The second frame alone, and the first one cut anywhere or with any byte changed.
    assert!(matches!(give(&frames[first_len..], 1, 2, 0), Err(CopyRefusal::Rules(FetchedRefusal::Gap { .. }))));
    for len in 1..first_len {
        assert!(matches!(give(&frames[..len], 1, 2, 0), Err(CopyRefusal::Frame(_))), "{len} bytes");
    }
    for at in 0..first_len {
        let mut bad = frames[..first_len].to_vec();
        bad[at] ^= 0x40;
        assert!(give(&bad, 1, 2, 0).is_err(), "byte {at}");
    }
    assert_eq!(cluster.nodes[1].end(id()), Offset(2));
    // What stands before a bad byte is kept.
    let mut bad = frames.clone();
    bad[count - 1] ^= 1;
    assert!(matches!(give(&bad, 1, 2, 0), Err(CopyRefusal::Frame(_))));
    assert_eq!(cluster.nodes[1].end(id()), Offset(3));
    assert_eq!(give(&frames[first_len..], 1, 3, 0).unwrap().frame_count, 1);
    let leader = &cluster.nodes[0].shard.partitions;
    assert_eq!(
        leader.on_fetched(
            leader.now(),
            id(),
            FetchedReplica {
                leader_epoch: LeaderEpoch(1),
                fetch_offset: Offset(4),
                frames: &frames,
                high_watermark: Offset(4),
                log_start_offset: Offset(0),
            }
        ),
        Err(CopyRefusal::NotFollower(id()))
    );
}

#[test]
fn a_follower_without_room_takes_what_fits_and_goes_on_later() {
    let setup = Setup { journal_buffer_budget: 24 * 1024, ..Setup::new(0, 1) };
    let mut cluster = Cluster::with(2, 1, setup);
    let mut producer = TestProducer::new(0, 5);
    for token in 0..20 {
        cluster.produce(&mut producer, token, 3000);
        cluster.nodes[0].shard.settle();
    }
    let mut ends = Vec::new();
    while cluster.nodes[1].end(id()) < Offset(20) {
        assert!(cluster.fetch(1));
        ends.push(cluster.nodes[1].end(id()).0);
        // All that there was room for, and no more until it is durable.
        assert!(cluster.nodes[1].shard.partitions.follower_room() < 3000 || ends.last() == Some(&20));
        let before = cluster.nodes[1].end(id());
        assert!(cluster.fetch(1));
        assert_eq!(cluster.nodes[1].end(id()), before);
        cluster.nodes[1].shard.settle();
        assert!(cluster.nodes[1].shard.partitions.follower_room() > 20_000);
    }
    assert_eq!(ends, [7, 14, 20]);
}

#[test]
fn without_a_lease_or_under_an_old_epoch_nothing_is_acknowledged() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    cluster.produce(&mut producer, 1, 100);
    let leader = cluster.nodes[0].shard.partitions.clone();
    leader.on_lease_lost();
    assert_eq!(cluster.answers(0), (vec![], vec![1]));
    let refused = |reason| Err(ProduceRefusal::Append(AppendRefusal::NotLeading(reason)));
    assert_eq!(cluster.nodes[0].shard.append(&producer.frame_of(10), 2), refused(NotLeading::LeaseLost));
    producer.next_sequence = 1;
    leader.on_lease_regained();
    cluster.produce(&mut producer, 3, 100);
    // A follower of a later epoch fetches: the leader is one no more, whatever the controller has told it.
    let from = cluster.nodes[1].from();
    let mut fetch = cluster.nodes[1].shard.partitions.follower_position(id()).unwrap().fetch();
    fetch.leader_epoch = LeaderEpoch(2);
    let fetched = leader.follower_fetch(leader.now(), from, id(), &fetch);
    assert!(matches!(fetched, Err(ReplicaRefusal::Rules(FollowerRefusal::UnknownLeaderEpoch { .. }))), "{fetched:?}");
    assert_eq!(cluster.answers(0), (vec![], vec![3]));
    let newer = NotLeading::NewerEpoch { epoch: LeaderEpoch(2) };
    assert_eq!(cluster.nodes[0].shard.append(&producer.frame_of(10), 4), refused(newer));
    producer.next_sequence = 2;
    // Nor does it send anything to somebody whose place it has not proved.
    fetch.leader_epoch = LeaderEpoch(1);
    assert!(matches!(leader.replica_frames(from, id(), &fetch, 1000), Err(ReplicaFramesRefusal::NotProved)));
    cluster.elect(0);
    cluster.produce(&mut producer, 5, 100);
    cluster.copy_all();
    assert_eq!(cluster.answers(0), (vec![5], vec![]));
    // A state that gives the replica to somebody else ends its epoch too.
    cluster.produce(&mut producer, 6, 100);
    cluster.state.replicas.remove(&cluster.nodes[0].broker);
    cluster.state.isr.remove(&cluster.nodes[0].broker);
    assert_eq!(cluster.elect(1), [None, Some(StateTaken::Leads)]);
    assert_eq!(cluster.answers(0), (vec![], vec![6]));
    cluster.settle();
    assert_eq!(cluster.nodes[0].high_watermark(id()), Offset(3));
}

/// It asks elsewhere, whatever else is wrong with the frame or with this shard.
#[test]
fn who_does_not_lead_says_so_before_anything_else() {
    let mut cluster = Cluster::with(2, 1, Setup { tail_budget: 64 * 1024, ..Setup::new(0, 1) });
    let mut producer = TestProducer::new(0, 5);
    let long = producer.frame_of(100_000);
    producer.next_sequence = 0;
    let mut rotten = producer.frame_of(100);
    *rotten.last_mut().unwrap() ^= 1;
    producer.next_sequence = 0;
    let good = producer.frame_of(100);
    let append = |cluster: &mut Cluster, at: usize, frame: &[u8]| cluster.nodes[at].shard.append(frame, 1).unwrap_err();
    assert!(matches!(append(&mut cluster, 0, &long), ProduceRefusal::Overloaded { .. }));
    assert!(matches!(append(&mut cluster, 0, &rotten), ProduceRefusal::Frame(FrameError::BatchCrc { .. })));
    let leader = cluster.nodes[0].shard.partitions.clone();
    leader.on_lease_lost();
    for frame in [&long, &rotten, &good] {
        assert_eq!(append(&mut cluster, 1, frame), ProduceRefusal::NotLeader(id()));
        let no_lease = ProduceRefusal::Append(AppendRefusal::NotLeading(NotLeading::LeaseLost));
        assert_eq!(append(&mut cluster, 0, frame), no_lease);
    }
    leader.on_lease_regained();
    cluster.nodes[0].shard.append(&good, 1).unwrap();
}

#[test]
fn where_a_partition_ends_is_told_once_the_new_leader_knows_it() {
    let mut cluster = Cluster::new(2, 2);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 3, 100);
    cluster.produce(&mut producer, 1, 100);
    cluster.settle();
    cluster.fetch(1);
    cluster.settle();
    cluster.fetch(1);
    assert_eq!(cluster.nodes[0].shard.partitions.end_offset(id()), Ok(Offset(4)));
    cluster.produce(&mut producer, 2, 100);
    cluster.settle();
    cluster.fetch(1);
    cluster.settle();
    cluster.elect(1);
    let new = cluster.nodes[1].shard.partitions.clone();
    let told = Err(EndRefusal::Rules(EndOffsetRefusal::NotCaughtUp { high_watermark: Offset(4), epoch_start_offset: Offset(5) }));
    assert_eq!(new.end_offset(id()), told);
    assert_eq!(cluster.nodes[0].shard.partitions.end_offset(id()), Err(EndRefusal::NotLeader(id())));
    cluster.copy_all();
    assert_eq!(new.end_offset(id()), Ok(Offset(5)));
    assert_eq!(new.end_offset_for_epoch(id(), LeaderEpoch(1)), Ok(Some((LeaderEpoch(1), Offset(5)))));
}

#[test]
fn a_follower_that_lags_leaves_and_joins_again_when_it_has_everything() {
    let mut cluster = Cluster::new(2, 1);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 3, 100);
    cluster.answers(0);
    cluster.produce(&mut producer, 1, 100);
    let leader = cluster.nodes[0].shard.partitions.clone();
    let mut proposals = Vec::new();
    // Not after a moment, and then again and again, until there is an answer.
    cluster.nodes[0].shard.advance_ms(IsrTimes::default().slow_us / 1000);
    leader.take_isr_proposals(&mut proposals);
    assert_eq!((proposals.len(), cluster.answers(0).0.len()), (0, 0));
    cluster.nodes[0].shard.advance_ms(10_000);
    leader.take_isr_proposals(&mut proposals);
    let proposal = proposals.pop().unwrap();
    assert!(!proposals.is_empty() && proposal.followers.is_empty(), "{proposal:?}");
    // It counts until it is known to have left.
    assert_eq!(cluster.answers(0).0, [0u64; 0]);
    cluster.state.partition_epoch.0 += 1;
    cluster.state.isr = [cluster.nodes[0].broker].into();
    let decided = IsrAnswer::Decided { partition_epoch: cluster.state.partition_epoch, members: cluster.state.isr.clone() };
    leader.on_isr_answer(leader.now(), id(), proposal.leader_epoch, proposal.number, decided);
    assert_eq!(cluster.answers(0).0, [1]);
    // What was slow comes back after it has been quick for a while.
    for token in 100..140 {
        cluster.produce(&mut producer, token, 100);
        cluster.copy_all();
        // And says that it is flushed.
        cluster.fetch(1);
        cluster.nodes[0].shard.advance_ms(100);
    }
    cluster.answers(0);
    leader.take_isr_proposals(&mut proposals);
    let proposal = proposals.pop().unwrap();
    assert_eq!(proposal.followers, [cluster.nodes[1].from()].into());
    // From the moment it is proposed, it has to hold what is committed.
    cluster.produce(&mut producer, 2, 100);
    cluster.nodes[0].shard.settle();
    assert_eq!(cluster.answers(0).0, [0u64; 0]);
    cluster.decide_isr(&[0, 1]);
    cluster.copy_all();
    assert_eq!(cluster.answers(0).0, [2]);
}

#[test]
fn below_the_least_in_sync_replicas_nothing_is_committed() {
    let mut cluster = Cluster::new(3, 2);
    let mut producer = TestProducer::new(0, 5);
    fill(&mut cluster, &mut producer, 3, 100);
    cluster.answers(0);
    cluster.produce(&mut producer, 1, 100);
    cluster.decide_isr(&[0]);
    cluster.settle();
    assert_eq!((cluster.answers(0).0.len(), cluster.nodes[0].high_watermark(id())), (0, Offset(3)));
    let refused = cluster.nodes[0].shard.append(&producer.frame_of(10), 2);
    assert!(matches!(refused, Err(ProduceRefusal::Append(AppendRefusal::NotEnoughReplicas { .. }))), "{refused:?}");
    producer.next_sequence = 4;
    // Who asks for less is answered by the leader's flush alone.
    let now = cluster.nodes[0].shard.partitions.now();
    cluster.nodes[0].shard.partitions.append(now, &producer.frame_of(10), Acks::Leader, 3).unwrap();
    cluster.settle();
    assert_eq!(cluster.answers(0).0, [3]);
    cluster.decide_isr(&[0, 2]);
    cluster.copy_all();
    assert_eq!(cluster.answers(0).0, [1]);
    let position = |at: usize| cluster.nodes[at].shard.partitions.follower_position(id()).unwrap().position;
    assert_eq!(position(1), position(2));
    assert_ne!(position(1), LogPosition::default());
}
