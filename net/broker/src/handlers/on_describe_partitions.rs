//! DescribePartitions: what this shard knows of its partitions.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::view::Place;
use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{DescribePartitionsAnswer, DescribePartitionsRequest, DescribedPartition, Malformed, access};

impl DataPlane {
    pub(crate) fn on_describe_partitions(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<DescribePartitionsRequest>(body)?;
        let ids = request.partitions.iter().map(|entry| TopicPartition {
            topic_id: TopicId(entry.topic_id),
            partition: PartitionIndex(entry.partition.to_native()),
        });
        let partitions = ids.map(|id| self.describe_partition(id)).collect();
        self.answer(to, &DescribePartitionsAnswer { partitions });
        Ok(())
    }

    fn describe_partition(&self, id: TopicPartition) -> DescribedPartition {
        let answer = DescribedPartition { topic_id: id.topic_id.0, partition: id.partition.0, ..DescribedPartition::default() };
        let status =
            self.here(id).and_then(|(opened, leader_epoch)| opened.partitions.status(id).ok_or(Place::Here { leader_epoch }));
        let status = match status {
            Ok(status) => status,
            Err(place) => {
                let (error, address) = place.refusal();
                return DescribedPartition { error: error.code(), text: error.text, address, ..answer };
            }
        };
        DescribedPartition {
            log_start_offset: status.log_start_offset.0,
            high_watermark: status.high_watermark.0,
            log_end_offset: status.log_end_offset.0,
            log_len: status.log_len,
            segment_count: u32::try_from(status.segment_count).unwrap_or(u32::MAX),
            leader_epoch: status.leader_epoch.0,
            ..answer
        }
    }
}
