//! What stands in the metadata log: a batch of records, and the image that takes it.

use sluice_metadata::{Batch, BatchError, ClusterId, Image};

/// A batch, applied to an empty image.
pub fn metadata_batch(data: &[u8]) -> bool {
    let mut sealed = data.to_vec();
    if let Err(BatchError::Checksum { actual, .. }) = Batch::decode(data) {
        sealed[4..8].copy_from_slice(&actual.to_le_bytes());
    }
    read(data) | read(&sealed)
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
