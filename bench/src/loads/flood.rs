//! Flood: more than the broker takes, from 64 connections at once. The question is its memory, and that it answers.

use std::time::Duration;

use super::streams::measure_pipelines;
use super::with_topic;
use crate::broker::Broker;
use crate::error::BenchError;
use crate::measurement::Measurement;

const PARTITION_COUNT: u32 = 64;
/// With a quarter of a megabyte each, 130 MB are on their way at any time.
const WINDOW: usize = 8;

/// The broker's memory, at its peak and afterwards, while 64 connections offer batches faster than any device flushes them.
pub fn measure_flood(broker: &Broker, duration: Duration) -> Result<Measurement, BenchError> {
    with_topic(broker, "flood", PARTITION_COUNT, |topic| measure_pipelines(broker, topic, WINDOW, duration))
}
