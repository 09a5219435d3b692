//! Pull consumers without acknowledgements, each with batches asked for ahead.

use std::time::Instant;

use async_nats::connection::State;
use async_nats::jetstream::consumer::pull::{Config, MessagesError, Stream};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::{Client, jetstream};
use futures::FutureExt;
use futures::stream::{SelectAll, StreamExt, select_all};
use sluice_bench::BenchError;
use sluice_bench::system::{ReadBatch, ReadPlan, Reader, Topic};
use tokio::runtime::Runtime;

use super::system::{connect, refused, runtime, streams_of, subject_of};
use crate::sharp_timer::SharpTimer;

/// Messages asked for at a time, over all of a reader's consumers.
const BATCH: usize = 2_000;
/// And of each, however many there are.
const BATCH_MIN: usize = 100;
/// Taken in one call, so that the clock is looked at.
const TAKEN_MAX: usize = 2_000;

pub(super) struct NatsReader {
    runtime: Runtime,
    timer: SharpTimer,
    client: Client,
    messages: SelectAll<Stream>,
}

impl NatsReader {
    pub(super) fn open(port: u16, topic: &Topic, plan: &ReadPlan) -> Result<Self, BenchError> {
        let runtime = runtime()?;
        let (client, messages, timer) = runtime.block_on(async {
            let client = connect(port).await?;
            let messages = consume(&client, topic, plan).await?;
            let timer = SharpTimer::new().map_err(BenchError::io("a timer"))?;
            Ok::<_, BenchError>((client, messages, timer))
        })?;
        Ok(Self { runtime, timer, client, messages: select_all(messages) })
    }
}

/// One consumer for each stream that has partitions of the reader's.
async fn consume(client: &Client, topic: &Topic, plan: &ReadPlan) -> Result<Vec<Stream>, BenchError> {
    let jetstream = jetstream::new(client.clone());
    let streams = streams_of(topic);
    let own = streams.iter().filter(|stream| stream.partition.is_none_or(|partition| plan.partitions.contains(&partition)));
    let own: Vec<_> = own.collect();
    let batch = (BATCH / own.len().max(1)).max(BATCH_MIN);
    let mut all = Vec::new();
    for stream in own {
        // A consumer of every partition needs no filter.
        let is_shared = stream.partition.is_none() && plan.partitions.len() < topic.partition_count as usize;
        let filter_subjects = plan.partitions.iter().filter(|_| is_shared).map(|&partition| subject_of(topic, partition));
        let config = Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::All,
            filter_subjects: filter_subjects.collect(),
            ..Config::default()
        };
        let consumer = jetstream.create_consumer_on_stream(config, stream.name.as_str()).await;
        let consumer = consumer.map_err(|error| refused("a consumer", error))?;
        let messages = consumer.stream().max_messages_per_batch(batch).messages().await;
        all.push(messages.map_err(|error| refused("a consumer", error))?);
    }
    Ok(all)
}

impl Reader for NatsReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        let waited = self.runtime.block_on(self.timer.wait(until, self.messages.next()));
        let mut next = match waited.map_err(BenchError::io("waiting for messages"))? {
            Some(next) => next,
            None if self.client.connection_state() == State::Connected => return Ok(()),
            None => return Err(BenchError::protocol("NATS has closed a connection")),
        };
        for left in (0..TAKEN_MAX).rev() {
            let message = next.ok_or_else(|| BenchError::protocol("NATS has ended a consumer"))?;
            let message = message.map_err(|error: MessagesError| refused("reading", error))?;
            seen.add(&message.payload);
            // What is taken from the stream is given out: none is taken that this call has no turn for.
            match (left > 0).then(|| self.messages.next().now_or_never()).flatten() {
                Some(more) => next = more,
                None => break,
            }
        }
        Ok(())
    }
}
