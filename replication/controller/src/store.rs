//! The tables: the log (index to encoded batch) and the identities of what it belongs to.
//!
//! Every commit is durable before it returns. The store's own checksums are verified at open, all of them.

use crate::open_error::Damage;
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sluice_metadata::{ClusterId, FolderId};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Raised when the tables or what they hold change meaning.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The index of the first entry.
pub(crate) const FIRST_INDEX: u64 = 1;
/// Bytes of memory for pages of the store. The image is what is read; the store is written.
const CACHE_LEN: usize = 4 * 1024 * 1024;

const KEY_FORMAT_VERSION: &str = "format_version";
const KEY_CLUSTER_ID: &str = "cluster_id";
const KEY_FOLDER_ID: &str = "folder_id";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format_version: u32,
    pub(crate) cluster_id: ClusterId,
    pub(crate) folder_id: FolderId,
}

/// Why a read went wrong: the store's own error, or what it gave makes no sense.
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

    /// Writes the identities and an empty log.
    pub(crate) fn initialize(&self, meta: &Meta) -> Result<(), redb::Error> {
        self.write(|transaction| {
            let mut table = transaction.open_table(META)?;
            table.insert(KEY_FORMAT_VERSION, &meta.format_version.to_le_bytes()[..])?;
            table.insert(KEY_CLUSTER_ID, &meta.cluster_id.0[..])?;
            table.insert(KEY_FOLDER_ID, &meta.folder_id.0[..])?;
            transaction.open_table(LOG)?;
            Ok(())
        })
    }

    pub(crate) fn meta(&self) -> Result<Meta, ReadError<Damage>> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(META).map_err(|error| match error {
            redb::TableError::TableDoesNotExist(_) => ReadError::Content(Damage::Meta { key: KEY_FORMAT_VERSION }),
            other => other.into(),
        })?;
        Ok(Meta {
            format_version: u32::from_le_bytes(fixed(&table, KEY_FORMAT_VERSION)?),
            cluster_id: ClusterId(fixed(&table, KEY_CLUSTER_ID)?),
            folder_id: FolderId(fixed(&table, KEY_FOLDER_ID)?),
        })
    }

    /// Returns once the entry is durable. There must be none with this index.
    pub(crate) fn append(&self, index: u64, entry: &[u8]) -> Result<(), redb::Error> {
        self.write(|transaction| {
            let previous = transaction.open_table(LOG)?.insert(index, entry)?.is_some();
            assert!(!previous, "log entry {index} was there already");
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

    /// The greatest index, or the one before the first.
    pub(crate) fn last_index(&self) -> Result<u64, redb::Error> {
        let transaction = self.db.begin_read()?;
        let table = transaction.open_table(LOG)?;
        let last = table.last()?.map(|(index, _)| index.value());
        Ok(last.unwrap_or(FIRST_INDEX - 1))
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

fn fixed<const N: usize>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
) -> Result<[u8; N], ReadError<Damage>> {
    let value = table.get(key)?.and_then(|bytes| bytes.value().try_into().ok());
    value.ok_or(ReadError::Content(Damage::Meta { key }))
}
