//! Administration: topics, and what shards know of partitions.
//!
//! What a broker certainly did not do for a reason that passes is tried again until `request_timeout_ms` is over; a
//! change whose connection was lost on the way is not, because it may have been made.

mod cluster;

use crate::address::Address;
use crate::client::Client;
use crate::connection::CallError;
use crate::consumer::StartAt;
use crate::error::{ClientError, check};
use crate::metadata_cache::TopicInfo;
use crate::rounds::Rounds;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_model::{ErrorCode, TopicId};
use sluice_protocol::{
    AlterTopicRequest, DeleteRecordsRequest, DeleteTopicRequest, DescribeMetricsAnswer, DescribeMetricsRequest,
    DescribePartitionsRequest, DescribeShardAnswer, DescribeShardRequest, DescribedPartition, ListOffsetsPartition,
    ListOffsetsRequest, ListedOffset, PartitionRef, Request, ShardAddress, TIMESTAMP_BEGINNING, TIMESTAMP_END,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
pub struct Admin {
    client: Client,
}

/// The cluster as a broker describes it.
#[derive(Clone, Debug)]
pub struct ClusterInfo {
    pub cluster_id: [u8; 16],
    pub shards: Vec<ShardAddress>,
    /// By name.
    pub topics: Vec<Arc<TopicInfo>>,
}

/// One shard, and what it says of itself.
#[derive(Clone, Debug)]
pub struct DescribedShard {
    pub address: ShardAddress,
    pub state: DescribeShardAnswer,
}

/// One shard, and what it has counted and timed since its start.
#[derive(Clone, Debug)]
pub struct DescribedMetrics {
    pub address: ShardAddress,
    pub metrics: DescribeMetricsAnswer,
}

/// What one partition of an answer says about itself.
trait PartitionAnswer {
    fn status(&self) -> (u16, &str, Option<&ShardAddress>);
}

impl PartitionAnswer for ListedOffset {
    fn status(&self) -> (u16, &str, Option<&ShardAddress>) {
        (self.error, &self.text, self.address.as_ref())
    }
}

impl PartitionAnswer for DescribedPartition {
    fn status(&self) -> (u16, &str, Option<&ShardAddress>) {
        (self.error, &self.text, self.address.as_ref())
    }
}

/// One partition of a question, and where to ask.
struct Asked<'a> {
    topic: &'a str,
    partition: u32,
    /// Where the last answer said it is.
    redirect: Option<Address>,
}

impl Admin {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a topic of 1 to `PARTITIONS_PER_TOPIC_MAX` partitions. Settings are `frame_len_max` and the like, as
    /// text. Each partition has as many replicas as is the default of the cluster.
    pub async fn create_topic(&self, name: &str, partitions: u32, settings: &[(String, String)]) -> Result<TopicId, ClientError> {
        self.create_replicated_topic(name, partitions, None, settings).await
    }

    /// Deletes a topic with all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicRequest { name: name.into() };
        self.change(&request, |answer| (answer.error, answer.text.clone())).await?;
        self.client.forget_topic(name);
        Ok(())
    }

    /// Changes the settings named (an empty value puts the default back), and the partition count if one is given.
    pub async fn alter_topic(
        &self,
        name: &str,
        settings: &[(String, String)],
        partitions: Option<u32>,
    ) -> Result<(), ClientError> {
        let request = AlterTopicRequest { name: name.into(), settings: settings.to_vec(), partitions };
        self.change(&request, |answer| (answer.error, answer.text.clone())).await?;
        self.client.outdate_topic(name);
        Ok(())
    }

    /// One topic, as it is now.
    pub async fn describe_topic(&self, name: &str) -> Result<Arc<TopicInfo>, ClientError> {
        self.client.refresh_topic(name, u64::MAX).await
    }

    /// All topics and shards.
    pub async fn cluster(&self) -> Result<ClusterInfo, ClientError> {
        let (answer, topics) = self.client.all_topics().await?;
        Ok(ClusterInfo { cluster_id: answer.cluster_id, shards: answer.shards, topics })
    }

    /// All topics, by name.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicInfo>>, ClientError> {
        self.cluster().await.map(|cluster| cluster.topics)
    }

    /// Deletes the records below `offset` (`u64::MAX`: all below the high watermark); the log start afterwards.
    pub async fn delete_records(&self, topic: &str, partition: u32, offset: u64) -> Result<u64, ClientError> {
        let mut rounds = Rounds::begin(&self.client);
        let mut asked = Asked { topic, partition, redirect: None };
        loop {
            let (topic_id, address) = self.locate(&asked).await?;
            let request = DeleteRecordsRequest { topic_id: topic_id.0, partition, offset };
            // To be carried out twice does no harm: so it is also sent again when a leader does not answer.
            asked.redirect = None;
            let error = match self.call(&address, &request, rounds.patience()).await {
                Ok(answer) => match check(answer.error, answer.text) {
                    Ok(()) => return Ok(answer.log_start_offset),
                    Err(error) => {
                        asked.redirect = answer.address.map(|a| Address::new(&a.host, a.port));
                        error
                    }
                },
                Err(error) => error,
            };
            rounds.again_at_leader(error).await?;
            self.client.outdate_topic(topic);
        }
    }

    /// The offset at a place of each partition, in the order asked. For a time, the offset of the batch that has the
    /// first record at or after it; `timestamp_ms` -1 and the high watermark when there is none.
    pub async fn list_offsets(&self, wanted: &[(&str, u32, StartAt)]) -> Result<Vec<ListedOffset>, ClientError> {
        let asked = wanted.iter().map(|&(topic, partition, _)| (topic, partition)).collect::<Vec<_>>();
        let build = |of: &[(usize, TopicId)]| ListOffsetsRequest {
            partitions: of
                .iter()
                .map(|&(index, topic_id)| {
                    let timestamp_ms = match wanted[index].2 {
                        StartAt::Beginning => TIMESTAMP_BEGINNING,
                        StartAt::End | StartAt::Offset(_) => TIMESTAMP_END,
                        StartAt::Timestamp(at_ms) => at_ms.max(0),
                    };
                    ListOffsetsPartition { topic_id: topic_id.0, partition: wanted[index].1, timestamp_ms }
                })
                .collect(),
        };
        self.ask_partitions(&asked, build, |answer| answer.partitions).await
    }

    /// What the owning shards know of partitions, in the order asked.
    pub async fn describe_partitions(&self, wanted: &[(&str, u32)]) -> Result<Vec<DescribedPartition>, ClientError> {
        let build = |of: &[(usize, TopicId)]| DescribePartitionsRequest {
            partitions: of.iter().map(|&(index, id)| PartitionRef { topic_id: id.0, partition: wanted[index].1 }).collect(),
        };
        self.ask_partitions(wanted, build, |answer| answer.partitions).await
    }

    /// What each of these shards ([`ClusterInfo::shards`]) says of itself, in the order asked.
    pub async fn describe_shards(&self, shards: &[ShardAddress]) -> Result<Vec<DescribedShard>, ClientError> {
        let mut described = Vec::with_capacity(shards.len());
        for address in shards {
            let status = |answer: &DescribeShardAnswer| (answer.error, answer.text.clone());
            let state = self.ask_shard(address, &DescribeShardRequest {}, status).await?;
            described.push(DescribedShard { address: address.clone(), state });
        }
        Ok(described)
    }

    /// The shards that lead these partitions, each once, and what they say of themselves; also while leaders change.
    pub async fn describe_leaders(&self, wanted: &[(&str, u32)]) -> Result<Vec<DescribedShard>, ClientError> {
        let mut rounds = Rounds::begin(&self.client);
        let mut described: BTreeMap<ShardAddress, DescribeShardAnswer> = BTreeMap::new();
        'again: loop {
            let mut leading = Vec::new();
            for &(topic, partition) in wanted {
                match self.leading_shard(topic, partition).await {
                    Ok(shard) => leading.push(shard),
                    Err(error) => {
                        rounds.again(error).await?;
                        self.client.outdate_topic(topic);
                        continue 'again;
                    }
                }
            }
            described.retain(|shard, _| leading.contains(shard));
            for (shard, &(topic, _)) in leading.iter().zip(wanted) {
                if described.contains_key(shard) {
                    continue;
                }
                let address = Address::new(&shard.host, shard.port);
                let asked = self.call(&address, &DescribeShardRequest {}, rounds.patience()).await;
                match asked.and_then(|state| check(state.error, state.text.clone()).map(|()| state)) {
                    Ok(state) => drop(described.insert(shard.clone(), state)),
                    Err(error) => {
                        rounds.again(error).await?;
                        self.client.outdate_topic(topic);
                        continue 'again;
                    }
                }
            }
            return Ok(described.into_iter().map(|(address, state)| DescribedShard { address, state }).collect());
        }
    }

    async fn leading_shard(&self, topic: &str, partition: u32) -> Result<ShardAddress, ClientError> {
        let asked = Asked { topic, partition, redirect: None };
        let (_, address) = self.locate(&asked).await?;
        let info = self.client.topic(topic).await?;
        let leading = info.partitions.get(partition as usize).and_then(|p| Some((p.leader?, p.shard)));
        let (broker_id, shard) = leading.ok_or_else(|| ClientError::NoLeader { topic: topic.into(), partition })?;
        Ok(ShardAddress { broker_id, shard, host: address.host.to_string(), port: address.port })
    }

    /// What each of these shards ([`ClusterInfo::shards`]) has counted and timed since its start, in the order asked. Of
    /// two answers, [`DescribeMetricsAnswer::since`] takes the difference.
    pub async fn describe_metrics(&self, shards: &[ShardAddress]) -> Result<Vec<DescribedMetrics>, ClientError> {
        let mut described = Vec::with_capacity(shards.len());
        for address in shards {
            let status = |answer: &DescribeMetricsAnswer| (answer.error, answer.text.clone());
            let metrics = self.ask_shard(address, &DescribeMetricsRequest {}, status).await?;
            described.push(DescribedMetrics { address: address.clone(), metrics });
        }
        Ok(described)
    }

    /// Asks one shard about itself, again while it cannot say for now.
    async fn ask_shard<R: Request>(
        &self,
        address: &ShardAddress,
        request: &R,
        status: impl Fn(&R::Answer) -> (u16, String),
    ) -> Result<R::Answer, ClientError> {
        let mut rounds = Rounds::begin(&self.client);
        let asked = Address::new(&address.host, address.port);
        loop {
            let error = match self.client.call_at(&asked, request).await {
                Ok(answer) => {
                    let (error, text) = status(&answer);
                    match check(error, text) {
                        Ok(()) => return Ok(answer),
                        Err(error) => error,
                    }
                }
                Err(error) => error.into_client_error(),
            };
            rounds.again(error).await?;
        }
    }

    /// Asks any broker for a change, again while it certainly was not made.
    async fn change<R: Request>(
        &self,
        request: &R,
        status: impl Fn(&R::Answer) -> (u16, String),
    ) -> Result<R::Answer, ClientError> {
        let mut rounds = Rounds::begin(&self.client);
        let judge = |answer: &R::Answer| {
            let (error, text) = status(answer);
            check(error, text)
        };
        loop {
            match self.client.change_any(request, judge).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_refusal() => rounds.again(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks one shard what may be asked twice, and waits this long.
    async fn call<R: Request>(&self, address: &Address, request: &R, patience: Duration) -> Result<R::Answer, ClientError> {
        match tokio::time::timeout(patience, self.client.call_at(address, request)).await {
            Ok(answered) => answered.map_err(CallError::into_client_error),
            Err(_) => Err(ClientError::Lost {
                address: address.to_string(),
                text: format!("no answer within {} ms", patience.as_millis()),
            }),
        }
    }

    /// Where to ask about a partition now.
    async fn locate(&self, asked: &Asked<'_>) -> Result<(TopicId, Address), ClientError> {
        let info = self.client.topic(asked.topic).await?;
        let partition = info.partitions.get(asked.partition as usize).ok_or_else(|| ClientError::Broker {
            code: ErrorCode::UnknownPartition,
            text: format!("topic {} has {} partitions, numbered from 0", asked.topic, info.partitions.len()),
        });
        let address = asked.redirect.clone().or(match partition {
            Ok(partition) => partition.address.clone(),
            Err(error) => return Err(error),
        });
        let no_leader = || ClientError::NoLeader { topic: asked.topic.into(), partition: asked.partition };
        Ok((info.topic_id, address.ok_or_else(no_leader)?))
    }

    /// Asks each partition's shard; again, elsewhere perhaps, those that could not answer for now.
    async fn ask_partitions<R: Request, E: PartitionAnswer + Default + Clone>(
        &self,
        wanted: &[(&str, u32)],
        build: impl Fn(&[(usize, TopicId)]) -> R,
        entries: impl Fn(R::Answer) -> Vec<E>,
    ) -> Result<Vec<E>, ClientError> {
        let mut asked: Vec<Asked<'_>> =
            wanted.iter().map(|&(topic, partition)| Asked { topic, partition, redirect: None }).collect();
        let mut answers = vec![E::default(); wanted.len()];
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        let mut rounds = Rounds::begin(&self.client);
        loop {
            let (mut error, mut is_leaders) = (None, true);
            let mut by_address: BTreeMap<Address, Vec<(usize, TopicId)>> = BTreeMap::new();
            let mut left = Vec::new();
            for index in open {
                // It has waited for an answer as long as one may; to wait again for each of the rest helps nobody.
                if error.is_some() {
                    left.push(index);
                    continue;
                }
                match self.locate(&asked[index]).await {
                    Ok((id, address)) => by_address.entry(address).or_default().push((index, id)),
                    Err(e) => {
                        left.push(index);
                        (error, is_leaders) = (Some(e), false);
                    }
                }
            }
            for (address, all) in by_address {
                for of in all.chunks(PARTITIONS_PER_REQUEST_MAX) {
                    let answered = self.call(&address, &build(of), rounds.patience()).await;
                    let answered = answered.map(&entries).and_then(|got| right_count(got, of.len(), &address));
                    let got = match answered {
                        Ok(got) => got,
                        Err(e) => {
                            left.extend(of.iter().map(|o| o.0));
                            of.iter().for_each(|o| asked[o.0].redirect = None);
                            (error, is_leaders) = (Some(e), true);
                            continue;
                        }
                    };
                    for (&(index, _), entry) in of.iter().zip(got) {
                        let (code, text, redirect) = entry.status();
                        match check(code, text) {
                            Ok(()) => answers[index] = entry,
                            Err(e) => {
                                asked[index].redirect = redirect.map(|a| Address::new(&a.host, a.port));
                                left.push(index);
                                (error, is_leaders) = (Some(e), true);
                            }
                        }
                    }
                }
            }
            let Some(error) = error else { return Ok(answers) };
            if is_leaders {
                rounds.again_at_leader(error).await?
            } else {
                rounds.again(error).await?
            }
            left.iter().for_each(|&index| self.client.outdate_topic(wanted[index].0));
            open = left;
        }
    }
}

fn right_count<E>(got: Vec<E>, count: usize, address: &Address) -> Result<Vec<E>, ClientError> {
    if got.len() == count {
        return Ok(got);
    }
    Err(ClientError::Protocol {
        address: address.to_string(),
        text: format!("it answered {} partitions instead of {count}", got.len()),
    })
}
