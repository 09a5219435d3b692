//! What goes into one answer to a follower shard: fair among its partitions, and never longer than asked for.
//!
//! First what is said of partitions in words, then frames, beginning behind the partition that was served last; each
//! partition gets at most a part of the answer, so that one that catches up does not fill it alone. Frames in memory go in
//! at once; frames on disk are read by tasks and go into a later answer, whole or not at all. The expensive mistake is an
//! answer whose bytes nobody has reserved: it grows the fetch's reservation before it takes anything.

use crate::data_plane::ShardPartitions;
use crate::error_table::WireError;
use crate::replicas::leading::{DiskRead, Link, READS_PER_LINK_MAX};
use crate::replicas::reads::{ReplicaJob, ReplicaOf, ReplicaReads};
use bytes::Bytes;
use sluice_model::limits::{
    FRAME_BODY_LEN_MAX, MESSAGE_BODY_LEN_MAX, REPLICA_ENTRY_LEN_MAX, REPLICAS_PER_FETCH_MAX, TAIL_CHUNK_LEN,
};
use sluice_model::{ErrorCode, FRAME_HEADER_LEN, TopicPartition};
use sluice_partition::{FetchRefusal, FetchedFrames, ReplicaFramesRefusal};
use sluice_protocol::{PARTITION_TEXT_LEN_MAX, ReplicaFetched, ReplicaOutcome};
use sluice_replica::session::leader::{Fetched, LeaderSessions};
use sluice_replica::session::{FollowerShard, PartitionFetch, Told};
use sluice_shard::{Budget, Reservation};

/// Most bytes of frames of one partition in one answer, unless a single frame is longer.
const PARTITION_LEN_MAX: usize = 1024 * 1024;
/// Less than this is not looked for any more.
const LEFT_LEN_MIN: usize = 1024;
/// Bytes of a body that are left for what is not an entry.
const BODY_SLACK_LEN: usize = 4096;
const LARGEST_FRAME_LEN: usize = FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX;

/// What a link is served from.
pub(crate) struct Source<'a> {
    pub(crate) from: FollowerShard,
    pub(crate) partitions: &'a ShardPartitions,
    pub(crate) reads: &'a ReplicaReads,
    pub(crate) sessions: &'a LeaderSessions,
    pub(crate) budget: &'a Budget,
}

/// One answer as it grows.
pub(crate) struct Gathered<'a> {
    reservation: &'a mut Reservation,
    frames_left: usize,
    body_left: usize,
    pub(crate) entries: Vec<ReplicaFetched>,
    pub(crate) told: Vec<(TopicPartition, Told)>,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) frames_len: usize,
    /// There is more, and no memory for it now.
    pub(crate) lacks_room: bool,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(len_max: usize, reservation: &'a mut Reservation) -> Self {
        Self {
            reservation,
            frames_left: len_max,
            body_left: MESSAGE_BODY_LEN_MAX - BODY_SLACK_LEN,
            entries: Vec::new(),
            told: Vec::new(),
            frames: Vec::new(),
            frames_len: 0,
            lacks_room: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes what there is for `link`.
    pub(crate) fn take_from(&mut self, source: &Source<'_>, link: &mut Link) {
        while let Some((&id, (fetch, outcome))) = link.verdicts.first_key_value() {
            if !self.say(id, *fetch, outcome.clone()) {
                return;
            }
            link.verdicts.remove(&id);
        }
        for (id, fetched) in candidates(source, link) {
            if self.frames_left < LEFT_LEN_MIN || self.body_left < REPLICA_ENTRY_LEN_MAX {
                return;
            }
            self.take_partition(source, link, id, fetched);
        }
    }

    fn take_partition(&mut self, source: &Source<'_>, link: &mut Link, id: TopicPartition, fetched: Fetched) {
        let fetch = fetched.fetch;
        match link.reads.get(&id) {
            // Whatever it is read for: one read of a partition at a time.
            Some(DiskRead::UnderWay) => return,
            Some(DiskRead::Here { fetch: read_for, .. }) if *read_for == fetch => return self.take_read(link, id),
            Some(DiskRead::Here { .. }) => _ = link.reads.remove(&id),
            None => {}
        }
        let allowed = self.frames_left.min(PARTITION_LEN_MAX);
        let from = (source.from.broker, link.incarnation);
        let mut found = source.partitions.replica_frames(from, id, &fetch, allowed);
        if let Err(ReplicaFramesRefusal::Log(FetchRefusal::TooSmall { needed })) = found {
            // It comes first in a later answer, and alone if it has to.
            if needed > self.frames_left && !self.frames.is_empty() || needed > LARGEST_FRAME_LEN {
                return;
            }
            found = source.partitions.replica_frames(from, id, &fetch, needed);
        }
        match found {
            Ok(found) => match found.frames {
                FetchedFrames::Memory(slices) => {
                    self.add(link, id, fetch, found.told, slices);
                }
                FetchedFrames::Disk(_) => self.lacks_room |= !read_from_disk(source, link, id, fetch, found.told),
                FetchedFrames::Empty => {
                    let is_said =
                        !LeaderSessions::has_news(&fetched, found.told) || self.add(link, id, fetch, found.told, Vec::new());
                    if is_said {
                        link.ready.remove(&id);
                    }
                }
            },
            Err(ReplicaFramesRefusal::NotProved) => _ = link.ready.remove(&id),
            Err(ReplicaFramesRefusal::UnknownPartition(_) | ReplicaFramesRefusal::NotLeader(_)) => {
                let error = WireError::new(ErrorCode::NotLeader, format_args!("this broker does not lead partition {id} now"));
                self.refuse(link, id, fetch, error);
            }
            Err(ReplicaFramesRefusal::Log(refusal)) => self.refuse(link, id, fetch, WireError::from(&refusal)),
        }
    }

    /// Frames that were read from the disk. They stay for a later answer when this one has no room.
    fn take_read(&mut self, link: &mut Link, id: TopicPartition) {
        let Some(DiskRead::Here { fetch, told, slices, reservation }) = link.reads.remove(&id) else { return };
        let len: usize = slices.iter().map(Bytes::len).sum();
        if len > self.frames_left && !self.frames.is_empty() {
            link.reads.insert(id, DiskRead::Here { fetch, told, slices, reservation });
            return;
        }
        // What was reserved for reading them is more than what they hold now.
        drop(reservation);
        self.add(link, id, fetch, told, slices);
    }

    fn refuse(&mut self, link: &mut Link, id: TopicPartition, fetch: PartitionFetch, error: WireError) {
        let outcome = ReplicaOutcome::Refused { error: error.code(), text: error.text };
        if self.say(id, fetch, outcome) {
            link.ready.remove(&id);
        }
    }

    /// Adds an entry with frames, perhaps none. `false`: there is no room for it.
    fn add(&mut self, link: &mut Link, id: TopicPartition, fetch: PartitionFetch, told: Told, slices: Vec<Bytes>) -> bool {
        let len: usize = slices.iter().map(Bytes::len).sum();
        // A slice keeps its whole chunk of the tail alive.
        let held_len: usize = slices.iter().map(|slice| slice.len().max(TAIL_CHUNK_LEN)).sum();
        let Ok(frames_len) = u32::try_from(len) else { return false };
        if !self.reservation.try_grow(held_len) {
            self.lacks_room = true;
            return false;
        }
        let Told { high_watermark, log_start_offset } = told;
        let (high_watermark, log_start_offset) = (high_watermark.0, log_start_offset.0);
        if !self.say(id, fetch, ReplicaOutcome::Frames { frames_len, high_watermark, log_start_offset }) {
            return false;
        }
        self.told.push((id, told));
        self.frames_left = self.frames_left.saturating_sub(len);
        self.frames_len += len;
        if len > 0 {
            link.last_served = Some(id);
        }
        self.frames.extend(slices);
        true
    }

    /// `false`: the body is full.
    fn say(&mut self, id: TopicPartition, fetch: PartitionFetch, outcome: ReplicaOutcome) -> bool {
        let text_len = if matches!(outcome, ReplicaOutcome::Refused { .. }) { PARTITION_TEXT_LEN_MAX } else { 0 };
        let len = REPLICA_ENTRY_LEN_MAX + text_len;
        if len > self.body_left || self.entries.len() >= REPLICAS_PER_FETCH_MAX {
            return false;
        }
        if !self.reservation.try_grow(len) {
            self.lacks_room = true;
            return false;
        }
        self.body_left -= len;
        self.entries.push(ReplicaFetched {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            leader_epoch: fetch.leader_epoch.0,
            fetch_offset: fetch.position.offset.0,
            outcome,
        });
        true
    }
}

/// The ready partitions of the session, those behind the one that was served last before the others.
fn candidates(source: &Source<'_>, link: &Link) -> Vec<(TopicPartition, Fetched)> {
    let ready = link.ready.iter().filter_map(|&id| Some((id, *source.sessions.partition(source.from, id)?)));
    let mut candidates: Vec<_> = ready.collect();
    if let Some(last) = link.last_served {
        let behind = candidates.partition_point(|(id, _)| *id <= last);
        candidates.rotate_left(behind);
    }
    candidates
}

/// A partition whose read finds no place or no room now stays ready; `false`: there was no room.
fn read_from_disk(source: &Source<'_>, link: &mut Link, id: TopicPartition, fetch: PartitionFetch, told: Told) -> bool {
    if link.reads.len() >= READS_PER_LINK_MAX {
        return true;
    }
    // What is read is held twice while it is cut into frames.
    let Some(reservation) = source.budget.try_reserve(2 * PARTITION_LEN_MAX) else { return false };
    link.reads.insert(id, DiskRead::UnderWay);
    let of = ReplicaOf { token: link.token, from: source.from, incarnation: link.incarnation, id, fetch };
    source.reads.push(ReplicaJob::Frames { of, told, len_max: PARTITION_LEN_MAX, reservation });
    true
}
