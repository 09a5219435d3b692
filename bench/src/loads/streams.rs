//! Bulk: batches of 1 KiB records over two partitions, as fast as they are acknowledged.

use std::time::Duration;

use sluice_protocol::Api;

use super::with_topic;
use crate::broker::{BenchTopic, Broker};
use crate::connection::Connection;
use crate::error::BenchError;
use crate::measurement::{BrokerWatch, Measurement};
use crate::payload::PreparedProduce;
use crate::pipelined::{PipelineFigures, PipelinePlan, PipelineWorker, run_pipelines};

const PARTITION_COUNT: u32 = 2;
/// A batch of a little under 256 KiB: it fits one commit group with its headers.
const RECORDS_PER_BATCH: u32 = 250;
/// As many as the native client keeps in flight per partition.
pub(super) const WINDOW: usize = 5;
const WARM_UP_SHARE: u32 = 10;

/// Values of acknowledged records per second, flushed, with five batches in flight on each of two partitions.
pub fn measure_bulk(broker: &Broker, duration: Duration) -> Result<Measurement, BenchError> {
    with_topic(broker, "bulk", PARTITION_COUNT, |topic| measure_pipelines(broker, topic, WINDOW, duration))
}

/// One connection and `window` batches in flight for each partition of the topic.
pub(super) fn measure_pipelines(
    broker: &Broker,
    topic: &BenchTopic,
    window: usize,
    duration: Duration,
) -> Result<Measurement, BenchError> {
    let workers = workers(topic)?;
    let watch = BrokerWatch::begin(broker)?;
    let plan = PipelinePlan { window, warm_up: duration / WARM_UP_SHARE, duration, value_len_max: u64::MAX };
    let figures = run_pipelines(workers, plan)?;
    let broker_figures = watch.finish(broker, figures.total)?;
    Ok(Measurement { broker: broker_figures, ..rates(&figures, duration) })
}

fn workers(topic: &BenchTopic) -> Result<Vec<PipelineWorker>, BenchError> {
    let connect = |(id, address): &(_, String)| {
        let connection = Connection::open(address)?;
        let produce = PreparedProduce::new(&[*id], RECORDS_PER_BATCH, connection.version(Api::Produce)?)?;
        Ok(PipelineWorker { connection, produce })
    };
    topic.partitions.iter().map(connect).collect()
}

fn rates(figures: &PipelineFigures, duration: Duration) -> Measurement {
    let seconds = duration.as_secs_f64();
    Measurement {
        latencies: Some(figures.latencies.clone()),
        reached_per_s: Some(figures.counted.record_count as f64 / seconds),
        throughput_mb_s: Some(figures.counted.value_len as f64 / 1e6 / seconds),
        refused_count: figures.refused_count,
        refused_because: figures.refused_because.clone(),
        ..Measurement::default()
    }
}
