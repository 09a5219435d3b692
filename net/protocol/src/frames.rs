//! Cutting the bytes after a body into the frames the body names.

use crate::message::Malformed;
use std::ops::Range;

/// Where each frame (or run of frames) lies in the bytes after the body, in the body's order.
pub type FrameRanges = Vec<Range<usize>>;

/// One range per length; all together are exactly `frames_len` bytes.
pub fn split_frames(lens: impl ExactSizeIterator<Item = u32>, frames_len: usize) -> Result<FrameRanges, Malformed> {
    let mut ranges = Vec::with_capacity(lens.len());
    let mut end = 0u64;
    for len in lens {
        let start = end;
        end += u64::from(len);
        ranges.push(start as usize..end as usize);
    }
    if end != frames_len as u64 {
        return Err(Malformed::Frames { named: end, got: frames_len });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_add_up() {
        assert_eq!(split_frames([3, 0, 4].into_iter(), 7), Ok(vec![0..3, 3..3, 3..7]));
        assert_eq!(split_frames([3, 0, 4].into_iter(), 8), Err(Malformed::Frames { named: 7, got: 8 }));
        let hostile = [u32::MAX; 4].into_iter();
        assert_eq!(split_frames(hostile, 7), Err(Malformed::Frames { named: 4 * u64::from(u32::MAX), got: 7 }));
    }
}
