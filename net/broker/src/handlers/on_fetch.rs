//! Fetch: whole frames of several partitions, from memory at once or from the disk by way of the catch-up tasks;
//! parked when there is too little.
//!
//! The expensive mistakes are an answer longer than was asked for (every byte of body and frames is counted before it
//! is taken) and a partition that is never served because those before it always fill the answer (each fetch of a
//! connection begins with another one).

use crate::answer::{AnswerFrames, ReplyTo};
use crate::catch_up::{DISK_PART_LEN, DiskPart, FetchJob, FetchPart, Job, PartFrames};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::parked_fetch::{FETCH_PARTITION_LEN, FetchWork, partition_id};
use crate::slab::Key;
use bytes::Bytes;
use sluice_model::limits::{FETCH_LEN_MAX, FETCH_WAIT_MS_MAX, TAIL_CHUNK_LEN};
use sluice_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use sluice_partition::{FetchRefusal, Fetched, FetchedFrames, PartitionStatus};
use sluice_protocol::{
    ArchivedFetchedPartition, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition, Malformed, PREFIX_LEN, decode,
};
use sluice_shard::DirectDisk;
use sluice_storage::read_plan::DiskReadError;

/// Bytes of an answer before its partitions: prefix and the root of the archive.
const ANSWER_LEN: usize = PREFIX_LEN + 16;
/// Bytes of one partition in an answer that has nothing to say about it.
const PARTITION_LEN: usize = size_of::<ArchivedFetchedPartition>();
/// What the reading of a frame from disk may have to say if it fails.
const DISK_TEXT_LEN: usize = 128;

/// What the partitions of a fetch have.
#[derive(Default)]
struct Gathered {
    /// In the order of the request.
    parts: Vec<FetchPart>,
    /// Bytes of frames the answer may have.
    frames_len_max: usize,
    /// Bytes of frames, in memory and to be read.
    frames_len: usize,
    /// Bytes that the frames hold of the shard's memory until they are sent.
    held_len: usize,
    has_disk: bool,
    has_error: bool,
}

/// Bytes of frames an answer may have, and those not yet taken.
#[derive(Clone, Copy, Debug)]
struct FramesBudget {
    all: usize,
    left: usize,
}

impl DataPlane {
    pub(crate) fn on_fetch(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = decode::<FetchRequest>(body)?;
        let Some(reservation) = self.parts.budget.try_reserve(ANSWER_LEN + request.partitions.len() * FETCH_PARTITION_LEN) else {
            self.refuse(to, WireError::no_room());
            return Ok(());
        };
        let wait_us = u64::from(request.wait_ms_max.min(FETCH_WAIT_MS_MAX)) * 1000;
        let work = FetchWork {
            to,
            wait_until_us: self.now.mono_us + wait_us,
            len_min: request.len_min as usize,
            len_max: request.len_max.min(FETCH_LEN_MAX) as usize,
            first: self.fetch_turn(to, request.partitions.len()),
            partitions: request.partitions,
            reservation,
        };
        self.serve_fetch(work);
        Ok(())
    }

    fn fetch_turn(&mut self, to: ReplyTo, partition_count: usize) -> usize {
        let Some(connection) = self.connections.get_mut(&to.connection) else { return 0 };
        connection.fetch_turn = connection.fetch_turn.wrapping_add(1);
        connection.fetch_turn as usize % partition_count.max(1)
    }

    /// Answers, queues disk reads, or parks.
    fn serve_fetch(&mut self, work: FetchWork) {
        let gathered = self.gather(&work);
        let is_enough = gathered.frames_len >= work.len_min || gathered.has_error || gathered.has_disk;
        let may_wait = self.now.mono_us < work.wait_until_us && !self.is_stopping;
        if !is_enough && may_wait {
            return self.park(work);
        }
        let FetchWork { to, mut reservation, .. } = work;
        if !reservation.try_grow(gathered.held_len) {
            return self.refuse(to, WireError::no_room());
        }
        let has_disk = gathered.has_disk;
        let (looked_us, frames_len_max) = (self.now.mono_us, gathered.frames_len_max);
        let job = FetchJob { to, looked_us, parts: gathered.parts, frames_len_max, reservation };
        match self.parts.opened.get().filter(|_| has_disk) {
            Some(opened) => {
                self.parts.metrics.disk_reads.add(1);
                opened.catch_up.push(Job::Fetch(job));
            }
            None => self.finish_fetch(job),
        }
    }

    fn gather(&self, work: &FetchWork) -> Gathered {
        let count = work.partitions.len();
        let all = work.len_max.saturating_sub(ANSWER_LEN + count * PARTITION_LEN);
        let mut gathered = Gathered { parts: Vec::with_capacity(count), frames_len_max: all, ..Gathered::default() };
        let mut budget = FramesBudget { all, left: all };
        for index in (0..count).map(|index| (index + work.first) % count) {
            let part = self.read_partition(&work.partitions[index], budget);
            gathered.has_error |= part.answer.error != 0;
            let (frames_len, held_len, text_len) = part_lens(&part);
            gathered.has_disk |= matches!(part.frames, PartFrames::Disk(_));
            gathered.frames_len += frames_len;
            gathered.held_len += held_len;
            budget.left = budget.left.saturating_sub(frames_len + text_len);
            gathered.parts.push(part);
        }
        gathered.parts.rotate_right(work.first);
        gathered
    }

    fn read_partition(&self, entry: &FetchPartition, budget: FramesBudget) -> FetchPart {
        let left = budget.left;
        let id = partition_id(entry);
        let mut answer = FetchedPartition { topic_id: entry.topic_id, partition: entry.partition, ..Default::default() };
        let (opened, leader_epoch) = match self.here(id) {
            Ok(here) => here,
            Err(place) => {
                let (error, address) = place.refusal();
                set_error(&mut answer, error, left);
                answer.address = address;
                return FetchPart::new(answer, PartFrames::Ready(Vec::new()));
            }
        };
        if let Some(error) = fenced(LeaderEpoch(entry.leader_epoch), leader_epoch) {
            set_error(&mut answer, error, left);
            return FetchPart::new(answer, PartFrames::Ready(Vec::new()));
        }
        let allowed = left.min(entry.len_max as usize);
        match opened.partitions.fetch(id, Offset(entry.offset), allowed) {
            Ok(fetched) => fill_in(answer, entry, fetched, allowed),
            Err(refusal) => {
                fill_in_status(&mut answer, opened.partitions.status(id));
                // What does not fit beside the other partitions comes first in a later fetch.
                let fits_alone =
                    matches!(refusal, FetchRefusal::TooSmall { needed } if needed <= (entry.len_max as usize).min(budget.all));
                if !fits_alone {
                    set_refusal(&mut answer, refusal, left);
                }
                FetchPart::new(answer, PartFrames::Ready(Vec::new()))
            }
        }
    }

    fn park(&mut self, work: FetchWork) {
        let (connection, ids) = (work.to.connection, work.ids());
        let key = self.parked.insert(work);
        match self.connections.get_mut(&connection) {
            Some(connection) => connection.parked.push(key),
            None => {
                self.parked.remove(key);
                return;
            }
        }
        self.parts.metrics.fetches_parked.add(1);
        if let Some(opened) = self.parts.opened.get() {
            opened.partitions.watch(key.to_u64(), &ids);
        }
    }

    /// A partition that a parked fetch watches has moved.
    pub(crate) fn on_watched(&mut self, token: u64) {
        if let Some(work) = self.take_parked(Key::from_u64(token)) {
            self.serve_fetch(work);
        }
    }

    pub(crate) fn answer_due_fetches(&mut self) {
        while let Some(key) = self.parked.next_due(self.now.mono_us) {
            let Some(work) = self.take_parked(key) else { return };
            self.serve_fetch(work);
        }
    }

    /// The broker stops: whoever waits is answered with what there is.
    pub(crate) fn answer_all_parked(&mut self) {
        while let Some(key) = self.parked.next_due(u64::MAX) {
            let Some(work) = self.take_parked(key) else { return };
            self.serve_fetch(work);
        }
    }

    fn take_parked(&mut self, key: Key) -> Option<FetchWork> {
        let work = self.parked.remove(key)?;
        self.unwatch(key, &work);
        if let Some(connection) = self.connections.get_mut(&work.to.connection) {
            connection.parked.retain(|parked| *parked != key);
        }
        Some(work)
    }

    /// Its connection is gone.
    pub(crate) fn forget_parked(&mut self, key: Key) {
        if let Some(work) = self.parked.remove(key) {
            self.unwatch(key, &work);
        }
    }

    fn unwatch(&self, key: Key, work: &FetchWork) {
        if let Some(opened) = self.parts.opened.get() {
            opened.partitions.unwatch(key.to_u64(), &work.ids());
        }
    }

    /// All frames are here, or are known not to come.
    pub(crate) fn finish_fetch(&mut self, job: FetchJob) {
        let mut frames: Vec<Bytes> = Vec::new();
        let (mut frames_len, mut disk_len) = (0, 0);
        let mut partitions = Vec::with_capacity(job.parts.len());
        for part in job.parts {
            let mut answer = part.answer;
            match part.frames {
                PartFrames::Ready(slices) => {
                    let len: usize = slices.iter().map(Bytes::len).sum();
                    // What a large frame of another partition has left no room for comes with a later fetch.
                    if frames_len + len <= job.frames_len_max {
                        answer.frames_len = u32::try_from(len).unwrap_or(u32::MAX);
                        frames_len += len;
                        disk_len += part.disk_len.min(len);
                        frames.extend(slices);
                    }
                }
                PartFrames::Refused(refusal) => set_refusal(&mut answer, refusal, DISK_TEXT_LEN),
                PartFrames::Failed(error) => {
                    if let DiskReadError::Damaged(damage) = &error {
                        answer.damaged_until = damage.range.until.0;
                    }
                    tracing::warn!(%error, partition = %partition_of(&answer), "a read for a fetch failed");
                    set_error(&mut answer, WireError::from(&error), DISK_TEXT_LEN);
                }
                PartFrames::NoRoom => set_error(&mut answer, WireError::no_room(), DISK_TEXT_LEN),
                PartFrames::Disk(_) => {
                    set_error(&mut answer, WireError::new(ErrorCode::Internal, "a planned read was not done"), DISK_TEXT_LEN);
                }
            }
            partitions.push(answer);
        }
        self.count_fetched(job.looked_us, frames_len, disk_len);
        let frames = AnswerFrames { frames, len: frames_len, reservation: Some(job.reservation), times: None };
        self.answer_reserved(job.to, &FetchAnswer { partitions }, frames);
    }

    /// Frames for a fetch are here; one that found none is not timed.
    fn count_fetched(&self, looked_us: u64, frames_len: usize, disk_len: usize) {
        if frames_len == 0 {
            return;
        }
        let metrics = &self.parts.metrics;
        metrics.fetched_disk_len.add(disk_len as u64);
        metrics.fetched_memory_len.add((frames_len - disk_len) as u64);
        let stage = if disk_len > 0 { &metrics.stages.read_disk } else { &metrics.stages.read_memory };
        stage.record(self.parts.clock.mono_us().saturating_sub(looked_us));
    }
}

fn fill_in_status(answer: &mut FetchedPartition, status: Option<PartitionStatus>) {
    if let Some(status) = status {
        answer.high_watermark = status.high_watermark.0;
        answer.log_start_offset = status.log_start_offset.0;
        answer.log_end_offset = status.log_end_offset.0;
    }
}

fn fenced(asked: LeaderEpoch, current: LeaderEpoch) -> Option<WireError> {
    if asked == LeaderEpoch(0) || asked == current {
        return None;
    }
    let text = format!("the request names leader epoch {asked}, the partition is in {current}; ask for metadata again");
    let code = if asked < current { ErrorCode::FencedLeaderEpoch } else { ErrorCode::UnknownLeaderEpoch };
    Some(WireError::new(code, text))
}

/// The text only where the answer's length allows it.
fn set_error(answer: &mut FetchedPartition, error: WireError, left: usize) {
    answer.error = error.code();
    if error.text.len() <= left {
        answer.text = error.text;
    }
}

fn set_refusal(answer: &mut FetchedPartition, refusal: FetchRefusal, left: usize) {
    match refusal {
        FetchRefusal::TooSmall { needed } => answer.needed_len = u32::try_from(needed).unwrap_or(u32::MAX),
        FetchRefusal::Damaged { until, .. } => answer.damaged_until = until.0,
        _ => {}
    }
    set_error(answer, WireError::from(&refusal), left);
}

fn partition_of(answer: &FetchedPartition) -> TopicPartition {
    TopicPartition { topic_id: TopicId(answer.topic_id), partition: PartitionIndex(answer.partition) }
}

fn fill_in(answer: FetchedPartition, entry: &FetchPartition, fetched: Fetched<DirectDisk>, len_allowed: usize) -> FetchPart {
    let answer = FetchedPartition {
        high_watermark: fetched.high_watermark.0,
        log_start_offset: fetched.log_start_offset.0,
        log_end_offset: fetched.log_end_offset.0,
        damaged_until: if fetched.first_offset.0 > entry.offset { fetched.first_offset.0 } else { 0 },
        ..answer
    };
    let frames = match fetched.frames {
        FetchedFrames::Empty => PartFrames::Ready(Vec::new()),
        FetchedFrames::Memory(slices) => PartFrames::Ready(slices),
        // The plan is made again by the task that reads, piece by piece.
        FetchedFrames::Disk(_) => PartFrames::Disk(DiskPart {
            id: partition_id(entry),
            offset: Offset(entry.offset),
            len_max: len_allowed.min(DISK_PART_LEN),
            len_allowed,
        }),
    };
    FetchPart::new(answer, frames)
}

/// Bytes of frames, bytes of memory they hold until they are sent, bytes of text and address.
fn part_lens(part: &FetchPart) -> (usize, usize, usize) {
    let text_len = part.answer.text.len() + part.answer.address.as_ref().map_or(0, |address| address.host.len());
    match &part.frames {
        // A slice keeps its whole chunk of the tail alive.
        PartFrames::Ready(slices) => {
            let held_len = slices.iter().map(|slice| slice.len().max(TAIL_CHUNK_LEN)).sum();
            (slices.iter().map(Bytes::len).sum(), held_len, text_len)
        }
        PartFrames::Disk(disk) => (disk.len_max, DiskPart::held_len(disk.len_max), text_len + DISK_TEXT_LEN),
        PartFrames::Refused(_) | PartFrames::Failed(_) | PartFrames::NoRoom => (0, 0, text_len + DISK_TEXT_LEN),
    }
}
