//! The bytes of a commit group: a header, entries, zeros up to a whole block.
//!
//! A group is what one journal write makes durable. Its header says who wrote it (shard and incarnation), where it
//! stands (sequence, checksum of the group before) and what was known durable when it was issued, which is how
//! recovery tells a torn end from damage. The expensive mistake is to take bytes for a group that are none: a
//! record body can imitate a header, but not the random bits of the incarnation.
//!
//! Faults it must survive: a cut in its middle (nobody was answered: cut off), rot of any bit, a write that never
//! arrived or landed elsewhere. What a later group or marker names durable is then reported as damaged or lost, every log
//! that no later frame vouches for as possibly short. The one window: when nothing is left that names the last group
//! durable, rot in it looks like a torn end.
//!
//! Deliberately absent: files and positions (`journal`, `journal_scan`).

use sluice_model::limits::{BLOCK_LEN, FRAME_BODY_LEN_MAX, GROUP_LEN_MAX};
use sluice_model::{
    FRAME_HEADER_LEN, FrameError, FrameHeader, Incarnation, Offset, PartitionIndex, ShardIndex, TopicId, TopicPartition,
};

/// "SLG" and the format version.
const GROUP_MAGIC: [u8; 4] = [b'S', b'L', b'G', GroupHeader::FORMAT_VERSION];
pub const GROUP_HEADER_LEN: usize = 64;
/// Kind, three zeros, length of what follows.
pub const ENTRY_HEADER_LEN: usize = 8;
const CONTROL_LEN: usize = 28;
/// A truncation carries a checksum of its own, so that it counts in a group that rot has touched elsewhere, and
/// never on the word of bytes that nothing vouches for.
const TRUNCATE_LEN: usize = CONTROL_LEN + 4 + 4;

/// No log reaches this offset; a frame that claims to is not one of ours, and offsets behind it do not overflow.
pub const OFFSET_MAX: u64 = u64::MAX / 2;

const KIND_FRAME: u8 = 1;
const KIND_LOG_START: u8 = 2;
const KIND_TRUNCATE: u8 = 3;

/// In the header's flags: the group holds a truncation, so that recovery finds those before it replays anything.
const FLAG_TRUNCATES: u8 = 1;

const _: () = assert!(GROUP_HEADER_LEN + ENTRY_HEADER_LEN + FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX <= GROUP_LEN_MAX);

/// What a journal makes durable, in order: frames, and the few changes that must be ordered with them.
#[derive(Clone, Copy, Debug)]
pub enum JournalEntry<'a> {
    /// A sealed frame, whole.
    Frame { header: &'a FrameHeader, body: &'a [u8] },
    /// The log start of a partition moved up to `offset`.
    LogStart { id: TopicPartition, offset: Offset },
    /// The log of a partition ends at `end_offset`, the boundary of a frame, now; what was behind it is gone. The last
    /// frame before it has this `header_crc`, which the next one is chained to.
    Truncate { id: TopicPartition, end_offset: Offset, last_header_crc: u32 },
}

/// Why bytes are not a good entry. What follows it in its group cannot be found any more after `Malformed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// Unknown kind, or a length that disagrees with the kind or with the group.
    Malformed,
    /// The length of the entry is good, its frame is not.
    Frame(FrameError),
    /// The length of a truncation is good, its checksum is not.
    Checksum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHeader {
    pub shard: ShardIndex,
    pub incarnation: Incarnation,
    /// From 1, without gaps, across incarnations.
    pub sequence: u64,
    /// The highest sequence known durable when this group was issued.
    pub durable_sequence: u64,
    /// Header checksum of the group before; 0 for the first of an incarnation.
    pub prev_group_crc: u32,
    /// Bytes of the entries, without header and padding.
    pub body_len: u32,
    pub entry_count: u32,
    /// CRC-32C of the entries.
    pub body_crc: u32,
    /// One of the entries is a truncation.
    pub truncates: bool,
}

impl GroupHeader {
    pub const FORMAT_VERSION: u8 = 1;

    /// Bytes of the whole group, padding included: a multiple of `BLOCK_LEN`.
    #[must_use]
    pub fn group_len(&self) -> usize {
        group_len(self.body_len as usize)
    }

    /// Writes the header; gives back its checksum, which the next group names.
    pub fn write(&self, bytes: &mut [u8; GROUP_HEADER_LEN]) -> u32 {
        bytes[0..4].copy_from_slice(&GROUP_MAGIC);
        bytes[8..12].copy_from_slice(&self.prev_group_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.entry_count.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes[26..32].copy_from_slice(&[if self.truncates { FLAG_TRUNCATES } else { 0 }, 0, 0, 0, 0, 0]);
        bytes[32..40].copy_from_slice(&self.incarnation.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.incarnation.random.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.durable_sequence.to_le_bytes());
        let header_crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&header_crc.to_le_bytes());
        header_crc
    }

    /// Reads a header from the front of `bytes`, with its checksum; `None` when there is none that is good.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes = bytes.get(..GROUP_HEADER_LEN)?;
        let header_crc = u32_at(bytes, 4);
        if bytes[..4] != GROUP_MAGIC || header_crc != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let header = Self {
            shard: ShardIndex(u16::from_le_bytes([bytes[24], bytes[25]])),
            incarnation: Incarnation { number: u64_at(bytes, 32), random: u64_at(bytes, 40) },
            sequence: u64_at(bytes, 48),
            durable_sequence: u64_at(bytes, 56),
            prev_group_crc: u32_at(bytes, 8),
            body_len: u32_at(bytes, 16),
            entry_count: u32_at(bytes, 20),
            body_crc: u32_at(bytes, 12),
            truncates: bytes[26] & FLAG_TRUNCATES != 0,
        };
        let bounded = header.body_len as usize <= GROUP_LEN_MAX - GROUP_HEADER_LEN && header.durable_sequence < header.sequence;
        bounded.then_some((header, header_crc))
    }
}

/// Version and incarnation of a group that another version of this program wrote. Its checksum has to agree, and that of
/// every version but the first covers the magic too, so rot in the version is not taken for one.
pub(crate) fn other_group_version(bytes: &[u8]) -> Option<(u8, Incarnation)> {
    let bytes = bytes.get(..GROUP_HEADER_LEN)?;
    let is_other = bytes[..3] == GROUP_MAGIC[..3] && bytes[3] != GroupHeader::FORMAT_VERSION;
    let good = is_other && u32_at(bytes, 4) == crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..]);
    good.then(|| (bytes[3], Incarnation { number: u64_at(bytes, 32), random: u64_at(bytes, 40) }))
}

/// Bytes of a group whose entries take `body_len`.
#[must_use]
pub fn group_len(body_len: usize) -> usize {
    (GROUP_HEADER_LEN + body_len).next_multiple_of(BLOCK_LEN)
}

impl JournalEntry<'_> {
    /// Bytes this entry takes in a group.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        ENTRY_HEADER_LEN
            + match self {
                Self::Frame { header, .. } => header.frame_len(),
                Self::LogStart { .. } => CONTROL_LEN,
                Self::Truncate { .. } => TRUNCATE_LEN,
            }
    }

    /// Writes the entry to the front of `bytes`, which is long enough.
    pub fn encode(&self, bytes: &mut [u8]) {
        let (kind, len) = match self {
            Self::Frame { header, .. } => (KIND_FRAME, header.frame_len()),
            Self::LogStart { .. } => (KIND_LOG_START, CONTROL_LEN),
            Self::Truncate { .. } => (KIND_TRUNCATE, TRUNCATE_LEN),
        };
        let (head, payload) = bytes.split_at_mut(ENTRY_HEADER_LEN);
        head[..4].copy_from_slice(&[kind, 0, 0, 0]);
        head[4..].copy_from_slice(&u32::try_from(len).expect("a frame is within FRAME_BODY_LEN_MAX").to_le_bytes());
        match self {
            Self::Frame { header, body } => {
                assert_eq!(header.body_len(), body.len(), "the body is the one the header names");
                payload[..FRAME_HEADER_LEN].copy_from_slice(header.as_bytes());
                payload[FRAME_HEADER_LEN..len].copy_from_slice(body);
            }
            Self::LogStart { id, offset } => encode_control(payload, *id, *offset),
            Self::Truncate { id, end_offset, last_header_crc } => {
                encode_control(payload, *id, *end_offset);
                payload[CONTROL_LEN..CONTROL_LEN + 4].copy_from_slice(&last_header_crc.to_le_bytes());
                let crc = crc32c::crc32c(&payload[..TRUNCATE_LEN - 4]);
                payload[TRUNCATE_LEN - 4..TRUNCATE_LEN].copy_from_slice(&crc.to_le_bytes());
            }
        }
    }
}

fn encode_control(payload: &mut [u8], id: TopicPartition, offset: Offset) {
    payload[..16].copy_from_slice(&id.topic_id.0);
    payload[16..20].copy_from_slice(&id.partition.0.to_le_bytes());
    payload[20..28].copy_from_slice(&offset.0.to_le_bytes());
}

/// The entries of a group, in order. Ends after the first that is malformed.
pub struct Entries<'a> {
    body: &'a [u8],
}

impl<'a> Entries<'a> {
    /// `body` is `body_len` bytes behind a group's header.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<JournalEntry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let parsed = split_entry(self.body);
        self.body = parsed.map_or(&[], |(_, _, rest)| rest);
        let Some((kind, payload, _)) = parsed else {
            return Some(Err(EntryError::Malformed));
        };
        let entry = parse_entry(kind, payload);
        if entry.as_ref().is_err_and(|error| *error == EntryError::Malformed) {
            self.body = &[];
        }
        Some(entry)
    }
}

/// Kind and payload of the first entry, and what follows it.
fn split_entry(body: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = body.split_at_checked(ENTRY_HEADER_LEN)?;
    if head[1..4] != [0, 0, 0] {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(u32_at(head, 4) as usize)?;
    Some((head[0], payload, rest))
}

fn parse_entry(kind: u8, payload: &[u8]) -> Result<JournalEntry<'_>, EntryError> {
    match kind {
        KIND_FRAME => {
            let (header, body) = FrameHeader::parse_frame(payload).map_err(EntryError::Frame)?;
            if header.frame_len() != payload.len() || header.base_offset().0 > OFFSET_MAX {
                return Err(EntryError::Malformed);
            }
            Ok(JournalEntry::Frame { header, body })
        }
        KIND_LOG_START if payload.len() == CONTROL_LEN => {
            let (id, offset) = parse_control(payload);
            Ok(JournalEntry::LogStart { id, offset })
        }
        KIND_TRUNCATE if payload.len() == TRUNCATE_LEN => {
            if crc32c::crc32c(&payload[..TRUNCATE_LEN - 4]) != u32_at(payload, TRUNCATE_LEN - 4) {
                return Err(EntryError::Checksum);
            }
            let (id, end_offset) = parse_control(payload);
            Ok(JournalEntry::Truncate { id, end_offset, last_header_crc: u32_at(payload, CONTROL_LEN) })
        }
        _ => Err(EntryError::Malformed),
    }
}

fn parse_control(payload: &[u8]) -> (TopicPartition, Offset) {
    let mut topic_id = [0; 16];
    topic_id.copy_from_slice(&payload[..16]);
    let id = TopicPartition { topic_id: TopicId(topic_id), partition: PartitionIndex(u32_at(payload, 16)) };
    (id, Offset(u64_at(payload, 20)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
#[path = "commit_group_test.rs"]
mod tests;
