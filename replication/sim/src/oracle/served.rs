//! Frames that were given to a reader, held against what was sent.

use super::partition::Held;
use super::{Oracle, Violation};
use crate::demand;
use sluice_model::{FrameHeader, TopicPartition};

/// A read that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub id: TopicPartition,
    pub offset: u64,
    pub len_max: usize,
    /// As of when it was asked for.
    pub high_watermark: u64,
    /// Truncations before it was asked for.
    pub cuts: usize,
}

impl Oracle {
    /// Every frame is the batch that was appended at its offset, whole, in order, chained, and below the high watermark.
    /// Gives back where to read on.
    pub fn on_served(&mut self, read: &Read, bytes: &[u8]) -> Result<u64, Violation> {
        let Read { id, offset, len_max, high_watermark, .. } = *read;
        demand!(bytes.len() <= len_max, "{id}: a fetch of {len_max} bytes gave {}", bytes.len());
        let mut rest = bytes;
        let mut next = None;
        let mut crc = None;
        while !rest.is_empty() {
            let (header, body) =
                FrameHeader::parse_frame(rest).map_err(|error| Violation(format!("{id}: half a frame is served: {error}")))?;
            let base = header.base_offset().0;
            let end = header.next_offset().0;
            demand!(end <= high_watermark, "{id}: {base}..{end} is served above the high watermark {high_watermark}");
            match next {
                None => demand!(base <= offset && offset < end, "{id}: a fetch at {offset} gave a frame at {base}..{end}"),
                Some(next) => demand!(base == next, "{id}: a frame at {base} follows one that ends at {next}"),
            }
            let chained = crc.is_none_or(|crc| crc == header.prev_header_crc.to_native());
            demand!(chained, "{id}: the frame at {base} is not chained to the one before it");
            self.on_frame(id, header, body)?;
            next = Some(end);
            crc = Some(header.header_crc.to_native());
            rest = &rest[header.frame_len()..];
        }
        let next = next.unwrap_or(offset);
        if next > offset {
            self.partition_mut(id).promise(next)?;
        }
        Ok(next)
    }

    fn on_frame(&mut self, id: TopicPartition, header: &FrameHeader, body: &[u8]) -> Result<(), Violation> {
        let base = header.base_offset().0;
        let model = self.partition(id);
        let Some(held) = model.frames.get(&base).copied() else {
            return Err(Violation(format!("{id}: the frame at {base} was never appended there")));
        };
        let Held { batch, header_crc, .. } = held;
        demand!(self.batches.is(batch, header, body), "{id}: the frame at {base} is not batch {} that was appended", batch.0);
        let crc = header.header_crc.to_native();
        let same = header_crc.is_none_or(|before| before == crc);
        demand!(same, "{id}: the header at {base} was {header_crc:08x?} and is {crc:08x}");
        if let Some(held) = self.partition_mut(id).frames.get_mut(&base) {
            held.header_crc = Some(crc);
        }
        Ok(())
    }
}
