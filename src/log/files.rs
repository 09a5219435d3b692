//! Which of a broker's files stand under a path, and what the checkpoints say about them.
//!
//! A path may be a whole data folder, any folder in it, or one file; the checkpoints are found from any of them,
//! because without them nobody knows where an active segment ends. Deliberately absent: the content of segments and
//! journals.

use super::folder::{self, Meta};
use super::lost_shard;
use super::plain_disk::PlainDisk;
use crate::exit_status::{ExitStatus, Failure};
use sluice_metadata::Image;
use sluice_model::{Offset, ShardIndex, TopicId, TopicPartition};
use sluice_storage::accepted_loss::find_loss;
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::checkpoint_slots::{FoundCheckpoint, SlotFound, read_slots};
use sluice_storage::layout::{self, Layout};
use sluice_storage::recovery::RecoveryError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A segment file and where its partition says it stands.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) id: TopicPartition,
    pub(crate) base_offset: Offset,
}

/// One shard's checkpoint slots and journal files.
#[derive(Debug)]
pub(crate) struct ShardFiles {
    pub(crate) shard: ShardIndex,
    pub(crate) slots: [(PathBuf, SlotFound); 2],
    /// In the order of the ring.
    pub(crate) journal: Vec<PathBuf>,
}

/// What is under the path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) shards: Vec<ShardFiles>,
    /// By partition, then base offset.
    pub(crate) segments: Vec<SegmentFile>,
    /// Every partition that a checkpoint of the data folder names, whether its files were asked for or not.
    pub(crate) partitions: BTreeMap<TopicPartition, PartitionCheckpoint>,
    /// Of a whole data folder: segments that a checkpoint relies on and that are not there.
    pub(crate) missing_segments: Vec<SegmentFile>,
    /// Of a whole data folder: journals that a start needs and that are not there or not whole, and why.
    pub(crate) missing_journals: Vec<(PathBuf, String)>,
    /// Of a whole data folder: the folders of partitions that no checkpoint names, and that no start would rebuild.
    pub(crate) unnamed: Vec<(PathBuf, TopicPartition)>,
    /// What the folder's metadata says, when it can be read,
    pub(crate) image: Option<Image>,
    /// and why it cannot: which file is no good.
    pub(crate) metadata_problem: Option<(PathBuf, String)>,
}

impl ShardFiles {
    /// The checkpoint a start would use.
    pub(crate) fn newest(&self) -> Option<&FoundCheckpoint> {
        let good = self.slots.iter().filter_map(|(_, slot)| match slot {
            SlotFound::Good(found) => Some(&**found),
            _ => None,
        });
        good.max_by_key(|found| found.slot_sequence)
    }
}

/// Finds the files; refuses a folder that a broker uses at this moment. The lock, when there is one, is held until
/// the second value is dropped.
pub(crate) fn find(path: &Path) -> Result<(Files, Option<File>), Failure> {
    let path = path.canonicalize().map_err(|error| {
        Failure::io(path.display(), &error).remedy("name a data folder, a folder in it, or one .log, .journal or checkpoint file")
    })?;
    let lock = root_of(&path)
        .as_deref()
        .map(|root| lock_shared(root, "its files change while they would be read"))
        .transpose()?
        .flatten();
    Ok((find_unlocked(&path, None)?, lock))
}

fn root_of(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|folder| Layout::new(folder).meta().is_file()).map(Path::to_owned)
}

/// The same for whoever holds the lock. `layout` is the folder's, when the caller knows better.
pub(crate) fn find_unlocked(path: &Path, layout: Option<&Layout>) -> Result<Files, Failure> {
    let root = root_of(path);
    if root.is_none() && path.is_file() && segment_at(path).is_none() {
        let what = format!("{} is no file of a broker, or no longer where the broker kept it", path.display());
        return Err(Failure::new(ExitStatus::Failed, what)
            .remedy("name a data folder, a folder in it, or one .log, .journal or checkpoint file"));
    }
    let read = |error: io::Error| Failure::io(format_args!("cannot read {}", path.display()), &error);
    let layout = match layout {
        Some(layout) => layout.clone(),
        None => folder::layout_of(root.as_deref().unwrap_or(path))?,
    };
    let mut files = Files::default();
    let meta = folder::read_meta(&layout)?;
    if let Some(meta) = &meta {
        match folder::read_metadata(&layout, meta.folder_id) {
            Ok(Some(image)) => files.image = Some(image),
            Ok(None) => files.metadata_problem = Some((layout.metadata(), "the file is missing".to_owned())),
            Err(error) => files.metadata_problem = Some((layout.metadata(), error.to_string())),
        }
    } else if Layout::new(path).lock().is_file() {
        files.metadata_problem = Some((Layout::new(path).meta(), "the file is missing".to_owned()));
    }
    let mut all = Vec::new();
    if path.is_file() {
        all.push(path.to_owned());
    } else {
        collect(path, &mut all).map_err(read)?;
    }
    if path == layout.data_dir() && layout.journal_dir().is_dir() && !layout.journal_dir().starts_with(path) {
        collect(layout.journal_dir(), &mut all).map_err(read)?;
    }
    for shard in shards(&layout).map_err(read)? {
        files.add_shard(&layout, shard, &all).map_err(read)?;
    }
    for path in all {
        if let Some(segment) = segment_at(&path) {
            files.segments.push(segment);
        }
    }
    files.segments.sort_by_key(|segment| (segment.id, segment.base_offset));
    if path == layout.data_dir() {
        files.find_missing(&layout, meta.as_ref())?;
    }
    if files.segments.is_empty() && files.shards.is_empty() {
        let what = format!("{} holds no segment, journal or checkpoint", path.display());
        return Err(Failure::new(ExitStatus::Failed, what)
            .remedy("name the folder that `sluice serve --data-dir` was given, or a file in it"));
    }
    Ok(files)
}

impl Files {
    /// A shard that was idle when a topic was deleted still names its segments.
    pub(crate) fn is_deleted(&self, id: TopicPartition) -> bool {
        self.image.as_ref().is_some_and(|image| image.is_deleted(id.topic_id))
    }

    pub(crate) fn name(&self, id: TopicPartition) -> String {
        name(self.image.as_ref(), id)
    }

    /// Whether this is what the folder says of the partition: no shard has it under a greater placement epoch, and its
    /// topic is not deleted.
    pub(crate) fn counts(&self, partition: &PartitionCheckpoint) -> bool {
        let newest = self.partitions.get(&partition.id);
        newest.is_some_and(|newest| newest.placement_epoch == partition.placement_epoch) && !self.is_deleted(partition.id)
    }

    fn find_missing(&mut self, layout: &Layout, meta: Option<&Meta>) -> Result<(), Failure> {
        let reading = |error| Failure::io(format_args!("cannot read {}", layout.data_dir().display()), &error);
        for (&id, partition) in &self.partitions {
            let dir = layout.partition_dir(id);
            let point = &partition.recovery_point;
            let active = (point.position > 0).then_some(point.segment_base);
            let sealed = partition.sealed.iter().filter(|info| info.next_offset > partition.log_start_offset);
            let named = sealed.map(|info| info.base_offset).chain(active);
            let named = named.map(|base_offset| SegmentFile { path: layout::segment_file(&dir, base_offset), id, base_offset });
            self.missing_segments.extend(named.filter(|segment| !segment.path.is_file()));
        }
        if let Some((meta, owner)) = meta.zip(folder::journal_owner(layout))
            && owner != meta.folder_id.to_string()
        {
            let error = format!("the journal of data folder {owner}, this one is {}", meta.folder_id);
            self.missing_journals.push((layout.journal_dir().to_owned(), error));
        }
        for shard in lost_shard::all_shards(layout, self.image.as_ref()).map_err(reading)? {
            match ready(find_loss(&PlainDisk::READ_ONLY, layout, shard)) {
                Ok(Some(loss)) => {
                    self.missing_journals.extend(loss.journal.map(|(dir, error)| (dir, error.to_string())));
                    let unnamed = lost_shard::unnamed_on(self, layout, shard)?;
                    self.unnamed.extend(unnamed.into_iter().map(|one| (layout.partition_dir(one.id), one.id)));
                }
                Ok(None) => {
                    let lost = lost_shard::find(layout, shard, 0, self.image.as_ref())?;
                    let why = |problem| format!("{problem}; both checkpoints are lost as well");
                    self.missing_journals.extend(lost.map(|lost| (lost.dir, why(lost.problem))));
                }
                // The slot has a finding of its own.
                Err(RecoveryError::OtherVersion { .. }) => {}
                Err(error) => return Err(reading(io::Error::other(error))),
            }
        }
        Ok(())
    }

    /// Reads a shard's checkpoints; keeps the shard itself only when one of its files was asked for.
    fn add_shard(&mut self, layout: &Layout, shard: ShardIndex, asked: &[PathBuf]) -> io::Result<()> {
        let found = ready(read_slots(&PlainDisk::READ_ONLY, layout, shard))?;
        let [first, second] = found;
        let slots = [(layout.checkpoint_slot(shard, 0), first), (layout.checkpoint_slot(shard, 1), second)];
        let journal_dir = layout.shard_journal_dir(shard);
        let mut journal: Vec<_> =
            asked.iter().filter(|path| path.parent() == Some(&journal_dir) && is_journal(path)).cloned().collect();
        journal.sort();
        let asked_slots = slots.iter().any(|(path, _)| asked.contains(path));
        let files = ShardFiles { shard, slots, journal };
        for partition in files.newest().map_or(&[][..], |found| &found.checkpoint.partitions) {
            let newer =
                self.partitions.get(&partition.id).is_some_and(|other| other.placement_epoch >= partition.placement_epoch);
            if !newer {
                self.partitions.insert(partition.id, partition.clone());
            }
        }
        if asked_slots || !files.journal.is_empty() {
            self.shards.push(files);
        }
        Ok(())
    }
}

/// Topic and partition as an operator knows them.
pub(crate) fn name(image: Option<&Image>, id: TopicPartition) -> String {
    match image.and_then(|image| image.topic(id.topic_id)) {
        Some(topic) => format!("topic {}, partition {}", topic.name, id.partition),
        None => format!("topic id {} (no topic of this id is known), partition {}", id.topic_id, id.partition),
    }
}

/// Shards with a checkpoint folder or a journal.
pub(crate) fn shards(layout: &Layout) -> io::Result<Vec<ShardIndex>> {
    let mut shards = Vec::new();
    for dir in [layout.data_dir(), layout.journal_dir()] {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            shards.extend(entry?.file_name().to_str().and_then(layout::shard_of_dir));
        }
    }
    shards.sort_unstable();
    shards.dedup();
    Ok(shards)
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            // Files set aside are nobody's any more.
            if entry.file_name() != "set-aside" {
                collect(&entry.path(), into)?;
            }
        } else {
            into.push(entry.path());
        }
    }
    Ok(())
}

fn is_journal(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).and_then(layout::journal_file_index).is_some()
}

/// `…/{topic id}/{partition}/{base offset}.log`
fn segment_at(path: &Path) -> Option<SegmentFile> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(ToOwned::to_owned);
    let base_offset = layout::segment_base_offset(&name(path)?)?;
    let partition_dir = path.parent()?;
    let partition = layout::partition_of_dir(&name(partition_dir)?)?;
    let topic_id = TopicId::parse(&name(partition_dir.parent()?)?)?;
    Some(SegmentFile { path: path.to_owned(), id: TopicPartition { topic_id, partition }, base_offset })
}

/// Keeps brokers from a data folder, if it is one, until dropped. `why` a running broker has to be stopped ends the failure's text.
pub(crate) fn lock_shared(root: &Path, why: &str) -> Result<Option<File>, Failure> {
    let path = Layout::new(root).lock();
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => {
            let what = format!("a broker is using {}", root.display());
            Err(Failure::new(ExitStatus::DataFolderInUse, what).remedy(format!("stop the broker first: {why}")))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::io(path.display(), &error)),
    }
}

/// The result of a future that is ready at once, as those of `PlainDisk` are.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("reading plain files never waits"),
    }
}
