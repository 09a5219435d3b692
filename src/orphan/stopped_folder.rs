//! A stopped broker's folder: its files, its metadata, and the lock that keeps a broker from starting meanwhile.
//!
//! Looking writes nothing, so that it works where nothing may be written; the metadata is opened when it is to change.

use crate::exit_status::{ExitStatus, Failure};
use crate::log::files::{self, Files, ShardFiles};
use crate::log::folder;
use sluice_broker::BROKER;
use sluice_controller::{CommandError, Controller, OpenError};
use sluice_metadata::{FolderId, HeldPartitions, Image, RegisterBroker, Start};
use sluice_model::TopicPartition;
use sluice_storage::layout::Layout;
use std::fs::File;
use std::path::Path;

pub(super) struct StoppedFolder {
    pub(super) layout: Layout,
    pub(super) files: Files,
    folder_id: FolderId,
    /// What the metadata says; `None` when the file is missing.
    image: Option<Image>,
    /// Once it was asked for.
    controller: Option<Controller>,
    _lock: Option<File>,
}

impl StoppedFolder {
    pub(super) fn open(data_dir: &Path) -> Result<Self, Failure> {
        let opened = data_dir.canonicalize().map_err(|error| {
            Failure::io(data_dir.display(), &error).remedy("name the folder that `sluice serve --data-dir` was given")
        })?;
        if !opened.is_dir() {
            let what = format!("{} is no folder", data_dir.display());
            return Err(
                Failure::new(ExitStatus::DataFolder, what).remedy("name the folder that `sluice serve --data-dir` was given")
            );
        }
        let layout = folder::layout_of(&opened)?;
        let Some(meta) = folder::read_meta(&layout)? else {
            let what = format!("{} is no data folder, or has lost its meta.json", data_dir.display());
            return Err(Failure::new(ExitStatus::DataFolder, what)
                .remedy("name the folder that `sluice serve --data-dir` was given; when meta.json is lost, put back a copy or see `sluice orphan new-metadata --help`"));
        };
        let (files, lock) = files::find(&opened)?;
        let image = folder::read_metadata(&layout, meta.folder_id).map_err(|error| metadata_failure(&error))?;
        let folder_id = meta.folder_id;
        Ok(Self { layout, files, folder_id, image, controller: None, _lock: lock })
    }

    pub(super) fn image(&self) -> Option<&Image> {
        self.controller.as_ref().map(Controller::image).or(self.image.as_ref())
    }

    /// What the metadata says of a partition that is in the folder; `None` when it is a topic's.
    pub(super) fn standing(&self, id: TopicPartition) -> Option<Standing> {
        let Some(image) = self.image() else { return Some(Standing::Unknown) };
        if image.is_deleted(id.topic_id) {
            return Some(Standing::Deleted);
        }
        image.partition(id).is_none().then_some(Standing::Unknown)
    }

    /// Makes older metadata know the last start that the shards were used by: a tombstone counts from the start it is
    /// made in, and one that is older than the journals' last groups would be forgotten while they can be replayed.
    pub(super) fn remember_last_start(&mut self) -> Result<(), Failure> {
        let newest = self.files.shards.iter().filter_map(ShardFiles::newest);
        let last = newest.map(|found| found.checkpoint.incarnation).max_by_key(|incarnation| incarnation.number);
        let known = self.image().and_then(|image| image.broker(BROKER)).cloned();
        let (Some(last), Some(known)) = (last, known) else { return Ok(()) };
        if last.number <= known.incarnation.number {
            return Ok(());
        }
        let registration = RegisterBroker {
            broker: BROKER,
            incarnation: last,
            folder_id: known.folder_id,
            addresses: known.addresses,
            held: HeldPartitions { incarnation_number: last.number, ..HeldPartitions::default() },
            start: Start::Alone,
        };
        self.controller()?.register_broker(&registration).map(drop).map_err(|error| command_failure(&error))
    }

    /// The metadata, to change it.
    pub(super) fn controller(&mut self) -> Result<&mut Controller, Failure> {
        let path = self.layout.metadata();
        if self.image.is_none() {
            let missing = Failure::new(ExitStatus::Metadata, format!("{} is missing", path.display()));
            return Err(missing.remedy("put back a copy, however old; without one, `sluice orphan new-metadata` makes a new one"));
        }
        match &mut self.controller {
            Some(controller) => Ok(controller),
            none => {
                let opened = Controller::open(&path, self.folder_id, None).map_err(|error| metadata_failure(&error))?;
                Ok(none.insert(opened))
            }
        }
    }
}

fn metadata_failure(error: &OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => Failure::new(ExitStatus::DataFolderInUse, error.to_string()),
        OpenError::Io { source, .. } if is_refused(source.kind()) => Failure::new(ExitStatus::Metadata, error.to_string())
            .remedy("run it from an account that may write there, on a file system that is writable"),
        error => Failure::new(ExitStatus::Metadata, error.to_string()),
    }
}

fn is_refused(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

/// Of a partition that no topic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unknown,
    /// Its topic has a tombstone.
    Deleted,
}

pub(super) fn command_failure(error: &CommandError) -> Failure {
    let status = match error {
        CommandError::Refused(_) => ExitStatus::Refused,
        CommandError::NotController { .. } | CommandError::Undecided | CommandError::DiskFull | CommandError::Store(_) => {
            ExitStatus::Metadata
        }
    };
    Failure::new(status, error.to_string())
}
