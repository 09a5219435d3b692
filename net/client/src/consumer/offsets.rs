//! Offsets by place and by time, of any partitions, assigned or not.

use super::cursor::Place;
use super::{Assignment, Consumer, StartAt};
use crate::admin::Admin;
use crate::config::{ConsumerConfig, ResetPolicy};
use crate::error::ClientError;
use sluice_model::ErrorCode;
use tokio::time::Instant;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Bytes of one fetch that looks for a time.
const LOOK_LEN: u32 = 64 * 1024;

impl Consumer {
    /// The first offset of each partition, in the order asked.
    pub async fn beginning_offsets(&self, partitions: &[(&str, u32)]) -> Result<Vec<u64>, ClientError> {
        self.offsets_at(partitions, StartAt::Beginning).await
    }

    /// The high watermark of each partition, in the order asked: the offset after the last record that can be read.
    pub async fn end_offsets(&self, partitions: &[(&str, u32)]) -> Result<Vec<u64>, ClientError> {
        self.offsets_at(partitions, StartAt::End).await
    }

    /// The first record of each partition with a timestamp at or after the one asked for, milliseconds since 1970, in
    /// the order asked; `None` where there is none. The broker finds the batch, this client the record in it, with a
    /// fetch for each partition.
    pub async fn offsets_for_times(&self, wanted: &[(&str, u32, i64)]) -> Result<Vec<Option<OffsetAndTimestamp>>, ClientError> {
        let asked: Vec<_> =
            wanted.iter().map(|&(topic, partition, at_ms)| (topic, partition, StartAt::Timestamp(at_ms))).collect();
        let listed = Admin::new(self.shared.client.clone()).list_offsets(&asked).await?;
        let mut found = Vec::with_capacity(wanted.len());
        for (&(topic, partition, at_ms), listed) in wanted.iter().zip(listed) {
            found.push(match listed.timestamp_ms {
                ..0 => None,
                _ => self.first_at(topic, partition, listed.offset, at_ms).await?,
            });
        }
        Ok(found)
    }

    /// The first record from `offset` on that is not older than `at_ms`.
    async fn first_at(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        at_ms: i64,
    ) -> Result<Option<OffsetAndTimestamp>, ClientError> {
        let config = ConsumerConfig {
            fetch_len_max: LOOK_LEN,
            partition_len_max: LOOK_LEN,
            prefetch_len_max: LOOK_LEN as usize,
            // Records may be deleted between question and look: the first that is left is the answer then.
            reset: ResetPolicy::Earliest,
            ..self.shared.config.clone()
        };
        let mut looking = Self::new(self.shared.client.clone(), config)?;
        looking.assign(&[Assignment { topic: topic.into(), partition, start: StartAt::Offset(offset) }]).await?;
        let deadline = Instant::now() + self.shared.client.request_timeout();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let polled = looking
                .poll(left)
                .await
                .map_err(|error| ClientError::Broker { code: ErrorCode::Damaged, text: error.to_string() })?;
            let Some(batch) = polled else {
                let text =
                    format!("the records of topic {topic}, partition {partition} from offset {offset} did not come in time");
                return Err(ClientError::Lost { address: "the broker".into(), text });
            };
            if let Some(record) = batch.records().find(|record| record.timestamp_ms >= at_ms) {
                return Ok(Some(OffsetAndTimestamp { offset: record.offset, timestamp_ms: record.timestamp_ms }));
            }
            if looking.lag(topic, partition) == Some(0) {
                return Ok(None);
            }
        }
    }

    async fn offsets_at(&self, partitions: &[(&str, u32)], place: StartAt) -> Result<Vec<u64>, ClientError> {
        let asked: Vec<_> = partitions.iter().map(|&(topic, partition)| (topic, partition, place)).collect();
        Ok(self.resolve(&asked).await?.into_iter().map(|place| place.offset).collect())
    }

    /// Where each of these is. Of a time the broker knows the batch; the record in it is found when it comes.
    pub(super) async fn resolve(&self, starts: &[(&str, u32, StartAt)]) -> Result<Vec<Place>, ClientError> {
        let admin = Admin::new(self.shared.client.clone());
        let mut places = vec![Place::default(); starts.len()];
        let mut questions = Vec::new();
        for (index, &(topic, partition, start)) in starts.iter().enumerate() {
            match start {
                StartAt::Offset(offset) => places[index].offset = offset,
                start => questions.push((index, topic, partition, start)),
            }
        }
        let asked: Vec<(&str, u32, StartAt)> =
            questions.iter().map(|&(_, topic, partition, start)| (topic, partition, start)).collect();
        for ((index, _, _, start), listed) in questions.iter().zip(admin.list_offsets(&asked).await?) {
            let from_ms = match start {
                StartAt::Timestamp(at_ms) if listed.timestamp_ms >= 0 => Some(*at_ms),
                _ => None,
            };
            places[*index] = Place { offset: listed.offset, from_ms };
        }
        Ok(places)
    }
}
