//! The image as the consensus engine builds it: entries in, images out, snapshots both ways.
//!
//! An entry that was applied is never applied again, whoever asks: an engine that is started anew over the same store
//! finds the image as the last one left it. A batch counts only on the image it was decided on. The expensive mistake is
//! an entry that means something else to one broker than to the others; so what an entry says is all that counts, and
//! one that contradicts the image stops the broker.

use crate::raft_types::{Entry, LogEntry, Outcome, RaftLogId, RaftMembership, RaftSnapshotMeta, StorageError, TypeConfig};
use crate::shared_store::SharedStore;
use crate::store::{Change, SnapshotRow};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use sluice_metadata::{Batch, ClusterId, Image};
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// An image, and how many batches it is made of.
#[derive(Clone, Debug)]
pub struct AppliedImage {
    /// The number of the last batch in it; 0 for none.
    pub index: u64,
    pub image: Arc<Image>,
}

/// What is applied, and up to where.
#[derive(Clone, Debug)]
pub(crate) struct AppliedState {
    pub(crate) image: AppliedImage,
    pub(crate) last_log_id: Option<RaftLogId>,
    pub(crate) membership: RaftMembership,
}

/// What is wrong with an entry that does not apply.
#[derive(Clone, Debug)]
pub(crate) enum Misfit {
    Batch(sluice_metadata::FramedError),
    Apply(sluice_metadata::ApplyError),
}

impl AppliedState {
    /// Of an empty log.
    pub(crate) fn new(cluster_id: ClusterId) -> Self {
        let image = AppliedImage { index: 0, image: Arc::new(Image::new(cluster_id)) };
        Self { image, last_log_id: None, membership: RaftMembership::default() }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<Outcome, Misfit> {
        if self.last_log_id >= Some(entry.log_id) {
            return Ok(Outcome::Nothing);
        }
        let outcome = match &entry.payload {
            EntryPayload::Blank => Outcome::Nothing,
            EntryPayload::Membership(membership) => {
                self.membership = RaftMembership::new(Some(entry.log_id), membership.clone());
                Outcome::Nothing
            }
            EntryPayload::Normal(LogEntry::Founded { cluster_id }) => {
                if self.image.index == 0 && self.image.image.cluster_id() == ClusterId([0; 16]) {
                    self.image.image = Arc::new(Image::new(*cluster_id));
                }
                Outcome::Nothing
            }
            EntryPayload::Normal(LogEntry::Batch { base, .. }) if *base != self.image.index => {
                Outcome::Stale { index: self.image.index }
            }
            EntryPayload::Normal(LogEntry::Batch { batch, .. }) => {
                let batch = Batch::decode(batch).map_err(Misfit::Batch)?;
                let mut image = Image::clone(&self.image.image);
                image.apply_batch(&batch).map_err(Misfit::Apply)?;
                self.image = AppliedImage { index: self.image.index + 1, image: Arc::new(image) };
                Outcome::Applied { index: self.image.index }
            }
        };
        self.last_log_id = Some(entry.log_id);
        Ok(outcome)
    }

    pub(crate) fn meta(&self) -> RaftSnapshotMeta {
        let last = self.last_log_id.map_or_else(String::new, |id| id.to_string());
        RaftSnapshotMeta {
            last_log_id: self.last_log_id,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{last}-{}", self.image.index),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        SnapshotRow { index: self.image.index, image: self.image.image.encode_snapshot() }.encode()
    }

    /// What a snapshot says.
    pub(crate) fn decode(meta: &RaftSnapshotMeta, row: &SnapshotRow) -> Result<Self, sluice_metadata::SnapshotError> {
        let image = Arc::new(Image::decode_snapshot(&row.image)?);
        let image = AppliedImage { index: row.index, image };
        Ok(Self { image, last_log_id: meta.last_log_id, membership: meta.last_membership.clone() })
    }
}

/// The one image of a node, whichever engine builds it.
pub(crate) struct SharedState {
    pub(crate) store: Arc<SharedStore>,
    applied: Mutex<AppliedState>,
    images: watch::Sender<AppliedImage>,
}

impl SharedState {
    pub(crate) fn new(store: Arc<SharedStore>, applied: AppliedState) -> Self {
        let images = watch::Sender::new(applied.image.clone());
        Self { store, applied: Mutex::new(applied), images }
    }

    fn lock(&self) -> MutexGuard<'_, AppliedState> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn applied(&self) -> AppliedState {
        self.lock().clone()
    }

    pub(crate) fn image(&self) -> AppliedImage {
        self.lock().image.clone()
    }

    pub(crate) fn images(&self) -> watch::Receiver<AppliedImage> {
        self.images.subscribe()
    }

    fn publish(&self, image: AppliedImage) {
        self.images.send_if_modified(|known| {
            let is_new = known.index != image.index || known.image.cluster_id() != image.image.cluster_id();
            *known = image;
            is_new
        });
    }

    fn apply(&self, entry: &Entry) -> Result<Outcome, Box<StorageError>> {
        let mut applied = self.lock();
        let cluster_before = applied.image.image.cluster_id();
        let outcome = applied.apply(entry).map_err(|misfit| -> Box<StorageError> {
            let says = match misfit {
                Misfit::Batch(error) => error.to_string(),
                Misfit::Apply(error) => format!("it contradicts those before it: {error}"),
            };
            Box::new(StorageIOError::apply(entry.log_id, &io::Error::other(says)).into())
        })?;
        let image = applied.image.clone();
        drop(applied);
        let cluster_id = image.image.cluster_id();
        if cluster_id != cluster_before {
            let change = Change { cluster_id: Some(cluster_id), ..Change::default() };
            let written = self.store.write(&change, |_| {});
            written.map_err(|error| Box::new(StorageIOError::write_state_machine(&error).into()))?;
        }
        self.publish(image);
        Ok(outcome)
    }

    fn store_snapshot(&self, meta: &RaftSnapshotMeta, bytes: Vec<u8>, cluster_id: ClusterId) -> Result<(), Box<StorageError>> {
        let change = Change { snapshot: Some((meta.into(), bytes)), cluster_id: Some(cluster_id), ..Change::default() };
        let written = self.store.write(&change, |_| {});
        written.map_err(|error| Box::new(StorageIOError::write_snapshot(Some(meta.signature()), &error).into()))
    }
}

#[derive(Clone)]
pub(crate) struct StateMachine {
    pub(crate) state: Arc<SharedState>,
}

pub(crate) struct SnapshotBuilder {
    state: Arc<SharedState>,
    applied: AppliedState,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (meta, bytes) = (self.applied.meta(), self.applied.encode());
        let cluster_id = self.applied.image.image.cluster_id();
        self.state.store_snapshot(&meta, bytes.clone(), cluster_id).map_err(|error| *error)?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftMembership), StorageError> {
        let applied = self.state.applied();
        Ok((applied.last_log_id, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut outcomes = Vec::new();
        for entry in entries {
            outcomes.push(self.state.apply(&entry).map_err(|error| *error)?);
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { state: self.state.clone(), applied: self.state.applied() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &RaftSnapshotMeta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let unreadable = |text: String| StorageIOError::read_snapshot(Some(meta.signature()), &io::Error::other(text));
        let row = SnapshotRow::decode(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let applied = AppliedState::decode(meta, &row).map_err(|error| unreadable(error.to_string()))?;
        let cluster_id = applied.image.image.cluster_id();
        self.state.store_snapshot(meta, bytes, cluster_id).map_err(|error| *error)?;
        let image = applied.image.clone();
        *self.state.lock() = applied;
        self.state.publish(image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let broken = |error: io::Error| StorageIOError::read_snapshot(None, &error);
        let found = self.state.store.read(|store| Ok(store.snapshot())).map_err(broken)?;
        let found = found.map_err(|error| broken(crate::shared_store::read_io(error)))?;
        Ok(found.map(|(meta, row)| Snapshot { meta: meta.into(), snapshot: Box::new(Cursor::new(row.encode())) }))
    }
}
