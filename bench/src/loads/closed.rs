//! The two closed loops: one record at a time, and one record to each of 64 partitions at once.
//!
//! Client and broker sleep while they wait. One request (per shard) is outstanding: the latency is that of an idle broker,
//! not of one under load.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_model::ids::TopicPartition;
use sluice_protocol::Api;

use super::with_topic;
use crate::broker::{BenchTopic, Broker};
use crate::closed_loop::closed_loop;
use crate::connection::{Connection, Produced};
use crate::error::BenchError;
use crate::measurement::{Acknowledged, BrokerWatch, Measurement};
use crate::payload::PreparedProduce;

const PARTITION_COUNT: u32 = 64;

/// One 1 KiB record, acknowledged, then the next.
pub fn measure_single_record(broker: &Broker, duration: Duration) -> Result<Measurement, BenchError> {
    measure(broker, "single-record", 1, duration)
}

/// One 1 KiB record for each of 64 partitions goes out at once, in one request per shard; a sample ends when the last is
/// acknowledged.
pub fn measure_partitions_64(broker: &Broker, duration: Duration) -> Result<Measurement, BenchError> {
    measure(broker, "partitions-64", PARTITION_COUNT, duration)
}

fn measure(broker: &Broker, name: &str, partition_count: u32, duration: Duration) -> Result<Measurement, BenchError> {
    with_topic(broker, name, partition_count, |topic| {
        let mut lanes = connect_shards(topic)?;
        let watch = BrokerWatch::begin(broker)?;
        let mut acknowledged = Acknowledged::default();
        let mut refusals = Refusals::default();
        let figures = closed_loop(duration, || {
            exchange(&mut lanes, &mut refusals)?;
            lanes.iter().for_each(|lane| acknowledged.add(&lane.produce));
            Ok::<_, BenchError>(())
        })?;
        Ok(Measurement {
            latencies: Some(figures.latencies.clone()),
            reached_per_s: Some(figures.per_s()),
            refused_count: refusals.count,
            refused_because: refusals.because,
            broker: watch.finish(broker, acknowledged)?,
            ..Measurement::default()
        })
    })
}

/// A shard with the request that holds a record for each of its partitions.
struct Lane {
    connection: Connection,
    produce: PreparedProduce,
}

#[derive(Default)]
struct Refusals {
    count: u64,
    because: Option<String>,
}

fn connect_shards(topic: &BenchTopic) -> Result<Vec<Lane>, BenchError> {
    let mut shards: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    for (id, address) in &topic.partitions {
        shards.entry(address).or_default().push(*id);
    }
    let connect = |(address, ids): (&str, Vec<TopicPartition>)| {
        let connection = Connection::open(address)?;
        let produce = PreparedProduce::new(&ids, 1, connection.version(Api::Produce)?)?;
        Ok(Lane { connection, produce })
    };
    shards.into_iter().map(connect).collect()
}

/// Sends every lane's request, then waits for all answers. A refused one is counted and sent again, within the same sample.
fn exchange(lanes: &mut [Lane], refusals: &mut Refusals) -> Result<(), BenchError> {
    for lane in lanes.iter_mut() {
        lane.connection.send_produce(&mut lane.produce)?;
    }
    for lane in lanes {
        while let (_, Produced::Later { retry_after, reason }) = lane.connection.receive_produced()? {
            refusals.count += 1;
            refusals.because = Some(reason);
            std::thread::sleep(retry_after);
            lane.connection.send_produce(&mut lane.produce)?;
        }
    }
    Ok(())
}
