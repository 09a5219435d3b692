//! The names of everything in a data folder. No other file spells one out.
//!
//! ```text
//! DATA/lock
//! DATA/meta.json                                              format version, folder id
//! DATA/metadata.redb                                          the controller's log
//! DATA/shard-{N}/checkpoint-{0,1}                            and checkpoint-spare, for when both are lost
//! DATA/shard-{N}/reserve                                      space that is kept free for what was admitted
//! DATA/shard-{N}/clock                                        the last time that was believed
//! DATA/partitions/{topic id}/{partition}/{base offset}.log
//! DATA/set-aside/…                                            files that recovery found and nothing names
//! JOURNAL/owner                                               folder id; JOURNAL is DATA/journal unless it lies elsewhere
//! JOURNAL/shard-{N}/{NNNN}.journal
//! ```
//!
//! Faults that names must survive: a cut before their folder is flushed (a new name is not relied on before, and a file
//! that nothing names is set aside, never deleted), and a file that is gone: of a segment that is a gap, reported; of
//! the journal it is an error of recovery.

use sluice_model::{Offset, PartitionIndex, ShardIndex, TopicId, TopicPartition};
use std::path::{Path, PathBuf};

/// The most files one ring of journal files has.
pub const JOURNAL_FILES_MAX: u32 = 9999;

/// Where things are in one data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data_dir: PathBuf,
    journal_dir: PathBuf,
}

impl Layout {
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), journal_dir: data_dir.join("journal") }
    }

    /// The same data folder with its journals elsewhere, on another device perhaps.
    #[must_use]
    pub fn with_journal_dir(mut self, journal_dir: &Path) -> Self {
        journal_dir.clone_into(&mut self.journal_dir);
        self
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    #[must_use]
    pub fn journal_dir(&self) -> &Path {
        &self.journal_dir
    }

    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data_dir.join("lock")
    }

    #[must_use]
    pub fn meta(&self) -> PathBuf {
        self.data_dir.join("meta.json")
    }

    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.data_dir.join("metadata.redb")
    }

    #[must_use]
    pub fn set_aside_dir(&self) -> PathBuf {
        self.data_dir.join("set-aside")
    }

    #[must_use]
    pub fn shard_dir(&self, shard: ShardIndex) -> PathBuf {
        self.data_dir.join(shard_name(shard))
    }

    /// One of the two checkpoint slots, 0 or 1.
    #[must_use]
    pub fn checkpoint_slot(&self, shard: ShardIndex, slot: usize) -> PathBuf {
        self.shard_dir(shard).join(format!("checkpoint-{slot}"))
    }

    /// Disk space set aside.
    #[must_use]
    pub fn reserve(&self, shard: ShardIndex) -> PathBuf {
        self.shard_dir(shard).join("reserve")
    }

    /// The last time that was believed.
    #[must_use]
    pub fn clock(&self, shard: ShardIndex) -> PathBuf {
        self.shard_dir(shard).join("clock")
    }

    #[must_use]
    pub fn journal_owner(&self) -> PathBuf {
        journal_owner(&self.journal_dir)
    }

    /// What a shard began with, for the case that both slots are lost.
    #[must_use]
    pub fn checkpoint_spare(&self, shard: ShardIndex) -> PathBuf {
        self.shard_dir(shard).join("checkpoint-spare")
    }

    #[must_use]
    pub fn shard_journal_dir(&self, shard: ShardIndex) -> PathBuf {
        self.journal_dir.join(shard_name(shard))
    }

    #[must_use]
    pub fn partitions_dir(&self) -> PathBuf {
        self.data_dir.join("partitions")
    }

    #[must_use]
    pub fn topic_dir(&self, topic: TopicId) -> PathBuf {
        self.partitions_dir().join(topic.to_string())
    }

    #[must_use]
    pub fn partition_dir(&self, id: TopicPartition) -> PathBuf {
        self.topic_dir(id.topic_id).join(id.partition.to_string())
    }
}

/// Says whose the journals in this folder are.
#[must_use]
pub fn journal_owner(journal_dir: &Path) -> PathBuf {
    journal_dir.join("owner")
}

/// The file of a ring at `index`, below `JOURNAL_FILES_MAX`.
#[must_use]
pub fn journal_file(dir: &Path, index: u32) -> PathBuf {
    dir.join(format!("{index:04}.journal"))
}

#[must_use]
pub fn journal_file_index(name: &str) -> Option<u32> {
    number(name.strip_suffix(".journal")?, 4).and_then(|index| u32::try_from(index).ok())
}

#[must_use]
pub fn segment_file(dir: &Path, base_offset: Offset) -> PathBuf {
    dir.join(format!("{:020}.log", base_offset.0))
}

#[must_use]
pub fn segment_base_offset(name: &str) -> Option<Offset> {
    number(name.strip_suffix(".log")?, 20).map(Offset)
}

/// The shard that a folder of this name belongs to.
#[must_use]
pub fn shard_of_dir(name: &str) -> Option<ShardIndex> {
    let digits = name.strip_prefix("shard-")?;
    let shard = ShardIndex(number(digits, digits.len())?.try_into().ok()?);
    (name == shard_name(shard)).then_some(shard)
}

#[must_use]
pub fn partition_of_dir(name: &str) -> Option<PartitionIndex> {
    let partition = PartitionIndex(number(name, name.len())?.try_into().ok()?);
    (name == partition.to_string()).then_some(partition)
}

fn shard_name(shard: ShardIndex) -> String {
    format!("shard-{shard}")
}

/// Exactly `len` decimal digits.
fn number(digits: &str, len: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() != len || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let dir = Path::new("/d");
        assert_eq!(segment_file(dir, Offset(42)), Path::new("/d/00000000000000000042.log"));
        assert_eq!(segment_base_offset("00000000000000000042.log"), Some(Offset(42)));
        assert_eq!(segment_base_offset(&format!("{}.log", u64::MAX)), Some(Offset(u64::MAX)));
        assert_eq!(journal_file(dir, 7), Path::new("/d/0007.journal"));
        assert_eq!(journal_file_index("0007.journal"), Some(7));
        assert_eq!(shard_of_dir("shard-12"), Some(ShardIndex(12)));
        assert_eq!(partition_of_dir("0"), Some(PartitionIndex(0)));
        let layout = Layout::new(Path::new("/d")).with_journal_dir(Path::new("/j"));
        assert_eq!(layout.shard_journal_dir(ShardIndex(1)), Path::new("/j/shard-1"));
        assert_eq!(layout.journal_owner(), Path::new("/j/owner"));
        assert_eq!(layout.checkpoint_slot(ShardIndex(1), 0), Path::new("/d/shard-1/checkpoint-0"));
        assert_eq!(layout.reserve(ShardIndex(1)), Path::new("/d/shard-1/reserve"));
        assert_eq!(layout.clock(ShardIndex(1)), Path::new("/d/shard-1/clock"));
        let id = TopicPartition { topic_id: TopicId([0xab; 16]), partition: PartitionIndex(3) };
        assert_eq!(layout.partition_dir(id), Path::new("/d/partitions").join("ab".repeat(16)).join("3"));
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in ["42.log", "+0000000000000000042.log", "99999999999999999999.log", "00000000000000000042.log~", ".log"] {
            assert_eq!(segment_base_offset(name), None, "{name}");
        }
        for name in ["shard-", "shard-01", "shard-70000", "shard-a", "shards"] {
            assert_eq!(shard_of_dir(name), None, "{name}");
        }
        assert_eq!(partition_of_dir("007"), None);
        assert_eq!(journal_file_index("7.journal"), None);
    }
}
