//! The native client of Sluice: producer, consumer, administration, on tokio. It reads records in place with rkyv, and
//! for that sets rkyv's features `unaligned`, `little_endian`, `pointer_width_32` and `bytecheck`, which cargo then sets
//! for the whole application, since features of a crate are unified over all who use it. What follows: every archived
//! type of the application has alignment 1 and may lie at any address, so archives that another program wrote without
//! `unaligned`, or with `big_endian` or another pointer width, are laid out differently and are not readable any more;
//! a crate that asks for `aligned`, `big_endian`, `pointer_width_16` or `pointer_width_64` does not build beside this one;
//! and reading a field costs an unaligned load, which on today's processors is hardly more. `sluice_client::rkyv` is
//! the same crate again, for an application to use.
//!
//! ```no_run
#![doc = include_str!("../examples/quickstart.rs")]
//! ```
//!
//! Beside this crate it needs `tokio` with the features `macros` and `rt-multi-thread`, and a broker: `sluice serve`. (This
//! very program runs against one among the tests, as do all in `examples`, which also has a flash sale's order intake, a
//! slow downstream and an exactly-once sink.)
//!
//! What it promises: the outcome of every record sent is one of three, and true (`Delivery`); what is acknowledged is
//! written once, in the order it was sent per partition; a consumer gets every record of a partition in order, once,
//! or an error that names the offsets it cannot read. Connections are opened, and opened again, by themselves.
//!
//! **Producing.** [`Producer::send`] copies a record into its batch and gives a [`Confirm`], a future of the outcome;
//! [`Producer::send_with`] takes a callback instead. By default a batch goes out at once while fewer than two of its
//! partition are on the wire, and otherwise when an answer comes or it is full: so a lone record waits for nothing, and
//! under pressure batches grow by themselves (`linger_ms`, `batch_len_max`). A full buffer blocks or fails as
//! [`OnFull`] says. [`Producer::statistics`] and [`ProducerInterceptor`] are for metrics.
//!
//! **Consuming.** [`Consumer::poll`] gives batches, [`Consumer::stream`] records, [`Consumer::batch_stream`] batches
//! again; nothing is copied out of what was received. There are no consumer groups yet: an application assigns
//! partitions, and keeps its positions where it keeps its results.
//!
//! **Leader changes.** A partition's leader may change, be silent or gone at any time. Batches on their way are sent again to
//! the next leader, in their order and under their sequences, until `delivery_timeout_ms`; a leader that does not answer is left
//! as soon as another one is known, which is asked of all brokers in turn. A consumer's position stays where it is, even while
//! a new leader does not know yet what the last one had committed; an end ([`Consumer::end_offsets`]) comes from a leader that
//! does. With `acks` none nobody says who leads no longer: that is asked every second while records are sent, and what the last
//! leader was sent until then is lost. What an earlier leader may have and the next one's sequence check denies is *unknown*, never sent under a new sequence.
//!
//! **Types.** [`record_type!`] declares a type, [`TypedProducer`] and [`TypedConsumer`] write and read it in place:
//!
//! ```no_run
#![doc = include_str!("../examples/typed_records.rs")]
//! ```
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
mod leader;
mod link;
mod metadata_cache;
mod partitioner;
mod producer;
mod refreshing;
mod rounds;
mod typed;

pub use address::{Address, PORT_DEFAULT};
pub use admin::{Admin, ClusterInfo, DescribedMetrics, DescribedShard};
pub use client::Client;
pub use config::{ClientConfig, ConsumerConfig, OnFull, ProducerConfig, ResetPolicy};
pub use consumer::{
    Assignment, BatchStream, ConsumeCause, ConsumeError, Consumer, ConsumerRecord, OffsetAndTimestamp, OwnedHeader, OwnedRecord,
    OwnedRecords, RecordBatch, RecordStream, StartAt, access,
};
pub use error::ClientError;
pub use futures_core::Stream;
pub use metadata_cache::{PartitionInfo, TopicInfo};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{
    Acknowledgement, BatchOutcome, Confirm, Delivery, DeliveryError, Failure, LatencySummary, PartitionInFlight, Producer,
    ProducerInterceptor, ProducerRecord, ProducerStatistics, Reason, SendError,
};
pub use rkyv;
pub use sluice_model::ErrorCode;
pub use sluice_model::StageHistogram;
pub use sluice_model::TopicId;
pub use sluice_model::record_batch::{Compression, HeaderRef, Headers, TimestampType};
pub use sluice_protocol::{
    Acks, AilingPartition, ClusterBroker, ClusterBrokerState, DescribeClusterAnswer, DescribeMetricsAnswer, DescribeShardAnswer,
    DescribedPartition, DescribedReplicas, Durability, ElectedLeader, ListedOffset, NamedHistogram, NamedValue, PartitionCounts,
    PartitionRef, PlacedReplica, ReplicaEndShown, ReplicaLog, ScrubProgress, ScrubbedFinding, ShardAddress, ShownReplicaEnd,
    UncleanElection, metric,
};
pub use typed::{
    Fingerprint, LAYOUT_HEADER, ReadRecord, RecordType, TYPE_HEADER, TypeError, TypeErrorCause, TypedBatch, TypedConsumeError,
    TypedConsumer, TypedOwnedRecord, TypedProducer, TypedRecord, TypedRecordRef, TypedSendError, TypedStream, WriteRecord,
};
