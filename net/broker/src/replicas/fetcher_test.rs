use super::*;
use crate::replicas::convert::id_of;
use crate::replicas::introduce::OwnName;
use sluice_model::Incarnation;
use sluice_protocol::{BrokerChallengeAnswer, BrokerProofAnswer, ClusterSecret, HelloAnswer, ProofOf, supported_versions};
use sluice_replica::{LogPosition, LogState};

const ROOM: usize = 1 << 20;

fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(&[byte; 32]).expect("long enough")
}

fn position(offset: u64, leader_epoch: u32) -> PartitionFetch {
    let position = LogPosition { offset: Offset(offset), last_epoch: None, last_header_crc: 0 };
    PartitionFetch { leader_epoch: LeaderEpoch(leader_epoch), position, flushed: Offset(0), log_state: LogState::Whole }
}

fn id(partition: u32) -> TopicPartition {
    id_of([7; 16], partition)
}

/// Connected, and nothing said yet. No socket is behind it.
fn connected(connection: ConnectionId) -> Fetcher {
    let mut fetcher = Fetcher::new((BrokerId(1), ShardIndex(0)), 1);
    fetcher.state = FetcherState::Linked(Box::new(LeaderLink {
        connection,
        stage: Stage::Connecting,
        input: Input::new(0),
        output: Output::default(),
        begun_us: 0,
    }));
    fetcher
}

fn introduced(connection: ConnectionId) -> (Fetcher, BrokerName) {
    let mut fetcher = connected(connection);
    let incarnation = Incarnation { number: 4, random: 4 };
    let own = OwnName { broker: BrokerId(2), incarnation, shard: ShardIndex(0) };
    fetcher.introduce(own, [1; 32]).expect("short messages");
    let name = BrokerName { broker: BrokerId(2), incarnation, shard: ShardIndex(0), nonce: [1; 32] };
    (fetcher, name)
}

fn leader(broker: u32, shard: u16) -> BrokerName {
    let incarnation = Incarnation { number: 9, random: 9 };
    BrokerName { broker: BrokerId(broker), incarnation, shard: ShardIndex(shard), nonce: [2; 32] }
}

fn open(connection: ConnectionId) -> Fetcher {
    let (mut fetcher, connecting) = introduced(connection);
    fetcher.on_challenge_answer(&BrokerChallengeAnswer::new(leader(1, 0)), &secret(7)).expect("the leader that is meant");
    let introduction = Introduction { role: sluice_protocol::BrokerRole::Follower, connecting, accepting: leader(1, 0) };
    let proof = secret(7).prove(ProofOf::Accepting, &introduction);
    fetcher.on_proof_answer(&BrokerProofAnswer { proof, ..Default::default() }, &secret(7)).expect("it knows the secret");
    assert!(fetcher.is_open());
    fetcher.asked.clear();
    fetcher
}

/// One more partition, or another place of one.
fn fetch_also(fetcher: &mut Fetcher, id: TopicPartition, position: PartitionFetch) {
    let mut positions = fetcher.positions.clone();
    positions.insert(id, position);
    fetcher.set_positions(positions);
}

fn asked(fetcher: &Fetcher) -> (usize, usize) {
    let count = |is: fn(&Asked) -> bool| fetcher.asked.values().filter(|asked| is(asked)).count();
    (count(|asked| matches!(asked, Asked::Fetch { .. })), count(|asked| matches!(asked, Asked::Flush { .. })))
}

/// An id of some socket; the tests that use it send nothing.
fn any_connection() -> ConnectionId {
    let config = sluice_shard::ShardConfig {
        index: ShardIndex(0),
        core: None,
        io_memory_len: 1 << 20,
        wait_mode: sluice_shard::WaitMode::Asleep,
    };
    let main = |shard: sluice_shard::Shard| async move {
        let sockets = shard.sockets().expect("sockets");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        sockets.connect(listener.local_addr().expect("bound")).expect("begun")
    };
    sluice_shard::run_shard(config, main).expect("a shard").join()
}

#[test]
fn only_the_leader_that_is_meant_is_believed() {
    let connection = any_connection();
    for (broker, shard) in [(3, 0), (1, 1), (2, 0)] {
        let (mut fetcher, _) = introduced(connection);
        let problem = fetcher.on_challenge_answer(&BrokerChallengeAnswer::new(leader(broker, shard)), &secret(7)).unwrap_err();
        assert!(problem.contains(&format!("shard {shard} of broker {broker}")), "{problem}");
    }
    let (mut fetcher, connecting) = introduced(connection);
    fetcher.on_challenge_answer(&BrokerChallengeAnswer::new(leader(1, 0)), &secret(7)).expect("it says that it is the leader");
    let introduction = Introduction { role: sluice_protocol::BrokerRole::Follower, connecting, accepting: leader(1, 0) };
    // Somebody else's secret, and this side's own proof sent back.
    for proof in [secret(8).prove(ProofOf::Accepting, &introduction), secret(7).prove(ProofOf::Connecting, &introduction)] {
        let problem = fetcher.on_proof_answer(&BrokerProofAnswer { proof, ..Default::default() }, &secret(7)).unwrap_err();
        assert!(problem.contains("secret") && !fetcher.is_open(), "{problem}");
    }
    let old = HelloAnswer { versions: supported_versions().into_iter().take(5).collect(), ..Default::default() };
    assert!(fetcher.on_hello_answer(&old).unwrap_err().contains("BrokerChallenge"));
    fetcher.on_hello_answer(&HelloAnswer { versions: supported_versions(), ..Default::default() }).expect("the same program");
}

#[test]
fn nothing_is_fetched_before_the_leader_has_proved_itself() {
    let (mut fetcher, _) = introduced(any_connection());
    fetcher.asked.clear();
    fetch_also(&mut fetcher, id(0), position(5, 2));
    fetcher.go_on(0, ROOM).expect("nothing to encode");
    assert_eq!(asked(&fetcher), (0, 0));
}

#[test]
fn one_fetch_is_under_way_and_flushes_are_told_beside_it() {
    let mut fetcher = open(any_connection());
    fetcher.go_on(0, ROOM).expect("small");
    assert_eq!(asked(&fetcher), (0, 0), "there is nothing to fetch");
    fetch_also(&mut fetcher, id(0), position(5, 2));
    fetcher.go_on(0, 0).expect("small");
    assert_eq!(asked(&fetcher), (0, 0), "there is no room for what would come");
    fetcher.go_on(0, ROOM).expect("small");
    assert_eq!(asked(&fetcher), (1, 0));
    fetcher.note_flushed(id(0), LeaderEpoch(2), Offset(3));
    fetcher.note_flushed(id(9), LeaderEpoch(2), Offset(3));
    fetcher.go_on(RENEWAL_US, ROOM).expect("small");
    assert_eq!(asked(&fetcher), (1, 1));
    for offset in 0..FLUSHES_IN_FLIGHT_MAX as u64 + 5 {
        fetch_also(&mut fetcher, id(0), position(100, 2));
        fetcher.note_flushed(id(0), LeaderEpoch(2), Offset(4 + offset));
        fetcher.go_on(RENEWAL_US, ROOM).expect("small");
    }
    assert!(asked(&fetcher).1 <= FLUSHES_IN_FLIGHT_MAX);
}

#[test]
fn a_partition_that_is_new_ends_a_fetch_that_lacks_it_and_one_that_was_refused_waits() {
    let mut fetcher = open(any_connection());
    fetch_also(&mut fetcher, id(0), position(5, 2));
    fetcher.go_on(0, ROOM).expect("small");
    let first = fetcher.session.id();
    fetch_also(&mut fetcher, id(1), position(0, 2));
    fetcher.put_off.insert(id(1), 50 * RENEWAL_US);
    fetcher.go_on(2 * RENEWAL_US, ROOM).expect("small");
    assert_eq!(fetcher.session.id(), first, "it was refused a moment ago");
    fetcher.go_on(51 * RENEWAL_US, ROOM).expect("small");
    assert_eq!((fetcher.session.id(), asked(&fetcher)), (first + 1, (1, 0)));
    // Another leader epoch is another fetch, too.
    fetch_also(&mut fetcher, id(0), position(5, 3));
    fetcher.go_on(52 * RENEWAL_US, ROOM).expect("small");
    assert_eq!(fetcher.session.id(), first + 2);
    fetch_also(&mut fetcher, id(2), position(0, 2));
    fetcher.go_on(52 * RENEWAL_US + 1, ROOM).expect("small");
    assert_eq!(fetcher.session.id(), first + 2, "but not as often as one likes");
}

#[test]
fn a_leader_that_does_not_answer_is_left() {
    let fetcher = connected(any_connection());
    assert!(!fetcher.is_stalled(INTRODUCTION_US_MAX) && fetcher.is_stalled(INTRODUCTION_US_MAX + 1));
    let mut fetcher = open(any_connection());
    assert!(!fetcher.is_stalled(u64::MAX), "nothing is owed");
    fetch_also(&mut fetcher, id(0), position(5, 2));
    fetcher.go_on(0, ROOM).expect("small");
    let patience_us = u64::from(FETCH_WAIT_MS) * 1000 + FETCH_STALL_US;
    assert!(!fetcher.is_stalled(patience_us) && fetcher.is_stalled(patience_us + 1));
    assert!(fetcher.part(patience_us).is_empty());
    assert!(!fetcher.is_fetching() && matches!(fetcher.state, FetcherState::Apart { until_us } if until_us > patience_us));
}

#[test]
fn more_partitions_than_one_fetch_names_are_fetched_in_turns() {
    let mut fetcher = open(any_connection());
    let count = WINDOW_LEN as u32 * 2 + 10;
    let positions = (0..count).map(|partition| (id(partition), position(0, 1)));
    fetcher.set_positions(positions.collect());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let wanted = fetcher.wanted();
        assert_eq!(wanted.len(), WINDOW_LEN);
        seen.extend(wanted.into_keys());
    }
    assert_eq!(seen.len(), count as usize);
}
