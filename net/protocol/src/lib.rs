//! The native protocol: what a message looks like, in bytes and in types.
//!
//! `u32 length | u16 api | u16 version | u32 correlation_id | u32 body_length | rkyv body | frames`, little endian;
//! `length` counts what follows it. An answer has the api, version and correlation id of its request. The first
//! request of a connection is [`HelloRequest`]; with the two lists of versions in it and its answer each side knows
//! which version to speak ([`negotiate`]). A request that cannot be answered in its own type (not decodable,
//! thrown away for want of room, an unknown api) is answered with [`Refusal`] under its correlation id.
//!
//! The expensive mistake is to use a length, a count or a pointer from outside before it is checked: the 16-byte
//! [`Prefix`] is checked against the limits before anything is allocated for it, and bodies are read through rkyv's
//! validating access and then [`Message::check`]. A message that changes gets a new struct and a new version
//! number; the struct of an old version is never edited.
//!
//! Brokers speak the same protocol among themselves. What only a broker may ask ([`Api::needs_broker`]) it may ask once
//! its connection has proved that it knows the cluster's secret ([`ClusterSecret`]).
//!
//! Deliberately absent: sockets, async, clocks, and any opinion on what to do with an error code (`sluice-model`
//! has the one table).

mod acks;
mod alter_topic;
mod api;
mod broker_challenge;
mod broker_proof;
mod cluster_secret;
mod controller_message;
mod create_topic;
mod delete_records;
mod delete_topic;
mod describe_cluster;
mod describe_metrics;
mod describe_partitions;
mod describe_replicas;
mod describe_shard;
mod elect_leaders;
mod fetch;
mod frames;
mod hello;
mod init_producer;
mod list_offsets;
mod message;
mod metadata;
pub mod metric;
mod prefix;
mod produce;
mod refusal;
mod replica_beginning;
mod replica_fetch;
mod replica_flush;
mod shard_address;
mod text;
mod version;

#[cfg(test)]
mod hostile_test;
#[cfg(test)]
mod round_trip_test;

pub use acks::{Acks, Durability};
pub use alter_topic::{AlterTopicAnswer, AlterTopicRequest, ArchivedAlterTopicAnswer, ArchivedAlterTopicRequest};
pub use api::Api;
pub use broker_challenge::{
    ArchivedBrokerChallengeAnswer, ArchivedBrokerChallengeRequest, BrokerChallengeAnswer, BrokerChallengeRequest,
};
pub use broker_proof::{ArchivedBrokerProofAnswer, ArchivedBrokerProofRequest, BrokerProofAnswer, BrokerProofRequest};
pub use cluster_secret::{BrokerName, BrokerRole, ClusterSecret, Introduction, Nonce, Proof, ProofOf, SecretLenError};
pub use controller_message::{
    ArchivedControllerMessageAnswer, ArchivedControllerMessageRequest, ControllerMessageAnswer, ControllerMessageKind,
    ControllerMessageRequest,
};
pub use create_topic::{ArchivedCreateTopicAnswer, ArchivedCreateTopicRequest, CreateTopicAnswer, CreateTopicRequest};
pub use delete_records::{ArchivedDeleteRecordsAnswer, ArchivedDeleteRecordsRequest, DeleteRecordsAnswer, DeleteRecordsRequest};
pub use delete_topic::{ArchivedDeleteTopicAnswer, ArchivedDeleteTopicRequest, DeleteTopicAnswer, DeleteTopicRequest};
pub use describe_cluster::{
    AilingPartition, ArchivedDescribeClusterAnswer, ArchivedDescribeClusterRequest, ClusterBroker, ClusterBrokerState,
    DescribeClusterAnswer, DescribeClusterRequest, PartitionCounts,
};
pub use describe_metrics::{
    ArchivedDescribeMetricsAnswer, ArchivedDescribeMetricsRequest, DescribeMetricsAnswer, DescribeMetricsRequest, NamedHistogram,
    NamedValue,
};
pub use describe_partitions::{
    ArchivedDescribePartitionsAnswer, ArchivedDescribePartitionsRequest, ArchivedDescribedPartition, DescribePartitionsAnswer,
    DescribePartitionsRequest, DescribedPartition, PartitionRef,
};
pub use describe_replicas::{
    ArchivedDescribeReplicasAnswer, ArchivedDescribeReplicasRequest, DescribeReplicasAnswer, DescribeReplicasRequest,
    DescribedReplicas, PlacedReplica, ReplicaLog,
};
pub use describe_shard::{
    ArchivedDescribeShardAnswer, ArchivedDescribeShardRequest, DamagedOffsets, DescribeShardAnswer, DescribeShardRequest,
    PossiblyShort, ScrubProgress, ScrubbedFinding,
};
pub use elect_leaders::{
    ArchivedElectLeadersAnswer, ArchivedElectLeadersRequest, ElectLeadersAnswer, ElectLeadersRequest, ElectedLeader, Election,
    ReplicaEndShown, ShownReplicaEnd, UncleanElection,
};
pub use fetch::{
    ArchivedFetchAnswer, ArchivedFetchPartition, ArchivedFetchRequest, ArchivedFetchedPartition, FetchAnswer, FetchPartition,
    FetchRequest, FetchedPartition,
};
pub use frames::{FrameRanges, split_frames};
pub use hello::{ArchivedHelloAnswer, ArchivedHelloRequest, HelloAnswer, HelloRequest};
pub use init_producer::{ArchivedInitProducerAnswer, ArchivedInitProducerRequest, InitProducerAnswer, InitProducerRequest};
pub use list_offsets::{
    ArchivedListOffsetsAnswer, ArchivedListOffsetsPartition, ArchivedListOffsetsRequest, ArchivedListedOffset, ListOffsetsAnswer,
    ListOffsetsPartition, ListOffsetsRequest, ListedOffset, TIMESTAMP_BEGINNING, TIMESTAMP_END,
};
pub use message::{Body, EncodeError, Malformed, Message, Request, access, decode, encode};
pub use metadata::{
    ArchivedMetadataAnswer, ArchivedMetadataRequest, ArchivedPartitionMetadata, ArchivedTopicMetadata, MetadataAnswer,
    MetadataRequest, PartitionMetadata, TopicMetadata,
};
pub use prefix::{PREFIX_LEN, Prefix, PrefixError};
pub use produce::{
    ArchivedProduceAnswer, ArchivedProducePartition, ArchivedProduceRequest, ArchivedProducedPartition, ProduceAnswer,
    ProducePartition, ProduceRequest, ProducedPartition,
};
pub use refusal::{ArchivedRefusal, Refusal};
pub use replica_beginning::{
    ArchivedReplicaBeginningAnswer, ArchivedReplicaBeginningRequest, BeginningBatch, BeginningEpoch, BeginningProducer,
    ReplicaBeginningAnswer, ReplicaBeginningRequest,
};
pub use replica_fetch::{
    ArchivedReplicaFetchAnswer, ArchivedReplicaFetchRequest, ArchivedReplicaFetched, ReplicaFetchAnswer, ReplicaFetchRequest,
    ReplicaFetched, ReplicaLogState, ReplicaOutcome, ReplicaPosition,
};
pub use replica_flush::{
    ArchivedReplicaFlushAnswer, ArchivedReplicaFlushRequest, ReplicaFlushAnswer, ReplicaFlushRequest, ReplicaFlushed,
};
pub use shard_address::{ArchivedShardAddress, ShardAddress};
pub use text::{PARTITION_TEXT_LEN_MAX, TEXT_LEN_MAX, short_text};
pub use version::{ApiVersions, ArchivedApiVersions, Negotiated, VersionRange, negotiate, supported_versions};
