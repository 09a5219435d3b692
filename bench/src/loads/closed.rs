//! The two closed loops over Sluice itself: one record at a time, and one record to each of 64 partitions at once.
//!
//! Client and broker both sleep while they wait, or both spin. One request (per shard) is outstanding: the latency is that
//! of an idle broker, not of one under load.

use std::collections::BTreeMap;

use sluice_model::ids::TopicPartition;
use sluice_protocol::Api;

use crate::broker::BenchTopic;
use crate::connection::{Connection, Produced};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::load::{Exchange, Refused, Stop, measure_exchange, on_fresh_topic};
use crate::measurement::Measurement;
use crate::payload::{BatchShape, PreparedProduce};
use crate::sluice::SluiceSystem;
use crate::workload::{ClosedLoad, Workload};

/// One record to each partition of a topic goes out at once, in one request per shard; a sample ends when the last is
/// acknowledged.
pub fn measure_closed(
    system: &mut SluiceSystem,
    workload: &Workload,
    load: &ClosedLoad,
    stop: &Stop,
) -> Result<Measurement, BenchError> {
    on_fresh_topic(system, workload, |system, topic| {
        let lanes = connect_shards(system.topic(topic)?, load.value_len, system.mode)?;
        let mut shards = Shards { lanes, refused: Refused::default() };
        measure_exchange(system, load, stop, &mut shards)
    })
}

/// Every shard that has a partition of the topic.
struct Shards {
    lanes: Vec<Lane>,
    refused: Refused,
}

/// A shard with the request that holds a record for each of its partitions.
struct Lane {
    connection: Connection,
    produce: PreparedProduce,
}

fn connect_shards(topic: &BenchTopic, value_len: usize, mode: WaitMode) -> Result<Vec<Lane>, BenchError> {
    let mut shards: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    for (id, address) in &topic.partitions {
        shards.entry(address).or_default().push(*id);
    }
    let connect = |(address, ids): (&str, Vec<TopicPartition>)| {
        let connection = Connection::open(address)?.with_mode(mode)?;
        let produce = PreparedProduce::new(&ids, BatchShape { record_count: 1, value_len }, connection.version(Api::Produce)?)?;
        Ok(Lane { connection, produce })
    };
    shards.into_iter().map(connect).collect()
}

impl Exchange for Shards {
    fn exchange(&mut self) -> Result<(), BenchError> {
        for lane in &mut self.lanes {
            lane.connection.send_produce(&mut lane.produce)?;
        }
        for lane in &mut self.lanes {
            while let (_, Produced::Later { retry_after, reason }) = lane.connection.receive_produced()? {
                self.refused.count += 1;
                self.refused.because = Some(reason);
                std::thread::sleep(retry_after);
                lane.connection.send_produce(&mut lane.produce)?;
            }
        }
        Ok(())
    }

    fn refused(&mut self) -> &mut Refused {
        &mut self.refused
    }
}
