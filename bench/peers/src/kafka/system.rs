//! A broker as a system of the generator: topics, and what is left of them afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use sluice_bench::BenchError;
use sluice_bench::error::at;
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::process::Process;
use sluice_bench::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic, TopicPlan};

use super::client::{MESSAGE_LEN_MAX, Settings, ask_for_brokers, config, failed, led_partition_count, wait_for};
use super::producer::KafkaProducer;
use super::reader::KafkaReader;
use super::server_files::LOG_DIR;

/// A broker's default for the largest batch.
const BROKER_MESSAGE_LEN_MAX: usize = 1_048_588;
/// More than stands around a value in a batch of its own.
const BATCH_OVERHEAD_LEN: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// How many copies the broker's own setting says.
const REPLICAS_AS_SET: i32 = -1;

pub(super) struct KafkaSystem {
    name: String,
    address: String,
    /// What its topics are told of flushing.
    flush: Flush,
    /// Of a broker that was started here.
    own: Option<OwnBroker>,
}

struct OwnBroker {
    log_dir: PathBuf,
    process: Process,
}

impl KafkaSystem {
    /// On a broker that was started here.
    pub(super) fn own(address: String, data_dir: &Path, flush: Flush, process: Process) -> Self {
        let own = OwnBroker { log_dir: data_dir.join(LOG_DIR), process };
        Self { name: system_name("kafka", flush), address, flush, own: Some(own) }
    }

    /// On one that runs already, whose topics are as it makes them.
    pub(super) fn given(address: &str) -> Self {
        Self { name: format!("kafka@{address}"), address: address.to_owned(), flush: Flush::Later, own: None }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, BenchError> {
        config(&self.address, &Settings::new()).create().map_err(failed("an admin client"))
    }

    /// A broker that has ended answers no more, which librdkafka would wait a long time for.
    fn check_alive(&self) -> Result<(), BenchError> {
        match &self.own {
            Some(own) => own.process.memory().map(|_| ()).map_err(BenchError::io("the broker")),
            None => ask_for_brokers(&self.address),
        }
    }

    /// A topic is there when each of its partitions has a leader.
    fn wait_until_led(&self, plan: &TopicPlan) -> Result<(), BenchError> {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let led = led_partition_count(&self.address, &plan.name)?;
            if led == plan.partition_count as usize {
                return Ok(());
            }
            if Instant::now() > give_up_at {
                let all = plan.partition_count;
                return Err(BenchError::protocol(format!(
                    "{led} of {all} partitions have a leader after {} s",
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(POLL);
        }
    }

    /// A deleted log is renamed first, and removed by a thread that looks for such ones.
    fn wait_until_gone(&self, topic: &str) -> Result<(), BenchError> {
        // What another machine's broker does with its files is not seen from here.
        let Some(own) = &self.own else { return Ok(()) };
        let give_up_at = Instant::now() + PATIENCE;
        while let Some(left) = first_log_of(&own.log_dir, topic)? {
            if Instant::now() > give_up_at {
                let problem = format!("{left} of a deleted topic is still there after {} s", PATIENCE.as_secs());
                return Err(BenchError::protocol(problem));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Of a topic for values up to this length.
pub(super) fn topic_settings(flush: Flush, value_len_max: usize) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if flush == Flush::BeforeAck {
        settings.push(("flush.messages", "1".to_owned()));
    }
    if value_len_max + BATCH_OVERHEAD_LEN > BROKER_MESSAGE_LEN_MAX.min(super::client::BATCH_LEN) {
        settings.push(("max.message.bytes", MESSAGE_LEN_MAX.to_string()));
    }
    settings
}

/// Its logs are called `TOPIC-PARTITION`, and `TOPIC-PARTITION.ID-delete` once they are deleted.
fn first_log_of(log_dir: &Path, topic: &str) -> Result<Option<String>, BenchError> {
    let begin = format!("{topic}-");
    for entry in fs::read_dir(log_dir).map_err(at(log_dir))? {
        let name = entry.map_err(at(log_dir))?.file_name().to_string_lossy().into_owned();
        // The name may be cut off once it is deleted: the longest file name is 255 bytes.
        if name.starts_with(&begin) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

impl System for KafkaSystem {
    fn name(&self) -> &str {
        &self.name
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        self.check_alive()?;
        let partition_count = i32::try_from(plan.partition_count).map_err(BenchError::protocol)?;
        let settings = topic_settings(self.flush, plan.value_len_max);
        let replicas = if self.own.is_some() { 1 } else { REPLICAS_AS_SET };
        let mut new = NewTopic::new(&plan.name, partition_count, TopicReplication::Fixed(replicas));
        for (key, value) in &settings {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let made = wait_for(self.admin()?.create_topics([&new], &options)).map_err(failed("making a topic"))?;
        for result in made {
            result.map_err(|(name, code)| BenchError::protocol(format!("the topic {name} is refused: {code}")))?;
        }
        self.wait_until_led(plan)?;
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        self.check_alive()?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let gone = wait_for(self.admin()?.delete_topics(&[&topic.name], &options)).map_err(failed("deleting a topic"))?;
        for result in gone {
            result.map_err(|(name, code)| BenchError::protocol(format!("the topic {name} is not deleted: {code}")))?;
        }
        self.wait_until_gone(&topic.name)
    }

    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(KafkaProducer::open(&self.address, topic, plan)?))
    }

    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Ok(Box::new(KafkaReader::open(&self.address, topic, plan)?))
    }

    fn processes(&self) -> Vec<Process> {
        self.own.iter().map(|own| own.process).collect()
    }

    fn settle(&self) -> Result<(), BenchError> {
        self.own.iter().try_for_each(|own| own.process.settle().map_err(BenchError::io("the broker's processor time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_flushed_or_not_by_its_own_setting() {
        assert_eq!(topic_settings(Flush::BeforeAck, 1024), [("flush.messages", "1".to_owned())]);
        assert_eq!(topic_settings(Flush::Later, 1024), []);
        let large = topic_settings(Flush::Later, 1_000_000);
        assert_eq!(large, [("max.message.bytes", "2000000".to_owned())]);
    }

    #[test]
    fn a_deleted_topic_is_gone_when_its_logs_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("bench-bulk-1-0-3.0123456789abcdef-delete");
        fs::create_dir(&log).expect("a log");
        fs::create_dir(folder.path().join("bench-bulk-1-10-0")).expect("another topic's");
        let left = first_log_of(folder.path(), "bench-bulk-1-0").expect("it can be read");
        assert_eq!(left.as_deref(), Some("bench-bulk-1-0-3.0123456789abcdef-delete"));
        fs::remove_dir(&log).expect("it is empty");
        assert_eq!(first_log_of(folder.path(), "bench-bulk-1-0").expect("it can be read"), None);
    }
}
