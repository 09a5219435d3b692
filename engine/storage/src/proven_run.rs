//! Frames behind damage that prove themselves: they follow one another, without a gap, up to a place that is known.
//!
//! The expensive mistake is to believe a header on its own, because a record may hold one: to serve behind it, or to
//! step over the length it names and miss the frames there. A run therefore begins with a frame whose body is good, and
//! one that does not arrive is searched again from the first byte on that no good body has vouched for. Deliberately
//! absent: what is served of it.

use crate::disk::DiskFile;
use crate::frame_reader::FrameReader;
use crate::frame_walk::WalkError;
use crate::segment_index::SegmentIndex;
use sluice_model::{FRAME_HEADER_LEN, Offset};
use std::io;

/// A run of frames that ends where its walk does.
pub(crate) struct ProvenRun {
    /// Base offset and position of its first frame, and what that one follows.
    pub(crate) offset: Offset,
    pub(crate) position: u64,
    pub(crate) prev_header_crc: u32,
    pub(crate) index: SegmentIndex,
}

/// The longest run from `search_from` on, with no frame below the walk's offset, whose last frame has `last_header_crc`.
/// The walk of `reader` verifies no bodies.
pub(crate) async fn find_proven_run<F: DiskFile>(
    reader: &mut FrameReader<F>,
    mut search_from: u64,
    last_header_crc: u32,
) -> io::Result<Option<ProvenRun>> {
    let floor = reader.walk().next_offset();
    loop {
        match reader.resume_whole(search_from, floor).await {
            Ok(true) => {}
            Ok(false) | Err(WalkError::Damaged(_)) => return Ok(None),
            Err(WalkError::Io(error)) => return Err(error),
        }
        let walk = reader.walk();
        let (offset, position, prev_header_crc) = (walk.next_offset(), walk.position(), walk.prev_header_crc());
        let (index, good_until) = follow(reader).await?;
        if reader.walk().is_at_end() && reader.walk().prev_header_crc() == last_header_crc {
            return Ok(Some(ProvenRun { offset, position, prev_header_crc, index }));
        }
        search_from = good_until.max(position + 1);
    }
}

/// Follows the frames as far as they go; gives back their index, and where the good bodies in a row from the first one
/// on end.
async fn follow<F: DiskFile>(reader: &mut FrameReader<F>) -> io::Result<(SegmentIndex, u64)> {
    let (mut index, mut good_until, mut all_good) = (SegmentIndex::default(), 0, true);
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                index.on_frame(frame.position, &frame.header);
                all_good = all_good && frame.header.verify_body(&reader.bytes(&frame)[FRAME_HEADER_LEN..]).is_ok();
                if all_good {
                    good_until = frame.position + frame.header.frame_len() as u64;
                }
            }
            Ok(None) | Err(WalkError::Damaged(_)) => return Ok((index, good_until)),
            Err(WalkError::Io(error)) => return Err(error),
        }
    }
}
