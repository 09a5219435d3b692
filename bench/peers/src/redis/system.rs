//! A Redis server as a system of the generator.

use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, RedisError, cmd};
use sluice_bench::BenchError;
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::process::Process;
use sluice_bench::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};

use super::Redis;
use super::producer::RedisProducer;
use super::reader::RedisReader;
use crate::peer::Peer;

/// Deleting a gigabyte takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
const KEYS_PER_COMMAND: usize = 500;

pub(super) struct RedisSystem {
    name: String,
    port: u16,
    process: Process,
    control: Connection,
}

impl RedisSystem {
    /// # Errors While the server does not answer.
    pub(super) fn connect(port: u16, flush: Flush, process: Process) -> Result<Self, BenchError> {
        let mut control = connect(port)?;
        ask::<String>(&mut control, &["PING"])?;
        Ok(Self { name: system_name(Redis.name(), flush), port, process, control })
    }

    /// Makes the append-only file as short as what is kept, which is nothing.
    fn shorten_file(&mut self) -> Result<(), BenchError> {
        ask::<String>(&mut self.control, &["BGREWRITEAOF"])?;
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let info: String = ask(&mut self.control, &["INFO", "persistence"])?;
            let is_over = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"].iter().all(|line| info.contains(line));
            if is_over {
                return Ok(());
            }
            if Instant::now() > give_up_at {
                return Err(BenchError::protocol("Redis does not end the rewriting of its append-only file"));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl System for RedisSystem {
    fn name(&self) -> &str {
        &self.name
    }

    /// A stream is there with its first entry: nothing has to be made.
    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        ask::<String>(&mut self.control, &["PING"])?;
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        let streams: Vec<String> = (0..topic.partition_count).map(|partition| stream_of(&topic.name, partition)).collect();
        for some in streams.chunks(KEYS_PER_COMMAND) {
            let words: Vec<&str> = std::iter::once("DEL").chain(some.iter().map(String::as_str)).collect();
            ask::<u64>(&mut self.control, &words)?;
        }
        self.shorten_file()?;
        ask::<String>(&mut self.control, &["MEMORY", "PURGE"]).map(|_| ())
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(RedisProducer::open(self.port, topic, plan)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Ok(Box::new(RedisReader::open(self.port, topic, plan)?))
    }

    fn processes(&self) -> Vec<Process> {
        vec![self.process]
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.process.settle().map_err(BenchError::io("the server's processor time"))
    }
}

/// The stream of a partition.
pub(super) fn stream_of(topic: &str, partition: u32) -> String {
    format!("{topic}:{partition}")
}

pub(super) fn connect(port: u16) -> Result<Connection, BenchError> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/?protocol=resp2"));
    let connection = client.and_then(|client| {
        let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    });
    connection.map_err(|error| refused("a connection", &error))
}

pub(super) fn refused(what: &str, error: &RedisError) -> BenchError {
    BenchError::protocol(format!("Redis, {what}: {error}"))
}

fn ask<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> Result<T, BenchError> {
    let mut command = cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    command.query(connection).map_err(|error| refused(words[0], &error))
}
