use super::*;
use crate::broker_state::BrokerState;
use crate::framed::checksum;
use crate::partition_state::{PartitionState, ReplicaEnd, RestartedReplica, ShownReplica};
use crate::record::ProducerIdsAllocated;
use crate::record::{BrokerIncarnationRegistered, BrokerStateChanged, PartitionStateChanged, UncleanLeaderElected};
use crate::record::{
    BrokerRegistered, Partition, PartitionChanged, PartitionsAdded, SettingOverride, TopicCreated, TopicDeleted,
};
use crate::record::{TopicPurged, TopicSettingsChanged};
use crate::testing::{FOLDER, incarnation, register, topic_id};
use proptest::prelude::*;
use sluice_model::{BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerId, ShardIndex};

fn one_of_each() -> Batch {
    let settings = vec![SettingOverride { code: 1, value: 1 << 20 }, SettingOverride { code: 3, value: -1 }];
    let partition = Partition::new(BrokerId(1), ShardIndex(2));
    let (id, broker) = (topic_id(7), BrokerId(1));
    let addresses = register(1, 2).addresses;
    Batch {
        records: vec![
            Record::BrokerRegistered(BrokerRegistered { broker, incarnation: incarnation(3), folder_id: FOLDER, addresses }),
            Record::TopicCreated(TopicCreated {
                topic_id: id,
                name: "orders".into(),
                settings: settings.clone(),
                partitions: vec![partition.clone()],
            }),
            Record::TopicDeleted(TopicDeleted { topic_id: id }),
            Record::TopicPurged(TopicPurged { topic_id: id }),
            Record::TopicSettingsChanged(TopicSettingsChanged { topic_id: id, settings }),
            Record::PartitionsAdded(PartitionsAdded {
                topic_id: id,
                first: PartitionIndex(1),
                partitions: vec![partition.clone()],
            }),
            Record::PartitionChanged(PartitionChanged { topic_id: id, partition: PartitionIndex(0), state: partition }),
            Record::ProducerIdsAllocated(ProducerIdsAllocated { broker, first: ProducerId(1000), count: 1000 }),
        ],
    }
}

#[test]
fn a_batch_reads_back() {
    for batch in [Batch::default(), one_of_each()] {
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }
}

/// The bytes as this version writes them. When this test fails, the format has changed: raise the version.
#[test]
fn the_bytes_of_version_1_never_change() {
    let bytes = one_of_each().encode();
    assert_eq!(bytes[..4], [b'S', b'L', b'M', 1]);
    assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (GOLDEN_LEN, GOLDEN_CRC));
    let small = Batch { records: vec![Record::TopicDeleted(TopicDeleted { topic_id: topic_id(7) })] };
    let hex: String = small.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_SMALL);
}

const GOLDEN_LEN: usize = 479;
const GOLDEN_CRC: u32 = 1_298_300_867;
const GOLDEN_SMALL: &str = "534c4d012cb73edd0707070707070707070707070707070702effffffffbffffff01000000";

fn one_of_each_of_version_2() -> Batch {
    let (topic_id, partition) = (topic_id(7), PartitionIndex(0));
    let (broker, incarnation, folder_id) = (BrokerId(2), incarnation(3), FOLDER);
    let end = ReplicaEnd { leader_epoch: LeaderEpoch(4), end_offset: Offset(99) };
    let mut state = PartitionState::from_version_1(&Partition::new(BrokerId(1), ShardIndex(2)), PartitionEpoch(5));
    (state.leader, state.last_known_leader, state.damaged) = (None, Some(BrokerId(1)), vec![BrokerId(1)]);
    state.restarted = vec![RestartedReplica { broker, end, cut_torn_group: true }];
    let shown = vec![ShownReplica { broker: BrokerId(1), end: Some(end) }, ShownReplica { broker, end: None }];
    let (addresses, rack) = (register(1, 1).addresses, Some("a".to_owned()));
    let states = [BrokerState::Recovering, BrokerState::Fenced, BrokerState::Active, BrokerState::ShuttingDown];
    let changed = |state| Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state });
    let mut records: Vec<_> = states.map(changed).into();
    records.extend([
        Record::BrokerIncarnationRegistered(BrokerIncarnationRegistered { broker, incarnation, folder_id, addresses, rack }),
        Record::PartitionStateChanged(PartitionStateChanged { topic_id, partition, state: state.clone() }),
        Record::UncleanLeaderElected(UncleanLeaderElected { topic_id, partition, shown, state }),
    ]);
    Batch { records }
}

#[test]
fn the_bytes_of_version_2_never_change() {
    let batch = one_of_each_of_version_2();
    let bytes = batch.encode();
    assert_eq!(Batch::decode(&bytes), Ok(batch));
    assert_eq!(bytes[..4], [b'S', b'L', b'M', 2]);
    assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (GOLDEN_2_LEN, GOLDEN_2_CRC));
}

const GOLDEN_2_LEN: usize = 475;
const GOLDEN_2_CRC: u32 = 2_913_722_126;

/// What a single broker writes stays readable to builds that know version 1 only.
#[test]
fn a_batch_bears_the_version_of_its_newest_record() {
    assert_eq!(Batch::default().encode()[3], 1);
    assert_eq!(one_of_each().encode()[3], 1);
    let mut mixed = one_of_each();
    mixed.records.extend(one_of_each_of_version_2().records.into_iter().take(1));
    assert_eq!(mixed.encode()[3], 2);
}

#[test]
fn decisions_are_split_in_order_but_for_registrations() {
    let deleted = |number: usize| TopicDeleted { topic_id: topic_id((number % 251) as u8) };
    let records: Vec<_> = (0..2 * RECORDS_PER_BATCH_MAX + 1).map(|n| Record::TopicDeleted(deleted(n))).collect();
    let batches = Batch::split(&records);
    assert_eq!(batches.iter().map(|b| b.records.len()).collect::<Vec<_>>(), [RECORDS_PER_BATCH_MAX, RECORDS_PER_BATCH_MAX, 1]);
    assert_eq!(batches.into_iter().flat_map(|b| b.records).collect::<Vec<_>>(), records);
    let registration = one_of_each_of_version_2().records.swap_remove(4);
    let whole = Batch::split(&std::iter::once(registration.clone()).chain(records.clone()).collect::<Vec<_>>());
    assert_eq!(whole.len(), 1);
    assert_eq!(Batch::split(&[]), []);
    // What comes together fills up what there is; a registration that does not fit begins another one.
    let lens = |batches: &[Batch]| batches.iter().map(|b| b.records.len()).collect::<Vec<_>>();
    let mut batches = Batch::split(&records[..RECORDS_PER_BATCH_MAX - 10]);
    Batch::extend(&mut batches, &records[..30]);
    assert_eq!(lens(&batches), [RECORDS_PER_BATCH_MAX, 20]);
    let registered: Vec<_> = std::iter::once(registration).chain(records[1..RECORDS_PER_BATCH_MAX].to_vec()).collect();
    Batch::extend(&mut batches, &registered[..5]);
    Batch::extend(&mut batches, &registered);
    Batch::extend(&mut batches, &[]);
    assert_eq!(lens(&batches), [RECORDS_PER_BATCH_MAX, 25, RECORDS_PER_BATCH_MAX]);
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = one_of_each().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = Batch::decode(&bad).unwrap_err();
        assert!(matches!(error, FramedError::Checksum { .. } | FramedError::Magic { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn every_cut_is_found() {
    let bytes = one_of_each().encode();
    for len in 0..bytes.len() {
        assert!(Batch::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

/// `body` behind a header that agrees with it.
fn framed(version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&b"SLM"[..], &[version], &[0; 4], body].concat();
    let crc = checksum(&bytes);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let newer = BATCH_VERSION + 1;
    let error = Batch::decode(&framed(newer, b"whatever it is")).unwrap_err();
    assert_eq!(error, FramedError::NewerVersion { got: newer, known: BATCH_VERSION });
    assert!(error.to_string().contains("from a newer version"));
    assert_eq!(Batch::decode(&framed(BATCH_VERSION, b"")), Err(FramedError::Unreadable));
}

proptest! {
    /// What passes the checksum and is no archive is refused by the validation; what is one can be read.
    #[test]
    fn bodies_with_a_good_checksum_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let good = one_of_each().encode();
        let mut body = good[8..].to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok(batch) = Batch::decode(&framed(BATCH_VERSION, &body)) {
            let _ = crate::image::Image::new(crate::identity::ClusterId([0; 16])).apply_batch(&batch);
        }
    }

    #[test]
    fn random_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&body);
        let _ = Batch::decode(&framed(BATCH_VERSION, &body));
    }
}
