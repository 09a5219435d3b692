//! A server as a system of the generator.

use std::collections::HashMap;
use std::sync::Arc;

use iggy::prelude::{
    CompressionAlgorithm, Identifier, IggyError, IggyExpiry, MaxTopicSize, StreamClient, TcpClient, TopicClient,
};
use sluice_bench::BenchError;
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::process::Process;
use sluice_bench::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};
use tokio::runtime::Runtime;

use super::client::{Access, connect, failed, runtime};
use super::producer::IggyProducer;
use super::reader::IggyReader;

/// Every topic of the benchmark is in this one.
pub(super) const STREAM: &str = "bench";

pub(super) struct IggySystem {
    name: String,
    access: Access,
    runtime: Runtime,
    client: Arc<TcpClient>,
    process: Option<Process>,
    /// By topic: the largest value in it.
    value_lens: HashMap<String, usize>,
}

impl IggySystem {
    /// # Errors When the server does not serve yet.
    pub(super) fn connect(address: &str, flush: Flush) -> Result<Self, BenchError> {
        let runtime = runtime()?;
        let first = Access::of_first_user(address);
        let (client, access) = runtime.block_on(async {
            let client = connect(&first).await?;
            match client.create_stream(STREAM).await {
                // An attempt before this one came so far.
                Ok(_) | Err(IggyError::StreamNameAlreadyExists(..)) => {}
                Err(error) => return Err(failed("making a stream")(error)),
            }
            let access = first.by_token(&client).await?;
            Ok::<_, BenchError>((client, access))
        })?;
        let name = system_name("iggy", flush);
        Ok(Self { name, access, runtime, client, process: None, value_lens: HashMap::new() })
    }

    pub(super) fn of_process(self, process: Process) -> Self {
        Self { process: Some(process), ..self }
    }
}

pub(super) fn named(name: &str) -> Result<Identifier, BenchError> {
    Identifier::named(name).map_err(failed("a name"))
}

impl System for IggySystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        let stream = named(STREAM)?;
        let (count, compression) = (plan.partition_count, CompressionAlgorithm::None);
        let (expiry, size) = (IggyExpiry::NeverExpire, MaxTopicSize::Unlimited);
        let made = self.client.create_topic(&stream, &plan.name, count, compression, None, expiry, size);
        let made = self.runtime.block_on(made);
        made.map_err(failed("making a topic"))?;
        self.value_lens.insert(plan.name.clone(), plan.value_len_max);
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        let (stream, name) = (named(STREAM)?, named(&topic.name)?);
        self.value_lens.remove(&topic.name);
        self.runtime.block_on(self.client.delete_topic(&stream, &name)).map_err(failed("deleting a topic"))
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(IggyProducer::open(&self.access, topic, plan)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        let value_len = self.value_lens.get(&topic.name).copied().unwrap_or(1);
        Ok(Box::new(IggyReader::open(&self.access, topic, plan, value_len)?))
    }

    fn processes(&self) -> Vec<Process> {
        self.process.into_iter().collect()
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.process.map_or(Ok(()), |process| process.settle().map_err(BenchError::io("the server's processor time")))
    }
}
