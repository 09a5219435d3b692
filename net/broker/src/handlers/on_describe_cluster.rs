//! DescribeCluster: the brokers, the controller, and the partitions that are not as they should be, as this shard knows it.
//!
//! It looks at every partition of the cluster, which takes a shard some milliseconds where there are a hundred thousand.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::view::View;
use sluice_metadata::{Broker, BrokerState, PartitionState, Topic};
use sluice_model::limits::{AILING_PARTITIONS_PER_ANSWER_MAX, BROKERS_PER_ANSWER_MAX};
use sluice_model::{BrokerId, PartitionIndex};
use sluice_protocol::{
    AilingPartition, ClusterBroker, ClusterBrokerState, DescribeClusterAnswer, DescribeClusterRequest, Malformed,
    PartitionCounts, ShardAddress, access,
};
use std::time::Instant;

impl DataPlane {
    pub(crate) fn on_describe_cluster(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        access::<DescribeClusterRequest>(body)?;
        let known = self.parts.standing.get();
        let answer = {
            let view = self.parts.view.get();
            let Health { counts, ailing } = health(&view);
            DescribeClusterAnswer {
                cluster_id: view.image.cluster_id().0,
                broker_id: view.broker.0,
                controller: known.controller.map(|broker| broker.0),
                term: known.term,
                heard_ms_ago: known.heard_ms_ago(Instant::now()),
                voters: known.voters.iter().map(|voter| voter.0).collect(),
                brokers: view.image.brokers().take(BROKERS_PER_ANSWER_MAX).map(|(id, broker)| describe(id, broker)).collect(),
                broker_count: view.image.brokers().count() as u64,
                counts,
                ailing_count: ailing.iter().map(|named| named.count).sum(),
                ailing: ailing.into_iter().flat_map(|named| named.first).take(AILING_PARTITIONS_PER_ANSWER_MAX).collect(),
                ..DescribeClusterAnswer::default()
            }
        };
        self.answer(to, &answer);
        Ok(())
    }
}

fn describe(id: BrokerId, broker: &Broker) -> ClusterBroker {
    let (host, port) = broker.addresses.first().map_or((String::new(), 0), |address| (address.host.clone(), address.port));
    let state = match broker.state {
        BrokerState::Recovering => ClusterBrokerState::Recovering,
        BrokerState::Fenced => ClusterBrokerState::Fenced,
        BrokerState::Active => ClusterBrokerState::Active,
        BrokerState::ShuttingDown => ClusterBrokerState::ShuttingDown,
    };
    ClusterBroker {
        broker_id: id.0,
        incarnation: broker.incarnation.number,
        state: state as u8,
        rack: broker.rack.clone(),
        address: ShardAddress { broker_id: id.0, shard: 0, host, port },
        shard_count: u16::try_from(broker.shard_count()).unwrap_or(u16::MAX),
    }
}

/// Partitions of one kind: how many, and the first of them.
#[derive(Default)]
struct Named {
    count: u64,
    first: Vec<AilingPartition>,
}

#[derive(Default)]
struct Health {
    counts: PartitionCounts,
    /// Without a leader; below min in-sync; otherwise under-replicated.
    ailing: [Named; 3],
}

fn health(view: &View) -> Health {
    let mut health = Health::default();
    for (_, topic) in view.image.topics() {
        for (partition, state) in topic.numbered_partitions() {
            health.look_at(topic, partition, state);
        }
    }
    health
}

impl Health {
    fn look_at(&mut self, topic: &Topic, partition: PartitionIndex, state: &PartitionState) {
        let counts = &mut self.counts;
        let (leaderless, below) = (state.leader.is_none(), state.isr.len() < topic.min_insync());
        let under_replicated = state.isr.len() < state.replicas.len();
        counts.total += 1;
        counts.without_leader += u64::from(leaderless);
        counts.below_min_insync += u64::from(below);
        counts.under_replicated += u64::from(under_replicated);
        counts.not_led_by_preferred += u64::from(!leaderless && state.leader != state.preferred_leader());
        let Some(kind) = [leaderless, below, under_replicated].iter().position(|is_so| *is_so) else { return };
        let named = &mut self.ailing[kind];
        named.count += 1;
        if named.first.len() < AILING_PARTITIONS_PER_ANSWER_MAX {
            named.first.push(AilingPartition {
                topic: topic.name.clone(),
                partition: partition.0,
                leader: state.leader.map(|broker| broker.0),
                replicas: state.replicas.iter().map(|replica| replica.broker.0).collect(),
                isr: state.isr.iter().map(|broker| broker.0).collect(),
                min_insync_replicas: topic.settings.min_insync_replicas(),
            });
        }
    }
}
