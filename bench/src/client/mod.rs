//! Sluice by way of its native client, as a user's program has it: tokio's threads, a callback for each record, the client's
//! own defaults. The broker is the one that the lean connections are measured on, so that the difference is the client's.
//!
//! The expensive mistake is a client whose processor time nobody counts: its runtime runs in this process, on threads that are
//! not the generator's, and `runtime` asks the kernel for theirs. A workload's window and longest batch do not apply: the client
//! batches by its own settings, and offers refused records again by itself.

mod producer;
mod reader;
mod runtime;

use std::time::Duration;

use sluice_client::{Client, ClientConfig, ConsumerConfig, ProducerConfig};

use crate::error::BenchError;
use crate::measurement::StageTimes;
use crate::process::Process;
use crate::sluice::SluiceSystem;
use crate::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};
use producer::ClientProducer;
use reader::ClientReader;
use runtime::ClientRuntime;

pub const NAME: &str = "sluice-client";

/// The client and its runtime, in front of a broker that another system looks after.
#[derive(Debug)]
pub struct ClientSystem<'a> {
    sluice: &'a mut SluiceSystem,
    runtime: ClientRuntime,
    /// Of the topic made last.
    value_len_max: usize,
}

impl<'a> ClientSystem<'a> {
    /// # Errors When the runtime's threads cannot be started.
    pub fn new(sluice: &'a mut SluiceSystem) -> Result<Self, BenchError> {
        let runtime = ClientRuntime::start().map_err(BenchError::io("the client's runtime"))?;
        Ok(Self { sluice, runtime, value_len_max: 0 })
    }

    fn connect(&self) -> Result<Client, BenchError> {
        let brokers = [self.sluice.broker.address().to_owned()];
        self.runtime.handle().block_on(Client::connect(&brokers, ClientConfig::default())).map_err(BenchError::protocol)
    }
}

/// What the client runs with, a line for each of its parts.
pub fn settings() -> String {
    let (client, producer, consumer) = (ClientConfig::default(), ProducerConfig::default(), ConsumerConfig::default());
    format!("# the client's defaults\n# {client:?}\n# {producer:?}\n# {consumer:?}\n")
}

impl System for ClientSystem<'_> {
    fn name(&self) -> &str {
        NAME
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        self.value_len_max = plan.value_len_max;
        self.sluice.create_topic(plan)
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        self.sluice.delete_topic(topic)
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        // Clients share connections with nobody: one for each of the lane's connections.
        let clients = (0..plan.connection_count).map(|_| self.connect()).collect::<Result<Vec<_>, _>>()?;
        let address = self.sluice.broker.address();
        Ok(Box::new(ClientProducer::open(self.runtime.handle(), clients, topic, plan, self.value_len_max, address)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Ok(Box::new(ClientReader::open(self.runtime.handle(), self.connect()?, topic, plan)?))
    }

    fn processes(&self) -> Vec<Process> {
        self.sluice.processes()
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.sluice.settle()
    }

    fn begin_stages(&mut self) -> Result<(), BenchError> {
        self.sluice.begin_stages()
    }

    fn stages(&mut self) -> Result<Vec<StageTimes>, BenchError> {
        self.sluice.stages()
    }

    fn client_cpu_time(&self) -> Duration {
        self.runtime.cpu_time()
    }

    fn settings(&self) -> String {
        self.sluice.settings() + &settings()
    }
}
