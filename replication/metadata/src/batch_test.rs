use super::*;
use crate::record::ProducerIdsAllocated;
use crate::record::{
    BrokerRegistered, Partition, PartitionChanged, PartitionsAdded, SettingOverride, TopicCreated, TopicDeleted,
};
use crate::record::{TopicPurged, TopicSettingsChanged};
use crate::testing::{FOLDER, incarnation, register, topic_id};
use proptest::prelude::*;
use sluice_model::{BrokerId, PartitionIndex, ProducerId, ShardIndex};

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

#[test]
fn every_flipped_bit_is_found() {
    let bytes = one_of_each().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = Batch::decode(&bad).unwrap_err();
        assert!(matches!(error, BatchError::Checksum { .. } | BatchError::Magic { .. }), "bit {bit}: {error}");
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
    assert_eq!(error, BatchError::NewerVersion { got: newer, known: BATCH_VERSION });
    assert!(error.to_string().contains("from a newer version"));
    assert_eq!(Batch::decode(&framed(BATCH_VERSION, b"")), Err(BatchError::Unreadable));
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
