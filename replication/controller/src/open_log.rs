//! A metadata log is opened: made where there is none, converted where it is of version 1, replayed.
//!
//! The expensive mistake is to go on from a log that is not whole: a gap, a checksum that fails, a record that does not
//! apply are errors with a name, never a guess. What is not yet known to be committed is looked at and not applied.

use crate::backend::AllocatedFile;
use crate::codec::{EntryRow, LogIdRow, MembershipRow, NodeRow, PayloadRow};
use crate::open_error::{Damage, EntryError, OpenError};
use crate::raft_types::{Entry, RaftLogId};
use crate::shared_store::{OpenStore, Opened, SharedStore};
use crate::state_machine::{AppliedState, Misfit, SharedState};
use crate::store::{FIRST_INDEX_1, FORMAT_VERSION, Meta, ReadError, StateRow, Store};
use openraft::EntryPayload;
use sluice_metadata::{Batch, ClusterId, FolderId, FramedError, Image, SnapshotError};
use sluice_model::BrokerId;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

/// A log that is open and replayed.
pub(crate) struct OpenedLog {
    pub(crate) state: Arc<SharedState>,
    pub(crate) broker: BrokerId,
    /// By the last membership in the log; empty for an empty log.
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) is_empty: bool,
    /// The id that a cluster gets if this broker founds it.
    pub(crate) founding_id: Option<ClusterId>,
}

/// Whose log it has to be.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) folder_id: FolderId,
    /// `None`: whichever broker it was made for.
    pub(crate) broker: Option<BrokerId>,
}

/// What a log that is not there is made for; without it there has to be one.
pub(crate) struct NewLog {
    /// Zeros while it is not known.
    pub(crate) cluster_id: ClusterId,
    pub(crate) founding_id: ClusterId,
    pub(crate) broker: BrokerId,
}

impl NewLog {
    /// Of a broker that is alone: it knows which cluster it is.
    pub(crate) fn of_one(cluster_id: ClusterId, broker: BrokerId) -> Self {
        Self { cluster_id, founding_id: ClusterId([0; 16]), broker }
    }

    /// Of a cluster that somebody founds, or has founded.
    pub(crate) fn of_several(founding_id: ClusterId, broker: BrokerId) -> Self {
        Self { cluster_id: ClusterId([0; 16]), founding_id, broker }
    }
}

/// Opens the log at `path`. The file stays locked until the store is closed.
pub(crate) fn open_log(path: &Path, owner: Owner, new: Option<&NewLog>) -> Result<OpenedLog, OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    if !path.try_exists().map_err(io_error)? {
        let Some(new) = new else { return Err(OpenError::Missing { path: path.to_owned() }) };
        let NewLog { cluster_id, founding_id, broker } = *new;
        let folder_id = owner.folder_id;
        create(path, &Meta { format_version: FORMAT_VERSION, cluster_id, folder_id, broker_id: broker.0, founding_id })?;
    }
    if fs::metadata(path).map_err(io_error)?.len() == 0 {
        let damage = Damage::Store("the file is empty".to_owned());
        return Err(OpenError::Damaged { path: path.to_owned(), damage });
    }
    let owned = path.to_owned();
    open_with(path, owner, Box::new(move || open_file(&owned)))
}

pub(crate) fn open_with(path: &Path, owner: Owner, open_store: OpenStore) -> Result<OpenedLog, OpenError> {
    let (store, reserve) = open_store().map_err(|error| OpenError::from_store(path, error))?;
    replayed(path, owner, (store, reserve), open_store).map_err(|error| match error {
        Failed::Open(error) => error,
        Failed::Read(ReadError::Store(error)) => OpenError::from_store(path, error),
        Failed::Read(ReadError::Content(damage)) => OpenError::from_damage(path, damage),
    })
}

enum Failed {
    Open(OpenError),
    Read(ReadError<Damage>),
}

impl<T: Into<ReadError<Damage>>> From<T> for Failed {
    fn from(error: T) -> Self {
        Self::Read(error.into())
    }
}

impl From<Damage> for ReadError<Damage> {
    fn from(damage: Damage) -> Self {
        Self::Content(damage)
    }
}

fn replayed(path: &Path, owner: Owner, (store, reserve): Opened, open_store: OpenStore) -> Result<OpenedLog, Failed> {
    let mut meta = store.meta()?;
    check_meta(path, &meta, owner).map_err(Failed::Open)?;
    if meta.format_version < FORMAT_VERSION {
        meta = convert(path, &store, meta)?;
    }
    let mut state = store.state()?;
    let mut applied = AppliedState::new(meta.cluster_id);
    if let Some((snapshot_meta, row)) = store.snapshot()? {
        applied = AppliedState::decode(&snapshot_meta.into(), &row).map_err(|error| Damage::Snapshot { error })?;
    }
    let log = Log::read(&store, state.purged)?;
    let voters: BTreeSet<u64> = log.voters.unwrap_or_else(|| applied.membership.voter_ids().collect());
    // What a sole voter has is committed.
    if voters.iter().eq([&u64::from(meta.broker_id)]) {
        state.committed = log.entries.last().map(|entry| entry.log_id.into()).max_by_index(state.committed);
    }
    let committed: Option<RaftLogId> = state.committed.map(Into::into);
    for entry in log.entries.iter().filter(|entry| Some(entry.log_id) <= committed) {
        apply(&mut applied, entry)?;
    }
    let is_empty = log.entries.is_empty() && applied.last_log_id.is_none() && state.vote.is_none();
    let store = Arc::new(SharedStore::new(open_store, (store, reserve), state, log.len));
    let founding_id = Some(meta.founding_id).filter(|id| *id != ClusterId([0; 16]));
    let state = Arc::new(SharedState::new(store, applied));
    Ok(OpenedLog { state, broker: BrokerId(meta.broker_id), voters, is_empty, founding_id })
}

trait MaxByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl MaxByIndex for Option<LogIdRow> {
    fn max_by_index(self, other: Self) -> Self {
        [self, other].into_iter().flatten().max_by_key(|id| id.index)
    }
}

fn apply(applied: &mut AppliedState, entry: &Entry) -> Result<(), Damage> {
    let index = entry.log_id.index;
    match applied.apply(entry) {
        Ok(_) => Ok(()),
        Err(Misfit::Batch(error)) => Err(Damage::Entry { index, error: EntryError::Batch(error) }),
        Err(Misfit::Apply(error)) => Err(Damage::Apply { index, error }),
    }
}

/// The entries there are, without a gap.
struct Log {
    entries: Vec<Entry>,
    /// By the last entry about it.
    voters: Option<BTreeSet<u64>>,
    /// Bytes.
    len: u64,
}

impl Log {
    fn read(store: &Store, purged: Option<LogIdRow>) -> Result<Self, ReadError<Damage>> {
        let mut log = Self { entries: Vec::new(), voters: None, len: 0 };
        let mut expected = purged.map_or(0, |id| id.index.saturating_add(1));
        store.for_each(|index, bytes| {
            if index != expected {
                return Err(Damage::Gap { expected, found: index });
            }
            expected = index.saturating_add(1);
            let row = EntryRow::decode(bytes).map_err(|error| Damage::Entry { index, error: EntryError::Frame(error) })?;
            if row.log_id.index != index {
                return Err(Damage::Entry { index, error: EntryError::Frame(FramedError::Unreadable) });
            }
            let entry = Entry::from(row);
            if let EntryPayload::Membership(membership) = &entry.payload {
                log.voters = Some(membership.voter_ids().collect());
            }
            log.len += bytes.len() as u64;
            log.entries.push(entry);
            Ok(())
        })?;
        Ok(log)
    }
}

/// A log of the only kind of broker there was: it becomes that of the one voter it has. Every batch keeps its index.
fn convert(path: &Path, store: &Store, meta: Meta) -> Result<Meta, Failed> {
    let meta = Meta { format_version: FORMAT_VERSION, ..meta };
    let log_id = |index| LogIdRow { term: 0, node: 0, index };
    let node = u64::from(meta.broker_id);
    let membership = MembershipRow { configs: vec![vec![node]], nodes: vec![NodeRow { node, address: String::new() }] };
    let mut entries = vec![EntryRow { log_id: log_id(0), payload: PayloadRow::Membership(membership) }];
    let mut image = Image::new(meta.cluster_id);
    let mut expected = FIRST_INDEX_1;
    store.for_each_1(|index, bytes| {
        if index != expected {
            return Err(Damage::Gap { expected, found: index });
        }
        expected += 1;
        let batch = Batch::decode(bytes).map_err(|error| Damage::Entry { index, error: EntryError::Batch(error) })?;
        image.apply_batch(&batch).map_err(|error| Damage::Apply { index, error })?;
        let payload = PayloadRow::Batch { base: index - FIRST_INDEX_1, batch: bytes.to_vec() };
        entries.push(EntryRow { log_id: log_id(index), payload });
        Ok(())
    })?;
    let committed = entries.last().map(|entry| entry.log_id);
    store
        .convert(&meta, &entries, &StateRow { committed, ..StateRow::default() })
        .map_err(|error| Failed::Open(OpenError::from_store(path, error)))?;
    Ok(meta)
}

fn check_meta(path: &Path, meta: &Meta, owner: Owner) -> Result<(), OpenError> {
    if meta.format_version > FORMAT_VERSION {
        let (path, what) = (path.to_owned(), "format of the metadata log");
        return Err(OpenError::NewerVersion { path, what, got: meta.format_version, known: FORMAT_VERSION });
    }
    if meta.folder_id != owner.folder_id {
        let (path, folder_id) = (path.to_owned(), owner.folder_id);
        return Err(OpenError::OtherFolder { path, made_for: meta.folder_id, folder_id });
    }
    match owner.broker {
        Some(broker) if broker.0 != meta.broker_id => {
            Err(OpenError::OtherBroker { path: path.to_owned(), made_for: BrokerId(meta.broker_id), broker })
        }
        _ => Ok(()),
    }
}

fn open_file(path: &Path) -> Result<Opened, redb::Error> {
    let file = AllocatedFile::new(OpenOptions::new().read(true).write(true).open(path)?)?;
    let reserve = file.reserve();
    Ok((Store::open(file)?, Some(reserve)))
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

impl OpenError {
    fn from_damage(path: &Path, damage: Damage) -> Self {
        let newer =
            |what, got, known| Self::NewerVersion { path: path.to_owned(), what, got: u32::from(got), known: u32::from(known) };
        match damage {
            Damage::Entry { error: EntryError::Batch(FramedError::NewerVersion { got, known }), .. } => {
                newer("metadata records", got, known)
            }
            Damage::Entry { error: EntryError::Frame(FramedError::NewerVersion { got, known }), .. }
            | Damage::Row { error: FramedError::NewerVersion { got, known }, .. } => {
                newer("rows of the metadata log", got, known)
            }
            Damage::Snapshot { error: SnapshotError::Bytes(FramedError::NewerVersion { got, known }) } => {
                newer("metadata snapshot", got, known)
            }
            damage => Self::Damaged { path: path.to_owned(), damage },
        }
    }
}
