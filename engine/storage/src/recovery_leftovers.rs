//! Segment files that nothing needs any more, and those that nothing names.
//!
//! The first are removed, the second moved to where an operator can look at them: a file that is not understood is
//! never deleted. And what an earlier life wrote behind the end of a segment that goes on: nothing reads it, until no
//! checkpoint says any more where the segment ends. All of it happens only when both checkpoint slots do without.

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::layout::{Layout, segment_base_offset};
use crate::log::Log;
use sluice_model::{Incarnation, Offset};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Removes segments that lie below the log start; one that is gone already is no error.
pub(crate) async fn remove_segments<D: Disk>(disk: &D, paths: &[PathBuf]) -> io::Result<()> {
    let mut folders: BTreeSet<&Path> = BTreeSet::new();
    for path in paths {
        match disk.remove_file(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        folders.extend(path.parent());
    }
    for folder in folders {
        match disk.sync_dir(folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Cuts off what stands behind the end of a segment that goes on, durable when it returns: frames that were truncated, or
/// never acknowledged, and footers. Space that was allocated ahead goes too. Of a segment that holds nothing yet nothing stays:
/// a file of that name may be one that a truncation removed, and whose removal a power cut undid.
pub(crate) async fn cut_leftovers<'a, D: Disk + 'a>(disk: &D, logs: impl Iterator<Item = &'a mut Log<D>>) -> io::Result<()> {
    for segment in logs.flat_map(|log| &mut log.open) {
        let written = segment.written();
        let file = match disk.open(segment.file.path(), OpenMode::Existing).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        if file.len().await? > written {
            file.truncate(written).await?;
            file.sync().await?;
        }
        segment.allocated = segment.allocated.min(written);
    }
    Ok(())
}

/// Moves segment files that their log does not name out of its folder; gives back where they are now.
pub(crate) async fn set_aside_leftovers<'a, D: Disk>(
    disk: &D,
    layout: &Layout,
    incarnation: Incarnation,
    logs: impl Iterator<Item = &'a Log<D>>,
) -> io::Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for log in logs {
        let sealed = log.sealed.iter().map(|segment| segment.info.base_offset);
        let named: BTreeSet<Offset> = sealed.chain(log.open.iter().map(|segment| segment.base_offset)).collect();
        let entries = match disk.read_dir(log.dir()).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        let leftovers =
            entries.iter().filter(|entry| segment_base_offset(&entry.name).is_some_and(|base| !named.contains(&base)));
        let target = layout.set_aside_dir().join(format!("{}", incarnation.number)).join(log.id().to_string());
        let before = moved.len();
        for entry in leftovers {
            disk.create_dir_all(&target).await?;
            disk.rename(&log.dir().join(&entry.name), &target.join(&entry.name)).await?;
            moved.push(target.join(&entry.name));
        }
        if moved.len() > before {
            disk.sync_dir(&target).await?;
            disk.sync_dir(log.dir()).await?;
        }
    }
    Ok(moved)
}
