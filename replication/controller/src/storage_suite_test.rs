//! The consensus engine's own tests of what lies under it.

use crate::log_storage::LogStorage;
use crate::raft_types::{StorageError, TypeConfig};
use crate::shared_store::SharedStore;
use crate::state_machine::{AppliedState, SharedState, StateMachine};
use crate::store::{FORMAT_VERSION, Meta, StateRow, Store};
use openraft::testing::{StoreBuilder, Suite};
use redb::backends::InMemoryBackend;
use sluice_metadata::{ClusterId, FolderId};
use std::sync::Arc;

struct InMemory;

impl StoreBuilder<TypeConfig, LogStorage, StateMachine> for InMemory {
    async fn build(&self) -> Result<((), LogStorage, StateMachine), StorageError> {
        let (cluster_id, folder_id) = (ClusterId([1; 16]), FolderId([2; 16]));
        let store = Store::open(InMemoryBackend::new()).unwrap();
        store
            .initialize(&Meta {
                format_version: FORMAT_VERSION,
                cluster_id,
                folder_id,
                broker_id: 1,
                founding_id: ClusterId([0; 16]),
            })
            .unwrap();
        let open = Box::new(|| panic!("memory is never full"));
        let store = Arc::new(SharedStore::new(open, (store, None), StateRow::default(), 0));
        let state = Arc::new(SharedState::new(store.clone(), AppliedState::new(cluster_id)));
        Ok(((), LogStorage { store }, StateMachine { state }))
    }
}

#[test]
fn the_engines_own_suite_passes() {
    Suite::test_all(InMemory).unwrap();
}
