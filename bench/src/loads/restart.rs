//! Restart: kill -9 while every partition is written to, with a large log, then the time until all of them serve again.
//!
//! Two times are taken from the start of the new process: until it answers a connection, and until every partition has
//! acknowledged a record (acks=all, flushed) and given its first one, which lies on the disk. The log stays from round to
//! round and grows a little in each. Absent: any check of what survived; that is a test's, not a benchmark's.

use std::time::{Duration, Instant};

use sluice_model::TopicPartition;
use sluice_protocol::{Api, FetchPartition, FetchRequest, ListOffsetsPartition, ListOffsetsRequest, TIMESTAMP_BEGINNING};

use crate::broker::{BenchTopic, Broker, OwnBrokerPlan};
use crate::connection::{Connection, Produced, refuse_error};
use crate::error::BenchError;
use crate::load::unused_name;
use crate::measurement::Measurement;
use crate::payload::{BatchShape, PreparedProduce};
use crate::pipelined::{PipelinePlan, PipelineWorker, run_pipelines};

/// The log is written at any pace; only hours without an end are a failure.
const FILL_DURATION_MAX: Duration = Duration::from_secs(3 * 3600);
const SERVE_TIMEOUT: Duration = Duration::from_secs(300);
const SERVE_POLL: Duration = Duration::from_millis(2);
const RECORD_LEN: usize = 1024;
/// Requests in flight on each connection.
const WINDOW: usize = 5;
/// Connections to each shard, each with its share of the shard's partitions in every request.
const CONNECTIONS_PER_SHARD: usize = 8;
/// Records of one request, over all its partitions: a little under 256 KiB.
const RECORDS_PER_REQUEST: usize = 250;
/// Bytes of a frame beside its records' values, and of a record beside its value: more than there are.
const FRAME_OVERHEAD_LEN: usize = 1024;
const RECORD_OVERHEAD_LEN: usize = 64;
/// What an answer has besides frames: more than there is.
const ANSWER_LEN: u32 = 4096;

/// What is written before the first kill.
#[derive(Clone, Copy, Debug)]
pub struct RestartLog {
    pub value_len: u64,
    pub partition_count: u32,
}

/// A broker of its own on a folder of its own, with the log written.
#[derive(Debug)]
pub struct RestartScene {
    plan: OwnBrokerPlan,
    load_duration: Duration,
    broker: Option<Broker>,
    topic: BenchTopic,
}

/// Partitions that one request names, and where they are.
struct Share {
    address: String,
    ids: Vec<TopicPartition>,
}

impl RestartScene {
    /// Starts the broker and writes the log. Every round then loads it for `load_duration` before it is killed.
    pub fn prepare(plan: OwnBrokerPlan, log: RestartLog, load_duration: Duration) -> Result<Self, BenchError> {
        let mut broker = Broker::start(&plan)?;
        let filled = fill(&broker, log);
        let topic = filled.map_err(|error| broker.explain(error))?;
        Ok(Self { plan, load_duration, broker: Some(broker), topic })
    }

    /// Kills the broker under load and starts it again.
    pub fn measure(&mut self) -> Result<Measurement, BenchError> {
        let mut broker = match self.broker.take() {
            Some(broker) => broker,
            None => {
                let mut broker = Broker::start(&self.plan)?;
                let served = self.wait_until_served(&broker);
                served.map_err(|error| broker.explain(error))?;
                broker
            }
        };
        let workers = self.located(&broker).and_then(|topic| workers(&topic)).map_err(|error| broker.explain(error))?;
        let plan = PipelinePlan { window: WINDOW, warm_up: Duration::ZERO, duration: SERVE_TIMEOUT, value_len_max: u64::MAX };
        std::thread::scope(|scope| {
            // Its connections break when the broker is killed: that is how it ends.
            scope.spawn(move || run_pipelines(workers, plan));
            std::thread::sleep(self.load_duration);
            broker.kill();
        });
        let said_before = self.plan.log_lines();
        let started_at = Instant::now();
        let mut broker = Broker::start(&self.plan)?;
        let seconds_to_listen = Some(started_at.elapsed().as_secs_f64());
        let served = self.wait_until_served(&broker);
        served.map_err(|error| broker.explain(error))?;
        let seconds_to_serve = Some(started_at.elapsed().as_secs_f64());
        broker.settle()?;
        self.broker = Some(broker);
        let recoveries = recoveries(&self.plan.log_lines()[said_before.len()..]);
        Ok(Measurement { seconds_to_listen, seconds_to_serve, recoveries, ..Measurement::default() })
    }

    /// Ends the broker while something else is measured; the log stays.
    pub fn rest(&mut self) {
        self.broker = None;
    }

    /// The same topic at the present addresses: a started broker has other ports.
    fn located(&self, broker: &Broker) -> Result<BenchTopic, BenchError> {
        broker.find_topic(&mut broker.connect()?, &self.topic.name)
    }

    /// One record to every partition and one from it. Until the broker has opened a partition it refuses.
    fn wait_until_served(&self, broker: &Broker) -> Result<(), BenchError> {
        let give_up_at = Instant::now() + SERVE_TIMEOUT;
        let mut missing: Option<Vec<Share>> = None;
        loop {
            let error = match self.ask_missing(broker, &mut missing) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                BenchError::Refused { .. } | BenchError::Connection { .. } if Instant::now() < give_up_at => {
                    std::thread::sleep(SERVE_POLL);
                }
                error => return Err(error),
            }
        }
    }

    /// Asks every share that has not served yet; gives back the first refusal when some still do not.
    fn ask_missing(&self, broker: &Broker, missing: &mut Option<Vec<Share>>) -> Result<(), BenchError> {
        let shares = match missing.take() {
            Some(shares) => shares,
            None => shares(&self.located(broker)?),
        };
        let (mut left, mut refusal) = (Vec::new(), Ok(()));
        for share in shares {
            if let Err(error) = share.produce_and_fetch() {
                left.push(share);
                refusal = refusal.and(Err(error));
            }
        }
        *missing = Some(left);
        refusal
    }
}

fn fill(broker: &Broker, log: RestartLog) -> Result<BenchTopic, BenchError> {
    let topic = broker.create_topic(&unused_name("restart"), log.partition_count)?;
    if log.value_len > 0 {
        let workers = workers(&topic)?;
        let value_len_max = log.value_len.div_ceil(workers.len() as u64);
        let plan = PipelinePlan { window: WINDOW, warm_up: Duration::ZERO, duration: FILL_DURATION_MAX, value_len_max };
        run_pipelines(workers, plan)?;
    }
    Ok(topic)
}

/// One connection for each share; together they write to every partition.
fn workers(topic: &BenchTopic) -> Result<Vec<PipelineWorker>, BenchError> {
    let connect = |share: Share| {
        let connection = Connection::open(&share.address)?;
        let record_count = u32::try_from(share.records_per_batch()).unwrap_or(1);
        let produce = PreparedProduce::new(
            &share.ids,
            BatchShape { record_count, value_len: RECORD_LEN },
            connection.version(Api::Produce)?,
        )?;
        Ok(PipelineWorker { connection, produce })
    };
    shares(topic).into_iter().map(connect).collect()
}

/// The partitions by shard, those of each dealt out evenly.
fn shares(topic: &BenchTopic) -> Vec<Share> {
    let mut addresses: Vec<&String> = topic.partitions.iter().map(|(_, address)| address).collect();
    addresses.sort();
    addresses.dedup();
    let of_address = |address: &String| {
        let ids: Vec<TopicPartition> = topic.partitions.iter().filter(|(_, at)| at == address).map(|(id, _)| *id).collect();
        let per_share = ids.len().div_ceil(CONNECTIONS_PER_SHARD).clamp(1, RECORDS_PER_REQUEST);
        ids.chunks(per_share).map(|ids| Share { address: address.clone(), ids: ids.to_vec() }).collect::<Vec<_>>()
    };
    addresses.into_iter().flat_map(of_address).collect()
}

impl Share {
    fn records_per_batch(&self) -> usize {
        (RECORDS_PER_REQUEST / self.ids.len()).max(1)
    }

    /// No frame written here is longer, and asking for more would measure how reads are paced.
    fn frame_len_max(&self) -> u32 {
        let len = self.records_per_batch() * (RECORD_LEN + RECORD_OVERHEAD_LEN) + FRAME_OVERHEAD_LEN;
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    fn produce_and_fetch(&self) -> Result<(), BenchError> {
        let mut connection = Connection::open(&self.address)?;
        let mut produce = PreparedProduce::new(
            &self.ids,
            BatchShape { record_count: 1, value_len: RECORD_LEN },
            connection.version(Api::Produce)?,
        )?;
        connection.send_produce(&mut produce)?;
        while let (_, Produced::Later { retry_after, .. }) = connection.receive_produced()? {
            // Asked for more often than the broker says, so that the figure is the broker's and not this pause.
            std::thread::sleep(retry_after.min(SERVE_POLL));
            connection.send_produce(&mut produce)?;
        }
        let starts = self.log_starts(&mut connection)?;
        let len_max = self.frame_len_max();
        self.ids.iter().zip(starts).try_for_each(|(id, start)| fetch_one(&mut connection, *id, start, len_max))
    }

    fn log_starts(&self, connection: &mut Connection) -> Result<Vec<u64>, BenchError> {
        let partition = |id: &TopicPartition| ListOffsetsPartition {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            timestamp_ms: TIMESTAMP_BEGINNING,
        };
        let answer = connection.call(&ListOffsetsRequest { partitions: self.ids.iter().map(partition).collect() })?;
        let listed = answer.partitions.iter().map(|listed| {
            refuse_error("ListOffsets", listed.error, &listed.text)?;
            Ok(listed.offset)
        });
        listed.collect()
    }
}

fn fetch_one(connection: &mut Connection, id: TopicPartition, offset: u64, len_max: u32) -> Result<(), BenchError> {
    let partition = FetchPartition { topic_id: id.topic_id.0, partition: id.partition.0, leader_epoch: 0, offset, len_max };
    let request = FetchRequest { wait_ms_max: 0, len_min: 1, len_max: len_max + ANSWER_LEN, partitions: vec![partition] };
    let answer = connection.call(&request)?;
    let fetched = answer.partitions.first().ok_or_else(|| BenchError::protocol("a fetch of one partition answers none"))?;
    refuse_error("Fetch", fetched.error, &fetched.text)?;
    if fetched.frames_len == 0 {
        return Err(BenchError::protocol(format!("partition {id} has nothing at offset {offset}, where it begins")));
    }
    Ok(())
}

/// What the shards said they replayed: the end of each such line, from the shard's name on.
fn recoveries(lines: &[String]) -> Vec<String> {
    let said = lines.iter().filter(|line| line.contains("replayed from"));
    said.filter_map(|line| line.find("shard ").map(|at| line[at..].to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::{PartitionIndex, TopicId};

    #[test]
    fn every_partition_is_in_one_share_and_no_share_spans_shards() {
        let id = |partition| TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(partition) };
        let address = |partition: u32| format!("h:{}", partition % 2);
        let topic = BenchTopic { name: "t".to_owned(), partitions: (0..200).map(|p| (id(p), address(p))).collect() };
        let shares = shares(&topic);
        assert_eq!(shares.len(), 2 * 8, "a hundred partitions of each of two shards, thirteen at a time");
        let mut found: Vec<u32> = shares.iter().flat_map(|share| share.ids.iter().map(|id| id.partition.0)).collect();
        found.sort_unstable();
        assert_eq!(found, (0..200).collect::<Vec<_>>());
        assert!(shares.iter().all(|share| share.ids.iter().all(|id| address(id.partition.0) == share.address)));
    }

    #[test]
    fn what_a_shard_says_of_its_recovery_is_found_in_the_log() {
        let lines = ["2026-01-01T00:00:00Z  INFO shard 0: 3 entries (9 bytes) replayed from 2 journal groups", "INFO serving"];
        let lines = lines.map(str::to_owned);
        assert_eq!(recoveries(&lines), ["shard 0: 3 entries (9 bytes) replayed from 2 journal groups"]);
    }
}
