//! Disk reads for fetches: a queue, a few tasks that read, and what they bring back.
//!
//! The bytes of a read are reserved in the network budget before it is queued, and each read waits its turn at the
//! shard's pacer, so a consumer of a day-old backlog neither fills the memory nor shows in a producer's p99.

use crate::answer::ReplyTo;
use bytes::Bytes;
use event_listener::Event;
use sluice_protocol::{FetchedPartition, ListedOffset};
use sluice_shard::{DirectDisk, PaceClass, Pacer, Reservation, Wake};
use sluice_storage::read_plan::{DiskRead, DiskReadError, ReadFrames, TimestampLookup};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Tasks that read; one read each is under way.
pub(crate) const CATCH_UP_TASKS: usize = 4;
/// What a lookup by time reads at most, bytes; for the pacer.
const LOOKUP_LEN: u64 = 128 * 1024;

/// What one partition brings to a fetch answer.
pub(crate) enum PartFrames {
    Ready(Vec<Bytes>),
    Disk(DiskRead<DirectDisk>),
    Failed(DiskReadError),
}

pub(crate) struct FetchPart {
    pub(crate) answer: FetchedPartition,
    pub(crate) frames: PartFrames,
}

/// A fetch some of whose frames have to be read.
pub(crate) struct FetchJob {
    pub(crate) to: ReplyTo,
    pub(crate) began_us: u64,
    pub(crate) parts: Vec<FetchPart>,
    pub(crate) reservation: Reservation,
}

/// One partition of a request for offsets by time.
pub(crate) struct OffsetsPart {
    pub(crate) answer: ListedOffset,
    pub(crate) lookup: Option<TimestampLookup<DirectDisk>>,
    pub(crate) failed: Option<DiskReadError>,
}

pub(crate) struct OffsetsJob {
    pub(crate) to: ReplyTo,
    pub(crate) parts: Vec<OffsetsPart>,
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
    pacer: Pacer,
}

impl CatchUp {
    pub(crate) fn new(wake: Wake, pacer: Pacer) -> Rc<Self> {
        Rc::new(Self { jobs: RefCell::default(), queued: Event::new(), done: RefCell::default(), wake, pacer })
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
        for part in &mut job.parts {
            let frames = std::mem::replace(&mut part.frames, PartFrames::Ready(Vec::new()));
            let PartFrames::Disk(read) = frames else {
                part.frames = frames;
                continue;
            };
            let permit = self.pacer.acquire(PaceClass::CatchUpRead, read.len_hint() as u64).await;
            part.frames = match read.run().await {
                Ok(ReadFrames { slices, .. }) => PartFrames::Ready(slices),
                Err(error) => PartFrames::Failed(error),
            };
            drop(permit);
        }
        job
    }

    async fn look_up(&self, mut job: OffsetsJob) -> OffsetsJob {
        for part in &mut job.parts {
            let Some(lookup) = part.lookup.take() else { continue };
            let permit = self.pacer.acquire(PaceClass::CatchUpRead, LOOKUP_LEN).await;
            match lookup.run().await {
                Ok(Some((offset, timestamp_ms))) => {
                    part.answer.offset = offset.0;
                    part.answer.timestamp_ms = timestamp_ms;
                }
                // No record at or after the time: the answer holds the high watermark already.
                Ok(None) => {}
                Err(error) => part.failed = Some(error),
            }
            drop(permit);
        }
        job
    }
}
