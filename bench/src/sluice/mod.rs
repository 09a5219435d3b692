//! Sluice as a system of the generator: lean connections that speak the native protocol, with none of the client library's
//! tasks between the clock and the socket.

mod producer;
mod reader;
mod stages;
mod wire;

use std::collections::HashMap;

use crate::broker::{BenchTopic, Broker};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::measurement::StageTimes;
use crate::process::Process;
use crate::system::{AcksAsked, LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};
use producer::SluiceProducer;
use reader::SluiceReader;
use sluice_protocol::{Acks, DescribeMetricsAnswer};

/// A broker, with the topics that were made on it.
#[derive(Debug)]
pub struct SluiceSystem {
    pub broker: Broker,
    /// How the generator's side waits; the broker was told at its start.
    pub(crate) mode: WaitMode,
    settings: String,
    topics: HashMap<String, BenchTopic>,
    /// What the shards had counted when a load began.
    metrics_before: Vec<DescribeMetricsAnswer>,
}

impl SluiceSystem {
    /// `settings` are the broker's, as text, as far as they are known.
    pub fn new(broker: Broker, settings: String) -> Self {
        Self { broker, mode: WaitMode::Asleep, settings, topics: HashMap::new(), metrics_before: Vec::new() }
    }

    #[must_use]
    pub fn with_mode(self, mode: WaitMode) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn topic(&self, topic: &Topic) -> Result<&BenchTopic, BenchError> {
        self.topics.get(&topic.name).ok_or_else(|| BenchError::protocol(format!("the topic {} was not made here", topic.name)))
    }
}

/// What an acknowledgement means, in one line, and whether it comes after a flush of the device.
pub(crate) fn acknowledgement(acks: AcksAsked) -> (&'static str, bool) {
    match acks {
        AcksAsked::All => ("flushed to the device on every in-sync replica (of one broker: on it)", true),
        AcksAsked::Leader => ("flushed to the device on the leader", true),
        AcksAsked::None => ("none: the socket has taken it, nothing more is known", false),
    }
}

impl System for SluiceSystem {
    fn name(&self) -> &str {
        "sluice"
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        let made = self.broker.create_topic(&plan.name, plan.partition_count)?;
        self.topics.insert(plan.name.clone(), made);
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        let Some(made) = self.topics.remove(&topic.name) else { return Ok(()) };
        self.broker.delete_topic(&made)
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        let acks = match topic.acks {
            AcksAsked::None => Acks::None,
            AcksAsked::Leader => Acks::Leader,
            AcksAsked::All => Acks::All,
        };
        Ok(Box::new(SluiceProducer::open(self.topic(topic)?, plan, acks, self.mode)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Ok(Box::new(SluiceReader::open(self.topic(topic)?, plan, self.mode)?))
    }

    fn processes(&self) -> Vec<Process> {
        self.broker.process().into_iter().collect()
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.broker.settle()
    }

    fn begin_stages(&mut self) -> Result<(), BenchError> {
        self.metrics_before = stages::ask(&self.broker)?;
        Ok(())
    }

    fn stages(&mut self) -> Result<Vec<StageTimes>, BenchError> {
        Ok(stages::between(&self.metrics_before, &stages::ask(&self.broker)?))
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }
}
