use super::*;
use crate::framed::{HEADER_LEN, checksum};
use crate::testing::{Cluster, alter, altered, decide, with_topics};
use crate::{DeleteTopic, on_delete_topic};

/// Every kind of row: topics with settings, one that is deleted, brokers in several states, partitions without a leader.
fn images() -> Vec<Image> {
    let mut alone = with_topics(2, &[3, 4]);
    altered(&mut alone, &alter(1, Some(5), &[("retention_ms", "3h")])).unwrap();
    decide(&mut alone, |i| on_delete_topic(i, &DeleteTopic { name: "topic-2".into() })).unwrap();
    let mut cluster = Cluster::of_three(2);
    cluster.fence(2);
    cluster.fence(1);
    vec![Image::new(ClusterId([7; 16])), alone, cluster.image]
}

#[test]
fn an_image_is_what_its_snapshot_says() {
    for image in images() {
        let bytes = image.encode_snapshot();
        assert_eq!(Image::decode_snapshot(&bytes), Ok(image));
    }
}

#[test]
fn damage_a_newer_version_and_a_contradiction_are_told_apart() {
    let image = images().remove(1);
    let bytes = image.encode_snapshot();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(Image::decode_snapshot(&flipped).is_err(), "byte {at}");
        assert!(Image::decode_snapshot(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut newer = bytes;
    newer[3] = VERSION + 1;
    let crc = checksum(&newer);
    newer[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    let expected = FramedError::NewerVersion { got: VERSION + 1, known: VERSION };
    assert_eq!(Image::decode_snapshot(&newer), Err(SnapshotError::Bytes(expected)));
    let mut rows = image.rows();
    rows.brokers.clear();
    assert!(matches!(Image::from_rows(rows), Err(ApplyError::NoSuchShard { .. })));
    let mut rows = image.rows();
    rows.topics[0].partitions[0].isr.clear();
    assert!(matches!(Image::from_rows(rows), Err(ApplyError::MalformedPartition { .. })));
}

/// With the checksum made good, only the archive's own validation and the rules stand between the bytes and an image.
#[test]
fn bytes_that_are_no_image_never_panic() {
    let bytes = images().remove(2).encode_snapshot();
    for at in HEADER_LEN..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let crc = checksum(&flipped);
        flipped[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        let _read_or_refused = Image::decode_snapshot(&flipped);
    }
}
