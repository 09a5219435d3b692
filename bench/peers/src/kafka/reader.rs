//! Reads partitions through librdkafka, which fetches ahead on a thread of its own and verifies checksums.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use sluice_bench::BenchError;
use sluice_bench::system::{ReadBatch, ReadPlan, Reader, Topic};

use super::client::{config, consumer_settings, failed};

/// Given back at once at most, so that the reader looks at the clock now and then.
const RECORDS_MAX: usize = 2_000;
/// librdkafka waits in whole milliseconds: a shorter wait would be a look, again and again.
const WAIT_MIN: Duration = Duration::from_millis(1);

pub(super) struct KafkaReader {
    consumer: BaseConsumer,
}

impl KafkaReader {
    pub(super) fn open(address: &str, topic: &Topic, plan: &ReadPlan) -> Result<Self, BenchError> {
        let consumer: BaseConsumer = config(address, &consumer_settings(plan.group)).create().map_err(failed("a consumer"))?;
        let mut partitions = TopicPartitionList::new();
        for &partition in &plan.partitions {
            let partition = i32::try_from(partition).map_err(BenchError::protocol)?;
            partitions.add_partition_offset(&topic.name, partition, Offset::Beginning).map_err(failed("an assignment"))?;
        }
        consumer.assign(&partitions).map_err(failed("an assignment"))?;
        Ok(Self { consumer })
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        // The first record ends the wait; the others are those that are there already.
        let mut wait = until.saturating_duration_since(Instant::now()).max(WAIT_MIN);
        for _ in 0..RECORDS_MAX {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => seen.add(message.payload().unwrap_or_default()),
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => return Err(failed("a fetch")(error)),
                None => break,
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }
}

/// What librdkafka goes on after by itself.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, OperationTimedOut, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code();
    matches!(code, Some(LeaderNotAvailable | NotLeaderForPartition | OperationTimedOut | UnknownTopicOrPartition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_ends_the_reading() {
        let error = |code| KafkaError::MessageConsumption(code);
        assert!(is_passing(&error(RDKafkaErrorCode::LeaderNotAvailable)));
        assert!(!is_passing(&error(RDKafkaErrorCode::AllBrokersDown)));
        assert!(!is_passing(&error(RDKafkaErrorCode::OffsetOutOfRange)));
    }
}
