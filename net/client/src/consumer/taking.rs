//! From the fetcher to the application: which batch comes next, and how far a partition has been handed out.
//!
//! The expensive mistake is a position that runs ahead of what the application has: it would skip the difference when
//! it begins there again. So a position moves when a record leaves here, not when its batch arrives.

use super::cursor::{Arrival, Cursor};
use super::error::ConsumeError;
use super::fetcher::ConsumerShared;
use super::record_batch::RecordBatch;
use super::state::Ready;
use crate::connection::lock;

/// A batch for the application, and where it came from.
pub(super) struct Taken {
    pub(super) batch: RecordBatch,
    ready: Ready,
}

/// Whether the rest of a batch may still be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Current,
    /// Its partition was paused.
    Paused,
    /// A seek or an assignment made it void.
    Void,
}

impl ConsumerShared {
    /// The next batch, if one is there. Its records are not counted as handed out yet.
    pub(super) fn take(&self) -> Result<Option<Taken>, ConsumeError> {
        loop {
            let (mut ready, topic) = {
                let mut state = lock(&self.state);
                let Some(mut ready) = state.take_ready(self.now_ms()) else { return Ok(None) };
                let cursor = &mut state.cursors[ready.cursor];
                let topic = cursor.topic.clone();
                if let Some(from_ms) = cursor.from_ms {
                    // Under the lock, so that no other stream takes the next batch before this one's place is known.
                    step_to_time(cursor, &mut ready.arrival, from_ms, self.config.decompressed_len_max);
                }
                if state.has_ready() {
                    // Another stream may wait, and one notification wakes one.
                    self.arrived.notify_one();
                }
                (ready, topic)
            };
            self.wake.notify_one();
            let (bytes, first_offset) = match &mut ready.arrival {
                Arrival::Stopped(error) => return Err(error.clone()),
                Arrival::Skipped { until } => {
                    let until = *until;
                    self.hand_out(&ready, until);
                    continue;
                }
                Arrival::Frame { bytes, first_offset } => (&*bytes, *first_offset),
            };
            match RecordBatch::read(topic, bytes, first_offset, self.config.decompressed_len_max) {
                Ok(batch) if batch.is_control() => {
                    self.hand_out(&ready, batch.next_offset());
                }
                Ok(batch) => return Ok(Some(Taken { batch, ready })),
                Err(cause) => {
                    let mut state = lock(&self.state);
                    let cursor = state.cursors.get_mut(ready.cursor).filter(|c| c.generation == ready.generation);
                    let Some(cursor) = cursor else { continue };
                    let error = cursor.stop(cause);
                    // What was fetched behind it is not handed out before somebody decides.
                    cursor.generation += 1;
                    cursor.asked = None;
                    return Err(error);
                }
            }
        }
    }

    /// The next batch as a whole.
    pub(super) fn take_whole(&self) -> Result<Option<RecordBatch>, ConsumeError> {
        while let Some(taken) = self.take()? {
            if self.hand_out(&taken.ready, taken.batch.next_offset()) {
                return Ok(Some(taken.batch));
            }
        }
        Ok(None)
    }

    /// Records below `until` are handed out; false when a seek has made them void.
    fn hand_out(&self, ready: &Ready, until: u64) -> bool {
        let mut state = lock(&self.state);
        let cursor = state.cursors.get_mut(ready.cursor).filter(|c| c.generation == ready.generation);
        cursor.is_some_and(|cursor| {
            cursor.position = cursor.position.max(until);
            true
        })
    }

    /// The record of `taken` before `until` is handed out, unless the standing says otherwise.
    pub(super) fn hand_out_record(&self, taken: &Taken, until: u64) -> Standing {
        let mut state = lock(&self.state);
        match state.cursors.get_mut(taken.ready.cursor).filter(|c| c.generation == taken.ready.generation) {
            None => Standing::Void,
            Some(cursor) if cursor.paused => Standing::Paused,
            Some(cursor) => {
                cursor.position = cursor.position.max(until);
                Standing::Current
            }
        }
    }

    /// Puts the rest of a batch back to where it came from, for whoever takes next.
    pub(super) fn give_back(&self, mut taken: Taken) {
        let mut state = lock(&self.state);
        let cursor = state.cursors.get(taken.ready.cursor).filter(|c| c.generation == taken.ready.generation);
        let Some(position) = cursor.map(|c| c.position) else { return };
        if position < taken.batch.next_offset() {
            if let Arrival::Frame { first_offset, .. } = &mut taken.ready.arrival {
                *first_offset = position.max(*first_offset);
            }
            state.give_back(taken.ready);
            drop(state);
            self.arrived.notify_one();
        }
    }
}

/// Leaves out of a batch what is older than the time its partition is to begin at; all of it when nothing is not. A batch that
/// cannot be read stays as it is, and is an error when it is read again.
fn step_to_time(cursor: &mut Cursor, arrival: &mut Arrival, from_ms: i64, len_max: usize) {
    let Arrival::Frame { bytes, first_offset } = arrival else { return };
    let Ok(batch) = RecordBatch::read(cursor.topic.clone(), bytes, *first_offset, len_max) else { return };
    if batch.is_control() {
        return;
    }
    match batch.records().find(|record| record.timestamp_ms >= from_ms).map(|record| record.offset) {
        Some(offset) => {
            *first_offset = offset;
            cursor.position = cursor.position.max(offset);
            cursor.from_ms = None;
        }
        None => *arrival = Arrival::Skipped { until: batch.next_offset() },
    }
}
