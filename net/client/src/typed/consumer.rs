//! A consumer of one type: records in place, each validated before it is handed out.

use super::error::{TypeError, TypeErrorCause, TypedConsumeError};
use super::record_type::ReadRecord;
use super::{LAYOUT_HEADER, TYPE_HEADER};
use crate::consumer::{ConsumeError, Consumer, ConsumerRecord, OwnedRecord, RecordBatch, RecordStream, access};
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Reads values of `T`. What else a consumer does is done with the one beneath ([`Self::consumer`]).
pub struct TypedConsumer<T> {
    consumer: Consumer,
    wanted: Wanted<T>,
}

/// What the headers of a good record hold.
struct Wanted<T> {
    fingerprint: u64,
    layout: [u8; 16],
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Wanted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Wanted<T> {}

/// Records of one partition, one after the other.
pub struct TypedBatch<T> {
    batch: RecordBatch,
    wanted: Wanted<T>,
}

/// One record, in place.
#[derive(Clone, Copy)]
pub struct TypedRecordRef<'a, T: ReadRecord> {
    pub record: ConsumerRecord<'a>,
    /// `None` is a tombstone.
    pub value: Option<&'a T::Archived>,
}

/// One record, independent of the batch it came in. Shares that batch's memory.
pub struct TypedOwnedRecord<T> {
    record: OwnedRecord,
    of: PhantomData<fn() -> T>,
}

/// Records of one type, one at a time. See [`TypedConsumer::stream`].
pub struct TypedStream<'a, T> {
    records: RecordStream<'a>,
    wanted: Wanted<T>,
}

impl<T: ReadRecord> TypedConsumer<T> {
    #[must_use]
    pub fn new(consumer: Consumer) -> Self {
        let fingerprint = T::fingerprint();
        let mut layout = [0; 16];
        layout.copy_from_slice(format!("{fingerprint:016x}").as_bytes());
        Self { consumer, wanted: Wanted { fingerprint, layout, of: PhantomData } }
    }

    /// The consumer beneath: to assign, seek, pause, and ask for positions and lag.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The next batch; waits for one at most this long. See [`Consumer::poll`].
    pub async fn poll(&mut self, timeout: Duration) -> Result<Option<TypedBatch<T>>, ConsumeError> {
        let wanted = self.wanted;
        Ok(self.consumer.poll(timeout).await?.map(|batch| TypedBatch { batch, wanted }))
    }

    /// The records of all assigned partitions. One that is not a `T` is an error; the stream goes on behind it.
    pub fn stream(&self) -> TypedStream<'_, T> {
        TypedStream { records: self.consumer.stream(), wanted: self.wanted }
    }
}

impl<T: ReadRecord> TypedBatch<T> {
    #[must_use]
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The records, in order; those that are not a `T` are errors.
    pub fn records(&self) -> impl Iterator<Item = Result<TypedRecordRef<'_, T>, TypeError>> {
        self.batch.records().map(|record| {
            let headers = record.headers.map(|header| (header.key, header.value));
            let value = self.wanted.read((record.topic, record.partition, record.offset), headers, record.value)?;
            Ok(TypedRecordRef { record, value })
        })
    }
}

impl<T: ReadRecord> Wanted<T> {
    /// The value of a record, validated.
    fn read<'a, 'h>(
        &self,
        (topic, partition, offset): (&Arc<str>, u32, u64),
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        value: Option<&'a [u8]>,
    ) -> Result<Option<&'a T::Archived>, TypeError> {
        let error = |cause| {
            let expected = (T::NAME, self.fingerprint);
            TypeError { topic: topic.clone(), partition, offset, expected, cause }
        };
        // A tombstone has no value that could be of a type.
        let Some(value) = value else { return Ok(None) };
        let (mut name, mut layout) = (None, None);
        for (key, value) in headers {
            match key {
                key if key == TYPE_HEADER.as_bytes() => name = value,
                key if key == LAYOUT_HEADER.as_bytes() => layout = value,
                _ => {}
            }
        }
        let (Some(name), Some(layout)) = (name, layout) else { return Err(error(TypeErrorCause::Untyped)) };
        if name != T::NAME.as_bytes() || layout != self.layout {
            let layout = std::str::from_utf8(layout).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(error(match layout {
                Some(fingerprint) => TypeErrorCause::Mismatch { name, fingerprint },
                None => TypeErrorCause::Untyped,
            }));
        }
        access::<T>(value).map(Some).map_err(|invalid| error(TypeErrorCause::Invalid { text: invalid.to_string() }))
    }
}

impl<T: ReadRecord> TypedOwnedRecord<T> {
    /// The value, in place; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&T::Archived> {
        let value = self.record.value.as_deref()?;
        // SAFETY: these very bytes were validated as a `T::Archived` when this record was made, which is the only way to
        // make one; nobody can change what a `Bytes` holds; and archives of this crate need no alignment, or the
        // validation, which was done at the same address, would have refused them.
        Some(unsafe { rkyv::access_unchecked::<T::Archived>(value) })
    }

    /// Topic, partition, offset, key and headers.
    #[must_use]
    pub fn record(&self) -> &OwnedRecord {
        &self.record
    }
}

impl<T: ReadRecord> TypedStream<'_, T> {
    /// The next record, as `StreamExt::next` would give it.
    pub async fn next(&mut self) -> Option<Result<TypedOwnedRecord<T>, TypedConsumeError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<T: ReadRecord> Stream for TypedStream<'_, T> {
    type Item = Result<TypedOwnedRecord<T>, TypedConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(record) = ready!(Pin::new(&mut self.records).poll_next(context)) else { return Poll::Ready(None) };
        let read = record.map_err(TypedConsumeError::Consume).and_then(|record| {
            let headers = record.headers.iter().map(|header| (&*header.key, header.value.as_deref()));
            let place = (&record.topic, record.partition, record.offset);
            self.wanted.read(place, headers, record.value.as_deref()).map_err(TypedConsumeError::Type)?;
            Ok(TypedOwnedRecord { record, of: PhantomData })
        });
        Poll::Ready(Some(read))
    }
}

impl<T> fmt::Debug for TypedOwnedRecord<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt(f)
    }
}
