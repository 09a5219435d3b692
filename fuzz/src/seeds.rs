//! The seeds of every corpus, as our own encoders write them.

use super::{records, segment, shard};
use sluice_client::compression::compress;
use sluice_metadata::record::{
    BrokerIncarnationRegistered, BrokerRegistered, BrokerStateChanged, PartitionStateChanged, ProducerIdsAllocated,
    SettingOverride, TopicCreated, TopicDeleted, UncleanLeaderElected,
};
use sluice_metadata::{
    Address, Batch, BrokerState, ClusterId, FolderId, Image, Partition, PartitionState, Record, ReplicaEnd, RestartedReplica,
    ShownReplica,
};
use sluice_model::frame::{FrameHeader, LeaderSeal, ProducerBatch};
use sluice_model::record_batch::{Attributes, BuiltRecords, Compression, HeaderRef, NewRecord, RecordsBuilder};
use sluice_model::{
    BrokerId, Incarnation, LeaderEpoch, LeaderEpochHistory, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId,
    ProducerTable, Sequence, ShardIndex, TopicId,
};
use sluice_protocol::*;
use sluice_storage::commit_group::{GROUP_HEADER_LEN, GroupHeader, JournalEntry};
use sluice_storage::segment_format::{SegmentEnd, SegmentFooter, SegmentHeader};
use sluice_storage::testing::frames::{FrameSource, TestFrame, test_partition};
use sluice_storage::testing::test_shard::{TEST_SHARD, test_layout};

/// One good input: the target, a name, the bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// Every seed. The same at every call with the same build.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = messages();
    seeds.extend(batches());
    seeds.extend(journal_groups());
    seeds.extend(segments());
    let slot = slot();
    seeds.push(("checkpoint_slot", "two-partitions".into(), slot.clone()));
    seeds.push(("recovery", "two-partitions".into(), slot));
    seeds.extend(metadata_batches());
    let [messages, rows, commands] = sluice_controller::fuzzing::seeds();
    seeds.extend(messages.into_iter().map(|(name, bytes)| ("controller_message", name, bytes)));
    seeds.extend(rows.into_iter().map(|(name, bytes)| ("controller_row", name, bytes)));
    seeds.extend(commands.into_iter().map(|(name, bytes)| ("controller_command", name, bytes)));
    seeds
}

fn cluster() -> DescribeClusterAnswer {
    let address = ShardAddress { broker_id: 1, shard: 0, host: "broker-one.example".into(), port: 7400 };
    let broker = ClusterBroker { broker_id: 1, incarnation: 4, state: 2, rack: Some("r".into()), address, shard_count: 2 };
    let (replicas, isr) = (vec![1, 2, 3], vec![1, 2]);
    let ailing = AilingPartition { topic: "orders".into(), partition: 3, leader: Some(1), replicas, isr, min_insync_replicas: 2 };
    DescribeClusterAnswer {
        controller: Some(1),
        heard_ms_ago: Some(9),
        voters: vec![1, 2, 3],
        brokers: vec![broker],
        ailing: vec![ailing],
        ..Default::default()
    }
}

fn replicas() -> DescribeReplicasAnswer {
    let replicas = DescribedReplicas {
        text: "a text".into(),
        leader: Some(1),
        replicas: vec![PlacedReplica { broker_id: 1, shard: 2 }; 3],
        isr: vec![1, 2],
        eligible_leader_replicas: vec![3],
        log: Some(ReplicaLog { log_end_offset: 1 << 40, ..Default::default() }),
        ..Default::default()
    };
    DescribeReplicasAnswer { partitions: vec![replicas; 2] }
}

fn unclean_election() -> ElectLeadersRequest {
    let end = Some(ReplicaEndShown { leader_epoch: 4, end_offset: 1 << 40 });
    let partition = PartitionRef { topic_id: [7; 16], partition: 1 };
    let shown = vec![ShownReplicaEnd { broker_id: 2, end }, ShownReplicaEnd { broker_id: 1, end: None }];
    ElectLeadersRequest { election: Election::Unclean(UncleanElection { partition, broker_id: 2, partition_epoch: 9, shown }) }
}

fn messages() -> Vec<Seed> {
    let address = || ShardAddress { broker_id: 1, shard: 3, host: "broker-one.example".into(), port: 7403 };
    let partition = PartitionMetadata { partition: 3, leader: Some(1), leader_epoch: 4, shard: 2, isr: vec![1, 2, 3] };
    let topic = TopicMetadata {
        name: "a topic with a longer name".into(),
        settings: vec![("retention_ms".into(), "1000".into())],
        partitions: vec![partition; 2],
        ..Default::default()
    };
    let hello = HelloRequest {
        client_id: "a client with a name".into(),
        session_id: [9; 16],
        session_attempt: 1,
        versions: supported_versions(),
    };
    let topics = Some(vec!["orders".into(), "a topic with a longer name".into()]);
    let metadata = MetadataAnswer { shards: vec![address(); 2], topics: vec![topic], ..Default::default() };
    let produce = ProducePartition { topic_id: [7; 16], partition: 1, frame_len: 44 };
    let produced = ProducedPartition { text: "a text of some length".into(), address: Some(address()), ..Default::default() };
    let fetch = FetchPartition { topic_id: [1; 16], partition: 1, leader_epoch: 0, offset: 1 << 40, len_max: 1 << 20 };
    let fetched = FetchedPartition { frames_len: 5, text: "a text".into(), address: Some(address()), ..Default::default() };
    let lost = DamagedOffsets { topic_id: [7; 16], partition: 1, from: 5, until: 9 };
    let finding = ScrubbedFinding { file: "a file".into(), text: "what is wrong".into(), lost: Some(lost), ..Default::default() };
    let shard = DescribeShardAnswer { findings: vec![finding], damaged: vec![lost; 2], damaged_count: 2, ..Default::default() };
    let metrics = DescribeMetricsAnswer {
        counters: vec![NamedValue::new(metric::ADMITTED_LEN, 1 << 40)],
        gauges: vec![NamedValue::new("connections", 3)],
        histograms: vec![NamedHistogram { name: metric::ADMIT.into(), counts: vec![0, 5, 1], sum_us: 7 }; 2],
        ..Default::default()
    };
    let settings = vec![("segment_len_max".into(), "1048576".into())];
    let flushed = ReplicaFlushed { topic_id: [7; 16], partition: 1, flushed: 1 << 40 };
    let encoded = [
        encode(1, 0, &hello, 0),
        encode(1, 0, &MetadataRequest { topics, after: Some("orders".into()) }, 0),
        encode(1, 0, &metadata, 0),
        encode(1, 0, &ProduceRequest { acks: 2, partitions: vec![produce; 2] }, 88),
        encode(1, 0, &ProduceAnswer { partitions: vec![produced] }, 0),
        encode(1, 0, &FetchRequest { wait_ms_max: 500, len_min: 1, len_max: 1 << 20, partitions: vec![fetch] }, 0),
        encode(1, 0, &FetchAnswer { partitions: vec![fetched; 2] }, 10),
        encode(1, 0, &shard, 0),
        encode(1, 0, &metrics, 0),
        encode(1, 0, &cluster(), 0),
        encode(1, 0, &replicas(), 0),
        encode(1, 0, &unclean_election(), 0),
        encode(1, 0, &CreateTopicRequest { name: "orders".into(), partitions: 4, replicas: Some(3), settings }, 0),
        encode(1, 0, &challenge(), 0),
        encode(1, 0, &replica_fetch(), 0),
        encode(1, 0, &replica_fetched(), 5),
        encode(1, 0, &ReplicaFlushRequest { session: 3, number: 5, flushed: vec![flushed; 2] }, 0),
        encode(1, 0, &beginning(), 0),
        encode(1, 0, &ControllerMessageRequest { kind: 1, payload_len: 7, more: false }, 7),
    ];
    let names = [
        "hello",
        "metadata",
        "metadata-answer",
        "produce",
        "produce-answer",
        "fetch",
        "fetch-answer",
        "shard-answer",
        "metrics-answer",
        "cluster-answer",
        "replicas-answer",
        "elect-leaders",
        "create-topic",
        "broker-challenge",
        "replica-fetch",
        "replica-fetch-answer",
        "replica-flush",
        "replica-beginning-answer",
        "controller-message",
    ];
    let mut seeds = Vec::new();
    for (name, message) in names.into_iter().zip(encoded) {
        let message = message.expect("a short message fits");
        seeds.push(("prefix", name.into(), message[..PREFIX_LEN].to_vec()));
        seeds.push(("message", name.into(), message[PREFIX_LEN..].to_vec()));
    }
    seeds
}

fn challenge() -> BrokerChallengeRequest {
    let incarnation = Incarnation { number: 4, random: 9 };
    let name = BrokerName { broker: BrokerId(2), incarnation, shard: ShardIndex(1), nonce: [5; 32] };
    BrokerChallengeRequest::new(name, BrokerRole::Follower, BrokerId(1))
}

fn replica_fetch() -> ReplicaFetchRequest {
    let position = ReplicaPosition {
        topic_id: [7; 16],
        partition: 1,
        leader_epoch: 4,
        offset: 1 << 40,
        last_epoch: Some(3),
        last_header_crc: 0xfeed_f00d,
        flushed: 1 << 39,
        log_state: ReplicaLogState::Whole as u8,
    };
    let forgotten = vec![PartitionRef { topic_id: [8; 16], partition: 2 }];
    ReplicaFetchRequest { session: 3, number: 4, wait_ms_max: 500, len_max: 1 << 20, named: vec![position; 2], forgotten }
}

fn replica_fetched() -> ReplicaFetchAnswer {
    let outcomes = [
        ReplicaOutcome::Frames { frames_len: 5, high_watermark: 9, log_start_offset: 2 },
        ReplicaOutcome::Diverging { epoch: Some(3), end_offset: 8 },
        ReplicaOutcome::BelowLogStart { first_offset: 12 },
        ReplicaOutcome::Refused { error: 23, text: "leader epoch 3 is fenced by epoch 4".into() },
    ];
    let fetched = (0..).zip(outcomes).map(|(partition, outcome)| ReplicaFetched {
        topic_id: [7; 16],
        partition,
        leader_epoch: 4,
        fetch_offset: 9,
        outcome,
    });
    ReplicaFetchAnswer { session: 3, number: 4, partitions: fetched.collect(), ..Default::default() }
}

fn beginning() -> ReplicaBeginningAnswer {
    let batch = BeginningBatch { base_sequence: 4, record_count: 2, base_offset: 1 << 20 };
    let producer = BeginningProducer { producer_id: 1000, producer_epoch: 1, last_append_ms: 5, batches: vec![batch; 2] };
    let epoch = BeginningEpoch { leader_epoch: 3, start_offset: 1 << 19 };
    ReplicaBeginningAnswer { first_offset: 1 << 21, epochs: vec![epoch], producers: vec![producer], ..Default::default() }
}

fn built_records() -> BuiltRecords {
    let mut builder = RecordsBuilder::new(1 << 20);
    let headers = [HeaderRef { key: b"trace", value: Some(b"abc") }, HeaderRef { key: b"", value: None }];
    let long = [b'v'; 90];
    let records = [
        NewRecord { timestamp_ms: 1_700_000_000_000, key: Some(b"key"), value: Some(b"value"), headers: &[] },
        NewRecord { timestamp_ms: 1_699_999_999_000, key: None, value: Some(&long), headers: &headers },
        NewRecord { timestamp_ms: 1_700_000_000_900, key: Some(b""), value: None, headers: &headers[..1] },
    ];
    records.iter().for_each(|record| _ = builder.append(record).expect("a short record fits"));
    builder.take().expect("there are records")
}

/// One batch of records in every compression: its body, its records section, its frame.
fn batches() -> Vec<Seed> {
    let built = built_records();
    let mut head = [0; records::RECORDS_HEAD_LEN];
    head[..4].copy_from_slice(&built.record_count.to_le_bytes());
    head[4..12].copy_from_slice(&built.base_timestamp_ms.to_le_bytes());
    head[12..20].copy_from_slice(&built.max_timestamp_ms.to_le_bytes());
    let mut seeds = vec![("records", "three".into(), [&head, &built.body[..]].concat())];
    for codec in Compression::ALL {
        let body = compress(codec, &built.body).expect("memory can be written");
        seeds.push(("decompress", codec.name().into(), [&[codec as u8], &body[..]].concat()));
        let batch = ProducerBatch {
            topic_partition: test_partition(1),
            attributes: Attributes::new(codec).0,
            producer_id: ProducerId(77),
            producer_epoch: ProducerEpoch(1),
            base_sequence: Sequence(5),
            record_count: built.record_count,
            base_timestamp_ms: built.base_timestamp_ms,
            max_timestamp_ms: built.max_timestamp_ms,
        };
        let seal = LeaderSeal {
            base_offset: Offset(1000),
            leader_epoch: LeaderEpoch(2),
            append_time_ms: built.max_timestamp_ms,
            prev_header_crc: 0x1234,
        };
        let header = FrameHeader::new(batch, &body).sealed(seal);
        seeds.push(("frame", codec.name().into(), [header.as_bytes().as_slice(), &body].concat()));
    }
    seeds
}

fn journal_groups() -> Vec<Seed> {
    let mut source = FrameSource::new(test_partition(1), 9);
    let frames: Vec<TestFrame> = (0..3).map(|n| source.next(2 + n, 40)).collect();
    let mut entries: Vec<JournalEntry<'_>> =
        frames.iter().map(|frame| JournalEntry::Frame { header: &frame.header, body: &frame.body }).collect();
    entries.push(JournalEntry::LogStart { id: test_partition(1), offset: Offset(4) });
    entries.push(JournalEntry::Truncate { id: test_partition(2), end_offset: Offset(9), last_header_crc: 7 });
    vec![
        ("journal_group", "frames-and-changes".into(), journal_group(&entries)),
        ("journal_group", "idle-marker".into(), journal_group(&[])),
    ]
}

fn journal_group(entries: &[JournalEntry<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; GROUP_HEADER_LEN];
    for entry in entries {
        let start = bytes.len();
        bytes.resize(start + entry.encoded_len(), 0);
        entry.encode(&mut bytes[start..]);
    }
    let body = &bytes[GROUP_HEADER_LEN..];
    let header = GroupHeader {
        shard: ShardIndex(3),
        incarnation: Incarnation { number: 2, random: 0xfeed_f00d },
        sequence: 9,
        durable_sequence: 8,
        prev_group_crc: 0x1122_3344,
        body_len: body.len() as u32,
        entry_count: entries.len() as u32,
        body_crc: crc32c::crc32c(body),
        truncates: true,
    };
    header.write(bytes.first_chunk_mut().expect("the header is there"));
    bytes
}

fn segments() -> Vec<Seed> {
    let mut source = FrameSource::new(test_partition(1), 4);
    let frames: Vec<TestFrame> = (0..4).map(|_| source.next(3, 60)).collect();
    let (mut footer, mut position) = (SegmentFooter::default(), 4096);
    (footer.epochs, footer.producers) = (LeaderEpochHistory::default(), ProducerTable::default());
    for frame in &frames {
        footer.index.on_frame(position, &frame.header);
        footer.epochs.on_append(frame.header.leader_epoch(), frame.header.base_offset());
        footer.producers.on_append(&frame.header);
        position += frame.header.frame_len() as u64;
    }
    let header = SegmentHeader { id: test_partition(1), base_offset: Offset::ZERO, prev_header_crc: 0 };
    let last = frames.last().expect("there are frames").header;
    let end = SegmentEnd {
        header,
        next_offset: last.next_offset(),
        end_position: position,
        footer_position: 8192,
        last_header_crc: last.header_crc.to_native(),
    };
    let (footer, _) = footer.encode(&end);
    let (footer, trailer) = footer.split_at(footer.len() - 4096);
    let footer_len = footer.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let frames: Vec<u8> = frames.iter().flat_map(TestFrame::bytes).collect();
    let pack = |flags: u8, footer: &[u8]| {
        let mut seed = vec![flags];
        seed.extend_from_slice(&header.encode()[segment::BLOCK_PREFIX_LEN..][..segment::HEADER_LEN]);
        seed.extend_from_slice(&trailer[segment::BLOCK_PREFIX_LEN..][..segment::TRAILER_LEN]);
        seed.extend_from_slice(&(frames.len() as u16).to_le_bytes());
        seed.extend_from_slice(&frames);
        seed.extend_from_slice(footer);
        seed
    };
    let footer = &footer[..footer_len];
    vec![
        ("segment", "sealed".into(), pack(segment::SEALED, footer)),
        ("segment", "sealed-anew".into(), pack(segment::SEALED | segment::SEAL_FRAMES | segment::TRUE_TRAILER, footer)),
        ("segment", "active".into(), pack(segment::SEAL_FRAMES | segment::KNOWN_END, &[])),
    ]
}

/// The newest slot of the folder that recovery starts on.
fn slot() -> Vec<u8> {
    let files = shard::folder().files();
    let slots = [0, 1].map(|slot| &files[&test_layout().checkpoint_slot(TEST_SHARD, slot)]);
    let sequence = |slot: &[u8]| u64::from_le_bytes(slot[8..16].try_into().expect("eight bytes"));
    let newest = slots.into_iter().max_by_key(|slot| sequence(slot)).expect("there are two");
    let body_len = u64::from_le_bytes(newest[48..56].try_into().expect("eight bytes")) as usize;
    [&newest[..shard::SLOT_HEADER_LEN], &newest[4096..4096 + body_len]].concat()
}

fn metadata_batches() -> Vec<Seed> {
    let address = |port| Address { host: "broker-one.example".into(), port };
    let broker = BrokerRegistered {
        broker: BrokerId(1),
        incarnation: Incarnation { number: 1, random: 0xabcd },
        folder_id: FolderId([5; 16]),
        addresses: vec![address(7400), address(7401)],
    };
    let topic = TopicCreated {
        topic_id: TopicId([7; 16]),
        name: "orders".into(),
        settings: vec![SettingOverride { code: 1, value: 3_600_000 }],
        partitions: (0..2).map(|shard| Partition::new(BrokerId(1), ShardIndex(shard))).collect(),
    };
    let producers = ProducerIdsAllocated { broker: BrokerId(1), first: ProducerId(0), count: 1000 };
    let registered = Record::BrokerRegistered(broker);
    let created = vec![registered.clone(), Record::TopicCreated(topic.clone()), Record::ProducerIdsAllocated(producers)];
    let deleted =
        vec![registered, Record::TopicCreated(topic), Record::TopicDeleted(TopicDeleted { topic_id: TopicId([7; 16]) })];
    let mut image = Image::new(ClusterId([3; 16]));
    image.apply_batch(&Batch { records: created.clone() }).expect("a log of its own");
    let mut of_cluster = Image::new(ClusterId([3; 16]));
    of_cluster.apply_batch(&Batch { records: cluster_records() }).expect("a log of its own");
    let batch = |records| Batch { records }.encode();
    vec![
        ("metadata_snapshot", "created".into(), image.encode_snapshot()),
        ("metadata_snapshot", "cluster".into(), of_cluster.encode_snapshot()),
        ("metadata_batch", "created".into(), batch(created)),
        ("metadata_batch", "deleted".into(), batch(deleted)),
        ("metadata_batch", "cluster".into(), batch(cluster_records())),
    ]
}

/// A broker of a cluster that starts, leads, stops, comes back, and is made the leader by an operator.
fn cluster_records() -> Vec<Record> {
    let (broker, topic_id, partition) = (BrokerId(1), TopicId([7; 16]), PartitionIndex(0));
    let registered = |number| {
        let addresses = vec![Address { host: "broker-one.example".into(), port: 7400 }];
        let (incarnation, folder_id) = (Incarnation { number, random: 0xabcd }, FolderId([5; 16]));
        let rack = Some("rack-a".into());
        Record::BrokerIncarnationRegistered(BrokerIncarnationRegistered { broker, incarnation, folder_id, addresses, rack })
    };
    let changed = |number, state| {
        let incarnation = Incarnation { number, random: 0xabcd };
        Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state })
    };
    let first = Partition::new(broker, ShardIndex(0));
    let end = ReplicaEnd { leader_epoch: LeaderEpoch(1), end_offset: Offset(9) };
    let state = |epoch: u32, leader: Option<BrokerId>| PartitionState {
        partition_epoch: PartitionEpoch(epoch),
        leader,
        leader_epoch: LeaderEpoch(epoch + 1),
        last_known_leader: if leader.is_none() { Some(broker) } else { None },
        isr: first.isr.clone(),
        eligible_leader_replicas: Vec::new(),
        replicas: first.replicas.clone(),
        damaged: Vec::new(),
        restarted: if leader.is_none() { vec![RestartedReplica { broker, end, cut_torn_group: true }] } else { Vec::new() },
    };
    let shown = vec![ShownReplica { broker, end: Some(end) }];
    let partitions = vec![first.clone()];
    vec![
        registered(1),
        changed(1, BrokerState::Fenced),
        changed(1, BrokerState::Active),
        Record::TopicCreated(TopicCreated { topic_id, name: "orders".into(), settings: Vec::new(), partitions }),
        Record::PartitionStateChanged(PartitionStateChanged { topic_id, partition, state: state(1, None) }),
        changed(1, BrokerState::ShuttingDown),
        registered(2),
        changed(2, BrokerState::Fenced),
        changed(2, BrokerState::Active),
        Record::UncleanLeaderElected(UncleanLeaderElected { topic_id, partition, shown, state: state(2, Some(broker)) }),
    ]
}
