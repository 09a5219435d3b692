//! The cluster as a whole: its brokers, who holds what, and elections.

use super::{Admin, right_count};
use crate::address::Address;
use crate::error::{ClientError, check};
use crate::rounds::Rounds;
use sluice_model::TopicId;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_protocol::{
    CreateTopicRequest, DescribeClusterAnswer, DescribeClusterRequest, DescribeReplicasRequest, DescribedReplicas,
    ElectLeadersAnswer, ElectLeadersRequest, ElectedLeader, Election, PartitionRef, ShardAddress, UncleanElection,
};
use std::time::Duration;

impl Admin {
    /// Creates a topic of 1 to `PARTITIONS_PER_TOPIC_MAX` partitions, each with so many replicas, at most as many as there are
    /// brokers; `None`: three where there are as many brokers, else one.
    pub async fn create_replicated_topic(
        &self,
        name: &str,
        partitions: u32,
        replicas: Option<u32>,
        settings: &[(String, String)],
    ) -> Result<TopicId, ClientError> {
        let request = CreateTopicRequest { name: name.into(), partitions, replicas, settings: settings.to_vec() };
        let answer = self.change(&request, |answer| (answer.error, answer.text.clone())).await?;
        self.client.forget_topic(name);
        Ok(TopicId(answer.topic_id))
    }

    /// The brokers, the controller and the partitions that are not as they should be, as the first broker that answers knows
    /// it; [`DescribeClusterAnswer::heard_ms_ago`] says how much that is worth.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterAnswer, ClientError> {
        let mut rounds = Rounds::begin(&self.client);
        let judge = |answer: &DescribeClusterAnswer| check(answer.error, answer.text.as_str());
        loop {
            match self.client.ask_any(DescribeClusterRequest {}, judge).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => rounds.again(unanswered.error).await?,
            }
        }
    }

    /// Who holds these partitions of a topic, and whom the controller trusts with them, in the order asked, as the first
    /// broker that answers knows it. Also of partitions that nobody leads.
    pub async fn describe_replicas(&self, topic_id: TopicId, partitions: &[u32]) -> Result<Vec<DescribedReplicas>, ClientError> {
        let mut described = Vec::with_capacity(partitions.len());
        for of in partitions.chunks(PARTITIONS_PER_REQUEST_MAX) {
            let request = DescribeReplicasRequest { partitions: named(topic_id, of) };
            let judge = |answer: &sluice_protocol::DescribeReplicasAnswer| {
                answer.partitions.iter().try_for_each(|partition| check(partition.error, partition.text.as_str()))
            };
            let mut rounds = Rounds::begin(&self.client);
            let answer = loop {
                match self.client.ask_any(request.clone(), judge).await {
                    Ok(answer) => break answer,
                    Err(unanswered) => rounds.again(unanswered.error).await?,
                }
            };
            described.extend(right_count(answer.partitions, of.len(), &Address::new("the broker", 0))?);
        }
        Ok(described)
    }

    /// What one shard knows of a partition, its own log of it among that. Asked once, for as long as `patience` at most.
    ///
    /// # Errors
    /// Nobody answers there, or not in time; or the shard does not know the partition.
    pub async fn describe_replica_at(
        &self,
        shard: &ShardAddress,
        topic_id: TopicId,
        partition: u32,
        patience: Duration,
    ) -> Result<DescribedReplicas, ClientError> {
        let address = Address::new(&shard.host, shard.port);
        let request = DescribeReplicasRequest { partitions: named(topic_id, &[partition]) };
        let answer = self.call(&address, &request, patience).await?;
        let partition = right_count(answer.partitions, 1, &address)?.swap_remove(0);
        check(partition.error, partition.text.as_str())?;
        Ok(partition)
    }

    /// Lets every partition be led by the first of its replicas, where that is in sync; whether any has changed.
    pub async fn elect_all_preferred_leaders(&self) -> Result<bool, ClientError> {
        self.elect(Election::AllPreferred).await.map(|answer| answer.has_changed)
    }

    /// The same of these partitions of a topic, at most `PARTITIONS_PER_REQUEST_MAX`, each answered for itself, in the order
    /// asked.
    pub async fn elect_preferred_leaders(
        &self,
        topic_id: TopicId,
        partitions: &[u32],
    ) -> Result<Vec<ElectedLeader>, ClientError> {
        let answer = self.elect(Election::Preferred(named(topic_id, partitions))).await?;
        right_count(answer.partitions, partitions.len(), &Address::new("the broker", 0))
    }

    /// Makes a replica lead that may lack what was acknowledged. **Acknowledged records may be lost by it**: only when those
    /// that hold them will not come back.
    ///
    /// # Errors
    /// There is a leader, the partition has changed since it was shown, or the broker is not active.
    pub async fn elect_unclean_leader(&self, election: UncleanElection) -> Result<(), ClientError> {
        let answer = self.elect(Election::Unclean(election)).await?;
        answer.partitions.first().map_or(Ok(()), |partition| check(partition.error, partition.text.as_str()))
    }

    async fn elect(&self, election: Election) -> Result<ElectLeadersAnswer, ClientError> {
        self.change(&ElectLeadersRequest { election }, |answer| (answer.error, answer.text.clone())).await
    }
}

fn named(topic_id: TopicId, partitions: &[u32]) -> Vec<PartitionRef> {
    partitions.iter().map(|&partition| PartitionRef { topic_id: topic_id.0, partition }).collect()
}
