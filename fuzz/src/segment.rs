//! A segment file: header block, frames, footer, trailer.
//!
//! Blocks are mostly padding, so the input is what stands in them, and the file is put together here:
//! `u8 flags | header | trailer | u16 length of frames | frames | footer`.

use super::seal;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Offset, PartitionIndex, TopicId, TopicPartition};
use sluice_storage::damage::BlockError;
use sluice_storage::segment_format::{SegmentHeader, SegmentTrailer};
use sluice_storage::segment_scan::{ScanEnd, ScanItem, SegmentScan};

/// The frames get good checksums and a good chain.
pub(super) const SEAL_FRAMES: u8 = 1;
/// The trailer gets the positions, the checksums and the names that the file has.
pub(super) const TRUE_TRAILER: u8 = 2;
/// There are a footer and a trailer; otherwise the file is an active segment's.
pub(super) const SEALED: u8 = 4;
/// A checkpoint says where the frames of the file end, in the trailer's words.
pub(super) const KNOWN_END: u8 = 8;

pub(super) const BLOCK_PREFIX_LEN: usize = 16;
pub(super) const HEADER_LEN: usize = 32;
pub(super) const TRAILER_LEN: usize = 92;
/// Topic id, partition and base offset, in front of both.
const NAME_LEN: usize = 28;

/// A segment file, scanned to its end.
pub fn segment(data: &[u8]) -> bool {
    if SegmentHeader::decode(data).is_ok() || SegmentTrailer::decode(data, data.len() as u64).is_ok() {
        return true;
    }
    let Some((&flags, rest)) = data.split_first() else { return false };
    let Some((header, rest)) = rest.split_first_chunk::<HEADER_LEN>() else { return false };
    let Some((trailer, rest)) = rest.split_first_chunk::<TRAILER_LEN>() else { return false };
    let Some((frames_len, rest)) = rest.split_first_chunk::<2>() else { return false };
    let (frames, footer) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*frames_len))));
    let file = file(flags, header, *trailer, frames, footer);
    let end = ScanEnd { position: u64_at(trailer, 36), offset: Offset(u64_at(trailer, 28)) };
    scan(&file, (flags & KNOWN_END != 0).then_some(end))
}

fn file(flags: u8, header: &[u8; HEADER_LEN], mut trailer: [u8; TRAILER_LEN], frames: &[u8], footer: &[u8]) -> Vec<u8> {
    let id = TopicPartition {
        topic_id: TopicId(*header.first_chunk().expect("16 bytes")),
        partition: PartitionIndex(seal::u32_at(header, 16)),
    };
    let prev_header_crc = seal::u32_at(header, 28);
    let mut file = SegmentHeader { id, base_offset: Offset(u64_at(header, 20)), prev_header_crc }.encode();
    file.extend_from_slice(frames);
    let mut last_header_crc = 0;
    if flags & SEAL_FRAMES != 0 {
        last_header_crc = seal::frames(&mut file[BLOCK_LEN..], prev_header_crc);
    }
    let end_position = file.len();
    file.resize(end_position.next_multiple_of(BLOCK_LEN), 0);
    if flags & SEALED == 0 {
        return file;
    }
    let footer_position = file.len();
    file.extend_from_slice(footer);
    file.resize(file.len().next_multiple_of(BLOCK_LEN), 0);
    if flags & TRUE_TRAILER != 0 {
        let footer = &file[footer_position..];
        trailer[..NAME_LEN].copy_from_slice(&header[..NAME_LEN]);
        for (at, value) in [(36, end_position), (44, footer_position), (52, footer.len())] {
            trailer[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
        }
        seal::put_u32(&mut trailer, 60, crc32c::crc32c(footer));
        seal::put_u32(&mut trailer, 64, last_header_crc);
    }
    file.extend_from_slice(&trailer_block(&trailer));
    file
}

fn trailer_block(trailer: &[u8; TRAILER_LEN]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_LEN];
    block[..8].copy_from_slice(b"SluiceST");
    block[8] = 1;
    block[BLOCK_PREFIX_LEN..][..TRAILER_LEN].copy_from_slice(trailer);
    if let Err(BlockError::Crc { actual, .. }) = SegmentTrailer::decode(&block, 0) {
        seal::put_u32(&mut block, 12, actual);
    }
    block
}

fn scan(file: &[u8], end: Option<ScanEnd>) -> bool {
    let read = |position: u64, len: usize| {
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(file.len());
        Ok(file[start..file.len().min(start.saturating_add(len))].to_vec())
    };
    let mut scan = SegmentScan::open(read, file.len() as u64, end).expect("the header block is good");
    let mut good = true;
    if let Some(trailer) = scan.trailer().copied() {
        good &= trailer.is_ok_and(|trailer| {
            scan.footer(&trailer).expect("memory can be read").is_ok_and(|footer| {
                let _ = footer.index.offsets.find(trailer.base_offset);
                let _ = footer.index.find_timestamp(trailer.timestamp_ms_max);
                let batches = footer.producers.iter().filter_map(|(_, entry)| entry.batches.back());
                batches.for_each(|batch| _ = batch.next_sequence());
                true
            })
        });
    }
    let mut item_count = 0;
    while let Some(item) = scan.next_item().expect("memory can be read") {
        item_count += 1;
        assert!(item_count <= file.len(), "the scan goes on and on");
        match item {
            ScanItem::Frame(frame) => assert_eq!(scan.body(&frame).len(), frame.header.body_len(), "a frame has its body"),
            ScanItem::Damage(damage) => good &= damage.to_string().is_empty(),
            ScanItem::Resumed { .. } | ScanItem::End { .. } | ScanItem::UnprovenEnd(_) => {}
        }
    }
    good && item_count > 1
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
