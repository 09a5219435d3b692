//! The tables: the log (index to entry), the engine's state, the newest snapshot, and the identities of what they belong
//! to.
//!
//! One change is one transaction, durable before it returns. Each bears the number after the last one's, so that after a
//! failure it can be found out whether it is there. The store's own checksums are verified at open, all of them.

use crate::codec::{EntryRow, FramedError, LogIdRow, SnapshotMetaRow, VoteRow, framed};
use crate::open_error::Damage;
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::{ClusterId, FolderId, SNAPSHOT_LEN_MAX};
use std::ops::Range;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Of version 1: index to encoded batch, from 1.
const LOG_1: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("raft_log");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("raft_state");

/// Raised when the tables or what they hold change meaning.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The index of the first entry of version 1.
pub(crate) const FIRST_INDEX_1: u64 = 1;
/// Bytes of memory for pages of the store. The image is what is read; the store is written.
const CACHE_LEN: usize = 4 * 1024 * 1024;
/// Entries are read until they have so many bytes, at least one: what is sent to a follower at once.
const READ_LEN_MAX: usize = 4 * 1024 * 1024;

const KEY_FORMAT_VERSION: &str = "format_version";
const KEY_CLUSTER_ID: &str = "cluster_id";
const KEY_FOLDER_ID: &str = "folder_id";
const KEY_BROKER_ID: &str = "broker_id";
const KEY_FOUNDING_ID: &str = "founding_id";
const KEY_STATE: &str = "state";
const KEY_SNAPSHOT_META: &str = "snapshot_meta";
const KEY_SNAPSHOT: &str = "snapshot";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format_version: u32,
    /// Zeros while it is not known.
    pub(crate) cluster_id: ClusterId,
    pub(crate) folder_id: FolderId,
    /// Who votes by this log.
    pub(crate) broker_id: u32,
    /// The id that a cluster gets if this broker founds it; zeros for none.
    pub(crate) founding_id: ClusterId,
}

/// What the engine keeps beside the log.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateRow {
    /// One more with every change.
    pub(crate) change: u64,
    pub(crate) vote: Option<VoteRow>,
    /// At least so much is committed.
    pub(crate) committed: Option<LogIdRow>,
    /// Entries up to here are gone; a snapshot stands for them.
    pub(crate) purged: Option<LogIdRow>,
}

/// What a snapshot holds beside the engine's own words about it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    /// Batches that it stands for.
    pub(crate) index: u64,
    pub(crate) image: Vec<u8>,
}

framed!(StateRow, b"SLS", 4096);
framed!(SnapshotMetaRow, b"SLN", 1024 * 1024);
framed!(SnapshotRow, b"SLP", SNAPSHOT_LEN_MAX + 4096);

/// What is to become so, all of it or nothing.
#[derive(Default)]
pub(crate) struct Change {
    /// Entries from this index on go.
    pub(crate) truncate_from: Option<u64>,
    /// Entries up to this index go, itself included.
    pub(crate) purge_to: Option<u64>,
    /// Index and encoded entry.
    pub(crate) append: Vec<(u64, Vec<u8>)>,
    /// What is said of the snapshot, and itself.
    pub(crate) snapshot: Option<(SnapshotMetaRow, Vec<u8>)>,
    pub(crate) cluster_id: Option<ClusterId>,
}

/// Why a read went wrong: the store's own error, or what it gave makes no sense.
#[derive(Debug)]
pub(crate) enum ReadError<E> {
    Store(redb::Error),
    Content(E),
}

impl<E, T: Into<redb::Error>> From<T> for ReadError<E> {
    fn from(error: T) -> Self {
        Self::Store(error.into())
    }
}

pub(crate) struct Store {
    db: Database,
}

impl Store {
    /// Opens what is in `backend`, or makes an empty store when it is empty.
    pub(crate) fn open(backend: impl StorageBackend) -> Result<Self, redb::Error> {
        let db = Builder::new().set_cache_size(CACHE_LEN).set_check_integrity_on_open(true).create_with_backend(backend)?;
        Ok(Self { db })
    }

    /// Writes the identities, and an empty log.
    pub(crate) fn initialize(&self, meta: &Meta) -> Result<(), redb::Error> {
        self.write(|transaction| {
            write_meta(transaction, meta)?;
            transaction.open_table(LOG)?;
            transaction.open_table(STATE)?.insert(KEY_STATE, &StateRow::default().encode()[..])?;
            Ok(())
        })
    }

    pub(crate) fn meta(&self) -> Result<Meta, ReadError<Damage>> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(META).map_err(|error| match error {
            redb::TableError::TableDoesNotExist(_) => ReadError::Content(Damage::Meta { key: KEY_FORMAT_VERSION }),
            other => other.into(),
        })?;
        let format_version = u32::from_le_bytes(fixed(&table, KEY_FORMAT_VERSION)?);
        let (cluster_id, folder_id) = (ClusterId(fixed(&table, KEY_CLUSTER_ID)?), FolderId(fixed(&table, KEY_FOLDER_ID)?));
        // A later format may keep them elsewhere; the first one was that of the only broker.
        let (broker_id, founding_id) = match format_version {
            FORMAT_VERSION => (u32::from_le_bytes(fixed(&table, KEY_BROKER_ID)?), ClusterId(fixed(&table, KEY_FOUNDING_ID)?)),
            _ => (1, ClusterId([0; 16])),
        };
        Ok(Meta { format_version, cluster_id, folder_id, broker_id, founding_id })
    }

    /// Calls `visit` with every batch of a log of version 1, in ascending order of index, until it fails.
    pub(crate) fn for_each_1<E>(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), ReadError<E>> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LOG_1)?;
        for row in table.iter()? {
            let (index, entry) = row?;
            visit(index.value(), entry.value()).map_err(ReadError::Content)?;
        }
        Ok(())
    }

    /// Puts a log of this version in the place of one of version 1, whole or not at all.
    pub(crate) fn convert(&self, meta: &Meta, entries: &[EntryRow], state: &StateRow) -> Result<(), redb::Error> {
        self.write(|transaction| {
            write_meta(transaction, meta)?;
            let mut log = transaction.open_table(LOG)?;
            for entry in entries {
                log.insert(entry.log_id.index, &entry.encode()[..])?;
            }
            transaction.open_table(STATE)?.insert(KEY_STATE, &state.encode()[..])?;
            transaction.delete_table(LOG_1)?;
            Ok(())
        })
    }

    pub(crate) fn state(&self) -> Result<StateRow, ReadError<Damage>> {
        let state = self.frame::<StateRow, _>(KEY_STATE, StateRow::decode)?;
        state.ok_or(ReadError::Content(Damage::Meta { key: KEY_STATE }))
    }

    /// What is said of the newest snapshot, and itself.
    pub(crate) fn snapshot(&self) -> Result<Option<(SnapshotMetaRow, SnapshotRow)>, ReadError<Damage>> {
        let meta = self.frame::<SnapshotMetaRow, _>(KEY_SNAPSHOT_META, SnapshotMetaRow::decode)?;
        let snapshot = self.frame::<SnapshotRow, _>(KEY_SNAPSHOT, SnapshotRow::decode)?;
        match (meta, snapshot) {
            (Some(meta), Some(snapshot)) => Ok(Some((meta, snapshot))),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(ReadError::Content(Damage::Meta { key: KEY_SNAPSHOT_META })),
            (Some(_), None) => Err(ReadError::Content(Damage::Meta { key: KEY_SNAPSHOT })),
        }
    }

    fn frame<T, F>(&self, key: &'static str, decode: F) -> Result<Option<T>, ReadError<Damage>>
    where
        F: FnOnce(&[u8]) -> Result<T, FramedError>,
    {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(STATE).map_err(|error| match error {
            redb::TableError::TableDoesNotExist(_) => ReadError::Content(Damage::Meta { key: KEY_STATE }),
            other => other.into(),
        })?;
        let Some(bytes) = table.get(key)? else { return Ok(None) };
        decode(bytes.value()).map(Some).map_err(|error| ReadError::Content(Damage::Row { key, error }))
    }

    /// Returns once all of it is durable; `state` is the one afterwards.
    pub(crate) fn change(&self, change: &Change, state: &StateRow) -> Result<(), redb::Error> {
        self.write(|transaction| {
            let mut log = transaction.open_table(LOG)?;
            if let Some(from) = change.truncate_from {
                log.retain_in(from.., |_, _| false)?;
            }
            if let Some(to) = change.purge_to {
                log.retain_in(..=to, |_, _| false)?;
            }
            for (index, entry) in &change.append {
                log.insert(index, &entry[..])?;
            }
            let mut table = transaction.open_table(STATE)?;
            table.insert(KEY_STATE, &state.encode()[..])?;
            if let Some((meta, snapshot)) = &change.snapshot {
                table.insert(KEY_SNAPSHOT_META, &meta.encode()[..])?;
                table.insert(KEY_SNAPSHOT, &snapshot[..])?;
            }
            if let Some(cluster_id) = change.cluster_id {
                transaction.open_table(META)?.insert(KEY_CLUSTER_ID, &cluster_id.0[..])?;
            }
            Ok(())
        })
    }

    /// Calls `visit` with every entry, in ascending order of index, until it fails.
    pub(crate) fn for_each<E>(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), ReadError<E>> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LOG)?;
        for row in table.iter()? {
            let (index, entry) = row?;
            visit(index.value(), entry.value()).map_err(ReadError::Content)?;
        }
        Ok(())
    }

    /// Entries of `range`, ascending, as bytes; with `cut` no more of them than suit one message.
    pub(crate) fn entries(&self, range: Range<u64>, cut: bool) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LOG)?;
        let (mut entries, mut len) = (Vec::new(), 0);
        for row in table.range(range)? {
            let (index, entry) = row?;
            len += entry.value().len();
            if cut && len > READ_LEN_MAX && !entries.is_empty() {
                break;
            }
            entries.push((index.value(), entry.value().to_vec()));
        }
        Ok(entries)
    }

    /// The last entry, as bytes.
    pub(crate) fn last(&self) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LOG)?;
        Ok(table.last()?.map(|(index, entry)| (index.value(), entry.value().to_vec())))
    }

    fn write(&self, change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), redb::Error> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // With one phase, a last commit that has rotted looks like one that a crash tore, and would be dropped silently.
        transaction.set_two_phase_commit(true);
        change(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

fn write_meta(transaction: &redb::WriteTransaction, meta: &Meta) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(META)?;
    table.insert(KEY_FORMAT_VERSION, &meta.format_version.to_le_bytes()[..])?;
    table.insert(KEY_CLUSTER_ID, &meta.cluster_id.0[..])?;
    table.insert(KEY_FOLDER_ID, &meta.folder_id.0[..])?;
    table.insert(KEY_BROKER_ID, &meta.broker_id.to_le_bytes()[..])?;
    table.insert(KEY_FOUNDING_ID, &meta.founding_id.0[..])?;
    Ok(())
}

fn fixed<const N: usize>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
) -> Result<[u8; N], ReadError<Damage>> {
    let value = table.get(key)?.and_then(|bytes| bytes.value().try_into().ok());
    value.ok_or(ReadError::Content(Damage::Meta { key }))
}
