//! DescribeReplicas: who holds partitions, and how far this shard's own logs of them go.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::view::Place;
use sluice_model::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{
    DescribeReplicasAnswer, DescribeReplicasRequest, DescribedReplicas, Malformed, PlacedReplica, ReplicaLog, access,
};

impl DataPlane {
    pub(crate) fn on_describe_replicas(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<DescribeReplicasRequest>(body)?;
        let ids = request.partitions.iter().map(|entry| TopicPartition {
            topic_id: TopicId(entry.topic_id),
            partition: PartitionIndex(entry.partition.to_native()),
        });
        let partitions = ids.map(|id| self.describe_replicas(id)).collect();
        self.answer(to, &DescribeReplicasAnswer { partitions });
        Ok(())
    }

    fn describe_replicas(&self, id: TopicPartition) -> DescribedReplicas {
        let answer = DescribedReplicas { topic_id: id.topic_id.0, partition: id.partition.0, ..DescribedReplicas::default() };
        let view = self.parts.view.get();
        let Some(state) = view.image.partition(id) else {
            let place = match view.image.topic(id.topic_id) {
                Some(topic) => Place::UnknownPartition { count: topic.partitions.len() },
                None => Place::UnknownTopic,
            };
            let (error, _) = place.refusal();
            return DescribedReplicas { error: error.code(), text: error.text, ..answer };
        };
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
        let placed =
            |replica: &sluice_metadata::Replica| PlacedReplica { broker_id: replica.broker.0, shard: replica.placement.shard.0 };
        DescribedReplicas {
            partition_epoch: state.partition_epoch.0,
            leader: state.leader.map(|broker| broker.0),
            leader_epoch: state.leader_epoch.0,
            replicas: state.replicas.iter().map(placed).collect(),
            isr: ids(&state.isr),
            eligible_leader_replicas: ids(&state.eligible_leader_replicas),
            damaged: ids(&state.damaged),
            log: self.replica_log(id),
            ..answer
        }
    }

    fn replica_log(&self, id: TopicPartition) -> Option<ReplicaLog> {
        let status = self.parts.opened.get()?.partitions.status(id)?;
        Some(ReplicaLog {
            log_start_offset: status.log_start_offset.0,
            high_watermark: status.high_watermark.0,
            log_end_offset: status.log_end_offset.0,
            last_epoch: status.last_epoch.map_or(0, |epoch| epoch.0),
        })
    }
}
