//! One controller over one log: open, decide, append, apply.

use crate::backend::{AllocatedFile, Reserve};
use crate::command_error::CommandError;
use crate::open_error::{Damage, OpenError};
use crate::store::{FIRST_INDEX, FORMAT_VERSION, Meta, ReadError, Store};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use sluice_metadata::{
    AdoptTopic, AllocateProducerIds, AlterTopic, Batch, BatchError, ClusterId, CreateTopic, DeleteTopic, FolderId, Image,
    PurgeTopic, Record, Refusal, RegisterBroker, RemoveOrphan, ReserveProducerIds, on_adopt_topic, on_allocate_producer_ids,
    on_alter_topic, on_create_topic, on_delete_topic, on_purge_topic, on_register_broker, on_remove_orphan,
    on_reserve_producer_ids,
};
use sluice_model::ProducerId;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// A store, and the reserve of its file where there is a file.
type Opened = (Store, Option<Reserve>);
type OpenStore = Box<dyn Fn() -> Result<Opened, redb::Error> + Send>;

/// The metadata log of one data folder, open, and its image.
pub struct Controller {
    /// Opens the same store again.
    open_store: OpenStore,
    /// `None` after a failure that leaves unknown what is in the log.
    store: Option<Opened>,
    image: Image,
    last_index: u64,
}

/// A command that took effect: durable and in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The log index up to which the image now stands.
    pub index: u64,
    /// What the command changed; empty when what it asked for was so already.
    pub records: Vec<Record>,
}

/// Producer ids that nobody else has: `first` and those after it, `count` in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub count: u32,
}

impl Controller {
    /// Opens the log at `path` and replays it. Where there is none, a new one is made for a new cluster with the id
    /// `new_cluster_id`; `None` says that there has to be one. The folder id is the data folder's: the log must have
    /// been made for it. The file stays locked until the controller is dropped.
    pub fn open(path: &Path, folder_id: FolderId, new_cluster_id: Option<ClusterId>) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        if !path.try_exists().map_err(io_error)? {
            let Some(cluster_id) = new_cluster_id else { return Err(OpenError::Missing { path: path.to_owned() }) };
            create(path, &Meta { format_version: FORMAT_VERSION, cluster_id, folder_id })?;
        }
        if fs::metadata(path).map_err(io_error)?.len() == 0 {
            let damage = Damage::Store("the file is empty".to_owned());
            return Err(OpenError::Damaged { path: path.to_owned(), damage });
        }
        let owned = path.to_owned();
        Self::open_with(path, folder_id, Box::new(move || open_file(&owned)))
    }

    fn open_with(path: &Path, folder_id: FolderId, open_store: OpenStore) -> Result<Self, OpenError> {
        let (store, reserve) = open_store().map_err(|error| OpenError::from_store(path, error))?;
        let damaged = |damage| OpenError::Damaged { path: path.to_owned(), damage };
        let meta = store.meta().map_err(|error| match error {
            ReadError::Store(error) => OpenError::from_store(path, error),
            ReadError::Content(damage) => damaged(damage),
        })?;
        check_meta(path, &meta, folder_id)?;
        let mut image = Image::new(meta.cluster_id);
        let mut last_index = FIRST_INDEX - 1;
        let replayed = store.for_each(|index, entry| {
            replay(&mut image, last_index + 1, index, entry)?;
            last_index = index;
            Ok(())
        });
        replayed.map_err(|error| match error {
            ReadError::Store(error) => OpenError::from_store(path, error),
            ReadError::Content(Damage::Entry { error: BatchError::NewerVersion { got, known }, .. }) => {
                let (got, known) = (u32::from(got), u32::from(known));
                OpenError::NewerVersion { path: path.to_owned(), what: "metadata records", got, known }
            }
            ReadError::Content(damage) => damaged(damage),
        })?;
        Ok(Self { open_store, store: Some((store, reserve)), image, last_index })
    }

    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The log index up to which the image stands; 0 for an empty log.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// What a registration would lead to; nothing is recorded.
    pub fn foresee(&self, request: &RegisterBroker) -> Result<Image, CommandError> {
        let batch = Batch { records: on_register_broker(&self.image, request)? };
        let mut image = self.image.clone();
        if let Err(error) = image.apply_batch(&batch) {
            panic!("a registration was decided on this image and does not apply: {error}");
        }
        Ok(image)
    }

    pub fn register_broker(&mut self, request: &RegisterBroker) -> Result<Applied, CommandError> {
        self.run(|image| on_register_broker(image, request))
    }

    pub fn create_topic(&mut self, request: &CreateTopic) -> Result<Applied, CommandError> {
        self.check_room()?;
        self.run(|image| on_create_topic(image, request))
    }

    pub fn alter_topic(&mut self, request: &AlterTopic) -> Result<Applied, CommandError> {
        if !is_about_retention(request) {
            self.check_room()?;
        }
        self.run(|image| on_alter_topic(image, request))
    }

    pub fn delete_topic(&mut self, request: &DeleteTopic) -> Result<Applied, CommandError> {
        self.run(|image| on_delete_topic(image, request))
    }

    pub fn purge_topic(&mut self, request: &PurgeTopic) -> Result<Applied, CommandError> {
        self.run(|image| on_purge_topic(image, request))
    }

    /// Gives partitions that were found in a folder a topic.
    pub fn adopt_topic(&mut self, request: &AdoptTopic) -> Result<Applied, CommandError> {
        self.check_room()?;
        self.run(|image| on_adopt_topic(image, request))
    }

    /// Makes a tombstone for partitions that were found in a folder.
    pub fn remove_orphan(&mut self, request: &RemoveOrphan) -> Result<Applied, CommandError> {
        self.run(|image| on_remove_orphan(image, request))
    }

    /// Never gives out ids again that were found in use.
    pub fn reserve_producer_ids(&mut self, request: &ReserveProducerIds) -> Result<Applied, CommandError> {
        self.run(|image| on_reserve_producer_ids(image, request))
    }

    pub fn allocate_producer_ids(&mut self, request: &AllocateProducerIds) -> Result<ProducerIdBlock, CommandError> {
        self.check_room()?;
        let first = self.image.next_producer_id();
        self.run(|image| on_allocate_producer_ids(image, request))?;
        let count = u32::try_from(self.image.next_producer_id().0 - first.0).expect("a block is PRODUCER_ID_BLOCK_LEN");
        Ok(ProducerIdBlock { first, count })
    }

    /// Commands that can be done without leave the reserve of a full disk to those that cannot.
    fn check_room(&self) -> Result<(), CommandError> {
        let Some((_, Some(reserve))) = &self.store else { return Ok(()) };
        reserve.renew().map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => CommandError::DiskFull,
            _ => CommandError::Store(error),
        })
    }

    /// Decides, appends durably, applies.
    fn run(&mut self, decide: impl FnOnce(&Image) -> Result<Vec<Record>, Refusal>) -> Result<Applied, CommandError> {
        if self.store.is_none() {
            return Err(CommandError::Store(io::Error::other("an earlier write failed; the broker has to be started again")));
        }
        let batch = Batch { records: decide(&self.image)? };
        if batch.records.is_empty() {
            return Ok(Applied { index: self.last_index, records: batch.records });
        }
        self.append(&batch.encode())?;
        if let Err(error) = self.image.apply_batch(&batch) {
            panic!("log entry {} was decided on this image and does not apply: {error}", self.last_index);
        }
        Ok(Applied { index: self.last_index, records: batch.records })
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), CommandError> {
        let index = self.last_index + 1;
        let opened = self.store.take().expect("looked at by the only caller");
        let Err(error) = opened.0.append(index, entry) else {
            self.store = Some(opened);
            self.last_index = index;
            return Ok(());
        };
        drop(opened);
        match into_io(error) {
            error if error.kind() == io::ErrorKind::StorageFull => self.reopen_after_full(index),
            error => Err(CommandError::Store(error)),
        }
    }

    /// The store has to be opened again after any error. A full disk shows before the commit, and what is in the log
    /// can be read from it.
    fn reopen_after_full(&mut self, index: u64) -> Result<(), CommandError> {
        let found = (self.open_store)().and_then(|opened| Ok((opened.0.last_index()?, opened)));
        let (last_index, opened) = found.map_err(|error| CommandError::Store(into_io(error)))?;
        assert!(last_index == self.last_index || last_index == index, "the log ends at {last_index}, not at {}", self.last_index);
        self.store = Some(opened);
        if last_index == index {
            self.last_index = index;
            return Ok(());
        }
        Err(CommandError::DiskFull)
    }
}

/// Shorter retention is one of the ways out of a full disk.
fn is_about_retention(request: &AlterTopic) -> bool {
    let mut keys = request.settings.iter().map(|(key, _)| key.as_str());
    request.partitions.is_none() && keys.all(|key| matches!(key, "retention_bytes" | "retention_ms"))
}

fn open_file(path: &Path) -> Result<Opened, redb::Error> {
    let file = AllocatedFile::new(OpenOptions::new().read(true).write(true).open(path)?)?;
    let reserve = file.reserve();
    Ok((Store::open(file)?, Some(reserve)))
}

fn check_meta(path: &Path, meta: &Meta, folder_id: FolderId) -> Result<(), OpenError> {
    if meta.format_version > FORMAT_VERSION {
        let (path, what) = (path.to_owned(), "format of the metadata log");
        return Err(OpenError::NewerVersion { path, what, got: meta.format_version, known: FORMAT_VERSION });
    }
    if meta.folder_id != folder_id {
        return Err(OpenError::OtherFolder { path: path.to_owned(), made_for: meta.folder_id, folder_id });
    }
    Ok(())
}

fn replay(image: &mut Image, expected: u64, index: u64, entry: &[u8]) -> Result<(), Damage> {
    if index != expected {
        return Err(Damage::Gap { expected, found: index });
    }
    let batch = Batch::decode(entry).map_err(|error| Damage::Entry { index, error })?;
    image.apply_batch(&batch).map_err(|error| Damage::Apply { index, error })
}

/// What the log at `path` says, read and left as it is: also where nothing may be written, and after a crash. Whoever
/// calls knows that nobody writes to it meanwhile.
pub fn read_image(path: &Path, folder_id: FolderId) -> Result<Image, OpenError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing { path: path.to_owned() }),
        Ok(bytes) if bytes.is_empty() => {
            let damage = Damage::Store("the file is empty".to_owned());
            return Err(OpenError::Damaged { path: path.to_owned(), damage });
        }
        read => read.map_err(|source| OpenError::Io { path: path.to_owned(), source })?,
    };
    let copy = move || {
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64)?;
        backend.write(0, &bytes)?;
        Ok((Store::open(backend)?, None))
    };
    match Controller::open_with(path, folder_id, Box::new(copy)) {
        Ok(controller) => Ok(controller.image),
        // What is asked of memory behind the file's end is no failure of a device.
        Err(OpenError::Io { path, source }) => Err(OpenError::Damaged { path, damage: Damage::Store(source.to_string()) }),
        Err(error) => Err(error),
    }
}

/// Makes an empty log, whole before it has its name: a crash in between leaves nothing that would have to be guessed at.
fn create(path: &Path, meta: &Meta) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    let unnamed = path.with_extension("redb.new");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&unnamed).map_err(io_error)?;
    let initialized = AllocatedFile::new(file).and_then(Store::open).and_then(|store| store.initialize(meta));
    initialized.map_err(|error| OpenError::from_store(path, error))?;
    fs::rename(&unnamed, path).map_err(io_error)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error)
}

fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
#[path = "controller_test.rs"]
mod tests;
