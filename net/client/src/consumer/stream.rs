//! A consumer as asynchronous streams, of batches and of records.
//!
//! Both borrow the consumer, so that it can be paused, resumed and sought while they run. They never end; a partition
//! that cannot be read on gives an error and the stream goes on with the others. Several streams of one consumer share
//! its batches: each batch comes out of one of them.

use super::owned_record::{OwnedRecord, OwnedRecords};
use super::record_batch::RecordBatch;
use super::taking::{Standing, Taken};
use super::{ConsumeError, Consumer, ConsumerShared};
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::futures::Notified;

/// Batches, each with the bytes it was fetched in. See [`Consumer::batch_stream`].
pub struct BatchStream<'a> {
    arrivals: Arrivals<'a>,
}

/// Records, one at a time, each sharing the memory of its batch. See [`Consumer::stream`].
///
/// Dropping it in the middle of a batch loses nothing: the rest comes out of the next stream or poll.
pub struct RecordStream<'a> {
    arrivals: Arrivals<'a>,
    current: Option<(Taken, OwnedRecords)>,
}

impl Consumer {
    /// The records of all assigned partitions. A position moves with each record that comes out.
    pub fn stream(&self) -> RecordStream<'_> {
        RecordStream { arrivals: Arrivals { shared: &self.shared, waiting: None }, current: None }
    }

    /// The batches of all assigned partitions.
    pub fn batch_stream(&self) -> BatchStream<'_> {
        BatchStream { arrivals: Arrivals { shared: &self.shared, waiting: None } }
    }
}

/// Takes what is there, or waits.
struct Arrivals<'a> {
    shared: &'a ConsumerShared,
    waiting: Option<Pin<Box<Notified<'a>>>>,
}

impl<'a> Arrivals<'a> {
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl Fn(&'a ConsumerShared) -> Result<Option<T>, ConsumeError>,
    ) -> Poll<Result<T, ConsumeError>> {
        loop {
            if let Some(taken) = take(self.shared).transpose() {
                return Poll::Ready(taken);
            }
            // A notification that came since is kept for whoever waits next, so none is missed.
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(self.shared.arrived.notified()));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
    }
}

impl Stream for BatchStream<'_> {
    type Item = Result<RecordBatch, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.arrivals.poll(context, ConsumerShared::take_whole).map(Some)
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<OwnedRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = &mut *self;
        loop {
            if let Some(record) = stream.next_of_current() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(stream.arrivals.poll(context, ConsumerShared::take)) {
                Ok(taken) => {
                    let records = taken.batch.clone().into_records();
                    stream.current = Some((taken, records));
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl RecordStream<'_> {
    /// The next record, as `StreamExt::next` would give it.
    pub async fn next(&mut self) -> Option<Result<OwnedRecord, ConsumeError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn next_of_current(&mut self) -> Option<OwnedRecord> {
        let (taken, records) = self.current.as_mut()?;
        let shared = self.arrivals.shared;
        let next = records.next().map(|record| (shared.hand_out_record(taken, record.offset + 1), record));
        match next {
            Some((Standing::Current, record)) => return Some(record),
            Some((Standing::Paused, _)) => self.give_back(),
            Some((Standing::Void, _)) | None => self.current = None,
        }
        None
    }

    fn give_back(&mut self) {
        if let Some((taken, _)) = self.current.take() {
            self.arrivals.shared.give_back(taken);
        }
    }
}

impl Drop for RecordStream<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl BatchStream<'_> {
    /// The next batch, as `StreamExt::next` would give it.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, ConsumeError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}
