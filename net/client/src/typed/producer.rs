//! A producer of one type to one topic.

use super::error::TypedSendError;
use super::record_type::WriteRecord;
use super::{LAYOUT_HEADER, TYPE_HEADER};
use crate::producer::{Confirm, Delivery, Producer, ProducerRecord};
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use sluice_model::record_batch::HeaderRef;
use std::marker::PhantomData;

/// Sends values of `T` to a topic, each with its type's name and layout. Cheap to clone, as [`Producer`] is, which also
/// is what flushes and closes it.
pub struct TypedProducer<T> {
    producer: Producer,
    topic: String,
    layout: String,
    of: PhantomData<fn(&T)>,
}

impl<T> Clone for TypedProducer<T> {
    fn clone(&self) -> Self {
        Self { producer: self.producer.clone(), topic: self.topic.clone(), layout: self.layout.clone(), of: PhantomData }
    }
}

/// A value to be sent, and where. Made of a reference to the value alone, it has no key.
#[derive(Debug)]
pub struct TypedRecord<'a, T> {
    /// `None` is a tombstone.
    pub value: Option<&'a T>,
    pub key: Option<&'a [u8]>,
    /// `None`: by key, or the one whose batch is being filled.
    pub partition: Option<u32>,
    /// Milliseconds since 1970, not negative; `None` is now.
    pub timestamp_ms: Option<i64>,
}

impl<'a, T> TypedRecord<'a, T> {
    #[must_use]
    pub fn new(value: &'a T) -> Self {
        Self { value: Some(value), key: None, partition: None, timestamp_ms: None }
    }

    /// Says that what the key stood for is gone.
    #[must_use]
    pub fn tombstone(key: &'a [u8]) -> Self {
        Self { value: None, key: Some(key), partition: None, timestamp_ms: None }
    }

    #[must_use]
    pub fn with_key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    #[must_use]
    pub fn with_partition(self, partition: u32) -> Self {
        Self { partition: Some(partition), ..self }
    }
}

impl<'a, T> From<&'a T> for TypedRecord<'a, T> {
    fn from(value: &'a T) -> Self {
        Self::new(value)
    }
}

impl<T: WriteRecord> TypedProducer<T> {
    #[must_use]
    pub fn new(producer: Producer, topic: &str) -> Self {
        Self { producer, topic: topic.into(), layout: format!("{:016x}", T::fingerprint()), of: PhantomData }
    }

    /// The producer beneath, to flush, close or ask for statistics.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Takes a record, as [`Producer::send`] does.
    pub async fn send<'a>(&self, record: impl Into<TypedRecord<'a, T>>) -> Result<Confirm, TypedSendError> {
        let record = record.into();
        let value = encode(record.value)?;
        let headers = self.headers();
        Ok(self.producer.send(self.record(&record, value.as_deref(), &headers)).await?)
    }

    /// Takes a record, as [`Producer::send_with`] does.
    pub async fn send_with<'a>(
        &self,
        record: impl Into<TypedRecord<'a, T>>,
        callback: impl FnOnce(Delivery) + Send + 'static,
    ) -> Result<(), TypedSendError> {
        let record = record.into();
        let value = encode(record.value)?;
        let headers = self.headers();
        Ok(self.producer.send_with(self.record(&record, value.as_deref(), &headers), callback).await?)
    }

    /// Takes a record at once or not at all, as [`Producer::try_send`] does.
    pub fn try_send<'a>(&self, record: impl Into<TypedRecord<'a, T>>) -> Result<Confirm, TypedSendError> {
        let record = record.into();
        let value = encode(record.value)?;
        let headers = self.headers();
        Ok(self.producer.try_send(self.record(&record, value.as_deref(), &headers))?)
    }

    fn headers(&self) -> [HeaderRef<'_>; 2] {
        let header = |key: &'static str, value| HeaderRef { key: key.as_bytes(), value: Some(value) };
        [header(TYPE_HEADER, T::NAME.as_bytes()), header(LAYOUT_HEADER, self.layout.as_bytes())]
    }

    fn record<'a>(
        &'a self,
        record: &TypedRecord<'a, T>,
        value: Option<&'a [u8]>,
        headers: &'a [HeaderRef<'a>],
    ) -> ProducerRecord<'a> {
        let TypedRecord { key, partition, timestamp_ms, .. } = *record;
        ProducerRecord { topic: &self.topic, partition, key, value, headers, timestamp_ms }
    }
}

fn encode<T: WriteRecord>(value: Option<&T>) -> Result<Option<AlignedVec>, TypedSendError> {
    let encoded = value.map(rkyv::to_bytes::<Error>).transpose();
    encoded.map_err(|error| TypedSendError::Encode { text: error.to_string() })
}
