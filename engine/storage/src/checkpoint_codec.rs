//! The bytes of a checkpoint slot: a header block, then the partitions one after the other.
//!
//! The header carries length and checksum of the body, so a slot that was torn while it was written is no
//! checkpoint. It also carries the shape of the journal's ring and whether that ring can be relied on, so that a
//! journal that is missing is noticed and not taken for an empty one. Deliberately absent: files.

use crate::checkpoint::{DAMAGED_RANGES_MAX, PartitionCheckpoint, RecoveryPoint, SealedSegmentInfo};
use crate::damage::DamagedRange;
use crate::entry_address::EntryAddress;
use crate::journal_ring::RingGeometry;
use crate::value_codec::{Malformed, PutValue, ValueReader};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, Offset, PlacementEpoch, ShardIndex};

/// The format version this program writes, and the only one it reads.
pub(crate) const SLOT_FORMAT_VERSION: u8 = 2;
/// "SLK" and the format version.
const SLOT_MAGIC: [u8; 4] = [b'S', b'L', b'K', SLOT_FORMAT_VERSION];
/// Bytes of the header block that the header's checksum covers, and that are not zero.
const SLOT_HEADER_LEN: usize = 80;
const SEALED_LEN: usize = 48;
const RANGE_LEN: usize = 16;
/// Stands for `None` where an offset may be missing; no log gets there.
const NO_OFFSET: u64 = u64::MAX;
/// Positions in a segment file fit u32; what claims more would overflow where lengths are added to it.
const POSITION_MAX: u64 = u32::MAX as u64;
/// No sequence of slots or groups, and no offset, gets this far, so that counting on from a stored one never overflows.
const COUNT_MAX: u64 = u64::MAX / 2;

const RING_REBUILT: u8 = 1;
const RING_IN_USE: u8 = 2;

/// Whether the journal's files are what the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingState {
    /// The ring is being made, or made anew with another shape. It holds nothing that is needed.
    Rebuilt,
    /// The ring is there, whole, and everything from `journal_sequence` on is in it.
    InUse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotHeader {
    /// Of two good slots the one with the greater sequence is the newer.
    pub(crate) slot_sequence: u64,
    pub(crate) shard: ShardIndex,
    pub(crate) incarnation: Incarnation,
    pub(crate) journal_sequence: u64,
    pub(crate) ring: RingGeometry,
    pub(crate) ring_state: RingState,
    pub(crate) partition_count: u32,
    /// Bytes of the partitions, which begin at the second block.
    pub(crate) body_len: u64,
    pub(crate) body_crc: u32,
}

impl SlotHeader {
    /// Writes the header into the first block of a slot, which is zeroed.
    pub(crate) fn write(&self, block: &mut [u8]) {
        block[0..4].copy_from_slice(&SLOT_MAGIC);
        block[8..16].copy_from_slice(&self.slot_sequence.to_le_bytes());
        block[16..18].copy_from_slice(&self.shard.0.to_le_bytes());
        block[18] = match self.ring_state {
            RingState::Rebuilt => RING_REBUILT,
            RingState::InUse => RING_IN_USE,
        };
        block[20..24].copy_from_slice(&self.partition_count.to_le_bytes());
        block[24..32].copy_from_slice(&self.incarnation.number.to_le_bytes());
        block[32..40].copy_from_slice(&self.incarnation.random.to_le_bytes());
        block[40..48].copy_from_slice(&self.journal_sequence.to_le_bytes());
        block[48..56].copy_from_slice(&self.body_len.to_le_bytes());
        block[56..60].copy_from_slice(&self.body_crc.to_le_bytes());
        block[60..64].copy_from_slice(&self.ring.file_count.to_le_bytes());
        block[64..72].copy_from_slice(&self.ring.file_len.to_le_bytes());
        let crc = header_crc(block);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// `None` when the block is not a good header.
    pub(crate) fn parse(block: &[u8]) -> Option<Self> {
        let mut reader = ValueReader::new(block.get(..SLOT_HEADER_LEN)?);
        Self::read(&mut reader).ok().filter(|header| {
            let crc = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
            let counted = header.slot_sequence <= COUNT_MAX && (1..=COUNT_MAX).contains(&header.journal_sequence);
            crc == header_crc(block) && header.ring.is_valid() && counted
        })
    }

    /// What follows the header in its block is zeros, which its checksum does not cover.
    pub(crate) fn has_zeros_behind(block: &[u8]) -> bool {
        block.get(SLOT_HEADER_LEN..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    }

    /// The format version of a slot that another version of this program wrote. Its checksum has to agree, so rot in
    /// the version is not taken for a version: from version 2 on the checksum covers the magic, in version 1 it did not.
    pub(crate) fn other_version(block: &[u8]) -> Option<u8> {
        let block = block.get(..SLOT_HEADER_LEN)?;
        let version = block[3];
        if block[..3] != SLOT_MAGIC[..3] || version == SLOT_FORMAT_VERSION {
            return None;
        }
        let expected = if version == 1 { crc32c::crc32c(&block[8..]) } else { header_crc(block) };
        (block[4..8] == expected.to_le_bytes()).then_some(version)
    }

    fn read(reader: &mut ValueReader<'_>) -> Result<Self, Malformed> {
        if reader.array("magic")? != SLOT_MAGIC {
            return Err(Malformed { field: "magic" });
        }
        reader.u32("header_crc")?;
        let slot_sequence = reader.u64("slot_sequence")?;
        let shard = ShardIndex(u16::from_le_bytes(reader.array("shard")?));
        let ring_state = match reader.array("ring_state")? {
            [RING_REBUILT, 0] => RingState::Rebuilt,
            [RING_IN_USE, 0] => RingState::InUse,
            _ => return Err(Malformed { field: "ring_state" }),
        };
        let partition_count = reader.u32("partition_count")?;
        let incarnation = Incarnation { number: reader.u64("incarnation")?, random: reader.u64("incarnation")? };
        let journal_sequence = reader.u64("journal_sequence")?;
        let (body_len, body_crc) = (reader.u64("body_len")?, reader.u32("body_crc")?);
        let file_count = reader.u32("ring")?;
        let ring = RingGeometry { file_len: reader.u64("ring")?, file_count };
        Ok(Self { slot_sequence, shard, incarnation, journal_sequence, ring, ring_state, partition_count, body_len, body_crc })
    }
}

/// The checksum of a header block: of its magic, and of everything behind the checksum's own place.
fn header_crc(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..4]), &block[8..SLOT_HEADER_LEN])
}

pub(crate) fn put_partition(out: &mut Vec<u8>, partition: &PartitionCheckpoint) {
    let point = &partition.recovery_point;
    out.put_id(partition.id);
    out.put_u32(partition.placement_epoch.0);
    out.put_u64(partition.log_start_offset.0);
    out.put_u64(partition.high_watermark.0);
    out.put_u64(point.offset.0);
    out.put_u64(point.segment_base.0);
    out.put_u64(point.next_frame_position);
    out.put_u64(point.position);
    out.put_u64(point.held.sequence);
    out.put_u32(point.held.index);
    out.put_u32(point.prev_header_crc);
    out.put_epochs(&partition.epochs);
    out.put_producers(&partition.producers);
    out.put_count(partition.sealed.len());
    for segment in &partition.sealed {
        out.put_u64(segment.base_offset.0);
        out.put_u64(segment.next_offset.0);
        out.put_u64(segment.file_len);
        out.put_u32(segment.last_header_crc);
        out.put_i64(segment.append_time_ms_max);
        out.put_i64(segment.timestamp_ms_max);
        out.put_u32(u32::from(segment.has_footer));
    }
    put_ranges(out, &partition.damaged);
    put_ranges(out, &partition.accepted);
    out.put_u64(partition.possibly_short.map_or(NO_OFFSET, |offset| offset.0));
}

fn put_ranges(out: &mut Vec<u8>, ranges: &[DamagedRange]) {
    out.put_count(ranges.len());
    for range in ranges {
        out.put_u64(range.from.0);
        out.put_u64(range.until.0);
    }
}

/// Reads the body of a slot. Its checksum agreed, so what is wrong here was written by a program with a fault;
/// `None` then.
pub(crate) fn parse_partitions(body: &[u8], partition_count: u32) -> Option<Vec<PartitionCheckpoint>> {
    let mut reader = ValueReader::new(body);
    let mut partitions = Vec::new();
    for _ in 0..partition_count {
        partitions.push(read_partition(&mut reader).ok()?);
    }
    (reader.remaining() == 0).then_some(partitions)
}

fn read_partition(reader: &mut ValueReader<'_>) -> Result<PartitionCheckpoint, Malformed> {
    let id = reader.id("id")?;
    let placement_epoch = PlacementEpoch(reader.u32("placement_epoch")?);
    let log_start_offset = reader.offset("log_start_offset")?;
    let high_watermark = reader.offset("high_watermark")?;
    let recovery_point = read_recovery_point(reader)?;
    let epochs = reader.epochs()?;
    // An epoch began with a frame, and the frames that the checkpoint speaks for lie below its recovery point.
    if epochs.entries().last().is_some_and(|&(_, start)| start >= recovery_point.offset) {
        return Err(Malformed { field: "epochs" });
    }
    let producers = reader.producers()?;
    let count = reader.count("sealed", SEALED_LEN)?;
    let mut sealed = Vec::with_capacity(count);
    for _ in 0..count {
        sealed.push(read_sealed(reader)?);
    }
    let ordered = sealed.iter().all(|s| s.base_offset < s.next_offset)
        && sealed.is_sorted_by(|a, b| a.next_offset <= b.base_offset)
        && sealed.last().is_none_or(|last| last.next_offset <= recovery_point.segment_base);
    if !ordered {
        return Err(Malformed { field: "sealed" });
    }
    let damaged = read_ranges(reader, "damaged")?;
    let accepted = read_ranges(reader, "accepted")?;
    let possibly_short = match reader.offset("possibly_short")? {
        Offset(NO_OFFSET) => None,
        Offset(offset) if offset > COUNT_MAX => return Err(Malformed { field: "possibly_short" }),
        offset => Some(offset),
    };
    Ok(PartitionCheckpoint {
        id,
        placement_epoch,
        log_start_offset,
        high_watermark,
        recovery_point,
        epochs,
        producers,
        sealed,
        damaged,
        accepted,
        possibly_short,
    })
}

fn read_ranges(reader: &mut ValueReader<'_>, field: &'static str) -> Result<Vec<DamagedRange>, Malformed> {
    let count = reader.count(field, RANGE_LEN)?;
    if count > DAMAGED_RANGES_MAX {
        return Err(Malformed { field });
    }
    let mut ranges: Vec<DamagedRange> = Vec::with_capacity(count);
    for _ in 0..count {
        let range = DamagedRange { from: reader.offset(field)?, until: reader.offset(field)? };
        let follows = ranges.last().is_none_or(|last| last.until < range.from);
        if !follows || range.from >= range.until || range.until.0 > COUNT_MAX {
            return Err(Malformed { field });
        }
        ranges.push(range);
    }
    Ok(ranges)
}

fn read_recovery_point(reader: &mut ValueReader<'_>) -> Result<RecoveryPoint, Malformed> {
    let field = "recovery_point";
    let point = RecoveryPoint {
        offset: reader.offset(field)?,
        segment_base: reader.offset(field)?,
        next_frame_position: reader.u64(field)?,
        position: reader.u64(field)?,
        held: EntryAddress { sequence: reader.u64(field)?, index: reader.u32(field)? },
        prev_header_crc: reader.u32(field)?,
    };
    let sound = point.position.is_multiple_of(BLOCK_LEN as u64) && point.segment_base <= point.offset;
    let bounded =
        point.position.max(point.next_frame_position) <= POSITION_MAX && point.held.sequence.max(point.offset.0) <= COUNT_MAX;
    if sound && bounded { Ok(point) } else { Err(Malformed { field }) }
}

fn read_sealed(reader: &mut ValueReader<'_>) -> Result<SealedSegmentInfo, Malformed> {
    Ok(SealedSegmentInfo {
        base_offset: reader.offset("sealed")?,
        next_offset: reader.offset("sealed")?,
        file_len: reader.u64("sealed")?,
        last_header_crc: reader.u32("sealed")?,
        append_time_ms_max: reader.i64("sealed")?,
        timestamp_ms_max: reader.i64("sealed")?,
        has_footer: match reader.u32("sealed")? {
            0 => false,
            1 => true,
            _ => return Err(Malformed { field: "sealed" }),
        },
    })
}

#[cfg(test)]
#[path = "checkpoint_codec_test.rs"]
pub(crate) mod tests;
