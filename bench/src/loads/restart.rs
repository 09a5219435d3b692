//! Restart: kill -9 under load with a large log, then the time until a record is acknowledged again.
//!
//! The log stays from round to round and grows a little in each. Absent: any check of what survived; that is a test's, not a
//! benchmark's.

use std::time::{Duration, Instant};

use sluice_protocol::Api;

use super::streams::{WINDOW, workers};
use super::unused_name;
use crate::broker::{BenchTopic, Broker, OwnBrokerPlan};
use crate::connection::{Connection, Produced};
use crate::error::BenchError;
use crate::measurement::Measurement;
use crate::payload::PreparedProduce;
use crate::pipelined::{PipelinePlan, run_pipelines};

const PARTITION_COUNT: u32 = 2;
/// The log is written at any pace; only an hour without an end is a failure.
const FILL_DURATION_MAX: Duration = Duration::from_secs(3600);
/// How long a round loads the broker before it is killed.
const LOAD_DURATION: Duration = Duration::from_millis(500);
const SERVE_TIMEOUT: Duration = Duration::from_secs(300);
const SERVE_POLL: Duration = Duration::from_millis(2);

/// A broker of its own on a folder of its own, with the log written.
#[derive(Debug)]
pub struct RestartScene {
    plan: OwnBrokerPlan,
    broker: Option<Broker>,
    topic: BenchTopic,
}

impl RestartScene {
    /// Starts the broker and writes `value_len` bytes of records.
    pub fn prepare(plan: OwnBrokerPlan, value_len: u64) -> Result<Self, BenchError> {
        let mut broker = Broker::start(&plan)?;
        let filled = fill(&broker, value_len);
        let topic = filled.map_err(|error| broker.explain(error))?;
        Ok(Self { plan, broker: Some(broker), topic })
    }

    /// Kills the broker under load and starts it again.
    pub fn measure(&mut self) -> Result<Measurement, BenchError> {
        let Some(mut broker) = self.broker.take() else {
            return Err(BenchError::BrokerEnded {
                problem: "did not come back in an earlier round".to_owned(),
                log: String::new(),
            });
        };
        let workers = self.located(&broker).and_then(|topic| workers(&topic)).map_err(|error| broker.explain(error))?;
        let plan = PipelinePlan { window: WINDOW, warm_up: Duration::ZERO, duration: SERVE_TIMEOUT, value_len_max: u64::MAX };
        std::thread::scope(|scope| {
            // Its connections break when the broker is killed: that is how it ends.
            scope.spawn(move || run_pipelines(workers, plan));
            std::thread::sleep(LOAD_DURATION);
            broker.kill();
        });
        let started_at = Instant::now();
        let mut broker = Broker::start(&self.plan)?;
        let served = self.wait_until_acknowledged(&broker);
        served.map_err(|error| broker.explain(error))?;
        let seconds_to_serve = Some(started_at.elapsed().as_secs_f64());
        broker.settle()?;
        self.broker = Some(broker);
        Ok(Measurement { seconds_to_serve, ..Measurement::default() })
    }

    /// The same topic at the present addresses: a started broker has other ports.
    fn located(&self, broker: &Broker) -> Result<BenchTopic, BenchError> {
        broker.find_topic(&mut broker.connect()?, &self.topic.name)
    }

    /// One record to every partition. Until the broker has opened them all it may refuse.
    fn wait_until_acknowledged(&self, broker: &Broker) -> Result<(), BenchError> {
        let give_up_at = Instant::now() + SERVE_TIMEOUT;
        loop {
            match self.located(broker).and_then(|topic| produce_to_all(&topic)) {
                Ok(()) => return Ok(()),
                Err(BenchError::Refused { .. } | BenchError::Connection { .. }) if Instant::now() < give_up_at => {
                    std::thread::sleep(SERVE_POLL);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn fill(broker: &Broker, value_len: u64) -> Result<BenchTopic, BenchError> {
    let topic = broker.create_topic(&unused_name("restart"), PARTITION_COUNT)?;
    if value_len > 0 {
        let value_len_max = value_len.div_ceil(u64::from(PARTITION_COUNT));
        let plan = PipelinePlan { window: WINDOW, warm_up: Duration::ZERO, duration: FILL_DURATION_MAX, value_len_max };
        run_pipelines(workers(&topic)?, plan)?;
    }
    Ok(topic)
}

fn produce_to_all(topic: &BenchTopic) -> Result<(), BenchError> {
    for (id, address) in &topic.partitions {
        let mut connection = Connection::open(address)?;
        let mut produce = PreparedProduce::new(&[*id], 1, connection.version(Api::Produce)?)?;
        connection.send_produce(&mut produce)?;
        while let (_, Produced::Later { retry_after, .. }) = connection.receive_produced()? {
            std::thread::sleep(retry_after);
            connection.send_produce(&mut produce)?;
        }
    }
    Ok(())
}
