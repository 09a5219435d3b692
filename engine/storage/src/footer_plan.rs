//! The footer of a segment that is about to be sealed: the index of its frames, those of before a restart included.
//!
//! The expensive mistake is to read the whole segment for it: of what a restart has left, only what was gathered piece
//! by piece (`restored_index`) is in it, or what a short walk finds; the rest is left unread, and readers walk there as
//! far as they come. Deliberately absent: where the footer goes.

use crate::checkpoint::SealedSegmentInfo;
use crate::disk::Disk;
use crate::frame_reader::Reading;
use crate::frame_walk::undamaged;
use crate::read_turns::Turns;
use crate::restored_index::RestoredIndex;
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use crate::segment_format::{SegmentEnd, SegmentFooter};
use std::io;

/// What of a segment is walked at most for the index in its footer, bytes.
const WALK_LEN_MAX: u64 = 1024 * 1024;

pub(crate) struct FooterPlan {
    pub(crate) end: SegmentEnd,
    pub(crate) footer: SegmentFooter,
    /// What a restart has left, and as much of its index as was gathered.
    pub(crate) restored: Option<(SegmentExtent, RestoredIndex)>,
}

impl FooterPlan {
    /// What is damaged is met by who reads it, and must not keep a segment from being sealed.
    pub(crate) async fn encode<D: Disk>(self, file: &SegmentFile<D>) -> io::Result<(Vec<u8>, SealedSegmentInfo)> {
        let Self { mut end, mut footer, restored } = self;
        if let Some((extent, mut gathered)) = restored {
            let is_short = extent.end_position <= WALK_LEN_MAX;
            let reading = Reading { turns: &Turns::UNPACED, epochs: &footer.epochs };
            if is_short {
                gathered.gather_all(file, &extent, reading).await?;
            }
            let (index, last_end) = if gathered.is_whole() {
                (gathered.index.followed_by(&footer.index), Some(gathered.end_position))
            } else if is_short && let Some(index) = undamaged(file.index(&extent, reading).await)? {
                // Nothing says when the frames were appended that cannot be read: as late as may be.
                let last_end = file.frames_end(&index.offsets, &extent).await?;
                (index.without_times().followed_unread_by(&footer.index), last_end)
            } else if gathered.index.frame_count > 0 {
                (gathered.index.followed_unread_by(&footer.index), None)
            } else {
                let first = undamaged(file.first_entry(&extent).await)?.unwrap_or_default();
                (first.followed_unread_by(&footer.index), None)
            };
            if footer.index.frame_count == 0 {
                // The recovery point says where a next frame would have begun: behind the padding of the last block.
                end.end_position = last_end.unwrap_or(end.end_position);
            }
            footer.index = index;
        }
        let (bytes, trailer) = footer.encode(&end);
        Ok((bytes, SealedSegmentInfo::from_trailer(&trailer)))
    }
}
