//! `meta.json` and `metadata.redb` made anew, for a data folder that lost one of them and has no copy.
//!
//! Only an operator asks for it, by name: what a broker that finds neither must never do by itself is to begin with
//! fresh ids over old data. Afterwards every partition in the folder is an orphan: kept, not served, until a topic
//! adopts it. Nothing that is there is changed.

use crate::broker::BROKER;
use crate::data_folder::{DataFolder, IncompleteFolder};
use crate::preparation::{held_partitions, survey_folder};
use crate::random::random_bytes;
use crate::start_error::StartError;
use sluice_controller::{Controller, OpenError};
use sluice_metadata::{Address, ClusterId, FolderId, RegisterBroker, Start};
use sluice_model::limits::SHARDS_PER_BROKER_MAX;
use sluice_storage::layout::{Layout, shard_of_dir};
use std::fs;
use std::path::Path;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMetadata {
    pub meta: bool,
    pub metadata: bool,
}

/// Makes what is missing of the two files. The folder's journal is looked for in `journal_dir`, or in the data folder.
///
/// # Errors
/// Nothing is missing, nothing is there, or the folder is in use.
pub fn make_new_metadata(data_dir: &Path, journal_dir: Option<&Path>) -> Result<NewMetadata, StartError> {
    let incomplete = IncompleteFolder::open(data_dir)?;
    let IncompleteFolder { has_meta, has_metadata, .. } = incomplete;
    let known_id = match (has_meta, has_metadata) {
        (false, true) => Some(folder_of_metadata(&incomplete.layout.metadata())?),
        _ => None,
    };
    let mut folder = incomplete.completed(journal_dir, known_id)?;
    if !has_metadata {
        make_metadata(&mut folder)?;
    }
    Ok(NewMetadata { meta: !has_meta, metadata: !has_metadata })
}

/// An empty metadata log in which the broker has registered, so that topics can be adopted before its next start. That
/// start registers the addresses and shards there are.
fn make_metadata(folder: &mut DataFolder) -> Result<(), StartError> {
    let survey = survey_folder(&folder.layout, SHARDS_PER_BROKER_MAX)?;
    let (_, incarnation) = folder.begin_incarnations(survey.incarnation_number.saturating_add(1))?;
    let cluster_id = random_bytes().map_err(|error| StartError::Folder { path: "/dev/urandom".into(), error })?;
    let folder_id = FolderId(folder.folder_id);
    let opened = Controller::open(&folder.layout.metadata(), folder_id, Some(ClusterId(cluster_id)));
    let mut controller = opened.map_err(StartError::OpenMetadata)?;
    let shard_count = shard_folder_count(&folder.layout).clamp(1, SHARDS_PER_BROKER_MAX);
    let address = Address { host: "localhost".to_owned(), port: 1 };
    let registration = RegisterBroker {
        broker: BROKER,
        incarnation,
        folder_id,
        addresses: vec![address; shard_count],
        held: held_partitions(&survey),
        start: Start::Alone,
    };
    controller.register_broker(&registration).map_err(|error| StartError::Metadata { problem: error.to_string() })?;
    Ok(())
}

/// The data folder that a metadata log says it was made for.
fn folder_of_metadata(path: &Path) -> Result<[u8; 16], StartError> {
    match Controller::open(path, FolderId([0; 16]), None) {
        Err(OpenError::OtherFolder { made_for, .. }) => Ok(made_for.0),
        Err(error) => Err(StartError::OpenMetadata(error)),
        Ok(_) => Ok([0; 16]),
    }
}

fn shard_folder_count(layout: &Layout) -> usize {
    let entries = fs::read_dir(layout.data_dir()).into_iter().flatten().flatten();
    let shards = entries.filter_map(|entry| shard_of_dir(&entry.file_name().to_string_lossy()));
    shards.map(|shard| usize::from(shard.0) + 1).max().unwrap_or(0)
}
