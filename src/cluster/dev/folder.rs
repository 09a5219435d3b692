//! The folder of a cluster on one machine: made or taken up again, and removed at the end if nobody named it.

use super::plan::{self, PlannedBroker};
use crate::exit_status::{ExitStatus, Failure};
use crate::serve::start_failure;
use sluice_broker::{BrokerConfig, StartError, host_needs, written_folders};
use sluice_tuning::check::{Severity, judge_start};
use sluice_tuning::host::{Root, StartReadings};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct ClusterFolder {
    path: PathBuf,
    is_temporary: bool,
}

impl ClusterFolder {
    /// Makes it, unless a broker would not start there anyway.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, Failure> {
        let here = std::env::current_dir().map_err(|error| Failure::io("the current directory cannot be found", &error))?;
        let is_temporary = named.is_none();
        let path = match named {
            Some(path) => here.join(path),
            None => here.join(format!("sluice-cluster-{}", std::process::id())),
        };
        refuse_unsafe(&path)?;
        std::fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
        // Settings name folders from the root, so that a broker is started again from anywhere.
        let path = path.canonicalize().map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, is_temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The brokers that the folder has, or new ones.
    pub(super) fn plan(&mut self, brokers: Option<u32>, shards: Option<u16>, port: u16) -> Result<Vec<PlannedBroker>, Failure> {
        let planned = plan::plan(&self.path, brokers, shards, port);
        if planned.is_err() && self.is_temporary {
            // Nothing of worth is in it.
            let _left_behind = std::fs::remove_dir_all(&self.path);
        }
        planned
    }

    /// Removes what nobody asked to keep, unless the logs in it say why something failed.
    pub(super) fn finish(self, brokers: &[PlannedBroker], is_well: bool) {
        let path = self.path.display();
        if !self.is_temporary {
            eprintln!("kept {path}; `sluice cluster dev --data-dir {path}` goes on with it");
            return;
        }
        if !is_well {
            eprintln!("kept {path} for its logs; remove it when you have seen them");
            return;
        }
        // One that was started again by hand is not ours to end.
        let runs = |address: &SocketAddr| TcpStream::connect_timeout(address, Duration::from_millis(200)).is_ok();
        if let Some(broker) = brokers.iter().find(|broker| runs(&broker.listen)) {
            eprintln!("kept {path}: broker {} was started again by somebody and still runs", broker.id);
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{path} could not be removed: {error}");
        }
    }
}

/// What a broker would refuse to start on, with its words, before anything is made there.
fn refuse_unsafe(path: &Path) -> Result<(), Failure> {
    let config = BrokerConfig::new(path, SocketAddr::from(([127, 0, 0, 1], 0)));
    let readings = StartReadings::read(&Root::of_this_host(), &written_folders(&config));
    match judge_start(&readings, &host_needs(&config)).into_iter().find(|finding| finding.severity == Severity::Fatal) {
        Some(finding) => Err(start_failure(&StartError::Host(Box::new(finding)))),
        None => Ok(()),
    }
}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let what = format!("cannot write {}: {error}", path.display());
    Failure::new(ExitStatus::DataFolder, what).remedy("--data-dir DIR, a folder on a disk that this user may write to")
}
