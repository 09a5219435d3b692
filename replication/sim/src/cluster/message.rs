//! What brokers, the controller and clients say to each other. A doubled message is a clone.
//!
//! Deliberately absent: encoding, which is proved elsewhere (`net/protocol`).

use super::clients::ClientId;
use super::controller::View;
use bytes::Bytes;
use sluice_metadata::{AlterPartitions, PartitionRefusal, RegisterBroker, RepairReplicas, ReportRecovery};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset, ShardIndex, TopicPartition};
use sluice_replica::follower::on_below_log_start::LogBeginning;
use sluice_replica::session::{FetchRequest, FlushRequest, FollowerShard, RequestNumber, Told};
use std::fmt;
use std::rc::Rc;

/// Who sends, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Controller,
    Broker(BrokerId),
    Client(ClientId),
}

/// From one broker to another, from a session's one end to the other.
#[derive(Clone, Debug)]
pub struct Replication {
    pub from: FollowerShard,
    pub incarnation: Incarnation,
    pub leader: (BrokerId, ShardIndex),
}

#[derive(Clone, Debug)]
pub enum Message {
    // To the controller, and back.
    Register(RegisterBroker),
    Registered {
        incarnation: Incarnation,
        view: Rc<View>,
    },
    Report(Rc<ReportRecovery>),
    Heartbeat {
        broker: BrokerId,
        incarnation: Incarnation,
        /// By the broker's clock.
        sent_us: u64,
        version: u64,
    },
    HeartbeatAnswer {
        incarnation: Incarnation,
        sent_us: u64,
        /// The broker is active: from when it has sent, it has a lease.
        has_lease: bool,
        /// Recovery has been reported.
        is_reported: bool,
        view: Option<Rc<View>>,
    },
    Alter {
        request: Rc<AlterPartitions>,
        shard: ShardIndex,
        /// Of each change's proposal.
        numbers: Vec<u64>,
    },
    AlterAnswer {
        incarnation: Incarnation,
        shard: ShardIndex,
        answers: Vec<AlterAnswer>,
    },
    Repair(RepairReplicas),
    Image(Rc<View>),
    // Between brokers.
    Fetch(Replication, Rc<FetchRequest>),
    FullAgain(Replication, u64),
    FetchAnswer(Replication, RequestNumber, Rc<Vec<(TopicPartition, FetchedEntry)>>),
    Flush(Replication, Rc<FlushRequest>),
    AskBeginning {
        at: Replication,
        id: TopicPartition,
        leader_epoch: LeaderEpoch,
    },
    Beginning {
        at: Replication,
        id: TopicPartition,
        beginning: Option<Rc<LogBeginning>>,
    },
    // Between clients and brokers.
    Produce(Produce),
    ProduceAnswer(ProduceAnswer),
    Read {
        client: ClientId,
        id: TopicPartition,
        shard: ShardIndex,
        offset: u64,
        number: u64,
    },
    ReadAnswer {
        id: TopicPartition,
        number: u64,
        leader_epoch: LeaderEpoch,
        frames: Option<Bytes>,
    },
}

/// What the controller says of one change of an in-sync set.
#[derive(Clone, Debug)]
pub struct AlterAnswer {
    pub id: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub number: u64,
    /// `None` when the whole request was refused.
    pub answer: Option<Result<sluice_metadata::PartitionState, PartitionRefusal>>,
}

/// One partition of an answer to a follower.
#[derive(Clone, Debug)]
pub enum FetchedEntry {
    Frames { told: Told, frames: Bytes },
    Diverging { epoch: Option<LeaderEpoch>, end_offset: Offset },
    ChainMismatch,
    BelowLogStart { first_offset: Offset },
    Refused,
}

#[derive(Clone, Debug)]
pub struct Produce {
    pub client: ClientId,
    pub id: TopicPartition,
    pub shard: ShardIndex,
    /// Of the sending, from the client's point of view.
    pub sending: u64,
    pub frame: Bytes,
    pub all_replicas: bool,
}

#[derive(Clone, Debug)]
pub struct ProduceAnswer {
    pub client: ClientId,
    pub id: TopicPartition,
    pub sending: u64,
    /// Under which the broker led, when it did.
    pub leader_epoch: Option<LeaderEpoch>,
    pub outcome: ProduceOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceOutcome {
    Written {
        base_offset: Option<u64>,
    },
    /// This copy is certainly not written, for a reason that will go away.
    Refused,
    /// The sequence check has said no.
    OutOfOrder,
    /// Nobody can say.
    Unknown,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => write!(f, "controller"),
            Self::Broker(broker) => write!(f, "broker {broker}"),
            Self::Client(client) => write!(f, "client {}", client.0),
        }
    }
}

/// Short, for the trace: what is in it, no bytes of records.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(request) => write!(f, "register {}", request.incarnation),
            Self::Registered { incarnation, view } => write!(f, "registered {incarnation}, image {}", view.version),
            Self::Report(report) => write!(f, "recovered {:?}", report.replicas),
            Self::Heartbeat { sent_us, version, .. } => write!(f, "heartbeat at {sent_us}, image {version}"),
            Self::HeartbeatAnswer { sent_us, has_lease, .. } => write!(f, "lease of {sent_us}: {has_lease}"),
            Self::Alter { request, .. } => write!(f, "alter {:?}", request.changes),
            Self::AlterAnswer { answers, .. } => write!(f, "altered {answers:?}"),
            Self::Repair(request) => write!(f, "repaired {:?}", request.replicas),
            Self::Image(view) => write!(f, "image {}", view.version),
            Self::Fetch(at, request) => {
                write!(f, "fetch {:?} {:?} {:?} -{:?}", at.from, request.at, request.named, request.forgotten)
            }
            Self::FullAgain(at, session) => write!(f, "full again {:?} {session}", at.from),
            Self::FetchAnswer(at, number, entries) => {
                write!(f, "fetched {:?} {number:?}", at.from)?;
                entries.iter().try_for_each(|(id, entry)| match entry {
                    FetchedEntry::Frames { told, frames } => write!(f, " {id}: {} bytes, {told:?}", frames.len()),
                    entry => write!(f, " {id}: {entry:?}"),
                })
            }
            Self::Flush(at, request) => write!(f, "flushed {:?} {request:?}", at.from),
            Self::AskBeginning { id, leader_epoch, .. } => write!(f, "ask for the beginning of {id} in epoch {leader_epoch}"),
            Self::Beginning { id, beginning, .. } => {
                write!(f, "the beginning of {id}: {:?}", beginning.as_ref().map(|beginning| beginning.first_offset))
            }
            Self::Produce(produce) => write!(f, "produce {} to {}", produce.sending, produce.id),
            Self::ProduceAnswer(answer) => write!(f, "answer {} of {}: {:?}", answer.sending, answer.id, answer.outcome),
            Self::Read { id, offset, .. } => write!(f, "read {id} at {offset}"),
            Self::ReadAnswer { id, frames, .. } => write!(f, "records of {id}: {:?} bytes", frames.as_ref().map(Bytes::len)),
        }
    }
}
