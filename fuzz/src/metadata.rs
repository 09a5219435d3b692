//! What stands in the metadata log: a batch of records, the image that takes it, and a snapshot of one.

use sluice_metadata::{Batch, ClusterId, FramedError, Image, SnapshotError, invariants};

/// A batch, applied to an empty image.
pub fn metadata_batch(data: &[u8]) -> bool {
    let mut sealed = data.to_vec();
    if let Err(FramedError::Checksum { actual, .. }) = Batch::decode(data) {
        sealed[4..8].copy_from_slice(&actual.to_le_bytes());
    }
    read(data) | read(&sealed)
}

/// A snapshot: what is taken keeps the rules of a partition by itself.
pub fn metadata_snapshot(data: &[u8]) -> bool {
    let mut sealed = data.to_vec();
    if let Err(SnapshotError::Bytes(FramedError::Checksum { actual, .. })) = Image::decode_snapshot(data) {
        sealed[4..8].copy_from_slice(&actual.to_le_bytes());
    }
    [data, &sealed].into_iter().any(|bytes| match Image::decode_snapshot(bytes) {
        Ok(image) => {
            assert_eq!(Image::decode_snapshot(&image.encode_snapshot()).as_ref(), Ok(&image), "a snapshot reads back");
            // Rules between a topic and its partitions are the log's: whatever they say, they say it without a panic.
            let _said = invariants::check(&image);
            true
        }
        Err(error) => error.to_string().is_empty(),
    })
}

fn read(bytes: &[u8]) -> bool {
    let batch = match Batch::decode(bytes) {
        Ok(batch) => batch,
        Err(error) => return error.to_string().is_empty(),
    };
    assert_eq!(Batch::decode(&batch.encode()).as_ref(), Ok(&batch), "a batch reads back");
    let mut image = Image::new(ClusterId([3; 16]));
    match image.apply_batch(&batch) {
        Ok(()) => {
            let counted = image.topics().map(|(_, topic)| topic.partitions.len()).sum::<usize>();
            assert_eq!(image.partition_count(), counted, "the image counts its partitions");
            true
        }
        // The image is good for nothing now.
        Err(error) => error.to_string().is_empty(),
    }
}
