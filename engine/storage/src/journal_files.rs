//! Making and opening the files of a journal ring.
//!
//! Files are zeroed through a handle without durable writes, in large pieces, flushed once, and only then opened
//! for durable writes: a write then changes no metadata and costs one device write. Deliberately absent: what is in
//! them.

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::journal_ring::RingGeometry;
use crate::layout::{journal_file, journal_file_index};
use sluice_model::limits::BLOCK_LEN;
use std::io;
use std::path::Path;

/// Bytes zeroed with one write.
const ZEROING_LEN: u64 = 1024 * 1024;

/// Makes the files of a ring anew, all zeros and durable. Journal files that are there already are removed: the
/// caller knows that nothing needs them.
pub(crate) async fn create_ring<D: Disk>(disk: &D, dir: &Path, geometry: RingGeometry) -> io::Result<()> {
    disk.create_dir_all(dir).await?;
    for entry in disk.read_dir(dir).await? {
        if journal_file_index(&entry.name).is_some() {
            disk.remove_file(&dir.join(&entry.name)).await?;
        }
    }
    disk.sync_dir(dir).await?;
    for index in 0..geometry.file_count {
        let file = disk.open(&journal_file(dir, index), OpenMode::CreateNew).await?;
        file.allocate(geometry.file_len).await?;
        let mut position = 0;
        while position < geometry.file_len {
            let len = ZEROING_LEN.min(geometry.file_len - position);
            file.write_at(position, disk.buffer(usize::try_from(len).expect("within ZEROING_LEN"))).await?;
            position += len;
        }
        file.sync().await?;
    }
    disk.sync_dir(dir).await
}

/// Opens every file of a ring. `NotFound` or `InvalidData` when one is missing or has another length.
pub(crate) async fn open_ring<D: Disk>(disk: &D, dir: &Path, geometry: RingGeometry) -> io::Result<Vec<D::File>> {
    let mut files = Vec::new();
    for index in 0..geometry.file_count {
        let path = journal_file(dir, index);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("journal file {}: {error}", path.display()));
        let file = disk.open(&path, OpenMode::DurableWrites).await.map_err(named)?;
        let len = file.len().await?;
        if len != geometry.file_len {
            let error = format!("it has {len} bytes, and the checkpoint says {}", geometry.file_len);
            return Err(named(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        files.push(file);
    }
    Ok(files)
}

/// The shape of the ring whose files are in a folder. `NotFound` when there are none or one is missing among them,
/// `InvalidData` when they are no ring.
pub(crate) async fn found_geometry<D: Disk>(disk: &D, dir: &Path) -> io::Result<RingGeometry> {
    let entries = disk.read_dir(dir).await?;
    let mut indices: Vec<u32> = entries.iter().filter_map(|entry| journal_file_index(&entry.name)).collect();
    indices.sort_unstable();
    if indices.is_empty() || indices.iter().zip(0..).any(|(&index, expected)| index != expected) {
        let what = format!("{} journal files are there, not all from the first on", indices.len());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let file_len = disk.open(&journal_file(dir, 0), OpenMode::Existing).await?.len().await?;
    let file_count = u32::try_from(indices.len()).unwrap_or(u32::MAX);
    let geometry = RingGeometry { file_len, file_count };
    let what = || io::Error::new(io::ErrorKind::InvalidData, format!("{file_count} files of {file_len} bytes are no ring"));
    if geometry.is_valid() { Ok(geometry) } else { Err(what()) }
}

/// The ring whose files are in a folder, opened. `NotFound` or `InvalidData` when it is none, or has fewer files than
/// this.
pub(crate) async fn open_found_ring<D: Disk>(
    disk: &D,
    dir: &Path,
    file_count_min: u32,
) -> io::Result<(Vec<D::File>, RingGeometry)> {
    let ring = found_geometry(disk, dir).await?;
    if ring.file_count < file_count_min {
        let what = format!(
            "{} files are there, and the settings say {file_count_min}, or the spare checkpoint does: if the settings were \
             changed, start once with the old",
            ring.file_count
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok((open_ring(disk, dir, ring).await?, ring))
}

/// Whether this error of opening a ring says that it is not there.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}

/// Whether a folder holds any journal file.
pub(crate) async fn has_files<D: Disk>(disk: &D, dir: &Path) -> io::Result<bool> {
    match disk.read_dir(dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries?.iter().any(|entry| journal_file_index(&entry.name).is_some())),
    }
}

const _: () = assert!(ZEROING_LEN.is_multiple_of(BLOCK_LEN as u64));
