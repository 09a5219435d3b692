//! A NATS server as a system of the generator.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, StorageType};
use sluice_bench::BenchError;
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::process::Process;
use sluice_bench::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};
use tokio::runtime::Runtime;

use super::Nats;
use super::producer::NatsProducer;
use super::reader::NatsReader;
use crate::peer::Peer;

/// More partitions than this are subjects of one stream.
const STREAMS_MAX: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that wait for the connection's task: more than a lane has in flight.
const COMMANDS_MAX: usize = 16 * 1024;

pub(super) struct NatsSystem {
    name: String,
    port: u16,
    process: Process,
}

impl NatsSystem {
    pub(super) fn new(port: u16, flush: Flush, process: Process) -> Self {
        Self { name: system_name(Nats.name(), flush), port, process }
    }

    /// # Errors While JetStream does not answer.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        self.control(async |jetstream| jetstream.query_account().await.map(|_| ()).map_err(|error| refused("JetStream", error)))
    }

    /// Does something over a connection made for it: nobody would answer the server's pings on one that is kept.
    fn control<T>(&self, work: impl AsyncFnOnce(Context) -> Result<T, BenchError>) -> Result<T, BenchError> {
        let runtime = runtime()?;
        runtime.block_on(async {
            let mut jetstream = async_nats::jetstream::new(connect(self.port).await?);
            jetstream.set_timeout(PATIENCE);
            work(jetstream).await
        })
    }
}

impl System for NatsSystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        let topic = Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks };
        self.control(async |jetstream| {
            for stream in streams_of(&topic) {
                let config = Config {
                    name: stream.name.clone(),
                    subjects: vec![stream.subjects],
                    storage: StorageType::File,
                    num_replicas: 1,
                    ..Config::default()
                };
                jetstream.create_stream(config).await.map_err(|error| refused(&stream.name, error))?;
            }
            Ok(())
        })?;
        Ok(topic)
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        self.control(async |jetstream| {
            for stream in streams_of(topic) {
                jetstream.delete_stream(&stream.name).await.map_err(|error| refused(&stream.name, error))?;
            }
            Ok(())
        })
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(NatsProducer::open(self.port, topic, plan)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Ok(Box::new(NatsReader::open(self.port, topic, plan)?))
    }

    fn processes(&self) -> Vec<Process> {
        vec![self.process]
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.process.settle().map_err(BenchError::io("the server's processor time"))
    }
}

/// A stream of a topic.
pub(super) struct TopicStream {
    pub name: String,
    /// What it takes: one subject, or those of all partitions.
    pub subjects: String,
    /// The partition it is, when it is but one.
    pub partition: Option<u32>,
}

pub(super) fn streams_of(topic: &Topic) -> Vec<TopicStream> {
    // A dot divides subjects and is in no stream's name.
    let name = topic.name.replace('.', "_");
    if topic.partition_count > STREAMS_MAX {
        return vec![TopicStream { subjects: format!("{name}.*"), name, partition: None }];
    }
    let one = |partition| TopicStream {
        name: format!("{name}-{partition}"),
        subjects: subject_of(topic, partition),
        partition: Some(partition),
    };
    (0..topic.partition_count).map(one).collect()
}

pub(super) fn subject_of(topic: &Topic, partition: u32) -> String {
    format!("{}.{partition}", topic.name.replace('.', "_"))
}

/// Of one thread, which is the lane's own: it runs while the lane waits, and the lane waits for nothing else.
pub(super) fn runtime() -> Result<Runtime, BenchError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("a runtime"))
}

pub(super) async fn connect(port: u16) -> Result<Client, BenchError> {
    let options = async_nats::ConnectOptions::new().client_capacity(COMMANDS_MAX).max_reconnects(1);
    let connected = options.connect(format!("nats://127.0.0.1:{port}")).await;
    connected.map_err(|error| refused("a connection", error))
}

pub(super) fn refused(what: &str, error: impl std::fmt::Display) -> BenchError {
    BenchError::protocol(format!("NATS, {what}: {error}"))
}
