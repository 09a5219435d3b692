//! Reads through the client: one consumer, its batches taken as a program's loop would take them.

use std::time::Instant;

use sluice_client::{Assignment, Client, Consumer, ConsumerConfig, RecordBatch, StartAt};
use tokio::runtime::Handle;

use crate::error::BenchError;
use crate::system::{ReadBatch, ReadPlan, Reader, Topic};

/// Batches taken between two looks at the clock.
const BATCHES_MAX: usize = 16;

pub(super) struct ClientReader {
    runtime: Handle,
    consumer: Consumer,
}

impl ClientReader {
    pub(super) fn open(runtime: &Handle, client: Client, topic: &Topic, plan: &ReadPlan) -> Result<Self, BenchError> {
        let assignment = |&partition: &u32| Assignment { topic: topic.name.clone(), partition, start: StartAt::Beginning };
        let assignments: Vec<Assignment> = plan.partitions.iter().map(assignment).collect();
        let consumer = runtime.block_on(async {
            let consumer = Consumer::new(client, ConsumerConfig::default())?;
            consumer.assign(&assignments).await.map(|()| consumer)
        });
        Ok(Self { runtime: runtime.clone(), consumer: consumer.map_err(BenchError::protocol)? })
    }
}

impl Reader for ClientReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        let left = until.saturating_duration_since(Instant::now());
        let first = self.runtime.block_on(self.consumer.poll(left)).map_err(BenchError::protocol)?;
        let Some(first) = first else { return Ok(()) };
        add(&first, seen);
        for _ in 1..BATCHES_MAX {
            let Some(batch) = self.consumer.try_poll().map_err(BenchError::protocol)? else { break };
            add(&batch, seen);
        }
        Ok(())
    }
}

fn add(batch: &RecordBatch, seen: &mut ReadBatch) {
    batch.records().for_each(|record| seen.add(record.value.unwrap_or_default()));
}
