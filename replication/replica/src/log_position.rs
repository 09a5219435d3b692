//! A place in a log, named so that two replicas can tell whether they hold the same history up to it.

use sluice_model::{FrameHeader, LeaderEpoch, Offset};

/// The end of a frame, or the beginning of a log.
///
/// `last_header_crc` covers the header of that frame, which chains it to the one before, and so on: two logs that agree
/// on it hold the same frames below (but for one chance in 2^32 against frames of one epoch that differ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// The next offset.
    pub offset: Offset,
    /// Leader epoch of the frame that ends here; `None` when there is none.
    pub last_epoch: Option<LeaderEpoch>,
    /// `header_crc` of the frame that ends here, 0 when there is none.
    pub last_header_crc: u32,
}

impl LogPosition {
    /// Behind this frame.
    #[must_use]
    pub fn after(header: &FrameHeader) -> Self {
        Self {
            offset: header.next_offset(),
            last_epoch: Some(header.leader_epoch()),
            last_header_crc: header.header_crc.to_native(),
        }
    }
}

/// What is known of the bytes of a replica's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogState {
    /// Recovery found nothing missing, and nothing was found damaged since.
    #[default]
    Whole,
    /// Records may be missing at its end that were flushed.
    PossiblyShort,
    /// Some range is not served.
    Damaged,
}

/// What a driver knows of its log and a leader's rules do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFacts {
    pub log_start_offset: Offset,
    pub log_state: LogState,
}
