//! Which trailers of a segment are believed, when no checkpoint is left to say where it ends.
//!
//! A life that ended without a flush, or was replayed from an older slot, leaves footers behind: the next one goes on in the
//! same segment, its frames stand closer together, and what it writes may end just before such a footer. The expensive
//! mistake is to believe one of those: what was acknowledged behind it would be left out, or called damaged. Deliberately
//! absent: what is taken of a segment (`recovery_rebuild`).

use crate::disk::{Disk, DiskFile};
use crate::frame_reader::FrameReader;
use crate::frame_walk::{FrameWalk, WalkError, WalkRange};
use crate::recovery::RecoveryError;
use crate::recovery_rebuild::{OFFSET_MAX, Rebuild, Segment};
use crate::recovery_rebuild_kept::{contradicts, first_segment};
use crate::segment_format::{SegmentTrailer, block_down};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Offset};

/// Bytes read at once.
const WINDOW_LEN: usize = 1024 * 1024;

impl<D: Disk> Rebuild<'_, D> {
    /// Where the segment says that it ends. What an earlier life wrote behind the recovery point may stand there still:
    /// then a later segment begins before that end, or the log goes on behind it.
    pub(crate) async fn valid_trailer(
        &self,
        segment: &Segment<D::File>,
        next_base: Option<Offset>,
    ) -> Result<Option<SegmentTrailer>, RecoveryError> {
        let Some(trailer) = segment.trailer.filter(|trailer| next_base.is_none_or(|next| trailer.next_offset <= next)) else {
            return Ok(None);
        };
        // A truncation leaves the beginning of what it cut off behind the end, too. That the spare's log ended there says
        // nothing: it may have gone on in this very segment since.
        let kept_end = self.kept.map(|kept| kept.recovery_point.offset);
        if self.kept.is_some_and(|kept| contradicts(kept, (segment.base, trailer.next_offset), self.named)) {
            return Ok(None);
        }
        let ends = [next_base, self.named.cut_from, self.kept_segment_end(segment.base)];
        let ends_there = ends.contains(&Some(trailer.next_offset));
        // One that was deleted before the spare was written, which a power cut has undone, was sealed by then.
        let is_deleted = self.kept.is_some_and(|kept| segment.base < first_segment(kept));
        let goes_on = !is_deleted && kept_end.is_some_and(|end| end > trailer.next_offset);
        if ends_there {
            return Ok(Some(trailer));
        }
        if self.is_outlived(segment, &trailer, next_base).await? {
            return Ok(None);
        }
        if !goes_on && self.read_footer(segment, &trailer).await?.is_some() {
            return Ok(Some(trailer));
        }
        for position in [trailer.end_position, trailer.footer_position] {
            let block = block_down(position);
            let bytes = segment.file.read_at(block, 2 * BLOCK_LEN).await?;
            let skip = usize::try_from(position - block).expect("less than a block");
            let header = FrameHeader::parse_sealed(bytes.get(skip..).unwrap_or_default()).ok();
            let follows = |header: &&FrameHeader| {
                header.topic_partition() == self.id
                    && header.base_offset() == trailer.next_offset
                    && header.prev_header_crc.to_native() == trailer.last_header_crc
            };
            if header.filter(follows).is_some() {
                return Ok(None);
            }
        }
        Ok(Some(trailer))
    }

    /// Whether the frames from the segment's beginning on, each chained to the one before, say that it does not end there:
    /// they have another end where the trailer has its last one, or lead on to where the next segment begins, and that one
    /// follows them. Nothing is said by what follows damage; nor by a last segment that goes on behind the trailer, because a
    /// truncation leaves the same bytes.
    async fn is_outlived(
        &self,
        segment: &Segment<D::File>,
        trailer: &SegmentTrailer,
        next_base: Option<Offset>,
    ) -> Result<bool, RecoveryError> {
        let Some(prev_header_crc) = segment.chain else { return Ok(false) };
        let range = WalkRange {
            id: self.id,
            segment: segment.base,
            position: BLOCK_LEN as u64,
            offset: segment.base,
            prev_header_crc,
            end_position: segment.file_len,
            end_offset: next_base.unwrap_or(OFFSET_MAX),
        };
        let walk = FrameWalk::new(range, Offset::ZERO).under(self.epochs());
        let mut reader = FrameReader::new(segment.file.clone(), walk, WINDOW_LEN);
        loop {
            let frame = match reader.next().await {
                // It was cut off: a write over it never arrived.
                Ok(Some(frame)) if self.named.supersedes(&frame.header) => return Ok(false),
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(WalkError::Damaged(_)) => return Ok(false),
                Err(WalkError::Io(error)) => return Err(error.into()),
            };
            let (header, end_position) = (&frame.header, frame.position + frame.header.frame_len() as u64);
            if header.base_offset() < trailer.next_offset && header.next_offset() >= trailer.next_offset {
                let is_last = header.next_offset() == trailer.next_offset
                    && header.header_crc.to_native() == trailer.last_header_crc
                    && end_position == trailer.end_position;
                if !is_last {
                    return Ok(true);
                }
            }
        }
        let Some(next_base) = next_base.filter(|next| reader.walk().next_offset() == *next) else { return Ok(false) };
        Ok(self.open(next_base).await?.chain == Some(reader.walk().prev_header_crc()))
    }
}
