//! Where a consumer stands, and who may go on: assignment, seeking, pausing.

use super::cursor::Cursor;
use super::{Consumer, StartAt};
use crate::connection::lock;
use crate::error::ClientError;
use crate::leader::Leader;
use sluice_model::ErrorCode;
use std::sync::Arc;

impl Consumer {
    /// Goes on in an assigned partition at another place; also after an error there. A paused partition stays paused.
    pub async fn seek(&self, topic: &str, partition: u32, start: StartAt) -> Result<(), ClientError> {
        let place = self.resolve(&[(topic, partition, start)]).await?[0];
        let info = self.shared.client.topic(topic).await?;
        let now_ms = self.shared.now_ms();
        self.with_cursor(topic, partition, |cursor| {
            match info.partitions.get(partition as usize) {
                Some(described) if cursor.topic_id == info.topic_id => cursor.on_described(now_ms, described),
                Some(described) => {
                    cursor.leader = Leader::new(described);
                    cursor.high_watermark = None;
                }
                None => {}
            }
            cursor.topic_id = info.topic_id;
            cursor.begin_at(place);
        })?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Goes on after `offset`: steps over what an error named.
    pub fn skip_past(&self, topic: &str, partition: u32, offset: u64) -> Result<(), ClientError> {
        self.with_cursor(topic, partition, |cursor| cursor.seek(offset.saturating_add(1)))?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Hands out nothing more of an assigned partition until [`Self::resume`]. What was fetched of it is kept until the
    /// room is needed for others. A new assignment pauses nothing.
    pub fn pause(&self, topic: &str, partition: u32) -> Result<(), ClientError> {
        self.with_cursor(topic, partition, |cursor| cursor.paused = true)
    }

    /// Goes on in a paused partition where it stands.
    pub fn resume(&self, topic: &str, partition: u32) -> Result<(), ClientError> {
        self.with_cursor(topic, partition, |cursor| cursor.paused = false)?;
        self.shared.arrived.notify_one();
        self.shared.wake.notify_one();
        Ok(())
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<(Arc<str>, u32)> {
        self.partitions(|cursor| cursor.paused)
    }

    /// The partitions that are assigned.
    #[must_use]
    pub fn assignment(&self) -> Vec<(Arc<str>, u32)> {
        self.partitions(|_| true)
    }

    /// The offset of the next record that is handed out; `None` for a partition that is not assigned.
    #[must_use]
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        self.of_cursor(topic, partition, |cursor| cursor.position)
    }

    /// The high watermark, the greatest that a fetch saw: a new leader may take a moment to know of it again.
    #[must_use]
    pub fn high_watermark(&self, topic: &str, partition: u32) -> Option<u64> {
        self.of_cursor(topic, partition, |cursor| cursor.high_watermark)?
    }

    /// Offsets between position and high watermark, as fetches saw it: records that are still to come. `None` for
    /// a partition that is not assigned or was not fetched from yet.
    #[must_use]
    pub fn lag(&self, topic: &str, partition: u32) -> Option<u64> {
        self.of_cursor(topic, partition, |cursor| Some(cursor.high_watermark?.saturating_sub(cursor.position)))?
    }

    fn partitions(&self, wanted: impl Fn(&Cursor) -> bool) -> Vec<(Arc<str>, u32)> {
        let state = lock(&self.shared.state);
        state.cursors.iter().filter(|c| wanted(c)).map(|c| (c.topic.clone(), c.partition)).collect()
    }

    fn of_cursor<T>(&self, topic: &str, partition: u32, read: impl FnOnce(&Cursor) -> T) -> Option<T> {
        let state = lock(&self.shared.state);
        state.cursors.iter().find(|c| &*c.topic == topic && c.partition == partition).map(read)
    }

    fn with_cursor(&self, topic: &str, partition: u32, act: impl FnOnce(&mut Cursor)) -> Result<(), ClientError> {
        let mut state = lock(&self.shared.state);
        let cursor = state.cursors.iter_mut().find(|c| &*c.topic == topic && c.partition == partition);
        act(cursor.ok_or_else(|| ClientError::Broker {
            code: ErrorCode::InvalidArgument,
            text: format!("partition {partition} of topic {topic} is not assigned to this consumer"),
        })?);
        Ok(())
    }
}
