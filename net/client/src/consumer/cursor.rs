//! Where a consumer is in one partition, and what it makes of what a fetch brought: a pure state machine.
//!
//! The expensive mistakes are to hand out a record twice, to leave one out without a word, and to go on with an
//! answer to a question that a seek has made void. The last is what generations are for.
//!
//! A leader change moves no position. A new leader may know of a lower high watermark than the last one did, and one that
//! is behind may even say that an offset is out of range which was readable before: such a word is not acted on before it has
//! been repeated for `range_wait_ms`.

use super::error::{ConsumeCause, ConsumeError};
use crate::address::Address;
use crate::backoff::Backoff;
use crate::config::ResetPolicy;
use crate::error::{ClientError, code_of};
use crate::leader::Leader;
use crate::metadata_cache::PartitionInfo;
use crate::producer::partition_queue::ConnectionId;
use bytes::Bytes;
use sluice_model::error_code::Retry;
use sluice_model::limits::{FETCH_LEN_MAX, MESSAGE_BODY_LEN_MAX};
use sluice_model::{ErrorCode, FrameHeader, TopicId};
use sluice_protocol::FetchedPartition;
use std::sync::Arc;

/// Largest frame that fits into a fetch answer beside the largest body.
const FETCHABLE_LEN_MAX: u32 = FETCH_LEN_MAX - MESSAGE_BODY_LEN_MAX as u32;

/// What came for one partition, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// One whole frame with a good header; records below `first_offset` are not wanted.
    Frame {
        bytes: Bytes,
        first_offset: u64,
    },
    /// Offsets below this one are lost, and an operator has accepted that: they will not come.
    Skipped {
        until: u64,
    },
    Stopped(ConsumeError),
}

/// What a fetch's entry asks for beside its arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// Ask for metadata.
    Refresh,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// What `Cursor::from_ms` is there.
    pub(super) from_ms: Option<i64>,
}

/// Whom a fetch asks, and since when.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) address: Address,
    pub(super) connection: ConnectionId,
    pub(super) since_ms: u64,
}

#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) topic_id: TopicId,
    pub(super) leader: Leader,
    /// The fetch on the wire, while there is one.
    pub(super) asked: Option<Asked>,
    /// The next offset to ask for.
    pub(super) fetch_offset: u64,
    /// The next offset to hand out.
    pub(super) position: u64,
    /// Records older than this, milliseconds since 1970, are stepped over until the first that is not.
    pub(super) from_ms: Option<i64>,
    /// Counts seeks; answers to fetches of an older one are thrown away.
    pub(super) generation: u64,
    /// An error was given, or waits to be; nothing is fetched until a seek.
    pub(super) stopped: bool,
    /// Nothing is fetched or handed out until it is resumed.
    pub(super) paused: bool,
    /// A frame longer than usual is next, bytes.
    pub(super) needed_len: Option<u32>,
    /// The greatest that a leader named.
    pub(super) high_watermark: Option<u64>,
    /// Since when an offset is called out of range that was not.
    pub(super) out_of_range_ms: Option<u64>,
    /// How long that is not believed.
    pub(super) range_wait_ms: u64,
    pub(super) log_start_offset: u64,
    pub(super) not_before_ms: u64,
    /// Grows with every fetch that brought something.
    pub(super) served: u64,
    pub(super) backoff: Backoff,
}

impl Cursor {
    /// Goes on at a place that was asked for.
    pub(super) fn begin_at(&mut self, place: Place) {
        self.seek(place.offset);
        self.from_ms = place.from_ms;
    }

    /// Goes on at `offset`, whatever was before. A time that is looked for is still looked for.
    pub(super) fn seek(&mut self, offset: u64) {
        self.generation += 1;
        (self.fetch_offset, self.position) = (offset, offset);
        (self.asked, self.stopped) = (None, false);
        self.needed_len = None;
        self.out_of_range_ms = None;
        self.not_before_ms = 0;
    }

    /// Takes in where the partition is, as a broker described it.
    pub(super) fn on_described(&mut self, now_ms: u64, described: &PartitionInfo) {
        if self.leader.on_described(now_ms, described) {
            self.not_before_ms = 0;
            self.backoff.reset();
        }
    }

    pub(super) fn stop(&mut self, cause: ConsumeCause) -> ConsumeError {
        self.stopped = true;
        ConsumeError { topic: self.topic.clone(), partition: self.partition, cause }
    }

    /// The fetch ended without an answer for this partition.
    pub(super) fn on_no_answer(&mut self, now_ms: u64) {
        self.asked = None;
        self.leader.on_failure();
        self.pause(now_ms);
    }

    /// An entry of a fetch answer, with its frames, for the present generation.
    pub(super) fn on_fetched(
        &mut self,
        now_ms: u64,
        entry: &FetchedPartition,
        frames: Bytes,
        reset: ResetPolicy,
        arrivals: &mut Vec<Arrival>,
    ) -> Next {
        self.asked = None;
        let code = code_of(entry.error);
        if matches!(code, ErrorCode::None | ErrorCode::Damaged | ErrorCode::FetchTooSmall) {
            self.high_watermark = self.high_watermark.max(Some(entry.high_watermark));
            self.log_start_offset = entry.log_start_offset;
            self.out_of_range_ms = None;
            self.backoff.reset();
        }
        match code {
            ErrorCode::None => {
                self.skip_accepted(entry.damaged_until, arrivals);
                self.take_frames(frames, arrivals);
            }
            ErrorCode::OffsetOutOfRange => return self.on_out_of_range(now_ms, entry, reset, arrivals),
            ErrorCode::Damaged => {
                let last = entry.damaged_until.saturating_sub(1).max(self.fetch_offset);
                let cause = ConsumeCause::Damaged { first: self.fetch_offset, last };
                arrivals.push(Arrival::Stopped(self.stop(cause)));
            }
            ErrorCode::FetchTooSmall if entry.needed_len > FETCHABLE_LEN_MAX => {
                let cause = ConsumeCause::TooLarge { offset: self.fetch_offset, len: entry.needed_len.into() };
                arrivals.push(Arrival::Stopped(self.stop(cause)));
            }
            ErrorCode::FetchTooSmall => {
                // Asked with this much already: do not ask in a circle.
                if self.needed_len.is_some_and(|asked| asked >= entry.needed_len) {
                    self.pause(now_ms);
                }
                self.needed_len = Some(entry.needed_len);
            }
            code if code.retry() == Retry::Refreshed => {
                if !self.leader.on_not_leader(now_ms, entry.address.as_ref()) {
                    self.pause(now_ms);
                }
                return Next::Refresh;
            }
            // Who cannot serve the partition now may not be its leader much longer.
            ErrorCode::NotReady | ErrorCode::ShuttingDown => {
                self.leader.on_failure();
                self.pause(now_ms);
                return Next::Refresh;
            }
            code if code.retry() == Retry::Later => self.pause(now_ms),
            code => {
                let error = ClientError::Broker { code, text: entry.text.clone() };
                arrivals.push(Arrival::Stopped(self.stop(ConsumeCause::Client(error))));
            }
        }
        Next::GoOn
    }

    fn skip_accepted(&mut self, until: u64, arrivals: &mut Vec<Arrival>) {
        if until > self.fetch_offset {
            self.fetch_offset = until;
            arrivals.push(Arrival::Skipped { until });
        }
    }

    fn on_out_of_range(
        &mut self,
        now_ms: u64,
        entry: &FetchedPartition,
        reset: ResetPolicy,
        arrivals: &mut Vec<Arrival>,
    ) -> Next {
        let (start, end) = (entry.log_start_offset, entry.high_watermark);
        // Committed records are not taken back, and a leader has them all: whoever lacks them is no leader, or not yet.
        let was_readable = self.high_watermark.is_some_and(|known| self.fetch_offset <= known);
        if self.fetch_offset >= start && (was_readable || self.fetch_offset <= entry.log_end_offset) {
            let since_ms = *self.out_of_range_ms.get_or_insert(now_ms);
            if now_ms < since_ms + self.range_wait_ms {
                self.leader.on_failure();
                self.pause(now_ms);
                return Next::Refresh;
            }
        }
        self.out_of_range_ms = None;
        (self.high_watermark, self.log_start_offset) = (Some(end), start);
        self.backoff.reset();
        match reset {
            ResetPolicy::Earliest => self.fetch_offset = start,
            ResetPolicy::Latest => {
                self.fetch_offset = end;
                self.from_ms = None;
            }
            ResetPolicy::Error => {
                let cause = ConsumeCause::OffsetOutOfRange { offset: self.fetch_offset, start, end };
                arrivals.push(Arrival::Stopped(self.stop(cause)));
            }
        }
        Next::GoOn
    }

    /// Cuts the bytes of an answer into frames.
    fn take_frames(&mut self, mut frames: Bytes, arrivals: &mut Vec<Arrival>) {
        while !frames.is_empty() {
            let header = match FrameHeader::parse_sealed(&frames).and_then(|h| h.body_of(&frames).map(|_| *h)) {
                Ok(header) => header,
                Err(error) => {
                    let cause = ConsumeCause::BadFrame { offset: self.fetch_offset, text: error.to_string() };
                    return arrivals.push(Arrival::Stopped(self.stop(cause)));
                }
            };
            let bytes = frames.split_to(header.frame_len());
            if let Err(cause) = self.take_frame(&header, bytes, arrivals) {
                return arrivals.push(Arrival::Stopped(self.stop(cause)));
            }
        }
    }

    fn take_frame(&mut self, header: &FrameHeader, bytes: Bytes, arrivals: &mut Vec<Arrival>) -> Result<(), ConsumeCause> {
        let (base, expected) = (header.base_offset().0, self.fetch_offset);
        let bad = |text: &str| ConsumeCause::BadFrame { offset: expected, text: text.into() };
        if header.topic_id != self.topic_id.0 || header.partition.to_native() != self.partition {
            return Err(bad("it belongs to another partition"));
        }
        let next = base.checked_add(header.record_count.to_native().into()).ok_or_else(|| bad("its offset is out of bounds"))?;
        // Deleted meanwhile is not missing.
        let wanted = expected.max(self.log_start_offset);
        if base > wanted {
            return Err(ConsumeCause::Gap { expected, got: base });
        }
        self.fetch_offset = expected.max(next);
        self.needed_len = None;
        if next > wanted {
            arrivals.push(Arrival::Frame { bytes, first_offset: wanted });
        }
        Ok(())
    }

    fn pause(&mut self, now_ms: u64) {
        self.not_before_ms = now_ms + u64::from(self.backoff.next_ms());
    }
}

#[cfg(test)]
#[path = "cursor_test.rs"]
mod tests;
