//! Reads partitions in turns over one connection of Iggy's client, by offset.
//!
//! Iggy answers a poll at once, with nothing where there is nothing: a reader that has read everything looks again after a
//! pause, as its own consumer does when it is given an interval.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iggy::prelude::{Consumer, Identifier, MessageClient, PolledMessages, PollingStrategy, TcpClient};
use sluice_bench::BenchError;
use sluice_bench::system::{ReadBatch, ReadPlan, Reader, Topic};
use tokio::runtime::Runtime;

use super::client::{Access, connect, failed, runtime};
use super::system::{STREAM, named};
use crate::sharp_timer::SharpTimer;

/// Asked for at once, as far as values of the largest length go: what Sluice's reader asks a partition for.
const FETCH_LEN: usize = 1 << 20;
const FETCH_COUNT_MAX: usize = 10_000;
/// Between two looks at partitions that have nothing: a shorter one takes the processor from the producers on two cores, a
/// longer one shows in what a consumer sees.
const PAUSE: Duration = Duration::from_micros(500);

pub(super) struct IggyReader {
    client: Arc<TcpClient>,
    timer: SharpTimer,
    runtime: Runtime,
    stream: Identifier,
    topic: Identifier,
    consumer: Consumer,
    positions: Vec<Position>,
    /// Whose turn it is.
    next: usize,
    count_max: u32,
}

struct Position {
    partition: u32,
    next_offset: u64,
}

impl IggyReader {
    pub(super) fn open(access: &Access, topic: &Topic, plan: &ReadPlan, value_len_max: usize) -> Result<Self, BenchError> {
        let runtime = runtime()?;
        let client = runtime.block_on(connect(access))?;
        let timer = runtime.block_on(async { SharpTimer::new() }).map_err(BenchError::io("a timer"))?;
        let position = |&partition: &u32| Position { partition, next_offset: 0 };
        Ok(Self {
            client,
            timer,
            runtime,
            stream: named(STREAM)?,
            topic: named(&topic.name)?,
            consumer: Consumer::new(named(&format!("bench-{}", plan.group))?),
            positions: plan.partitions.iter().map(position).collect(),
            next: 0,
            count_max: count_max(value_len_max),
        })
    }

    /// One partition; how many messages there were.
    fn poll_next(&mut self, seen: &mut ReadBatch) -> Result<u32, BenchError> {
        let turn = self.next;
        self.next = (turn + 1) % self.positions.len();
        let position = &mut self.positions[turn];
        let strategy = PollingStrategy::offset(position.next_offset);
        let (partition, count) = (Some(position.partition), self.count_max);
        let poll = self.client.poll_messages(&self.stream, &self.topic, partition, &self.consumer, &strategy, count, false);
        let polled = self.runtime.block_on(poll).map_err(failed("a poll"))?;
        position.take(&polled, seen);
        Ok(polled.count)
    }
}

impl Position {
    fn take(&mut self, polled: &PolledMessages, seen: &mut ReadBatch) {
        for message in &polled.messages {
            // What lies before the position was read already.
            if message.header.offset >= self.next_offset {
                seen.add(&message.payload);
                self.next_offset = message.header.offset + 1;
            }
        }
    }
}

fn count_max(value_len_max: usize) -> u32 {
    (FETCH_LEN / value_len_max.max(1)).clamp(1, FETCH_COUNT_MAX) as u32
}

impl Reader for IggyReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        loop {
            let mut found = 0;
            for _ in 0..self.positions.len() {
                found += self.poll_next(seen)?;
                if found > 0 {
                    return Ok(());
                }
            }
            let pause_end = (Instant::now() + PAUSE).min(until);
            let waited = self.runtime.block_on(self.timer.wait(pause_end, std::future::pending::<()>()));
            waited.map_err(BenchError::io("a timer"))?;
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use iggy::prelude::IggyMessage;

    use super::*;

    #[test]
    fn a_fetch_is_bounded_in_bytes_and_in_messages() {
        assert_eq!([1024, 100, 1, 65_536, 1_000_000, 0].map(count_max), [1024, 10_000, 10_000, 16, 1, 10_000]);
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let message = |offset: u64| {
            let mut message = IggyMessage::builder().payload(Bytes::from_static(b"12345678rest")).build().expect("a message");
            message.header.offset = offset;
            message
        };
        let polled = |offsets: &[u64]| PolledMessages {
            messages: offsets.iter().copied().map(message).collect(),
            count: offsets.len() as u32,
            ..PolledMessages::empty()
        };
        let (mut position, mut seen) = (Position { partition: 0, next_offset: 0 }, ReadBatch::default());
        position.take(&polled(&[0, 1, 2]), &mut seen);
        position.take(&polled(&[2, 3]), &mut seen);
        position.take(&polled(&[]), &mut seen);
        assert_eq!((position.next_offset, seen.stamps.len(), seen.value_len), (4, 4, 48));
    }
}
