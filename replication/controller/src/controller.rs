//! A controller without others, for whoever waits for each command: the same node, run while it is asked.
//!
//! Deliberately absent: a cluster. A log that is one of several is refused, because what it says alone counts for
//! nothing.

use crate::command::Command;
use crate::command_error::CommandError;
use crate::network::{Call, Transport};
use crate::node::{Applied, ControllerNode};
use crate::node_config::NodeConfig;
use crate::open_error::{Damage, OpenError};
use crate::open_log::{NewLog, OpenedLog, Owner, open_log, open_with};
use crate::state_machine::AppliedImage;
use crate::store::Store;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use sluice_metadata::{
    AdoptTopic, AllocateProducerIds, AlterTopic, Batch, ClusterId, CreateTopic, DeleteTopic, FolderId, Image, PurgeTopic, Record,
    RegisterBroker, RemoveOrphan, ReserveProducerIds, on_register_broker,
};
use sluice_model::{BrokerId, ProducerId};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};
use tokio::runtime::{Builder, Runtime};

/// The broker of a new log.
const BROKER: BrokerId = BrokerId(1);

/// The metadata log of one data folder, open, and its image.
pub struct Controller {
    runtime: Runtime,
    node: ControllerNode,
    /// The node's newest.
    image: AppliedImage,
}

/// Producer ids that nobody else has: `first` and those after it, `count` in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub count: u32,
}

/// Nobody is there.
struct NoTransport;

impl Transport for NoTransport {
    fn call(&self, to: BrokerId, _address: &str, _message: Vec<u8>) -> Call {
        Box::pin(async move { Err(io::Error::other(format!("there is no broker {to}"))) })
    }
}

impl Controller {
    /// Opens the log at `path` and replays it. Where there is none, a new one is made for a new cluster with the id
    /// `new_cluster_id`; `None` says that there has to be one. The folder id is the data folder's: the log must have
    /// been made for it. The file stays locked until the controller is dropped.
    pub fn open(path: &Path, folder_id: FolderId, new_cluster_id: Option<ClusterId>) -> Result<Self, OpenError> {
        let new = new_cluster_id.map(|id| NewLog::of_one(id, BROKER));
        Self::start(path, folder_id, open_log(path, Owner { folder_id, broker: None }, new.as_ref())?)
    }

    fn start(path: &Path, folder_id: FolderId, opened: OpenedLog) -> Result<Self, OpenError> {
        if !opened.voters.is_empty() && !opened.voters.iter().eq([&u64::from(opened.broker.0)]) {
            let voters = opened.voters.iter().map(|&id| BrokerId(u32::try_from(id).unwrap_or(u32::MAX))).collect();
            return Err(OpenError::InCluster { path: path.to_owned(), voters });
        }
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        let runtime = Builder::new_current_thread().enable_time().build().map_err(io_error)?;
        let config = NodeConfig::alone(path.to_owned(), folder_id, opened.broker, None);
        let state = opened.state.clone();
        let started = runtime.block_on(ControllerNode::start(config, opened, Arc::new(NoTransport)));
        let node = started.inspect_err(|_| state.store.close())?;
        let image = node.image();
        Ok(Self { runtime, node, image })
    }

    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image.image
    }

    /// The number of the last batch in the image; 0 for an empty log.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.image.index
    }

    /// What a registration would lead to; nothing is recorded.
    pub fn foresee(&self, request: &RegisterBroker) -> Result<Image, CommandError> {
        let batch = Batch { records: on_register_broker(self.image(), request)? };
        let mut image = self.image().clone();
        if let Err(error) = image.apply_batch(&batch) {
            panic!("a registration was decided on this image and does not apply: {error}");
        }
        Ok(image)
    }

    pub fn register_broker(&mut self, request: &RegisterBroker) -> Result<Applied, CommandError> {
        self.run(Command::RegisterBroker(request.clone()))
    }

    pub fn create_topic(&mut self, request: &CreateTopic) -> Result<Applied, CommandError> {
        self.run(Command::CreateTopic(request.clone()))
    }

    pub fn alter_topic(&mut self, request: &AlterTopic) -> Result<Applied, CommandError> {
        self.run(Command::AlterTopic(request.clone()))
    }

    pub fn delete_topic(&mut self, request: &DeleteTopic) -> Result<Applied, CommandError> {
        self.run(Command::DeleteTopic(request.clone()))
    }

    pub fn purge_topic(&mut self, request: &PurgeTopic) -> Result<Applied, CommandError> {
        self.run(Command::PurgeTopic(*request))
    }

    /// Gives partitions that were found in a folder a topic.
    pub fn adopt_topic(&mut self, request: &AdoptTopic) -> Result<Applied, CommandError> {
        self.run(Command::AdoptTopic(request.clone()))
    }

    /// Makes a tombstone for partitions that were found in a folder.
    pub fn remove_orphan(&mut self, request: &RemoveOrphan) -> Result<Applied, CommandError> {
        self.run(Command::RemoveOrphan(*request))
    }

    /// Never gives out ids again that were found in use.
    pub fn reserve_producer_ids(&mut self, request: &ReserveProducerIds) -> Result<Applied, CommandError> {
        self.run(Command::ReserveProducerIds(*request))
    }

    pub fn allocate_producer_ids(&mut self, request: &AllocateProducerIds) -> Result<ProducerIdBlock, CommandError> {
        let applied = self.run(Command::AllocateProducerIds(*request))?;
        match applied.records.first() {
            Some(Record::ProducerIdsAllocated(block)) => Ok(ProducerIdBlock { first: block.first, count: block.count }),
            other => panic!("producer ids were allocated by {other:?}"),
        }
    }

    /// Makes replicas lead: any of the commands that elect.
    pub fn elect_leaders(&mut self, election: Command) -> Result<Applied, CommandError> {
        self.run(election)
    }

    fn run(&mut self, command: Command) -> Result<Applied, CommandError> {
        let applied = self.runtime.block_on(self.node.propose(command));
        self.image = self.node.image();
        applied
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.runtime.block_on(self.node.stop());
    }
}

/// What the log at `path` says, read and left as it is: also where nothing may be written, and after a crash. Of a log
/// that is one of several it is what is known here to be decided. Whoever calls knows that nobody writes to it meanwhile.
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
    match open_with(path, Owner { folder_id, broker: None }, Box::new(copy)) {
        Ok(opened) => Ok(Image::clone(&opened.state.image().image)),
        // What is asked of memory behind the file's end is no failure of a device.
        Err(OpenError::Io { path, source }) => Err(OpenError::Damaged { path, damage: Damage::Store(source.to_string()) }),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "controller_test.rs"]
mod tests;
