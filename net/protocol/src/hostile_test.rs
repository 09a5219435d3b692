//! Bytes that no well-meaning peer sends: every truncation and any mutation ends in an error or in a valid message,
//! never in a panic.

use crate::round_trip_test::{
    address, beginning, broker_name, described_cluster, described_metrics, described_replicas, described_shard, elected_leaders,
    replica_fetch, replica_fetched, unclean_election,
};
use crate::*;
use proptest::prelude::*;
use sluice_model::limits::*;

/// Reads `body` as every message there is; true when any of them takes it.
fn read_as_everything(body: &[u8]) -> bool {
    macro_rules! any { ($($message:ty),* $(,)?) => { [$(decode::<$message>(body).is_ok()),*].contains(&true) }; }
    any!(
        HelloRequest,
        HelloAnswer,
        MetadataRequest,
        MetadataAnswer,
        ProduceRequest,
        ProduceAnswer,
        FetchRequest,
        FetchAnswer,
        ListOffsetsRequest,
        ListOffsetsAnswer,
        InitProducerRequest,
        InitProducerAnswer,
        DescribePartitionsRequest,
        DescribePartitionsAnswer,
        DescribeShardRequest,
        DescribeShardAnswer,
        DescribeMetricsRequest,
        DescribeMetricsAnswer,
        DescribeClusterRequest,
        DescribeClusterAnswer,
        DescribeReplicasRequest,
        DescribeReplicasAnswer,
        ElectLeadersRequest,
        ElectLeadersAnswer,
        CreateTopicRequest,
        CreateTopicAnswer,
        DeleteTopicRequest,
        DeleteTopicAnswer,
        AlterTopicRequest,
        AlterTopicAnswer,
        DeleteRecordsRequest,
        DeleteRecordsAnswer,
        BrokerChallengeRequest,
        BrokerChallengeAnswer,
        BrokerProofRequest,
        BrokerProofAnswer,
        ReplicaFetchRequest,
        ReplicaFetchAnswer,
        ReplicaFlushRequest,
        ReplicaFlushAnswer,
        ReplicaBeginningRequest,
        ReplicaBeginningAnswer,
        ControllerMessageRequest,
        ControllerMessageAnswer,
        Refusal,
    )
}

fn samples() -> Vec<Vec<u8>> {
    let topic = TopicMetadata {
        name: "a topic with a longer name".into(),
        settings: vec![("segment_len_max".into(), "1048576".into())],
        partitions: vec![PartitionMetadata { isr: vec![1, 2], leader: Some(1), ..Default::default() }; 3],
        ..Default::default()
    };
    let metadata = MetadataAnswer { shards: vec![address(); 2], topics: vec![topic; 2], ..Default::default() };
    let produced = ProducedPartition { text: "a text of some length".into(), address: Some(address()), ..Default::default() };
    let fetched = FetchedPartition { text: "another text".into(), address: Some(address()), ..Default::default() };
    let wanted = ProducePartition { topic_id: [7; 16], partition: 1, frame_len: 100 };
    let encoded = [
        encode(
            1,
            0,
            &HelloRequest {
                client_id: "a client with a name".into(),
                session_id: [9; 16],
                session_attempt: 1,
                versions: supported_versions(),
            },
            0,
        ),
        encode(1, 0, &metadata, 0),
        encode(1, 0, &ProduceRequest { acks: 1, partitions: vec![wanted; 3] }, 300),
        encode(1, 0, &ProduceAnswer { partitions: vec![produced; 2] }, 0),
        encode(1, 0, &FetchAnswer { partitions: vec![fetched; 2] }, 0),
        encode(1, 0, &MetadataRequest { topics: Some(vec!["a topic with a longer name".into(); 3]), after: Some("x".into()) }, 0),
        encode(1, 0, &described_shard(), 0),
        encode(1, 0, &described_metrics(), 0),
        encode(1, 0, &described_cluster(), 0),
        encode(1, 0, &described_replicas(), 0),
        encode(1, 0, &unclean_election(), 0),
        encode(1, 0, &elected_leaders(), 0),
        encode(1, 0, &BrokerChallengeRequest::new(broker_name(), BrokerRole::Follower, sluice_model::BrokerId(3)), 0),
        encode(1, 0, &replica_fetch(), 0),
        encode(1, 0, &replica_fetched(), 305),
        encode(1, 0, &beginning(), 0),
        encode(1, 0, &ControllerMessageRequest { kind: 1, payload_len: 7, more: false }, 7),
    ];
    encoded.into_iter().map(|message| message.unwrap()[PREFIX_LEN..].to_vec()).collect()
}

#[test]
fn every_truncation_is_survived() {
    for sample in samples() {
        assert!(read_as_everything(&sample));
        for len in 0..sample.len() {
            read_as_everything(&sample[..len]);
            read_as_everything(&sample[sample.len() - len..]);
        }
    }
}

#[test]
fn every_single_byte_may_be_anything() {
    for sample in samples() {
        let mut mutated = sample.clone();
        for at in 0..sample.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, sample[at] ^ 1, sample[at].wrapping_add(16)] {
                mutated[at] = value;
                read_as_everything(&mutated);
            }
            mutated[at] = sample[at];
        }
    }
}

#[test]
fn counts_beyond_the_limits_are_refused() {
    let wanted = ProducePartition { topic_id: [7; 16], partition: 1, frame_len: 0 };
    let request = ProduceRequest { acks: 2, partitions: vec![wanted; PARTITIONS_PER_REQUEST_MAX + 1] };
    let encoded = encode(1, 0, &request, 0).unwrap();
    let refused = access::<ProduceRequest>(&encoded[PREFIX_LEN..]).err();
    assert_eq!(
        refused,
        Some(Malformed::TooMany { what: "partitions", count: PARTITIONS_PER_REQUEST_MAX + 1, max: PARTITIONS_PER_REQUEST_MAX })
    );

    let request = ProduceRequest { acks: 3, partitions: vec![] };
    let encoded = encode(1, 0, &request, 0).unwrap();
    assert!(matches!(access::<ProduceRequest>(&encoded[PREFIX_LEN..]), Err(Malformed::Value { got: 3, .. })));

    let damaged = vec![DamagedOffsets::default(); DAMAGED_RANGES_PER_ANSWER_MAX + 1];
    let encoded = encode(1, 0, &DescribeShardAnswer { damaged, ..Default::default() }, 0).unwrap();
    assert!(matches!(access::<DescribeShardAnswer>(&encoded[PREFIX_LEN..]), Err(Malformed::TooMany { .. })));
    let finding = ScrubbedFinding { text: "x".repeat(TEXT_LEN_MAX + 1), ..Default::default() };
    let encoded = encode(1, 0, &DescribeShardAnswer { findings: vec![finding], ..Default::default() }, 0).unwrap();
    assert!(matches!(access::<DescribeShardAnswer>(&encoded[PREFIX_LEN..]), Err(Malformed::TooMany { .. })));

    let counters = vec![NamedValue::default(); METRICS_PER_ANSWER_MAX + 1];
    let long = "x".repeat(METRIC_NAME_LEN_MAX + 1);
    let wide = NamedHistogram { counts: vec![0; sluice_model::StageHistogram::BUCKETS + 1], ..Default::default() };
    for answer in [
        DescribeMetricsAnswer { gauges: counters.clone(), ..Default::default() },
        DescribeMetricsAnswer { counters, ..Default::default() },
        DescribeMetricsAnswer { counters: vec![NamedValue::new(&*long, 1)], ..Default::default() },
        DescribeMetricsAnswer { histograms: vec![wide], ..Default::default() },
        DescribeMetricsAnswer { histograms: vec![NamedHistogram { name: long, ..Default::default() }], ..Default::default() },
        DescribeMetricsAnswer {
            histograms: vec![NamedHistogram::default(); HISTOGRAMS_PER_ANSWER_MAX + 1],
            ..Default::default()
        },
        DescribeMetricsAnswer { text: "x".repeat(TEXT_LEN_MAX + 1), ..Default::default() },
    ] {
        let encoded = encode(1, 0, &answer, 0).unwrap();
        assert!(matches!(access::<DescribeMetricsAnswer>(&encoded[PREFIX_LEN..]), Err(Malformed::TooMany { .. })));
    }

    let request =
        HelloRequest { client_id: "x".repeat(CLIENT_ID_LEN_MAX + 1), session_id: [9; 16], session_attempt: 1, versions: vec![] };
    let encoded = encode(1, 0, &request, 0).unwrap();
    assert!(matches!(access::<HelloRequest>(&encoded[PREFIX_LEN..]), Err(Malformed::TooMany { .. })));
}

#[test]
fn what_no_broker_says_of_a_cluster_is_refused() {
    let too_many = |malformed| matches!(malformed, Some(Malformed::TooMany { .. }));
    let replicas = REPLICAS_PER_PARTITION_MAX as usize + 1;
    let changes: [fn(&mut DescribeClusterAnswer); 6] = [
        |answer| answer.voters = vec![1; CLUSTER_VOTERS_MAX + 1],
        |answer| answer.brokers = vec![answer.brokers[0].clone(); BROKERS_PER_ANSWER_MAX + 1],
        |answer| answer.brokers[0].rack = Some("r".repeat(RACK_LEN_MAX + 1)),
        |answer| answer.ailing = vec![AilingPartition::default(); AILING_PARTITIONS_PER_ANSWER_MAX + 1],
        |answer| answer.ailing[0].topic = "t".repeat(TOPIC_NAME_LEN_MAX + 1),
        |answer| answer.ailing[0].isr = vec![1; REPLICAS_PER_PARTITION_MAX as usize + 1],
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut answer = described_cluster();
        change(&mut answer);
        assert!(too_many(refusal_of(&answer)), "change {number}");
    }
    let mut answer = described_cluster();
    answer.brokers[1].state = 4;
    assert!(matches!(refusal_of(&answer), Some(Malformed::Value { got: 4, .. })));

    let mut answer = described_replicas();
    answer.partitions[0].damaged = vec![1; replicas];
    assert!(too_many(refusal_of(&answer)));
    let partition = PartitionRef { topic_id: [7; 16], partition: 1 };
    let partitions = vec![partition; PARTITIONS_PER_REQUEST_MAX + 1];
    assert!(too_many(refusal_of(&DescribeReplicasRequest { partitions: partitions.clone() })));
    assert!(too_many(refusal_of(&ElectLeadersRequest { election: Election::Preferred(partitions) })));
    let mut request = unclean_election();
    if let Election::Unclean(unclean) = &mut request.election {
        unclean.shown = vec![ShownReplicaEnd::default(); replicas];
    }
    assert!(too_many(refusal_of(&request)));
    let mut answer = elected_leaders();
    answer.partitions[0].text = "x".repeat(PARTITION_TEXT_LEN_MAX + 1);
    assert!(too_many(refusal_of(&answer)));
}

fn refusal_of<M: Message>(message: &M) -> Option<Malformed> {
    access::<M>(&encode(1, 0, message, 0).unwrap()[PREFIX_LEN..]).err()
}

#[test]
fn what_no_broker_says_to_another_is_refused() {
    let too_many = |malformed| matches!(malformed, Some(Malformed::TooMany { .. }));
    let no_value = |malformed| matches!(malformed, Some(Malformed::Value { .. }));
    let partition = PartitionRef { topic_id: [7; 16], partition: 1 };
    let request = ReplicaFetchRequest { forgotten: vec![partition; REPLICAS_PER_FETCH_MAX], ..replica_fetch() };
    assert!(too_many(refusal_of(&request)), "named and forgotten count together");
    let position = ReplicaPosition { log_state: 3, ..Default::default() };
    assert!(no_value(refusal_of(&ReplicaFetchRequest { named: vec![position], ..Default::default() })));
    let mut answer = replica_fetched();
    answer.partitions[3].outcome = ReplicaOutcome::Refused { error: 1, text: "x".repeat(PARTITION_TEXT_LEN_MAX + 1) };
    assert!(too_many(refusal_of(&answer)));
    let flushed = vec![ReplicaFlushed::default(); REPLICAS_PER_FETCH_MAX + 1];
    assert!(too_many(refusal_of(&ReplicaFlushRequest { flushed, ..Default::default() })));

    for change in [|name: &mut BrokerChallengeRequest| name.role = 2, |name: &mut BrokerChallengeRequest| name.broker_id = 0] {
        let mut request = BrokerChallengeRequest::new(broker_name(), BrokerRole::Follower, sluice_model::BrokerId(3));
        change(&mut request);
        assert!(no_value(refusal_of(&request)), "{request:?}");
    }
    assert!(no_value(refusal_of(&ControllerMessageRequest { kind: 2, payload_len: 0, more: false })));
    let payload_len = CONTROLLER_PART_LEN_MAX as u32 + 1;
    assert!(too_many(refusal_of(&ControllerMessageRequest { kind: 1, payload_len, more: false })));
    assert!(too_many(refusal_of(&ControllerMessageAnswer { payload_len, ..Default::default() })));
    assert!(ControllerMessageAnswer { payload_len: 5, ..Default::default() }.check_payload(6).is_err());

    let changes: [fn(&mut ReplicaBeginningAnswer); 4] = [
        |answer| answer.epochs.reverse(),
        |answer| answer.epochs[1].start_offset = 0,
        |answer| answer.producers.reverse(),
        |answer| answer.producers[0].batches.clear(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut answer = beginning();
        change(&mut answer);
        assert!(no_value(refusal_of(&answer)), "change {number}");
    }
    let mut answer = beginning();
    answer.producers[1].batches = vec![BeginningBatch::default(); BATCHES_PER_PRODUCER + 1];
    assert!(too_many(refusal_of(&answer)));
}

#[test]
fn frame_lengths_that_do_not_add_up_are_refused() {
    let wanted = |frame_len| ProducePartition { topic_id: [7; 16], partition: 1, frame_len };
    let request = ProduceRequest { acks: 2, partitions: vec![wanted(u32::MAX), wanted(101), wanted(0)] };
    let encoded = encode(1, 0, &request, 200).unwrap();
    let archived = access::<ProduceRequest>(&encoded[PREFIX_LEN..]).unwrap();
    assert_eq!(archived.frame_ranges(200), Err(Malformed::Frames { named: u64::from(u32::MAX) + 101, got: 200 }));
    let ranges = replica_fetched().frame_ranges(305).unwrap();
    assert_eq!(ranges, [0..300, 300..300, 300..300, 300..300, 300..305]);
    assert!(replica_fetched().frame_ranges(304).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_as_everything(&body);
    }

    #[test]
    fn any_mutation_is_survived(sample in 0usize..17, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut body = samples().swap_remove(sample);
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        read_as_everything(&body);
    }

    #[test]
    fn any_prefix_is_survived_and_bounded(bytes in any::<[u8; PREFIX_LEN]>()) {
        if let Ok(prefix) = Prefix::parse(&bytes) {
            prop_assert!(prefix.message_len() <= MESSAGE_LEN_MAX && prefix.body_len <= MESSAGE_BODY_LEN_MAX);
            prop_assert_eq!(prefix.to_bytes(), bytes);
        }
    }
}
