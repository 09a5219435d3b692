//! A segment file: header block, frames, footer, trailer.
//!
//! Blocks are mostly padding, so the input is what stands in them, and the file is put together here:
//! `u8 flags | header | trailer | u16 length of frames | frames | footer`.

use super::seal;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{
    FrameHeader, LeaderEpochHistory, Offset, PartitionIndex, PlacementEpoch, ProducerTable, TopicId, TopicPartition,
};
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::checkpoint::{PartitionCheckpoint, RecoveryPoint, SealedSegmentInfo};
use sluice_storage::damage::{BlockError, DamagedRange};
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use sluice_storage::layout::segment_file;
use sluice_storage::log::{Log, LogConfig};
use sluice_storage::read_plan::{DiskReadError, ReadPlan, ReadRefusal};
use sluice_storage::segment_check::SegmentCheck;
use sluice_storage::segment_format::{SegmentHeader, SegmentTrailer};
use sluice_storage::segment_repair::repairs;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::FaultDisk;
use std::io;
use std::path::Path;

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
/// No log gets here.
const OFFSET_MAX: Offset = Offset(u64::MAX / 2);
/// Larger than any input.
const LEN_MAX: usize = 1 << 30;

/// A segment file, checked and read to its end.
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
    let (position, offset) = (u64_at(trailer, 36), Offset(u64_at(trailer, 28)));
    // Of frames that were sealed anew the trailer says another end.
    let last_header_crc = last_header_crc(&file[BLOCK_LEN..]).unwrap_or(seal::u32_at(trailer, 64));
    check(&file, (flags & KNOWN_END != 0).then_some(&KnownEnd { position, offset, last_header_crc }))
}

/// Of the frames as far as they are whole.
fn last_header_crc(mut frames: &[u8]) -> Option<u32> {
    let mut last = None;
    while let Ok((header, _)) = FrameHeader::parse_frame(frames) {
        last = Some(header.header_crc.to_native());
        frames = &frames[header.frame_len()..];
    }
    last
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

/// Where the frames of a file without a trailer end.
struct KnownEnd {
    position: u64,
    offset: Offset,
    last_header_crc: u32,
}

/// Judges the file as the scrubber and `sluice log verify` do, and reads it as a consumer does that steps over damage.
fn check(file: &[u8], end: Option<&KnownEnd>) -> bool {
    let header = SegmentHeader::decode(&file[..BLOCK_LEN]).expect("the header block is good");
    let last = &file[file.len() - BLOCK_LEN..];
    let trailer = SegmentTrailer::decode_expecting(last, file.len() as u64, header.id, header.base_offset).ok();
    let trailer = trailer.filter(|trailer| trailer.next_offset > header.base_offset && trailer.next_offset <= OFFSET_MAX);
    let Some(checkpoint) = checkpoint(file.len() as u64, &header, trailer.as_ref(), end) else { return false };
    let (disk, dir) = (FaultDisk::new(1), Path::new("/p"));
    let path = segment_file(dir, header.base_offset);
    let written = block_on(write(&disk, &path, file)).expect("the disk works");
    let by_trailer = trailer.map(|trailer| SegmentCheck::by_trailer(&path, &trailer, file.len() as u64));
    let by_checkpoint = SegmentCheck::by_checkpoint(&path, &checkpoint, header.base_offset);
    let mut good = true;
    for check in by_trailer.into_iter().chain(by_checkpoint) {
        let mut next = Offset::ZERO;
        let checked = block_on(check.run(&written, &mut |frame| {
            assert!(frame.header.base_offset() >= next, "frames come in order");
            next = frame.header.next_offset();
        }));
        let _repairs = repairs(header.id, header.base_offset, &checked);
        good &= checked.findings.is_empty() && next == checkpoint.recovery_point.offset;
    }
    let served_all = read_all(&disk, dir, &checkpoint);
    assert!(!good || served_all, "what nothing is wrong with is served");
    good
}

fn checkpoint(
    file_len: u64,
    header: &SegmentHeader,
    trailer: Option<&SegmentTrailer>,
    end: Option<&KnownEnd>,
) -> Option<PartitionCheckpoint> {
    let &SegmentHeader { id, base_offset, .. } = header;
    let (recovery_point, sealed) = match (trailer, end) {
        (Some(trailer), _) => {
            let offset = trailer.next_offset;
            let point =
                RecoveryPoint { offset, segment_base: offset, prev_header_crc: trailer.last_header_crc, ..Default::default() };
            let info = SealedSegmentInfo {
                base_offset,
                next_offset: offset,
                file_len,
                last_header_crc: trailer.last_header_crc,
                append_time_ms_max: trailer.append_time_ms_max,
                timestamp_ms_max: trailer.timestamp_ms_max,
                has_footer: true,
            };
            (point, vec![info])
        }
        (None, Some(end)) if end.offset > base_offset && end.offset <= OFFSET_MAX && end.position >= BLOCK_LEN as u64 => {
            let position = end.position.checked_next_multiple_of(BLOCK_LEN as u64).filter(|position| *position <= file_len)?;
            let point = RecoveryPoint {
                offset: end.offset,
                segment_base: base_offset,
                next_frame_position: position,
                position,
                prev_header_crc: end.last_header_crc,
                ..Default::default()
            };
            (point, Vec::new())
        }
        _ => return None,
    };
    Some(PartitionCheckpoint {
        id,
        placement_epoch: PlacementEpoch(1),
        log_start_offset: base_offset,
        high_watermark: recovery_point.offset,
        recovery_point,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
        sealed,
        damaged: Vec::new(),
        accepted: Vec::new(),
        possibly_short: None,
    })
}

async fn write(disk: &FaultDisk, path: &Path, bytes: &[u8]) -> io::Result<<FaultDisk as Disk>::File> {
    disk.create_dir_all(path.parent().expect("a folder")).await?;
    let file = disk.open(path, OpenMode::CreateNew).await?;
    let mut buffer = disk.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    file.write_at(0, buffer).await?;
    Ok(file)
}

/// Whether all of it is served.
fn read_all(disk: &FaultDisk, dir: &Path, checkpoint: &PartitionCheckpoint) -> bool {
    let memory = TailMemory::new(1 << 20);
    let mut log = Log::restore(disk.clone(), dir.to_owned(), checkpoint, LogConfig::default(), memory);
    let (mut offset, end) = (log.log_start_offset(), log.log_end_offset());
    let mut served_all = true;
    while offset < end {
        offset = match log.read(offset, LEN_MAX, end) {
            Ok(ReadPlan::Disk(read)) => match block_on(read.run()) {
                Ok(frames) if frames.next_offset > offset => frames.next_offset,
                Ok(frames) => {
                    // Inputs may say that the log ends within a frame, which no checkpoint does: that frame is not given.
                    assert!(frames.slices.is_empty(), "what is given goes on");
                    return false;
                }
                Err(DiskReadError::Damaged(damage)) => {
                    let DamagedRange { from, until } = damage.range;
                    assert!(from <= offset && offset < until, "at {offset}: {damage}");
                    log.quarantine(damage.range);
                    served_all = false;
                    until
                }
                Err(error) => panic!("at {offset}: {error}"),
            },
            Err(ReadRefusal::Damaged { until, .. }) => until,
            _ => panic!("nothing at {offset} below {end}"),
        };
    }
    let _found_or_damaged = block_on(log.offset_for_timestamp(i64::MAX).run());
    served_all
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
