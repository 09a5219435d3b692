//! Every message, written and read back, and what its bytes look like.

use crate::*;
use sluice_model::limits::*;

fn round_trip<M: Message + PartialEq + std::fmt::Debug>(message: &M) -> usize {
    let encoded = encode(7, 0, message, 0).unwrap();
    let prefix = Prefix::parse(encoded[..PREFIX_LEN].try_into().unwrap()).unwrap();
    assert_eq!((prefix.api, prefix.version, prefix.correlation_id), (M::API.number(), 0, 7));
    assert_eq!((prefix.message_len(), prefix.frames_len), (encoded.len(), 0));
    assert_eq!(&decode::<M>(&encoded[PREFIX_LEN..]).unwrap(), message);
    // A body may lie at any address.
    let mut shifted = vec![0u8; 1];
    shifted.extend_from_slice(&encoded[PREFIX_LEN..]);
    assert_eq!(&decode::<M>(&shifted[1..]).unwrap(), message);
    encoded.len()
}

pub(crate) fn address() -> ShardAddress {
    ShardAddress { broker_id: 1, shard: 3, host: "broker-one.example".into(), port: 7403 }
}

pub(crate) fn described_shard() -> DescribeShardAnswer {
    let lost = DamagedOffsets { topic_id: [7; 16], partition: 1, from: 1 << 40, until: (1 << 40) + 1 };
    let finding = ScrubbedFinding {
        file: "/data/partitions/0/00000000000000000000.log".into(),
        position: 4096,
        text: "a frame is bad".into(),
        lost: Some(lost),
        is_repaired: false,
    };
    let slot = ScrubbedFinding { file: "/data/shard-0/checkpoint-0".into(), is_repaired: true, ..Default::default() };
    let progress = ScrubProgress { rate_len: 20_000_000, pass: 3, last_ended_ms: Some(1_700_000_000_000), ..Default::default() };
    DescribeShardAnswer {
        shard: 2,
        incarnation: 9,
        disk_full: true,
        scrub: progress,
        findings: vec![finding, slot],
        finding_count: 2,
        damaged: vec![lost],
        damaged_count: 1,
        possibly_short: vec![PossiblyShort { topic_id: [7; 16], partition: 2, from: 5 }],
        possibly_short_count: 1,
        ..Default::default()
    }
}

pub(crate) fn described_metrics() -> DescribeMetricsAnswer {
    let mut times = sluice_model::StageHistogram::EMPTY;
    [3, 40, 40, 1000].into_iter().for_each(|us| times.record(us));
    DescribeMetricsAnswer {
        shard: 2,
        incarnation: 9,
        at_us: 1 << 40,
        process_resident_len: 1 << 30,
        counters: vec![NamedValue::new(metric::ADMITTED_LEN, 1 << 50), NamedValue::new(metric::GROUPS, 0)],
        gauges: vec![NamedValue::new("connections", 3)],
        histograms: metric::PRODUCE_STAGES.map(|name| NamedHistogram::new(name, &times)).to_vec(),
        ..Default::default()
    }
}

pub(crate) fn broker_name() -> BrokerName {
    let incarnation = sluice_model::Incarnation { number: 4, random: 1 << 60 };
    BrokerName { broker: sluice_model::BrokerId(2), incarnation, shard: sluice_model::ShardIndex(1), nonce: [5; 32] }
}

pub(crate) fn replica_fetch() -> ReplicaFetchRequest {
    let behind = ReplicaPosition {
        topic_id: [7; 16],
        partition: 1,
        leader_epoch: 4,
        offset: 1 << 40,
        last_epoch: Some(3),
        last_header_crc: 0xfeed_f00d,
        flushed: 1 << 39,
        log_state: ReplicaLogState::PossiblyShort as u8,
    };
    let forgotten = vec![PartitionRef { topic_id: [8; 16], partition: 2 }];
    let named = vec![behind, ReplicaPosition::default()];
    ReplicaFetchRequest { session: 3, number: 9, wait_ms_max: 500, len_max: 1 << 20, named, forgotten }
}

pub(crate) fn replica_fetched() -> ReplicaFetchAnswer {
    let fetched = |partition, outcome| ReplicaFetched { topic_id: [7; 16], partition, leader_epoch: 4, fetch_offset: 9, outcome };
    let partitions = vec![
        fetched(0, ReplicaOutcome::Frames { frames_len: 300, high_watermark: 7, log_start_offset: 2 }),
        fetched(1, ReplicaOutcome::Diverging { epoch: Some(3), end_offset: 8 }),
        fetched(2, ReplicaOutcome::BelowLogStart { first_offset: 1 << 33 }),
        fetched(3, ReplicaOutcome::Refused { error: 23, text: "leader epoch 3 is fenced by epoch 4".into() }),
        fetched(4, ReplicaOutcome::Frames { frames_len: 5, high_watermark: 9, log_start_offset: 2 }),
    ];
    ReplicaFetchAnswer { session: 3, number: 9, partitions, ..Default::default() }
}

pub(crate) fn beginning() -> ReplicaBeginningAnswer {
    let batch = |base_sequence| BeginningBatch { base_sequence, record_count: 2, base_offset: 1 << 20 };
    let producer = |producer_id| BeginningProducer { producer_id, batches: vec![batch(0), batch(2)], ..Default::default() };
    let epoch = |leader_epoch, start_offset| BeginningEpoch { leader_epoch, start_offset };
    ReplicaBeginningAnswer {
        leader_epoch: 4,
        first_offset: 1 << 40,
        prev_header_crc: 0xfeed_f00d,
        epochs: vec![epoch(1, 0), epoch(3, 1 << 20)],
        producers: vec![producer(1000), producer(2000)],
        more: true,
        ..Default::default()
    }
}

pub(crate) fn described_cluster() -> DescribeClusterAnswer {
    let broker = |broker_id, state: ClusterBrokerState| ClusterBroker {
        broker_id,
        incarnation: 9,
        state: state as u8,
        rack: Some("rack one".into()),
        address: address(),
        shard_count: 4,
    };
    let ailing = AilingPartition {
        topic: "orders".into(),
        partition: 7,
        leader: None,
        replicas: vec![1, 2, 3],
        isr: vec![2],
        min_insync_replicas: 2,
    };
    DescribeClusterAnswer {
        cluster_id: [4; 16],
        broker_id: 2,
        controller: Some(1),
        term: 1 << 40,
        heard_ms_ago: Some(120),
        voters: vec![1, 2, 3],
        brokers: vec![broker(1, ClusterBrokerState::Active), broker(2, ClusterBrokerState::Fenced)],
        broker_count: 2,
        counts: PartitionCounts { total: 1 << 20, without_leader: 1, ..Default::default() },
        ailing: vec![ailing],
        ailing_count: 1,
        ..Default::default()
    }
}

pub(crate) fn described_replicas() -> DescribeReplicasAnswer {
    let here = DescribedReplicas {
        topic_id: [7; 16],
        partition: 1,
        partition_epoch: 9,
        leader: Some(1),
        leader_epoch: 4,
        replicas: vec![PlacedReplica { broker_id: 1, shard: 3 }, PlacedReplica { broker_id: 2, shard: 0 }],
        isr: vec![1],
        eligible_leader_replicas: vec![2],
        log: Some(ReplicaLog { log_end_offset: 1 << 40, last_epoch: 4, ..Default::default() }),
        ..Default::default()
    };
    let unknown = DescribedReplicas { error: 20, text: "there is no topic with this id".into(), ..Default::default() };
    DescribeReplicasAnswer { partitions: vec![here, unknown] }
}

pub(crate) fn unclean_election() -> ElectLeadersRequest {
    let end = Some(ReplicaEndShown { leader_epoch: 4, end_offset: 1 << 40 });
    ElectLeadersRequest {
        election: Election::Unclean(UncleanElection {
            partition: PartitionRef { topic_id: [7; 16], partition: 1 },
            broker_id: 2,
            partition_epoch: 9,
            shown: vec![ShownReplicaEnd { broker_id: 2, end }, ShownReplicaEnd { broker_id: 1, end: None }],
        }),
    }
}

pub(crate) fn elected_leaders() -> ElectLeadersAnswer {
    let text = "broker 1 is not in sync".to_owned();
    let refused = ElectedLeader { error: 14, text, leader: Some(2), leader_epoch: 4 };
    ElectLeadersAnswer { has_changed: true, partitions: vec![refused, ElectedLeader::default()], ..Default::default() }
}

#[test]
fn every_message_reads_back() {
    round_trip(&HelloRequest {
        client_id: "test".into(),
        session_id: [9; 16],
        session_attempt: 1,
        versions: supported_versions(),
    });
    round_trip(&HelloAnswer { text: "welcome".into(), versions: supported_versions(), shard: 2, ..Default::default() });
    round_trip(&MetadataRequest { topics: Some(vec!["a".into(), "a topic with a longer name".into()]), after: None });
    round_trip(&MetadataRequest { topics: None, after: Some("orders".into()) });
    let partition = PartitionMetadata { partition: 3, leader: Some(1), leader_epoch: 4, shard: 2, isr: vec![1, 2, 3] };
    let topic = TopicMetadata {
        name: "orders".into(),
        settings: vec![("retention_ms".into(), "1000".into())],
        partitions: vec![partition, PartitionMetadata::default()],
        ..Default::default()
    };
    round_trip(&MetadataAnswer { shards: vec![address()], topics: vec![topic], more: true, ..Default::default() });
    round_trip(&ProduceRequest {
        acks: 2,
        partitions: vec![ProducePartition { topic_id: [7; 16], partition: 1, frame_len: 100 }],
    });
    let produced = ProducedPartition { base_offset: 9, durability: 2, address: Some(address()), ..Default::default() };
    round_trip(&ProduceAnswer { partitions: vec![produced, ProducedPartition::default()] });
    let wanted = FetchPartition { topic_id: [1; 16], partition: 1, leader_epoch: 0, offset: 1 << 40, len_max: 1 << 20 };
    round_trip(&FetchRequest { wait_ms_max: 500, len_min: 1, len_max: FETCH_LEN_MAX, partitions: vec![wanted] });
    let fetched = FetchedPartition { frames_len: 5, text: "a text".into(), address: Some(address()), ..Default::default() };
    round_trip(&FetchAnswer { partitions: vec![fetched] });
    let at = ListOffsetsPartition { topic_id: [1; 16], partition: 1, timestamp_ms: TIMESTAMP_END };
    round_trip(&ListOffsetsRequest { partitions: vec![at] });
    round_trip(&ListOffsetsAnswer { partitions: vec![ListedOffset { timestamp_ms: -1, ..Default::default() }] });
    round_trip(&InitProducerRequest {});
    round_trip(&InitProducerAnswer { producer_id: 5, ..Default::default() });
    round_trip(&DescribePartitionsRequest { partitions: vec![PartitionRef { topic_id: [1; 16], partition: 1 }] });
    round_trip(&DescribePartitionsAnswer { partitions: vec![DescribedPartition { log_len: 1 << 33, ..Default::default() }] });
    round_trip(&DescribeShardRequest {});
    round_trip(&described_shard());
    round_trip(&DescribeMetricsRequest {});
    round_trip(&described_metrics());
    round_trip(&DescribeClusterRequest {});
    round_trip(&described_cluster());
    round_trip(&DescribeReplicasRequest { partitions: vec![PartitionRef { topic_id: [1; 16], partition: 1 }] });
    round_trip(&described_replicas());
    round_trip(&ElectLeadersRequest { election: Election::AllPreferred });
    round_trip(&ElectLeadersRequest { election: Election::Preferred(vec![PartitionRef { topic_id: [1; 16], partition: 1 }]) });
    round_trip(&unclean_election());
    round_trip(&elected_leaders());
    let settings = vec![("a".into(), "b".into())];
    round_trip(&CreateTopicRequest { name: "orders".into(), partitions: 4, replicas: Some(3), settings });
    round_trip(&CreateTopicAnswer { topic_id: [3; 16], ..Default::default() });
    round_trip(&DeleteTopicRequest { name: "orders".into() });
    round_trip(&DeleteTopicAnswer { error: 20, text: "no such topic".into() });
    round_trip(&AlterTopicRequest { name: "orders".into(), settings: vec![], partitions: Some(8) });
    round_trip(&AlterTopicAnswer::default());
    round_trip(&DeleteRecordsRequest { topic_id: [1; 16], partition: 1, offset: u64::MAX });
    round_trip(&DeleteRecordsAnswer { log_start_offset: 4, address: Some(address()), ..Default::default() });
    round_trip(&BrokerChallengeRequest::new(broker_name(), BrokerRole::Controller, sluice_model::BrokerId(3)));
    round_trip(&BrokerChallengeAnswer::new(broker_name()));
    round_trip(&BrokerProofRequest { proof: [9; 32] });
    round_trip(&BrokerProofAnswer { proof: [9; 32], ..Default::default() });
    round_trip(&replica_fetch());
    round_trip(&replica_fetched());
    let flushed = vec![ReplicaFlushed { topic_id: [7; 16], partition: 1, flushed: 1 << 40 }];
    round_trip(&ReplicaFlushRequest { session: 3, number: 10, flushed });
    round_trip(&ReplicaFlushAnswer { error: 92, session: 3, number: 10, ..Default::default() });
    round_trip(&ReplicaBeginningRequest { topic_id: [7; 16], after_producer_id: Some(5), ..Default::default() });
    round_trip(&beginning());
    round_trip(&ControllerMessageRequest { kind: ControllerMessageKind::Command as u8, payload_len: 5, more: false });
    round_trip(&ControllerMessageAnswer { payload_len: 5, ..Default::default() });
    round_trip(&Refusal { error: 50, text: "try again".into(), retry_after_ms: 20 });
}

/// What the limits promise: an answer for as many partitions as a request may name, each with the longest text and
/// address, fits in a body.
#[test]
fn the_largest_answers_fit() {
    let address = Some(ShardAddress { host: "h".repeat(HOST_LEN_MAX), ..address() });
    let text = "t".repeat(PARTITION_TEXT_LEN_MAX);
    let produced = ProducedPartition { text: text.clone(), address: address.clone(), ..Default::default() };
    round_trip(&ProduceAnswer { partitions: vec![produced; PARTITIONS_PER_REQUEST_MAX] });
    let fetched = FetchedPartition { text: text.clone(), address: address.clone(), ..Default::default() };
    round_trip(&FetchAnswer { partitions: vec![fetched; PARTITIONS_PER_REQUEST_MAX] });
    let listed = ListedOffset { text: text.clone(), address: address.clone(), ..Default::default() };
    round_trip(&ListOffsetsAnswer { partitions: vec![listed; PARTITIONS_PER_REQUEST_MAX] });
    let described = DescribedPartition { text: text.clone(), address, ..Default::default() };
    round_trip(&DescribePartitionsAnswer { partitions: vec![described; PARTITIONS_PER_REQUEST_MAX] });
    let brokers = vec![1; REPLICAS_PER_PARTITION_MAX as usize];
    let replicas = DescribedReplicas {
        text: text.clone(),
        replicas: vec![PlacedReplica::default(); brokers.len()],
        isr: brokers.clone(),
        damaged: brokers.clone(),
        leader: Some(1),
        log: Some(ReplicaLog::default()),
        ..Default::default()
    };
    round_trip(&DescribeReplicasAnswer { partitions: vec![replicas; PARTITIONS_PER_REQUEST_MAX] });
    let elected = ElectedLeader { text, leader: Some(1), ..Default::default() };
    round_trip(&ElectLeadersAnswer { partitions: vec![elected; PARTITIONS_PER_REQUEST_MAX], ..Default::default() });
    let rack = Some("r".repeat(RACK_LEN_MAX));
    let address = ShardAddress { host: "h".repeat(HOST_LEN_MAX), ..self::address() };
    let broker = ClusterBroker { broker_id: 1, incarnation: 1, state: 0, rack, address, shard_count: 1 };
    let topic = "t".repeat(TOPIC_NAME_LEN_MAX);
    let ailing = AilingPartition { topic, replicas: brokers.clone(), isr: brokers, leader: Some(1), ..Default::default() };
    round_trip(&DescribeClusterAnswer {
        text: "t".repeat(TEXT_LEN_MAX),
        voters: vec![1; CLUSTER_VOTERS_MAX],
        brokers: vec![broker; BROKERS_PER_ANSWER_MAX],
        ailing: vec![ailing; AILING_PARTITIONS_PER_ANSWER_MAX],
        ..Default::default()
    });
    let (file, text) = ("f".repeat(TEXT_LEN_MAX), "t".repeat(TEXT_LEN_MAX));
    let finding = ScrubbedFinding { file, text: text.clone(), lost: Some(DamagedOffsets::default()), ..Default::default() };
    round_trip(&DescribeShardAnswer {
        text,
        findings: vec![finding; FINDINGS_PER_ANSWER_MAX],
        damaged: vec![DamagedOffsets::default(); DAMAGED_RANGES_PER_ANSWER_MAX],
        possibly_short: vec![PossiblyShort::default(); DAMAGED_RANGES_PER_ANSWER_MAX],
        ..Default::default()
    });
    let name = "n".repeat(METRIC_NAME_LEN_MAX);
    let counts = vec![u64::MAX; sluice_model::StageHistogram::BUCKETS];
    round_trip(&DescribeMetricsAnswer {
        text: "t".repeat(TEXT_LEN_MAX),
        counters: vec![NamedValue::new(&*name, 1); METRICS_PER_ANSWER_MAX],
        gauges: vec![NamedValue::new(&*name, 1); METRICS_PER_ANSWER_MAX],
        histograms: vec![NamedHistogram { name, counts, sum_us: 1 }; HISTOGRAMS_PER_ANSWER_MAX],
        ..Default::default()
    });
    let position = ReplicaPosition { last_epoch: Some(1), ..Default::default() };
    let named = vec![position; REPLICAS_PER_FETCH_MAX];
    round_trip(&ReplicaFetchRequest { named, ..Default::default() });
    let outcome = ReplicaOutcome::Diverging { epoch: Some(1), end_offset: 1 };
    let fetched = ReplicaFetched { topic_id: [7; 16], partition: 1, leader_epoch: 1, fetch_offset: 1, outcome };
    round_trip(&ReplicaFetchAnswer { partitions: vec![fetched; REPLICAS_PER_FETCH_MAX], ..Default::default() });
    round_trip(&ReplicaFlushRequest { flushed: vec![Default::default(); REPLICAS_PER_FETCH_MAX], ..Default::default() });
    let producers = (0..PRODUCERS_PER_BEGINNING_MAX as i64).map(|producer_id| {
        let batches = vec![BeginningBatch::default(); BATCHES_PER_PRODUCER];
        BeginningProducer { producer_id, batches, ..Default::default() }
    });
    let epochs = (0..EPOCHS_PER_BEGINNING_MAX as u32)
        .map(|number| BeginningEpoch { leader_epoch: number, start_offset: u64::from(number) });
    round_trip(&ReplicaBeginningAnswer {
        text: "t".repeat(TEXT_LEN_MAX),
        epochs: epochs.collect(),
        producers: producers.collect(),
        ..Default::default()
    });
    let partition = PartitionMetadata { isr: vec![1, 2, 3], ..Default::default() };
    let partitions = vec![partition; PARTITIONS_PER_TOPIC_MAX as usize];
    round_trip(&MetadataAnswer { topics: vec![TopicMetadata { partitions, ..Default::default() }], ..Default::default() });
}

#[test]
fn a_message_that_is_too_long_is_not_encoded() {
    let request = MetadataRequest { topics: Some(vec!["x".repeat(1024); 1200]), after: None };
    assert!(encode(1, 0, &request, 0).is_err());
    let small = InitProducerRequest {};
    assert!(encode(1, 0, &small, MESSAGE_LEN_MAX - PREFIX_LEN + 1).is_err());
    assert!(encode(1, 0, &small, usize::MAX).is_err());
    assert!(encode(1, 0, &small, MESSAGE_LEN_MAX - PREFIX_LEN).is_ok());
}
