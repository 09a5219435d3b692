//! The files of a log that was truncated: the segment that is cut gets its footer and ends there, later ones go.
//!
//! Runs once both of the journal's entries are durable, and until it is done no checkpoint is written and nothing of a new
//! segment, which may have the name of a file that goes. Whatever of it a crash leaves undone, replay of the entry
//! does again. The expensive mistake is a checkpoint that lets go of the entry while a file of what was cut off
//! still stands: with every checkpoint lost, that file would be taken for the log's.

use crate::checkpoint::SealedSegmentInfo;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry_address::EntryAddress;
use crate::layout::{segment_base_offset, segment_file};
use crate::log::Log;
use bytes::Bytes;
use sluice_model::Offset;
use std::io;
use std::path::PathBuf;

/// Bytes of one write.
const PIECE_LEN: usize = 256 * 1024;

/// A truncation whose files are not cut yet.
pub(crate) struct PendingCut {
    /// Of the first of its entries: the journal is needed from there on.
    pub address: EntryAddress,
    /// Segments from this base offset on go.
    pub remove_from: Offset,
    pub cut: Option<SegmentCut>,
}

/// A segment that ends earlier than it did.
#[derive(Clone, Debug)]
pub(crate) struct SegmentCut {
    pub path: PathBuf,
    pub footer_position: u64,
    /// Footer and trailer, whole blocks.
    pub footer: Bytes,
    pub info: SealedSegmentInfo,
}

/// What is to be done with the files. Owns everything it needs.
pub struct CutPlan<D: Disk> {
    disk: D,
    dir: PathBuf,
    address: EntryAddress,
    remove_from: Offset,
    cut: Option<SegmentCut>,
}

/// A cut that is durable; to be given to [`Log::on_cut`].
#[derive(Debug)]
pub struct Cut {
    address: EntryAddress,
}

impl<D: Disk> Log<D> {
    /// The journal has the truncation a second time, at `address`, in a group that was begun when the first one was
    /// durable. Replay begins behind both.
    pub fn on_truncation_repeated(&mut self, address: EntryAddress) {
        let first = self.cut.as_ref().map(|cut| cut.address);
        assert!(
            first.is_some_and(|first| first.sequence < address.sequence),
            "{}: a truncation at {first:?} is repeated at {address}: it has to be in another group",
            self.id()
        );
        self.held.on_entry_without_frame(address);
    }

    /// The files that a truncation has left to be cut, to be run once its journal entries are durable.
    #[must_use]
    pub fn plan_cut(&self) -> Option<CutPlan<D>> {
        self.cut.as_ref().map(|pending| CutPlan {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            address: pending.address,
            remove_from: pending.remove_from,
            cut: pending.cut.clone(),
        })
    }

    /// The files are cut, durably: the journal's entries are not needed any more.
    pub fn on_cut(&mut self, cut: Cut) {
        let pending = self.cut.take();
        assert!(pending.is_some_and(|pending| pending.address == cut.address), "a cut of {} that nobody asked for", self.id());
    }

    /// Asserted wherever files are about to be written, or spoken for.
    pub(crate) fn assert_not_cutting(&self) {
        assert!(self.cut.is_none(), "{}: a truncation's files are cut before anything else is written", self.id());
    }
}

impl<D: Disk> CutPlan<D> {
    /// An error ends the process: what a failed write left behind is unknown. The space was reserved before.
    pub async fn run(self) -> io::Result<Cut> {
        let entries = match self.disk.read_dir(&self.dir).await {
            // Nothing of this log was ever written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cut { address: self.address }),
            entries => entries?,
        };
        if let Some(cut) = &self.cut {
            self.end_segment(cut).await?;
        }
        let bases = entries.iter().filter_map(|entry| segment_base_offset(&entry.name));
        for base_offset in bases.filter(|base_offset| *base_offset >= self.remove_from) {
            self.disk.remove_file(&segment_file(&self.dir, base_offset)).await?;
        }
        self.disk.sync_dir(&self.dir).await?;
        Ok(Cut { address: self.address })
    }

    async fn end_segment(&self, cut: &SegmentCut) -> io::Result<()> {
        let file = self.disk.open(&cut.path, OpenMode::Existing).await?;
        let mut position = cut.footer_position;
        for piece in cut.footer.chunks(PIECE_LEN) {
            let mut buffer = self.disk.buffer(piece.len());
            buffer.copy_from_slice(piece);
            file.write_at(position, buffer).await?;
            position += piece.len() as u64;
        }
        file.truncate(cut.info.file_len).await?;
        file.sync().await
    }
}
