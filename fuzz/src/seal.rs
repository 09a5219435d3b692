//! Making checksums good, so that what is behind them is reached.

use sluice_model::{FRAME_HEADER_LEN, FrameError, FrameHeader};
use sluice_storage::commit_group::{ENTRY_HEADER_LEN, GROUP_HEADER_LEN};

/// Seals the frame at the front of `bytes`, when its lengths are good.
pub(super) fn frame(bytes: &mut [u8]) {
    // Header, batch, and the header over the batch's.
    for _ in 0..3 {
        match FrameHeader::parse_frame(bytes) {
            Err(FrameError::HeaderCrc { actual, .. }) => put_u32(bytes, 4, actual),
            Err(FrameError::BatchCrc { actual, .. }) => put_u32(bytes, 56, actual),
            _ => return,
        }
    }
}

/// Seals frames back to back, each chained to the one before; gives back the last header's checksum.
pub(super) fn frames(mut bytes: &mut [u8], mut prev_header_crc: u32) -> u32 {
    while let Ok(header) = FrameHeader::parse(bytes) {
        let len = header.frame_len();
        put_u32(bytes, 8, prev_header_crc);
        frame(bytes);
        prev_header_crc = u32_at(bytes, 4);
        let Some(rest) = bytes.get_mut(len..) else { break };
        bytes = rest;
    }
    prev_header_crc
}

/// Seals a commit group: its frames, its body, its header. The body is all that follows the header.
pub(super) fn group(bytes: &mut [u8]) {
    let Some(body_len) = bytes.len().checked_sub(GROUP_HEADER_LEN) else { return };
    let mut at = GROUP_HEADER_LEN;
    while bytes.len() - at >= ENTRY_HEADER_LEN + FRAME_HEADER_LEN {
        let start = at + ENTRY_HEADER_LEN;
        let Some(end) = start.checked_add(u32_at(bytes, at + 4) as usize).filter(|&end| end <= bytes.len()) else { break };
        frame(&mut bytes[start..end]);
        at = end;
    }
    let body_crc = crc32c::crc32c(&bytes[GROUP_HEADER_LEN..]);
    put_u32(bytes, 12, body_crc);
    put_u32(bytes, 16, body_len as u32);
    let header_crc = crc32c::crc32c(&bytes[8..GROUP_HEADER_LEN]);
    put_u32(bytes, 4, header_crc);
}

/// Seals the header of a checkpoint slot over `body`.
pub(super) fn slot_header(header: &mut [u8], body: &[u8]) {
    header[48..56].copy_from_slice(&(body.len() as u64).to_le_bytes());
    put_u32(header, 56, crc32c::crc32c(body));
    let crc = crc32c::crc32c(&header[8..]);
    put_u32(header, 4, crc);
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
