//! Requests that wait for another task: produces for the flush, administration for the control thread.
//!
//! A token names one frame of one request and comes back exactly once, so what waits here is always settled, whether
//! its connection still lives or not.

use crate::answer::ReplyTo;
use crate::slab::Slab;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_partition::CommitTimes;
use sluice_protocol::{Api, ProducedPartition};
use sluice_shard::Reservation;

/// Bits of a token that name the frame within its request.
const PART_BITS: u32 = 16;
const KIND_DELETE: u64 = 1 << 63;

const _: () = assert!(PARTITIONS_PER_REQUEST_MAX <= 1 << PART_BITS);

/// What a token of `Partitions` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Produce { request: u32, part: usize },
    DeleteRecords { request: u32 },
}

impl Token {
    pub(crate) fn to_u64(self) -> u64 {
        match self {
            Self::Produce { request, part } => u64::from(request) << PART_BITS | part as u64,
            Self::DeleteRecords { request } => KIND_DELETE | u64::from(request) << PART_BITS,
        }
    }

    pub(crate) fn from_u64(token: u64) -> Self {
        let request = (token >> PART_BITS) as u32;
        if token & KIND_DELETE != 0 {
            return Self::DeleteRecords { request };
        }
        Self::Produce { request, part: (token & ((1 << PART_BITS) - 1)) as usize }
    }
}

/// One produce (or delete-records) that is not settled.
#[derive(Debug)]
pub(crate) struct PendingProduce {
    pub(crate) to: ReplyTo,
    /// When all frames were judged, and those taken appended, microseconds by the monotonic clock.
    pub(crate) appended_us: u64,
    /// Of the frame that was settled last, when any was appended.
    pub(crate) times: Option<CommitTimes>,
    /// One entry per frame, filled in as they are settled.
    pub(crate) partitions: Vec<ProducedPartition>,
    /// Frames that are not settled.
    pub(crate) left: usize,
    /// The bytes of the answer.
    pub(crate) reservation: Option<Reservation>,
}

/// All of a shard, under the number that stands in their tokens. Numbers are used again only after the last token of a
/// request came back.
pub(crate) type PendingProduces = Slab<PendingProduce>;

/// A request the control thread was asked about.
#[derive(Debug)]
pub(crate) struct PendingControl {
    pub(crate) to: ReplyTo,
    pub(crate) api: Api,
    /// The memory of the question.
    pub(crate) reservation: Reservation,
}

pub(crate) type PendingControls = Slab<PendingControl>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        for token in [
            Token::Produce { request: 0, part: 0 },
            Token::Produce { request: u32::MAX, part: PARTITIONS_PER_REQUEST_MAX - 1 },
            Token::DeleteRecords { request: 7 },
            Token::DeleteRecords { request: u32::MAX },
        ] {
            assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }
}
