//! The broker that is measured: one started for the purpose from this very executable, or one given by address.
//!
//! How it is kept from being left running, `child` says.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sluice_model::ids::{PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{Api, CreateTopicRequest, DeleteTopicRequest, MetadataRequest, ShardAddress};

use crate::child::{ChildServer, log_lines};
use crate::connection::{Connection, Produced, refuse_error};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::payload::{BatchShape, PreparedProduce};
use crate::process::Process;

/// A broker that does not serve after this long has failed to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const START_POLL: Duration = Duration::from_millis(2);
const SETTLE_STEP: Duration = Duration::from_millis(250);
/// Below the range that kernels hand out to outgoing connections, so that none of them sits on a shard's port.
const PORT_FIRST: u16 = 17_400;
const PORT_LAST: u16 = 31_000;

/// Something that serves at an address.
#[derive(Debug)]
pub struct Broker {
    address: String,
    process: Option<Process>,
    child: Option<ChildServer>,
}

/// How to start a broker of our own, again and again on the same folder.
#[derive(Clone, Debug)]
pub struct OwnBrokerPlan {
    pub executable: PathBuf,
    pub data_dir: PathBuf,
    pub config: Option<PathBuf>,
    /// Whether its shards sleep; stands above what the settings file says.
    pub mode: WaitMode,
    pub log_path: PathBuf,
}

/// A topic made for one measurement.
#[derive(Clone, Debug)]
pub struct BenchTopic {
    pub name: String,
    /// Every partition with the address of the shard that owns it.
    pub partitions: Vec<(TopicPartition, String)>,
}

impl OwnBrokerPlan {
    /// Every line that brokers of this plan have written so far.
    pub fn log_lines(&self) -> Vec<String> {
        log_lines(&self.log_path)
    }
}

impl Broker {
    /// One that runs already. Without its process id there are no figures on processor time and memory.
    pub fn external(address: &str, process_id: Option<u32>) -> Self {
        Self { address: address.to_owned(), process: process_id.map(Process::new), child: None }
    }

    /// Starts a child and waits until it serves.
    pub fn start(plan: &OwnBrokerPlan) -> Result<Self, BenchError> {
        let address = format!("127.0.0.1:{}", free_ports()?);
        let mut command = Command::new(&plan.executable);
        command.arg("serve").arg("--data-dir").arg(&plan.data_dir).arg("--listen").arg(&address);
        if let Some(config) = &plan.config {
            command.arg("--config").arg(config);
        }
        command.arg("--set").arg(format!("busy_poll={}", plan.mode == WaitMode::Spinning));
        let child = ChildServer::start(command, &plan.log_path)?;
        let mut broker = Self { address, process: Some(child.process()), child: Some(child) };
        broker.wait_until_serving()?;
        Ok(broker)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn process(&self) -> Option<Process> {
        self.process
    }

    pub fn connect(&self) -> Result<Connection, BenchError> {
        Connection::open(&self.address)
    }

    /// kill -9, and waits until the process is gone. Does nothing to a broker that is not ours.
    pub fn kill(mut self) {
        self.child = None;
    }

    /// Makes a topic and finds out which shard owns each partition.
    pub fn create_topic(&self, name: &str, partition_count: u32) -> Result<BenchTopic, BenchError> {
        let mut connection = self.connect()?;
        let request =
            CreateTopicRequest { name: name.to_owned(), partitions: partition_count, replicas: None, settings: Vec::new() };
        let created = connection.call(&request)?;
        refuse_error(&format!("creating the topic {name}"), created.error, &created.text)?;
        self.find_topic(&mut connection, name)
    }

    pub fn delete_topic(&self, topic: &BenchTopic) -> Result<(), BenchError> {
        let deleted = self.connect()?.call(&DeleteTopicRequest { name: topic.name.clone() })?;
        refuse_error(&format!("deleting the topic {}", topic.name), deleted.error, &deleted.text)
    }

    /// Waits until the broker has finished what the last load left behind, 15 seconds at most: the next measurement begins
    /// on a quiet device.
    pub fn settle(&self) -> Result<(), BenchError> {
        let Some(process) = self.process else {
            std::thread::sleep(SETTLE_STEP);
            return Ok(());
        };
        process.settle().map_err(BenchError::io("the broker's processor time"))
    }

    /// Explains a failed measurement: when our broker has ended, that is the reason, and its log says more.
    pub fn explain(&mut self, error: BenchError) -> BenchError {
        match &mut self.child {
            Some(child) => child.explain(error),
            None => error,
        }
    }

    pub fn find_topic(&self, connection: &mut Connection, name: &str) -> Result<BenchTopic, BenchError> {
        let request = MetadataRequest { topics: Some(vec![name.to_owned()]), after: None };
        let metadata = connection.call(&request)?;
        refuse_error("Metadata", metadata.error, &metadata.text)?;
        let Some(topic) = metadata.topics.iter().find(|topic| topic.name == name) else {
            return Err(BenchError::protocol(format!("the topic {name} is not in the metadata")));
        };
        refuse_error(&format!("the topic {name}"), topic.error, &topic.text)?;
        let locate = |partition: &sluice_protocol::PartitionMetadata| {
            let owner = |shard: &&ShardAddress| Some(shard.broker_id) == partition.leader && shard.shard == partition.shard;
            let address = metadata.shards.iter().find(owner);
            let id = TopicPartition { topic_id: TopicId(topic.topic_id), partition: PartitionIndex(partition.partition) };
            match address {
                Some(address) => Ok((id, format!("{}:{}", address.host, address.port))),
                None => Err(BenchError::protocol(format!("partition {id} has no leader"))),
            }
        };
        let partitions = topic.partitions.iter().map(locate).collect::<Result<_, _>>()?;
        Ok(BenchTopic { name: name.to_owned(), partitions })
    }

    /// Waits until a record is acknowledged: a broker listens before it has opened its shards, and refuses until then.
    pub fn wait_until_ready(&mut self) -> Result<(), BenchError> {
        let give_up_at = Instant::now() + START_TIMEOUT;
        let mut topic = None;
        loop {
            match self.produce_one(&mut topic) {
                Ok(()) => return Ok(()),
                Err(error) => match self.explain(error) {
                    BenchError::Connection { .. } | BenchError::Refused { .. } if Instant::now() < give_up_at => {
                        std::thread::sleep(START_POLL);
                    }
                    error => return Err(error),
                },
            }
        }
    }

    fn produce_one(&self, topic: &mut Option<BenchTopic>) -> Result<(), BenchError> {
        let made = match topic.take() {
            Some(made) => made,
            None => self.create_topic(&format!("bench-ready-{}", std::process::id()), 1)?,
        };
        let (id, address) = &topic.insert(made).partitions[0];
        let mut connection = Connection::open(address)?;
        let shape = BatchShape { record_count: 1, value_len: 8 };
        let mut produce = PreparedProduce::new(&[*id], shape, connection.version(Api::Produce)?)?;
        connection.send_produce(&mut produce)?;
        while let (_, Produced::Later { retry_after, .. }) = connection.receive_produced()? {
            std::thread::sleep(retry_after);
            connection.send_produce(&mut produce)?;
        }
        topic.take().map_or(Ok(()), |made| self.delete_topic(&made))
    }

    fn wait_until_serving(&mut self) -> Result<(), BenchError> {
        let give_up_at = Instant::now() + START_TIMEOUT;
        loop {
            match self.connect() {
                Ok(_) => return Ok(()),
                Err(error) => match self.explain(error) {
                    BenchError::Connection { .. } | BenchError::Refused { .. } if Instant::now() < give_up_at => {
                        std::thread::sleep(START_POLL);
                    }
                    error => return Err(error),
                },
            }
        }
    }
}

/// The first of as many free ports in a row as a broker may have shards here.
fn free_ports() -> Result<u16, BenchError> {
    let count = u16::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1024).min(1024);
    let range = PORT_LAST - PORT_FIRST;
    // Different processes begin at different places, so that two benchmarks seldom try the same ports.
    let begin = u16::try_from(std::process::id() % u32::from(range)).unwrap_or(0);
    let candidates = (0..range).step_by(usize::from(count)).map(|step| PORT_FIRST + (begin + step) % range);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    candidates.into_iter().find(|&first| (first..first + count).all(is_free)).ok_or_else(|| BenchError::Option {
        problem: format!("no {count} free ports in a row between {PORT_FIRST} and {PORT_LAST}"),
    })
}
