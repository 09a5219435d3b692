//! A shard that leads and one that follows, over real sockets: nothing is acknowledged to all before the follower has
//! flushed it, whatever becomes of the connection between them, and what was acknowledged is there when the other leads.

use crate::broker_pair_test::frames::{FrameSpec, values};
use crate::broker_pair_test::raw_client::{RawClient, code, produce_request};
use crate::broker_pair_test::*;
use sluice_metadata::{EndLease, Image, on_lease_ended};
use sluice_model::{BrokerId, ErrorCode, FrameHeader, Incarnation, ShardIndex};
use sluice_protocol::{
    BrokerChallengeAnswer, BrokerChallengeRequest, BrokerName, BrokerProofAnswer, BrokerProofRequest, BrokerRole,
    DeleteRecordsRequest, Durability, Introduction, ProduceAnswer, ProducePartition, ProduceRequest, ProducedPartition, ProofOf,
    ReplicaBeginningRequest, ReplicaFetchAnswer, ReplicaFetchRequest, ReplicaFetched, ReplicaFlushAnswer, ReplicaFlushRequest,
    ReplicaFlushed, ReplicaOutcome, ReplicaPosition,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

fn wait_for_leader(side: &Side) -> RawClient {
    let mut client = side.client();
    until("the leader serves", || {
        let (answer, _) = client.fetch(TOPIC, 0, 0);
        (answer.partitions[0].error == 0).then_some(())
    });
    client
}

/// The leader's lease has ended: the follower, which is in sync, leads.
fn fail_over(pair: &mut Pair) {
    let lost = EndLease { broker: pair.leader.broker.id(), incarnation: pair.leader.broker.incarnation() };
    decide(&mut pair.image, |image| on_lease_ended(image, &lost));
    assert_eq!(leader_of(&pair.image, 0), pair.follower.broker.id());
    pair.follower.tell(&pair.image);
    pair.leader.tell(&pair.image);
}

fn stop(pair: Pair) {
    pair.follower.broker.shutdown().expect("a clean stop");
    pair.leader.broker.shutdown().expect("a clean stop");
}

#[test]
fn acks_all_is_answered_once_the_follower_has_flushed_and_a_failover_loses_nothing() {
    let mut pair = Pair::start(|address| address);
    pair.leader.tell(&pair.image);
    let mut client = wait_for_leader(&pair.leader);
    let bytes = frames::frame(&frame(b"all"));
    let waiting = client.send(&produce_request(TOPIC, 0, bytes.len()), &bytes);
    let leader_only = ProduceRequest { acks: 1, ..produce_request(TOPIC, 0, bytes.len()) };
    let flushed = client.send(&leader_only, &bytes);
    let first = client.receive().expect("an answer");
    assert_eq!(first.prefix.correlation_id, flushed, "the leader alone has flushed both");
    let produced = only(first.decode());
    assert_eq!((produced.error, produced.durability, produced.base_offset), (0, Durability::Flushed as u8, 1));
    let mut reader = pair.leader.client();
    assert_eq!(reader.consume(TOPIC, 0, 0), [], "nobody else holds it");

    pair.follower.tell(&pair.image);
    let second = client.receive().expect("an answer");
    assert_eq!(second.prefix.correlation_id, waiting);
    let produced = only(second.decode());
    assert_eq!((produced.error, produced.durability, produced.base_offset), (0, Durability::Committed as u8, 0));
    for number in 0..20_u8 {
        assert_eq!(client.produce(&frame(&[number; 3000])).error, 0);
    }
    let acknowledged = reader.consume(TOPIC, 0, 0);
    assert_eq!(acknowledged.len(), 22);
    assert_eq!(code(pair.follower.client().produce(&frame(b"no")).error), ErrorCode::NotLeader);

    fail_over(&mut pair);
    assert_eq!(wait_for_leader(&pair.follower).consume(TOPIC, 0, 0), acknowledged);
    until("the old leader knows", || (code(client.produce(&frame(b"no")).error) == ErrorCode::NotLeader).then_some(()));
    stop(pair);
}

fn only(answer: ProduceAnswer) -> ProducedPartition {
    answer.partitions.into_iter().next().expect("one partition")
}

#[test]
fn two_brokers_that_follow_each_other_acknowledge_for_all_their_partitions() {
    let count = 24;
    let (one, two) = (Side::start(1), Side::start(2));
    let mut image = new_image();
    for side in [&one, &two] {
        join(&mut image, side.broker.id(), side.broker.incarnation(), side.address());
    }
    create_topic(&mut image, count);
    let led: Vec<u32> = (0..count).filter(|number| leader_of(&image, *number) == one.broker.id()).collect();
    assert!((1..count as usize).contains(&led.len()), "both lead some of them: {led:?}");
    one.tell(&image);
    two.tell(&image);
    let mut clients = [two.client(), one.client()];
    for number in 0..count {
        let client = &mut clients[usize::from(led.contains(&number))];
        until("it is led", || {
            let (answer, _) = client.fetch(TOPIC, number, 0);
            (answer.partitions[0].error == 0).then_some(())
        });
    }
    // All of a round are under way at once.
    for round in 0..5_u64 {
        for number in 0..count {
            let bytes = frames::frame(&FrameSpec { partition: number, ..frame(&[round as u8; 700]) });
            let request = ProduceRequest { partitions: vec![entry(number, bytes.len())], ..produce_request(TOPIC, 0, 0) };
            clients[usize::from(led.contains(&number))].send(&request, &bytes);
        }
        for number in 0..count {
            let answered = clients[usize::from(led.contains(&number))].receive().expect("an answer");
            let produced = only(answered.decode());
            assert_eq!((produced.error, produced.base_offset, produced.durability), (0, round, Durability::Committed as u8));
        }
    }
    one.broker.shutdown().expect("a clean stop");
    two.broker.shutdown().expect("a clean stop");
}

fn entry(partition: u32, frame_len: usize) -> ProducePartition {
    ProducePartition { topic_id: TOPIC, partition, frame_len: u32::try_from(frame_len).expect("a small frame") }
}

/// Passes bytes on between a follower and its leader, and cuts a connection when so many of them have come through.
struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Cutter {
    fn before(leader: SocketAddr, cut_len_max: usize, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (cuts, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, over) = (Arc::clone(&cuts), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut random = seed | 1;
            while let Ok((follower, _)) = listener.accept() {
                for step in [13, 7, 17] {
                    random ^= if step == 7 { random >> step } else { random << step };
                }
                let left = if over.load(Ordering::SeqCst) { usize::MAX } else { random as usize % cut_len_max };
                let Ok(leader) = TcpStream::connect(leader) else { continue };
                for (from, to) in [(&follower, &leader), (&leader, &follower)] {
                    let pass = (from.try_clone().expect("cloned"), to.try_clone().expect("cloned"), Arc::clone(&counted));
                    thread::spawn(move || pass_on(pass.0, pass.1, left, &pass.2));
                }
            }
        });
        Self { address, cuts, is_over }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mut left: usize, cuts: &AtomicU64) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let passed = len.min(left);
        if to.write_all(&buffer[..passed]).is_err() {
            break;
        }
        left -= passed;
        if left == 0 {
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _gone = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    let seed = 0x51ce_0007;
    println!("seed {seed:#x}");
    let mut cutter = None;
    let mut pair = Pair::start(|address| {
        let made = Cutter::before(address, 40_000, seed);
        let at = made.address;
        cutter = Some(made);
        at
    });
    let cutter = cutter.expect("the leader was asked for");
    pair.leader.tell(&pair.image);
    pair.follower.tell(&pair.image);
    let mut client = wait_for_leader(&pair.leader);
    let mut expected = Vec::new();
    for number in 0..60_u64 {
        let value = vec![number as u8; 2000];
        let produced = client.produce(&frame(&value));
        assert_eq!((produced.error, produced.base_offset), (0, number), "{}", produced.text);
        expected.push((number, value));
    }
    assert!(cutter.cuts.load(Ordering::SeqCst) >= 3, "the connection was hardly ever cut");
    cutter.is_over.store(true, Ordering::SeqCst);
    fail_over(&mut pair);
    assert_eq!(wait_for_leader(&pair.follower).consume(TOPIC, 0, 0), expected);
    stop(pair);
}

#[test]
fn a_follower_that_is_far_behind_is_served_from_the_disk_and_then_acknowledges() {
    let mut pair = Pair::start(|address| address);
    pair.leader.tell(&pair.image);
    let mut client = wait_for_leader(&pair.leader);
    // More than the leader keeps in memory.
    let count = 40;
    for number in 0..count {
        let bytes = frames::frame(&frame(&vec![number as u8; 1 << 20]));
        let request = ProduceRequest { acks: 1, ..produce_request(TOPIC, 0, bytes.len()) };
        until("there is room", || {
            let produced = only(client.ask(&request, &bytes).decode());
            (produced.error == 0).then_some(())
        });
    }
    pair.follower.tell(&pair.image);
    assert_eq!(client.produce(&frame(b"last")).error, 0, "both hold everything below it, too");
    assert!(pair.follower.counter("replica_copied_len") >= count << 20);
    assert!(pair.leader.counter("replica_sent_len") >= count << 20);
    fail_over(&mut pair);
    let mut new_leader = wait_for_leader(&pair.follower);
    let last = new_leader.consume(TOPIC, 0, count - 1);
    assert_eq!(last, [(count - 1, vec![count as u8 - 1; 1 << 20]), (count, b"last".to_vec())]);
    stop(pair);
}

#[test]
fn a_follower_with_another_secret_gets_nothing() {
    let pair = Pair::of(Side::start(1), Side::start_with(2, 8), |address| address);
    pair.leader.tell(&pair.image);
    pair.follower.tell(&pair.image);
    let mut client = wait_for_leader(&pair.leader);
    let bytes = frames::frame(&frame(b"a"));
    let waiting = client.send(&produce_request(TOPIC, 0, bytes.len()), &bytes);
    until("it has tried more than once", || (pair.leader.counter("refusals") >= 2).then_some(()));
    assert_eq!((pair.leader.counter("replica_sent_len"), pair.follower.counter("replica_copied_len")), (0, 0));
    let leader_only = ProduceRequest { acks: 1, ..produce_request(TOPIC, 0, bytes.len()) };
    let answered = client.ask_any(&leader_only, &bytes);
    assert_ne!(answered.prefix.correlation_id, waiting, "nobody but the leader holds it");
    stop(pair);
}

/// Broker 2, made by hand, as the leader sees it.
struct HandMade {
    client: RawClient,
    session: u64,
    number: u64,
}

const HAND_MADE: BrokerId = BrokerId(2);
/// Before any start of a real broker.
const INCARNATION: Incarnation = Incarnation { number: 0, random: 4 };

impl HandMade {
    fn connect(leader: &Side, session: u64) -> Self {
        let mut client = leader.client();
        let connecting = BrokerName { broker: HAND_MADE, incarnation: INCARNATION, shard: ShardIndex(0), nonce: [1; 32] };
        let challenge = BrokerChallengeRequest::new(connecting, BrokerRole::Follower, leader.broker.id());
        let answer: BrokerChallengeAnswer = client.call(&challenge);
        let introduction = Introduction { role: BrokerRole::Follower, connecting, accepting: answer.name() };
        let proof = secret(7).prove(ProofOf::Connecting, &introduction);
        let answer: BrokerProofAnswer = client.call(&BrokerProofRequest { proof });
        assert!(secret(7).is_proof(ProofOf::Accepting, &introduction, &answer.proof));
        Self { client, session, number: 0 }
    }

    fn fetch_request(&mut self, named: &[ReplicaPosition], wait_ms_max: u32) -> ReplicaFetchRequest {
        let number = self.number;
        self.number += 1;
        let (session, named) = (self.session, named.to_vec());
        ReplicaFetchRequest { session, number, wait_ms_max, len_max: 1 << 20, named, forgotten: Vec::new() }
    }

    fn fetch(&mut self, named: &[ReplicaPosition], wait_ms_max: u32) -> (ReplicaFetchAnswer, Vec<u8>) {
        let request = self.fetch_request(named, wait_ms_max);
        let answered = self.client.ask(&request, &[]);
        (answered.decode(), answered.frames)
    }
}

fn position(leader_epoch: u32, offset: u64, flushed: u64, last: Option<&FrameHeader>) -> ReplicaPosition {
    ReplicaPosition {
        topic_id: TOPIC,
        partition: 0,
        leader_epoch,
        offset,
        last_epoch: last.map(|last| last.leader_epoch().0),
        last_header_crc: last.map_or(0, |last| last.header_crc.to_native()),
        flushed,
        log_state: 0,
    }
}

/// A leader, and an image in which broker 2 is one that only the test knows.
fn leader_alone() -> (Side, Image, u32) {
    let leader = Side::start(1);
    let mut image = new_image();
    join(&mut image, leader.broker.id(), leader.broker.incarnation(), leader.address());
    create_topic_on(&mut image, &leader);
    leader.tell(&image);
    wait_for_leader(&leader);
    let epoch = image.partition(partition(0)).expect("it is there").leader_epoch.0;
    (leader, image, epoch)
}

/// Broker 1 leads partition 0, whichever that is by the assignment's choice.
fn create_topic_on(image: &mut Image, leader: &Side) {
    let nowhere = "127.0.0.1:9".parse().expect("an address");
    join(image, HAND_MADE, INCARNATION, nowhere);
    create_topic(image, 1);
    if leader_of(image, 0) != leader.broker.id() {
        let lost = EndLease { broker: HAND_MADE, incarnation: INCARNATION };
        decide(image, |image| on_lease_ended(image, &lost));
    }
    assert_eq!(leader_of(image, 0), leader.broker.id());
}

fn only_fetched(answer: &ReplicaFetchAnswer) -> &ReplicaFetched {
    assert_eq!((answer.error, answer.partitions.len()), (0, 1), "{}", answer.text);
    &answer.partitions[0]
}

fn high_watermark_of(answer: &ReplicaFetchAnswer) -> u64 {
    match only_fetched(answer).outcome {
        ReplicaOutcome::Frames { high_watermark, .. } => high_watermark,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_flush_that_is_told_while_the_fetch_is_parked_commits_and_leaves_it_parked() {
    let (leader, _image, epoch) = leader_alone();
    let mut follower = HandMade::connect(&leader, 1);
    let mut client = leader.client();
    let bytes = frames::frame(&frame(b"a"));
    let waiting = client.send(&produce_request(TOPIC, 0, bytes.len()), &bytes);
    let (answer, copied) = follower.fetch(&[position(epoch, 0, 0, None)], 60_000);
    let (header, _) = FrameHeader::parse_frame(&copied).expect("the leader's frame");
    assert_eq!((high_watermark_of(&answer), values(&copied)), (0, vec![(0, b"a".to_vec())]));
    assert_eq!((only_fetched(&answer).leader_epoch, only_fetched(&answer).fetch_offset), (epoch, 0));
    // It has it, and has not flushed it: the fetch waits, and so does the producer.
    let parked = follower.fetch_request(&[position(epoch, 1, 0, Some(header))], 60_000);
    let parked = follower.client.send(&parked, &[]);
    let flushed = vec![ReplicaFlushed { topic_id: TOPIC, partition: 0, flushed: 1 }];
    let flush = ReplicaFlushRequest { session: 1, number: follower.number, flushed };
    follower.number += 1;
    let flush = follower.client.send(&flush, &[]);
    assert_eq!(client.receive().expect("an answer").prefix.correlation_id, waiting);
    let told = follower.client.receive().expect("an answer");
    assert_eq!(told.prefix.correlation_id, flush);
    assert_eq!(told.decode::<ReplicaFlushAnswer>().error, 0);
    let news = follower.client.receive().expect("an answer");
    assert_eq!(news.prefix.correlation_id, parked, "the high watermark is news");
    assert_eq!((high_watermark_of(&news.decode()), news.frames.len()), (1, 0));
    leader.broker.shutdown().expect("a clean stop");
}

#[test]
fn a_session_that_has_lost_a_request_is_begun_again_and_an_old_one_never() {
    let (leader, _image, epoch) = leader_alone();
    let mut follower = HandMade::connect(&leader, 5);
    let at = position(epoch, 0, 0, None);
    assert_eq!(high_watermark_of(&follower.fetch(&[at], 0).0), 0);
    follower.number += 1;
    let (answer, _) = follower.fetch(&[], 0);
    assert_eq!((code(answer.error), answer.number), (ErrorCode::FetchSessionFullAgain, 2));
    let (answer, _) = follower.fetch(&[], 0);
    assert_eq!(code(answer.error), ErrorCode::FetchSessionFullAgain, "it stays closed");
    // A flush that is out of turn says so, too, and the fetch that is parked meanwhile is answered.
    (follower.session, follower.number) = (6, 0);
    follower.fetch(&[at], 0);
    let parked = follower.fetch_request(&[], 60_000);
    let parked = follower.client.send(&parked, &[]);
    let flush = ReplicaFlushRequest { session: 6, number: 9, flushed: Vec::new() };
    let flush = follower.client.send(&flush, &[]);
    for _ in 0..2 {
        let answered = follower.client.receive().expect("an answer");
        let error = match answered.prefix.correlation_id {
            id if id == parked => answered.decode::<ReplicaFetchAnswer>().error,
            id if id == flush => answered.decode::<ReplicaFlushAnswer>().error,
            other => panic!("an answer to {other}"),
        };
        assert_eq!(code(error), ErrorCode::FetchSessionFullAgain);
    }
    (follower.session, follower.number) = (6, 0);
    assert_eq!(code(follower.fetch(&[at], 0).0.error), ErrorCode::StaleFetchSession);
    (follower.session, follower.number) = (7, 0);
    assert_eq!(high_watermark_of(&follower.fetch(&[at], 0).0), 0);
    // A session goes on over its own connection, and another connection takes its place with the next one.
    let mut second = HandMade::connect(&leader, 7);
    second.number = 1;
    assert_eq!(code(second.fetch(&[], 0).0.error), ErrorCode::FetchSessionFullAgain);
    (second.session, second.number) = (8, 0);
    assert_eq!(high_watermark_of(&second.fetch(&[at], 0).0), 0);
    follower.client.expect_close();
    assert_eq!(second.fetch(&[], 0).0.error, 0, "the end of the first connection ends nothing else");
    leader.broker.shutdown().expect("a clean stop");
}

#[test]
fn what_a_follower_says_is_judged_and_refused_by_name() {
    let (leader, _image, epoch) = leader_alone();
    let mut client = leader.client();
    let bytes = frames::frame(&frame(b"a"));
    let leader_only = ProduceRequest { acks: 1, ..produce_request(TOPIC, 0, bytes.len()) };
    client.ask(&leader_only, &bytes);
    let mut follower = HandMade::connect(&leader, 1);
    let (_, copied) = follower.fetch(&[position(epoch, 0, 0, None)], 0);
    let (&header, _) = FrameHeader::parse_frame(&copied).expect("the leader's frame");
    let wrong_chain = ReplicaPosition { last_header_crc: 1, ..position(epoch, 1, 0, Some(&header)) };
    let unknown = ReplicaPosition { partition: 9, ..position(epoch, 0, 0, None) };
    let rows = [
        (position(epoch - 1, 1, 0, Some(&header)), ErrorCode::FencedLeaderEpoch),
        (position(epoch, 1, 2, Some(&header)), ErrorCode::FlushedBeyondEnd),
        (wrong_chain, ErrorCode::ChainMismatch),
        (unknown, ErrorCode::NotReady),
    ];
    for (named, expected) in rows {
        let (answer, frames) = follower.fetch(&[named], 60_000);
        let fetched = only_fetched(&answer);
        let ReplicaOutcome::Refused { error, ref text } = fetched.outcome else { panic!("{fetched:?}") };
        assert_eq!((code(error), frames.len()), (expected, 0), "{text}");
        assert_eq!((fetched.leader_epoch, fetched.fetch_offset), (named.leader_epoch, named.offset));
    }
    // A history that is longer than the leader's.
    let (answer, _) = follower.fetch(&[ReplicaPosition { offset: 7, ..position(epoch, 1, 0, Some(&header)) }], 60_000);
    assert_eq!(only_fetched(&answer).outcome, ReplicaOutcome::Diverging { epoch: Some(epoch), end_offset: 1 });
    let twice = follower.fetch_request(&[position(epoch, 1, 0, None); 2], 0);
    assert_eq!(code(follower.client.ask(&twice, &[]).refusal().error), ErrorCode::InvalidArgument);
    leader.broker.shutdown().expect("a clean stop");
}

#[test]
fn a_follower_begins_where_the_leaders_log_does_when_the_rest_is_deleted() {
    let (leader, mut image, epoch) = leader_alone();
    let mut client = leader.client();
    let mut follower = HandMade::connect(&leader, 1);
    for sequence in 0..10 {
        let bytes = frames::frame(&frame(b"record").sequenced(1000, 0, sequence));
        let leader_only = ProduceRequest { acks: 1, ..produce_request(TOPIC, 0, bytes.len()) };
        assert_eq!(only(client.ask(&leader_only, &bytes).decode()).error, 0);
    }
    let (_, copied) = follower.fetch(&[position(epoch, 0, 0, None)], 60_000);
    let mut last = None;
    let mut rest = &copied[..];
    while let Ok((header, _)) = FrameHeader::parse_frame(rest) {
        last = Some(*header);
        rest = &rest[header.frame_len()..];
    }
    follower.fetch(&[position(epoch, 10, 10, last.as_ref())], 60_000);
    let delete = DeleteRecordsRequest { topic_id: TOPIC, partition: 0, offset: 6 };
    assert_eq!(client.call(&delete).log_start_offset, 6);
    let mut fresh = HandMade::connect(&leader, 2);
    let (answer, _) = fresh.fetch(&[position(epoch, 0, 0, None)], 60_000);
    assert_eq!(only_fetched(&answer).outcome, ReplicaOutcome::BelowLogStart { first_offset: 6 });
    let asked = ReplicaBeginningRequest { topic_id: TOPIC, partition: 0, leader_epoch: epoch, after_producer_id: None };
    let beginning = fresh.client.call(&asked);
    assert_eq!((beginning.error, beginning.first_offset, beginning.more), (0, 6, false), "{}", beginning.text);
    let batches: Vec<u64> = beginning.producers[0].batches.iter().map(|batch| batch.base_offset).collect();
    assert_eq!((beginning.producers[0].producer_id, batches.last()), (1000, Some(&5)), "as of the first frame: {batches:?}");
    let other_epoch = ReplicaBeginningRequest { leader_epoch: epoch + 1, ..asked };
    assert_eq!(code(fresh.client.call(&other_epoch).error), ErrorCode::NotLeader);

    // The same for a broker that has nothing.
    let real = Side::start(2);
    join(&mut image, HAND_MADE, real.broker.incarnation(), real.address());
    leader.tell(&image);
    real.tell(&image);
    let copied_len = copied.len() as u64 * 4 / 10;
    until("the rest is copied", || (real.counter("replica_copied_len") >= copied_len).then_some(()));
    assert_eq!(real.counter("replica_copied_len"), copied_len, "what is deleted is not copied");
    real.broker.shutdown().expect("a clean stop");
    leader.broker.shutdown().expect("a clean stop");
}
