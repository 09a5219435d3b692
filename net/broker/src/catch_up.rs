//! Disk reads for fetches: a queue, a few tasks that read, and what they bring back.
//!
//! The bytes of a read are reserved in the network budget before it is queued, and each read waits its turn at the
//! shard's pacer, so a consumer of a day-old backlog neither fills the memory nor shows in a producer's p99.

use crate::answer::ReplyTo;
use crate::data_plane::ShardPartitions;
use crate::error_table::WireError;
use bytes::Bytes;
use event_listener::Event;
use sluice_model::{Offset, TopicPartition};
use sluice_partition::{CatchUpRead, CaughtUp, FetchRefusal, Reader};
use sluice_protocol::{FetchedPartition, ListedOffset};
use sluice_shard::{DirectDisk, Pacer, Reservation, Wake};
use sluice_storage::read_plan::DiskReadError;
use sluice_storage::run_bounded::run_bounded;
use sluice_storage::timestamp_lookup::TimestampLookup;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Tasks that read; one fetch each is under way.
pub(crate) const CATCH_UP_TASKS: usize = 4;
/// Bytes read at a time: larger pieces show in the latency of a produce beside them. And while there is none.
const PIECE_LEN: usize = 256 * 1024;
const QUIET_PIECE_LEN: usize = 2 * 1024 * 1024;
/// Partitions of one fetch that are read at once, as far as the device's budget lets them.
const PARTS_AT_ONCE: usize = 4;
/// Bytes of one partition that one fetch is served from disk, unless a single frame is larger.
pub(crate) const DISK_PART_LEN: usize = 8 * PIECE_LEN;

/// What one partition brings to a fetch answer.
pub(crate) enum PartFrames {
    Ready(Vec<Bytes>),
    Disk(DiskPart),
    Refused(FetchRefusal),
    /// One frame larger than usual, and no room for it now.
    NoRoom,
    Failed(DiskReadError),
}

/// Frames to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskPart {
    pub(crate) id: TopicPartition,
    pub(crate) offset: Offset,
    /// Bytes that are reserved for it.
    pub(crate) len_max: usize,
    /// Bytes that were asked for: one frame may be so large.
    pub(crate) len_allowed: usize,
}

impl DiskPart {
    /// What is given out keeps what was read with it alive.
    pub(crate) fn held_len(len: usize) -> usize {
        2 * len
    }
}

pub(crate) struct FetchPart {
    pub(crate) answer: FetchedPartition,
    pub(crate) frames: PartFrames,
    /// Bytes of the frames that were read from a segment.
    pub(crate) disk_len: usize,
}

impl FetchPart {
    pub(crate) fn new(answer: FetchedPartition, frames: PartFrames) -> Self {
        Self { answer, frames, disk_len: 0 }
    }
}

/// A fetch some of whose frames have to be read.
pub(crate) struct FetchJob {
    pub(crate) to: ReplyTo,
    /// When its frames were looked for, microseconds by the monotonic clock.
    pub(crate) looked_us: u64,
    pub(crate) parts: Vec<FetchPart>,
    /// The frames of all parts together may have so many bytes.
    pub(crate) frames_len_max: usize,
    /// The bytes of the answer, those not yet read included.
    pub(crate) reservation: Reservation,
}

/// One partition of a request for offsets by time.
pub(crate) struct OffsetsPart {
    /// Holds the high watermark until a record is found.
    pub(crate) answer: ListedOffset,
    pub(crate) lookup: Option<TimestampLookup<DirectDisk>>,
}

pub(crate) struct OffsetsJob {
    pub(crate) to: ReplyTo,
    pub(crate) parts: Vec<OffsetsPart>,
    /// The memory of the above and of the answer.
    pub(crate) reservation: Reservation,
}

pub(crate) enum Job {
    Fetch(FetchJob),
    Offsets(OffsetsJob),
}

pub(crate) enum Done {
    Fetch(FetchJob),
    Offsets(OffsetsJob),
}

/// The queue of one shard. As long as the requests in flight of its connections allow, and no longer.
pub(crate) struct CatchUp {
    jobs: RefCell<VecDeque<Job>>,
    queued: Event,
    done: RefCell<Vec<Done>>,
    wake: Wake,
    partitions: ShardPartitions,
    pacer: Pacer,
}

impl CatchUp {
    pub(crate) fn new(wake: Wake, partitions: ShardPartitions, pacer: Pacer) -> Rc<Self> {
        Rc::new(Self { jobs: RefCell::default(), queued: Event::new(), done: RefCell::default(), wake, partitions, pacer })
    }

    /// Reads stand back for produce for a while.
    pub(crate) fn on_produce(&self, now_us: u64) {
        self.pacer.on_produce(now_us);
    }

    pub(crate) fn push(&self, job: Job) {
        self.jobs.borrow_mut().push_back(job);
        self.queued.notify(1);
    }

    pub(crate) fn take_done(&self, into: &mut Vec<Done>) {
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
            let done = match job {
                Job::Fetch(job) => Done::Fetch(self.read(job).await),
                Job::Offsets(job) => Done::Offsets(self.look_up(job).await),
            };
            self.done.borrow_mut().push(done);
            self.wake.notify();
        }
    }

    async fn read(&self, mut job: FetchJob) -> FetchJob {
        let reservation = RefCell::new(&mut job.reservation);
        let reads = job.parts.iter_mut().filter_map(|part| match part.frames {
            PartFrames::Disk(disk_part) => Some(self.read_part(disk_part, part, &reservation)),
            _ => None,
        });
        let all = run_bounded(PARTS_AT_ONCE, reads, |()| ControlFlow::<()>::Continue(())).await;
        assert!(all.is_continue(), "no part ends the others");
        job
    }

    async fn read_part(&self, disk_part: DiskPart, part: &mut FetchPart, reservation: &RefCell<&mut Reservation>) {
        part.frames = self.read_partition(disk_part, &mut part.disk_len).await;
        let PartFrames::Refused(FetchRefusal::TooSmall { needed }) = part.frames else { return };
        if needed > disk_part.len_allowed {
            return;
        }
        let has_room = reservation.borrow_mut().try_grow(DiskPart::held_len(needed));
        part.frames = match has_room {
            true => self.read_partition(DiskPart { len_max: needed, ..disk_part }, &mut part.disk_len).await,
            false => PartFrames::NoRoom,
        };
    }

    /// Bytes from the disk are added to `disk_len`.
    async fn read_partition(&self, part: DiskPart, disk_len: &mut usize) -> PartFrames {
        let DiskPart { id, offset, len_max, .. } = part;
        let piece_len = if self.pacer.is_quiet() { QUIET_PIECE_LEN } else { PIECE_LEN };
        match self.partitions.catch_up(CatchUpRead { id, offset, len_max, piece_len, reader: Reader::Consumer }).await {
            CaughtUp::Frames { slices, disk_len: len } => {
                *disk_len += len;
                PartFrames::Ready(slices)
            }
            CaughtUp::Refused(refusal) => PartFrames::Refused(refusal),
            CaughtUp::Failed(error) => PartFrames::Failed(error),
        }
    }

    async fn look_up(&self, mut job: OffsetsJob) -> OffsetsJob {
        for part in &mut job.parts {
            let Some(lookup) = part.lookup.take() else { continue };
            match self.partitions.look_up(lookup).await {
                Ok(Some(found)) if found.offset.0 < part.answer.offset => {
                    part.answer.offset = found.offset.0;
                    part.answer.timestamp_ms = found.timestamp_ms;
                }
                Ok(_) => {}
                Err(error) => {
                    let error = WireError::from(&error);
                    (part.answer.error, part.answer.text) = (error.code(), error.text);
                }
            }
        }
        job
    }
}
