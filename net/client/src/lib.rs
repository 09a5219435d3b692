//! The native client: producer, consumer, administration, on tokio.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluice_client::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
//! let client = Client::connect(&["127.0.0.1:7400".into()], ClientConfig::default()).await?;
//! let producer = Producer::new(client, ProducerConfig::default()).await?;
//! let confirm = producer.send(ProducerRecord::new("orders", b"one record")).await?;
//! println!("{:?}", confirm.await);
//! # Ok(()) }
//! ```
//!
//! What it promises: the outcome of every record sent is one of three, and true (`Delivery`); what is acknowledged is
//! written once, in the order it was sent per partition; a consumer gets every record of a partition in order, once,
//! or an error that names the offsets it cannot read. Connections are opened, and opened again, by themselves.
//!
//! The expensive mistake is to guess: a batch that may be written is asked about again under the same sequence until
//! the broker says or the delivery timeout ends it, and then it is called unknown. Deliberately absent: transactions,
//! consumer groups and security, which come with later parts of the broker.

mod address;
mod admin;
mod backoff;
mod client;
pub mod compression;
mod config;
mod connection;
mod consumer;
mod error;
mod link;
mod metadata_cache;
mod partitioner;
mod producer;

pub use address::{Address, PORT_DEFAULT};
pub use admin::{Admin, ClusterInfo, DescribedMetrics, DescribedShard};
pub use client::Client;
pub use config::{ClientConfig, ConsumerConfig, OnFull, ProducerConfig, ResetPolicy};
pub use consumer::{
    Assignment, BatchStream, ConsumeCause, ConsumeError, Consumer, ConsumerRecord, OffsetAndTimestamp, OwnedHeader, OwnedRecord,
    OwnedRecords, RecordBatch, RecordStream, StartAt, access,
};
pub use error::ClientError;
pub use metadata_cache::{PartitionInfo, TopicInfo};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{
    Acknowledgement, BatchOutcome, Confirm, Delivery, DeliveryError, Failure, LatencySummary, PartitionInFlight, Producer,
    ProducerInterceptor, ProducerRecord, ProducerStatistics, Reason, SendError,
};
pub use sluice_model::ErrorCode;
pub use sluice_model::StageHistogram;
pub use sluice_model::record_batch::{Compression, HeaderRef, TimestampType};
pub use sluice_protocol::{
    Acks, DescribeMetricsAnswer, DescribeShardAnswer, DescribedPartition, Durability, ListedOffset, NamedHistogram, NamedValue,
    ScrubProgress, ScrubbedFinding, metric,
};
