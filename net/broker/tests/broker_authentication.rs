//! Who may speak to a broker as a broker: whoever proves that it knows the cluster's secret, and nobody else. A stranger
//! is refused by name and is served as a client before and after.

mod support;

use sluice_broker::{Broker, BrokerConfig, ClusterConfig, ClusterVoter, start};
use sluice_model::{BrokerId, ErrorCode, Incarnation, ShardIndex};
use sluice_protocol::{
    BrokerChallengeAnswer, BrokerChallengeRequest, BrokerName, BrokerProofAnswer, BrokerProofRequest, BrokerRole, ClusterSecret,
    ControllerMessageRequest, Introduction, Message, Proof, ProofOf, Refusal, ReplicaBeginningRequest, ReplicaFetchRequest,
    ReplicaFlushRequest,
};
use support::raw_client::code;
use support::{RawClient, config, temp_dir};
use tempfile::TempDir;

fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(&[byte; 32]).expect("long enough")
}

fn cluster() -> ClusterConfig {
    ClusterConfig {
        voters: vec![ClusterVoter { broker: BrokerId(1), host: "localhost".to_owned(), port: 7500 }],
        secret: secret(7),
        controller_listen: "127.0.0.1:0".parse().expect("an address"),
        controller_advertise: None,
        rack: None,
        replaces_folder: None,
    }
}

fn clustered_broker() -> (TempDir, Broker) {
    let dir = temp_dir();
    let broker = start(BrokerConfig { cluster: Some(cluster()), ..config(dir.path()) }).expect("the broker starts");
    (dir, broker)
}

fn name(nonce: u8) -> BrokerName {
    let incarnation = Incarnation { number: 3, random: 5 };
    BrokerName { broker: BrokerId(2), incarnation, shard: ShardIndex(0), nonce: [nonce; 32] }
}

/// Introduces itself as broker 2 to broker 1.
fn introduce(client: &mut RawClient, name: BrokerName) -> Introduction {
    let request = BrokerChallengeRequest::new(name, BrokerRole::Follower, BrokerId(1));
    let answer: BrokerChallengeAnswer = client.call(&request);
    assert_eq!((answer.error, answer.broker_id), (0, 1));
    Introduction { role: BrokerRole::Follower, connecting: name, accepting: answer.name() }
}

fn prove(client: &mut RawClient, proof: Proof) -> Result<Proof, Refusal> {
    let answered = client.ask(&BrokerProofRequest { proof }, &[]);
    if answered.prefix.api != BrokerProofRequest::API.number() {
        return Err(answered.refusal());
    }
    let answer: BrokerProofAnswer = answered.decode();
    assert_eq!(answer.error, 0);
    Ok(answer.proof)
}

fn expect_refusal<M: Message>(client: &mut RawClient, request: &M, frames: &[u8], expected: ErrorCode) -> String {
    let refusal = client.ask(request, frames).refusal();
    assert_eq!(code(refusal.error), expected, "{}: {}", M::NAME, refusal.text);
    refusal.text
}

/// Everything that only brokers may ask.
fn expect_stranger(client: &mut RawClient) {
    let expected = ErrorCode::AuthenticationRequired;
    let text = expect_refusal(client, &ReplicaFetchRequest::default(), &[], expected);
    assert!(text.contains("ReplicaFetch") && text.contains("brokers of this cluster"), "{text}");
    expect_refusal(client, &ReplicaFlushRequest::default(), &[], expected);
    expect_refusal(client, &ReplicaBeginningRequest::default(), &[], expected);
    expect_refusal(client, &ControllerMessageRequest { kind: 0, payload_len: 5, more: false }, b"bytes", expected);
}

#[test]
fn a_stranger_is_refused_by_name_and_goes_on_as_a_client() {
    let (_dir, broker) = clustered_broker();
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    expect_stranger(&mut client);
    let topic = client.create_topic("t", 1);
    assert_eq!(client.produce(&support::FrameSpec::new(topic, &[b"a"])).error, 0);
    introduce(&mut client, name(1));
    expect_stranger(&mut client);
    assert_eq!(client.consume(topic, 0, 0).len(), 1, "an introduction proves nothing and takes nothing away");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn both_sides_prove_that_they_know_the_secret() {
    let (_dir, broker) = clustered_broker();
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let introduction = introduce(&mut client, name(1));
    let answered = prove(&mut client, secret(7).prove(ProofOf::Connecting, &introduction)).expect("it knows the secret");
    assert!(secret(7).is_proof(ProofOf::Accepting, &introduction, &answered), "and so does the broker");
    assert!(!secret(8).is_proof(ProofOf::Accepting, &introduction, &answered));
    // It stays a client, too.
    client.create_topic("t", 1);
    let refusal = client.ask(&BrokerChallengeRequest::new(name(1), BrokerRole::Follower, BrokerId(1)), &[]).refusal();
    assert_eq!(code(refusal.error), ErrorCode::InvalidArgument, "a connection introduces itself once");
    client.expect_close();
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_wrong_secret_ends_the_connection() {
    let (_dir, broker) = clustered_broker();
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let introduction = introduce(&mut client, name(1));
    let refusal = prove(&mut client, secret(8).prove(ProofOf::Connecting, &introduction)).expect_err("another secret");
    assert_eq!(code(refusal.error), ErrorCode::AuthenticationFailed);
    assert!(refusal.text.contains("the same cluster secret"), "{}", refusal.text);
    client.expect_close();
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_recorded_exchange_does_not_authenticate_again() {
    let (_dir, broker) = clustered_broker();
    let address = broker.local_addrs()[0];
    let mut first = RawClient::connect(address);
    let introduction = introduce(&mut first, name(1));
    let recorded = secret(7).prove(ProofOf::Connecting, &introduction);
    prove(&mut first, recorded).expect("the broker itself");
    let mut replayed = RawClient::connect(address);
    let again = introduce(&mut replayed, name(1));
    assert_ne!(again.accepting.nonce, introduction.accepting.nonce, "each connection has a nonce of its own");
    let refusal = prove(&mut replayed, recorded).expect_err("said before");
    assert_eq!(code(refusal.error), ErrorCode::AuthenticationFailed);
    replayed.expect_close();
    // What the broker itself proved is no proof of the other side either.
    let mut reflected = RawClient::connect(address);
    let third = introduce(&mut reflected, name(1));
    let refusal = prove(&mut reflected, secret(7).prove(ProofOf::Accepting, &third)).expect_err("the other side's");
    assert_eq!(code(refusal.error), ErrorCode::AuthenticationFailed);
    reflected.expect_close();
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_proof_without_a_challenge_and_a_second_one_are_refused() {
    let (_dir, broker) = clustered_broker();
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let refusal = prove(&mut client, [0; 32]).expect_err("nothing was asked");
    assert_eq!(code(refusal.error), ErrorCode::InvalidArgument);
    client.expect_close();
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let introduction = introduce(&mut client, name(1));
    let proof = secret(7).prove(ProofOf::Connecting, &introduction);
    prove(&mut client, proof).expect("good");
    assert_eq!(code(prove(&mut client, proof).expect_err("a second one").error), ErrorCode::InvalidArgument);
    client.expect_close();
    broker.shutdown().expect("a clean stop");
}

#[test]
fn whoever_means_another_broker_is_told_so() {
    let (_dir, broker) = clustered_broker();
    for (request, expected, part) in [
        (BrokerChallengeRequest::new(name(1), BrokerRole::Follower, BrokerId(3)), ErrorCode::AuthenticationFailed, "broker 3"),
        (
            BrokerChallengeRequest::new(BrokerName { broker: BrokerId(1), ..name(1) }, BrokerRole::Follower, BrokerId(1)),
            ErrorCode::AuthenticationFailed,
            "broker 1",
        ),
        (BrokerChallengeRequest::new(name(1), BrokerRole::Controller, BrokerId(1)), ErrorCode::InvalidArgument, "listener"),
    ] {
        let mut client = RawClient::connect(broker.local_addrs()[0]);
        let text = expect_refusal(&mut client, &request, &[], expected);
        assert!(text.contains(part), "{text}");
        client.expect_close();
    }
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_broker_that_stands_alone_lets_nobody_in() {
    let (_dir, broker, mut client) = support::broker();
    expect_stranger(&mut client);
    client.create_topic("t", 1);
    let request = BrokerChallengeRequest::new(name(1), BrokerRole::Follower, BrokerId(1));
    let text = expect_refusal(&mut client, &request, &[], ErrorCode::AuthenticationFailed);
    assert!(text.contains("belongs to no cluster"), "{text}");
    client.expect_close();
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_broker_has_the_id_it_was_given() {
    let dir = temp_dir();
    let broker = start(BrokerConfig { broker: BrokerId(9), ..config(dir.path()) }).expect("the broker starts");
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    assert_eq!(client.hello().broker_id, 9);
    client.create_topic("t", 1);
    let metadata = client.metadata("t");
    assert_eq!((metadata.shards[0].broker_id, metadata.topics[0].partitions[0].leader), (9, Some(9)));
    drop(client);
    broker.shutdown().expect("a clean stop");
    let error = start(config(dir.path())).err().expect("the folder is broker 9's").to_string();
    assert!(error.contains("broker_id") && error.contains("data folder of broker 9"), "{error}");
    let broker = start(BrokerConfig { broker: BrokerId(9), ..config(dir.path()) }).expect("the broker starts again");
    broker.shutdown().expect("a clean stop");
}
