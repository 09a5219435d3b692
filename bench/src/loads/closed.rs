//! The two closed loops: one record at a time, and one record to each of 64 partitions at once.
//!
//! Client and broker sleep while they wait. One request (per shard) is outstanding: the latency is that of an idle broker,
//! not of one under load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sluice_model::ids::TopicPartition;
use sluice_protocol::Api;

use crate::broker::BenchTopic;
use crate::closed_loop::closed_loop;
use crate::connection::{Connection, Produced};
use crate::error::BenchError;
use crate::load::{Stop, SystemWatch, thread_cpu_time, unused_name};
use crate::measurement::{Acknowledged, Measurement};
use crate::payload::{BatchShape, PreparedProduce};
use crate::sluice::SluiceSystem;
use crate::system::System;
use crate::workload::ClosedLoad;

/// One record to each partition of a topic goes out at once, in one request per shard; a sample ends when the last is
/// acknowledged.
pub fn measure_closed(system: &mut SluiceSystem, name: &str, load: &ClosedLoad, stop: &Stop) -> Result<Measurement, BenchError> {
    let topic = system.broker.create_topic(&unused_name(name), load.partition_count)?;
    let measured = measure(system, &topic, load, stop);
    // After a failed measurement the broker may be gone: the failure is what matters.
    let deleted = system.broker.delete_topic(&topic);
    measured.and_then(|value| deleted.map(|()| value))
}

fn measure(system: &mut SluiceSystem, topic: &BenchTopic, load: &ClosedLoad, stop: &Stop) -> Result<Measurement, BenchError> {
    let mut lanes = connect_shards(topic, load.value_len)?;
    system.begin_stages()?;
    let watch = SystemWatch::begin(system)?;
    let mut acknowledged = Acknowledged::default();
    let mut refusals = Refusals::default();
    let cpu_before = thread_cpu_time();
    let begun_at = Instant::now();
    let figures = closed_loop(Duration::from_secs_f64(load.seconds), || {
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        exchange(&mut lanes, &mut refusals)?;
        lanes.iter().for_each(|lane| acknowledged.add(&lane.produce));
        Ok::<_, BenchError>(())
    })?;
    let used = thread_cpu_time().saturating_sub(cpu_before);
    Ok(Measurement {
        reached_per_s: Some(figures.per_s()),
        latencies: Some(figures.latencies),
        generator_cpu_percent: Some(100.0 * used.as_secs_f64() / begun_at.elapsed().as_secs_f64().max(1e-9)),
        refused_count: refusals.count,
        refused_because: refusals.because,
        stages: system.stages()?,
        broker: watch.finish(system, acknowledged)?,
        ..Measurement::default()
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

fn connect_shards(topic: &BenchTopic, value_len: usize) -> Result<Vec<Lane>, BenchError> {
    let mut shards: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    for (id, address) in &topic.partitions {
        shards.entry(address).or_default().push(*id);
    }
    let connect = |(address, ids): (&str, Vec<TopicPartition>)| {
        let connection = Connection::open(address)?;
        let produce = PreparedProduce::new(&ids, BatchShape { record_count: 1, value_len }, connection.version(Api::Produce)?)?;
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
