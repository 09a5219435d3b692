//! Segment files that recovery found without a name and moved to `set-aside/`: `set-aside/START/TOPIC ID/PARTITION/…`.

use sluice_model::{Offset, TopicId, TopicPartition};
use sluice_storage::layout::{Layout, partition_of_dir, segment_base_offset};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetAsideFile {
    pub(super) path: PathBuf,
    /// Number of the start that moved it.
    pub(super) start: u64,
    pub(super) id: TopicPartition,
    pub(super) base_offset: Offset,
    pub(super) len: u64,
}

/// In the order of starts, partitions and offsets.
pub(super) fn find(layout: &Layout) -> io::Result<Vec<SetAsideFile>> {
    let mut found = Vec::new();
    for (start, dir) in folders(&layout.set_aside_dir(), |name| name.parse::<u64>().ok())? {
        for (topic_id, dir) in folders(&dir, TopicId::parse)? {
            for (partition, dir) in folders(&dir, partition_of_dir)? {
                for entry in fs::read_dir(&dir)? {
                    let entry = entry?;
                    let Some(base_offset) = entry.file_name().to_str().and_then(segment_base_offset) else { continue };
                    let id = TopicPartition { topic_id, partition };
                    found.push(SetAsideFile { path: entry.path(), start, id, base_offset, len: entry.metadata()?.len() });
                }
            }
        }
    }
    found.sort_by_key(|file| (file.start, file.id, file.base_offset));
    Ok(found)
}

/// Removes the files, and the folders that are empty then, durably.
pub(super) fn remove(layout: &Layout, files: &[SetAsideFile]) -> io::Result<()> {
    for file in files {
        fs::remove_file(&file.path)?;
        let mut last = file.path.as_path();
        while let Some(dir) = last.parent().filter(|dir| dir.starts_with(layout.set_aside_dir())) {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    File::open(dir)?.sync_all()?;
                    break;
                }
                removed => removed?,
            }
            last = dir;
        }
        if last == layout.set_aside_dir() {
            File::open(layout.data_dir())?.sync_all()?;
        }
    }
    Ok(())
}

fn folders<T>(dir: &Path, parse: impl Fn(&str) -> Option<T>) -> io::Result<Vec<(T, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Some(value) = entry.file_name().to_str().and_then(&parse)
        {
            found.push((value, entry.path()));
        }
    }
    Ok(found)
}
