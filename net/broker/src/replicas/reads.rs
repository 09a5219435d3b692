//! What serving followers has to wait for: frames on disk, the chain at an offset, the beginning of a log.
//!
//! A few tasks of their own, so that a consumer's reads do not stand before them; the partitions pace what they read, so
//! that a replica which catches up does not show in a produce. The expensive mistake is to let one partition's read hold
//! up an answer: what is read here is sent with the next answer after it is there.

use crate::answer::ReplyTo;
use crate::data_plane::ShardPartitions;
use crate::error_table::WireError;
use bytes::Bytes;
use event_listener::Event;
use sluice_model::limits::FRAME_BODY_LEN_MAX;
use sluice_model::{FRAME_HEADER_LEN, Incarnation, LeaderEpoch, Offset, ProducerId, TopicPartition};
use sluice_partition::{CatchUpRead, CaughtUp, FetchRefusal, Reader};
use sluice_replica::LogBeginning;
use sluice_replica::session::{FollowerShard, PartitionFetch, Told};
use sluice_shard::{Pacer, Reservation, Wake};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Tasks that read; one job each is under way.
pub(crate) const REPLICA_READ_TASKS: usize = 4;
/// Bytes read at a time: larger pieces show in the latency of a produce beside them. And while there is none.
const PIECE_LEN: usize = 256 * 1024;
const QUIET_PIECE_LEN: usize = 1024 * 1024;
const LARGEST_FRAME_LEN: usize = FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX;

pub(crate) enum ReplicaJob {
    /// Frames that lie on disk.
    Frames { of: ReplicaOf, told: Told, len_max: usize, reservation: Reservation },
    /// The chain at an offset, for the fetch to be judged.
    LookUp { of: ReplicaOf, offset: Offset },
    /// Where the log begins, and what was known there.
    Beginning { to: ReplyTo, id: TopicPartition, leader_epoch: LeaderEpoch, after: Option<ProducerId> },
}

pub(crate) enum ReplicaDone {
    Frames { of: ReplicaOf, told: Told, read: Result<Vec<Bytes>, WireError>, reservation: Reservation },
    LookUp { of: ReplicaOf, result: Result<(), WireError> },
    Beginning { to: ReplyTo, after: Option<ProducerId>, result: Result<LogBeginning, WireError> },
}

/// For which fetch of which follower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplicaOf {
    /// Of the link that asked; another one of the same follower shard has another.
    pub(crate) token: u64,
    pub(crate) from: FollowerShard,
    pub(crate) incarnation: Incarnation,
    pub(crate) id: TopicPartition,
    pub(crate) fetch: PartitionFetch,
}

/// The queue of one shard; bounded by what each follower shard may have under way.
pub(crate) struct ReplicaReads {
    jobs: RefCell<VecDeque<ReplicaJob>>,
    queued: Event,
    done: RefCell<Vec<ReplicaDone>>,
    wake: Wake,
    partitions: ShardPartitions,
    pacer: Pacer,
}

impl ReplicaReads {
    pub(crate) fn new(wake: Wake, partitions: ShardPartitions, pacer: Pacer) -> Rc<Self> {
        Rc::new(Self { jobs: RefCell::default(), queued: Event::new(), done: RefCell::default(), wake, partitions, pacer })
    }

    pub(crate) fn push(&self, job: ReplicaJob) {
        self.jobs.borrow_mut().push_back(job);
        self.queued.notify(1);
    }

    pub(crate) fn take_done(&self, into: &mut Vec<ReplicaDone>) {
        into.append(&mut self.done.borrow_mut());
    }

    /// One reading task; never ends.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let queued = self.queued.listen();
            let job = self.jobs.borrow_mut().pop_front();
            let Some(job) = job else {
                queued.await;
                continue;
            };
            let done = self.run_job(job).await;
            self.done.borrow_mut().push(done);
            self.wake.notify();
        }
    }

    async fn run_job(&self, job: ReplicaJob) -> ReplicaDone {
        match job {
            ReplicaJob::Frames { of, told, len_max, mut reservation } => {
                let read = self.read(&of, len_max, &mut reservation).await;
                ReplicaDone::Frames { of, told, read, reservation }
            }
            ReplicaJob::LookUp { of, offset } => {
                let result = self.partitions.look_up_chain(of.id, offset).await;
                ReplicaDone::LookUp { of, result: result.map_err(|error| WireError::from(&error)) }
            }
            ReplicaJob::Beginning { to, id, leader_epoch, after } => {
                let result = self.partitions.beginning(id, leader_epoch).await;
                ReplicaDone::Beginning { to, after, result: result.map_err(|error| WireError::from(&error)) }
            }
        }
    }

    async fn read(&self, of: &ReplicaOf, len_max: usize, reservation: &mut Reservation) -> Result<Vec<Bytes>, WireError> {
        match self.read_at_most(of, len_max).await {
            CaughtUp::Frames { slices, .. } => Ok(slices),
            CaughtUp::Refused(FetchRefusal::TooSmall { needed }) if (len_max + 1..=LARGEST_FRAME_LEN).contains(&needed) => {
                // What is read is held twice while it is cut into frames.
                if !reservation.try_grow(2 * (needed - len_max)) {
                    return Err(WireError::no_room());
                }
                match self.read_at_most(of, needed).await {
                    CaughtUp::Frames { slices, .. } => Ok(slices),
                    CaughtUp::Refused(refusal) => Err(WireError::from(&refusal)),
                    CaughtUp::Failed(error) => Err(WireError::from(&error)),
                }
            }
            CaughtUp::Refused(refusal) => Err(WireError::from(&refusal)),
            CaughtUp::Failed(error) => {
                tracing::warn!(%error, partition = %of.id, follower = of.from.broker.0, "a read for a follower failed");
                Err(WireError::from(&error))
            }
        }
    }

    async fn read_at_most(&self, of: &ReplicaOf, len_max: usize) -> CaughtUp {
        let piece_len = if self.pacer.is_quiet() { QUIET_PIECE_LEN } else { PIECE_LEN };
        let reader = Reader::Follower { from: (of.from.broker, of.incarnation), leader_epoch: of.fetch.leader_epoch };
        let offset = of.fetch.position.offset;
        self.partitions.catch_up(CatchUpRead { id: of.id, offset, len_max, piece_len, reader }).await
    }
}
