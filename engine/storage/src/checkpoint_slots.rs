//! The two checkpoint slots of a shard, written in turn.
//!
//! A slot is rewritten in place and then flushed; while that happens the other one is the checkpoint. The expensive
//! mistake is to turn to the good slot after a write that failed: the slot that failed is written again. The
//! journal keeps what either slot needs, so losing the newer one costs nothing.
//!
//! Faults it must survive: a cut at any sector of a slot, rot or a misdirected write in one of them. The other slot and
//! the journal then give back all that was acknowledged. Both lost is an error of recovery, never an empty beginning.
//! An error of a write or flush ends the process, `StorageFull` but delays the checkpoint.
//!
//! Deliberately absent: what is in a checkpoint, and when one is due.

use crate::checkpoint::{PartitionCheckpoint, ShardCheckpoint};
use crate::checkpoint_codec::{SlotHeader, parse_partitions, put_partition};
use crate::disk::{Disk, DiskFile, OpenMode, is_device_error};
use crate::journal_ring::RingGeometry;
use crate::layout::Layout;
use crate::rewrite::rewrite;
use crate::scrub_slot::SlotContent;
use sluice_model::ShardIndex;
use sluice_model::limits::BLOCK_LEN;
use std::io;
use std::path::Path;

pub use crate::checkpoint_codec::RingState;
pub use crate::checkpoint_spare::read_spare;

const BLOCK: u64 = BLOCK_LEN as u64;
/// A slot is written in pieces of this many bytes, so that its size does not decide how much memory that takes.
const PIECE_LEN: usize = 256 * 1024;
/// A slot larger than this is not one of ours.
const BODY_LEN_MAX: u64 = 4 << 30;

/// The slots, open for writing.
pub struct Checkpoints<D: Disk> {
    disk: D,
    pub(crate) files: [D::File; 2],
    spare: D::File,
    /// What each slot holds; zeros while that is unknown or torn.
    pub(crate) content: [SlotContent; 2],
    slot_sequence: u64,
    pub(crate) next: usize,
    ring: RingGeometry,
    ring_state: RingState,
}

/// What a slot was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotFound {
    /// No file, or one without a byte: it was never written.
    Missing,
    /// It holds something that is no checkpoint: torn while written, or rotten.
    Bad,
    /// The device does not give it back: as lost as a bad one.
    Unreadable {
        error: String,
    },
    /// Another version of this program wrote it. It is not lost, and must not be taken for that.
    OtherVersion {
        found: u8,
    },
    Good(Box<FoundCheckpoint>),
}

/// A good checkpoint as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCheckpoint {
    pub slot: usize,
    pub slot_sequence: u64,
    pub ring: RingGeometry,
    pub ring_state: RingState,
    pub checkpoint: ShardCheckpoint,
}

impl SlotFound {
    /// It was written once, and what it held is gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Bad | Self::Unreadable { .. })
    }
}

/// The format version of checkpoints that this program reads.
pub const CHECKPOINT_FORMAT_VERSION: u8 = crate::checkpoint_codec::SLOT_FORMAT_VERSION;

/// Reads both slots of a shard. An error is about the folder (no right to read it, say); a slot that the device does not
/// give back is one that is lost.
pub async fn read_slots<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex) -> io::Result<[SlotFound; 2]> {
    Ok([read_slot(disk, layout, shard, 0).await?, read_slot(disk, layout, shard, 1).await?])
}

/// Makes a slot that the device did not give back one that is lost for good, durable when it returns. Whoever goes on
/// without it writes blocks of segments anew that it vouches for: were it read again one day, it would vouch for what is
/// there no more.
pub(crate) async fn forget_slot<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex, slot: usize) -> io::Result<()> {
    let file = match disk.open(&layout.checkpoint_slot(shard, slot), OpenMode::Existing).await {
        // It was the opening that failed, of a slot that was never written.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if file.len().await? == 0 {
        return Ok(());
    }
    file.write_at(0, disk.buffer(BLOCK_LEN)).await?;
    file.sync().await
}

impl<D: Disk> Checkpoints<D> {
    /// Opens the slots, creating those that are missing, names durable. The next write goes to the slot that
    /// `newest` is not in, which is made durable first: whoever wrote it may have been killed before its flush.
    pub(crate) async fn open(
        disk: &D,
        layout: &Layout,
        shard: ShardIndex,
        newest: Option<&FoundCheckpoint>,
        ring: RingGeometry,
    ) -> io::Result<Self> {
        let dir = layout.shard_dir(shard);
        disk.create_dir_all(&dir).await?;
        let files = [
            open_or_create(disk, &layout.checkpoint_slot(shard, 0)).await?,
            open_or_create(disk, &layout.checkpoint_slot(shard, 1)).await?,
        ];
        let spare = open_or_create(disk, &layout.checkpoint_spare(shard)).await?;
        disk.sync_dir(&dir).await?;
        if let Some(FoundCheckpoint { slot, .. }) = newest {
            rewrite(disk, &files[*slot], files[*slot].len().await?).await?;
        }
        Ok(Self {
            disk: disk.clone(),
            files,
            spare,
            content: [SlotContent::default(); 2],
            slot_sequence: newest.map_or(0, |found| found.slot_sequence),
            next: newest.map_or(0, |found| 1 - found.slot),
            ring,
            ring_state: RingState::InUse,
        })
    }

    pub(crate) fn set_ring_state(&mut self, state: RingState) {
        self.ring_state = state;
    }

    /// Writes a checkpoint into the older slot; durable when it returns. After an error that slot is torn, the other
    /// one stays good, and the next write goes to the torn one again. With `StorageFull` that is all that happened.
    /// Gives back the bytes written.
    pub async fn write(&mut self, checkpoint: &ShardCheckpoint) -> io::Result<u64> {
        let slot = self.next;
        self.content[slot] = SlotContent::default();
        let len = self.write_file(&self.files[slot].clone(), self.slot_sequence + 1, checkpoint).await?;
        self.slot_sequence += 1;
        self.content[slot] = SlotContent { slot_sequence: self.slot_sequence, journal_sequence: checkpoint.journal_sequence };
        self.next = 1 - slot;
        Ok(len)
    }

    /// Writes the spare (`checkpoint_spare`); durable when it returns. After an error the slots are what they were. With
    /// `StorageFull` there is no spare any more, durably: an older one would count as this one.
    pub async fn write_spare(&self, checkpoint: &ShardCheckpoint) -> io::Result<()> {
        match self.write_file(&self.spare, self.slot_sequence, checkpoint).await {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.forget_spare().await?;
                Err(error)
            }
            written => written.map(|_| ()),
        }
    }

    /// In place, so that it takes no room.
    async fn forget_spare(&self) -> io::Result<()> {
        let head = self.spare.read_at(0, BLOCK_LEN).await;
        if head.is_ok_and(|head| head.iter().all(|&byte| byte == 0)) {
            return Ok(());
        }
        // An error here is not that of a spare which waits for room.
        let failed = |error: io::Error| io::Error::other(format!("the spare checkpoint cannot be made void: {error}"));
        self.spare.write_at(0, self.disk.buffer(BLOCK_LEN)).await.map_err(failed)?;
        self.spare.sync().await.map_err(failed)
    }

    async fn write_file(&self, file: &D::File, slot_sequence: u64, checkpoint: &ShardCheckpoint) -> io::Result<u64> {
        let mut body = SlotBody { disk: self.disk.clone(), file: file.clone(), pending: Vec::new(), len: 0, crc: 0 };
        for partition in &checkpoint.partitions {
            body.put(partition).await?;
        }
        body.flush().await?;
        let header = SlotHeader {
            slot_sequence,
            shard: checkpoint.shard,
            incarnation: checkpoint.incarnation,
            journal_sequence: checkpoint.journal_sequence,
            ring: self.ring,
            ring_state: self.ring_state,
            partition_count: u32::try_from(checkpoint.partitions.len()).expect("partitions of a shard are counted in u32"),
            body_len: body.len,
            body_crc: body.crc,
        };
        let mut block = self.disk.buffer(BLOCK_LEN);
        header.write(&mut block);
        file.write_at(0, block).await?;
        file.sync().await?;
        Ok(BLOCK + header.body_len.next_multiple_of(BLOCK))
    }

    /// The lowest group sequence that either slot needs: what `Journal::release` is told. 0 (all of them) until both
    /// slots were written.
    #[must_use]
    pub fn needed_from_sequence(&self) -> u64 {
        self.content[0].journal_sequence.min(self.content[1].journal_sequence)
    }
}

/// The partitions of a slot on their way to its file.
struct SlotBody<D: Disk> {
    disk: D,
    file: D::File,
    /// Encoded and not yet written.
    pending: Vec<u8>,
    /// All bytes so far, and their checksum.
    len: u64,
    crc: u32,
}

impl<D: Disk> SlotBody<D> {
    async fn put(&mut self, partition: &PartitionCheckpoint) -> io::Result<()> {
        let start = self.pending.len();
        put_partition(&mut self.pending, partition);
        self.crc = crc32c::crc32c_append(self.crc, &self.pending[start..]);
        self.len += (self.pending.len() - start) as u64;
        let whole = self.pending.len() - self.pending.len() % PIECE_LEN;
        for from in (0..whole).step_by(PIECE_LEN) {
            self.write(from, PIECE_LEN).await?;
        }
        self.pending.drain(..whole);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let len = self.pending.len();
        if len > 0 { self.write(0, len).await } else { Ok(()) }
    }

    /// Writes `len` of the pending bytes, zeros behind them up to a whole block.
    async fn write(&self, from: usize, len: usize) -> io::Result<()> {
        let mut buffer = self.disk.buffer(len.next_multiple_of(BLOCK_LEN));
        buffer[..len].copy_from_slice(&self.pending[from..from + len]);
        let position = BLOCK + self.len - (self.pending.len() - from) as u64;
        self.file.write_at(position, buffer).await
    }
}

async fn open_or_create<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    match disk.open(path, OpenMode::Existing).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(path, OpenMode::CreateNew).await,
        opened => opened,
    }
}

async fn read_slot<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex, slot: usize) -> io::Result<SlotFound> {
    read_file(disk, &layout.checkpoint_slot(shard, slot), shard, slot).await
}

/// The checkpoint in a file, which counts as that of `slot`.
pub(crate) async fn read_file<D: Disk>(disk: &D, path: &Path, shard: ShardIndex, slot: usize) -> io::Result<SlotFound> {
    match try_read_file(disk, path, shard, slot).await {
        Err(error) if is_device_error(&error) => Ok(SlotFound::Unreadable { error: error.to_string() }),
        other => other,
    }
}

async fn try_read_file<D: Disk>(disk: &D, path: &Path, shard: ShardIndex, slot: usize) -> io::Result<SlotFound> {
    let file = match disk.open(path, OpenMode::Existing).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SlotFound::Missing),
        opened => opened?,
    };
    let file_len = file.len().await?;
    if file_len == 0 {
        return Ok(SlotFound::Missing);
    }
    let block = file.read_at(0, BLOCK_LEN).await?;
    let Some(header) = SlotHeader::parse(&block) else {
        let other = SlotHeader::other_version(&block);
        return Ok(other.map_or(SlotFound::Bad, |found| SlotFound::OtherVersion { found }));
    };
    if header.shard != shard || header.body_len > BODY_LEN_MAX.min(file_len.saturating_sub(BLOCK)) {
        return Ok(SlotFound::Bad);
    }
    let body = read_body::<D>(&file, header.body_len).await?;
    if body.len() as u64 != header.body_len || crc32c::crc32c(&body) != header.body_crc {
        return Ok(SlotFound::Bad);
    }
    let Some(partitions) = parse_partitions(&body, header.partition_count) else { return Ok(SlotFound::Bad) };
    let SlotHeader { slot_sequence, ring, ring_state, incarnation, journal_sequence, .. } = header;
    let checkpoint = ShardCheckpoint { shard, incarnation, journal_sequence, partitions };
    Ok(SlotFound::Good(Box::new(FoundCheckpoint { slot, slot_sequence, ring, ring_state, checkpoint })))
}

async fn read_body<D: Disk>(file: &D::File, len: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while (body.len() as u64) < len {
        let rest = usize::try_from(len - body.len() as u64).unwrap_or(usize::MAX);
        let piece = file.read_at(BLOCK + body.len() as u64, rest.min(PIECE_LEN).next_multiple_of(BLOCK_LEN)).await?;
        if piece.is_empty() {
            break;
        }
        body.extend_from_slice(&piece[..rest.min(piece.len())]);
    }
    Ok(body)
}

const _: () = assert!(PIECE_LEN.is_multiple_of(BLOCK_LEN));

#[cfg(test)]
#[path = "checkpoint_slots_test.rs"]
mod tests;
