//! Whether the device under a folder was measured, and when.

use super::identity;
use super::root::{Read, Root, Unread};
use crate::properties::{DeviceIdentity, LoadError, Properties, default_path};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// As it was given.
    pub folder: PathBuf,
    /// Where its properties are looked for.
    pub path: PathBuf,
    pub state: Read<ProbedState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbedState {
    Missing,
    /// A file that is not used, and why.
    Refused {
        why: String,
    },
    Known {
        /// Nothing for a file that says it is of the future.
        age: Duration,
        kernel: String,
        build: String,
    },
}

/// For each device the first of the folders on it, whose file counts for all.
pub(super) fn read(root: &Root, folders: &[PathBuf]) -> Vec<Probed> {
    let mut devices: Vec<DeviceIdentity> = Vec::new();
    let mut found = Vec::new();
    for folder in folders {
        let here = identity::read(root, folder);
        if here.as_ref().is_ok_and(|here| devices.iter().any(|known| known.differences(here).is_empty())) {
            continue;
        }
        devices.extend(here.clone());
        let path = default_path(folder);
        let state = here.and_then(|here| state(root, &here, &path));
        found.push(Probed { folder: folder.clone(), path, state });
    }
    found
}

fn state(root: &Root, here: &DeviceIdentity, path: &Path) -> Read<ProbedState> {
    match Properties::load(&root.path(path), here) {
        Ok(properties) => Ok(ProbedState::Known {
            age: SystemTime::now().duration_since(properties.measured_at).unwrap_or_default(),
            kernel: properties.kernel,
            build: properties.build,
        }),
        Err(LoadError::Missing { .. }) => Ok(ProbedState::Missing),
        Err(LoadError::Io { source, .. }) => Err(Unread::io(path.display().to_string(), &source)),
        Err(refused) => Ok(ProbedState::Refused { why: refused.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{add, tree};
    use crate::properties::testing::made_up;

    #[test]
    fn a_file_is_missing_another_devices_or_of_some_age() {
        let tree = tree(&[("/proc/self/mountinfo", "31 27 0:40 / / rw - nfs host:/x rw"), ("/data/file", "")]);
        let root = Root::at(tree.path());
        let of = |folder: &str| {
            let mut probed = super::read(&root, &[folder.into(), Path::new(folder).join("journal")]);
            assert_eq!(probed.len(), 1, "two folders on one device have one file");
            probed.remove(0).state
        };
        let data = Path::new("/data");
        assert_eq!(of("/data"), Ok(ProbedState::Missing));
        add(tree.path(), &[("/data.probe.toml", &made_up().to_text())]);
        let Ok(ProbedState::Refused { why }) = of("/data") else { panic!("another's") };
        assert!(why.contains("measured on another device") && why.contains("ext4"), "{why}");
        let own = Properties { device: identity::read(&root, data).expect("an identity"), ..made_up() };
        add(tree.path(), &[("/data.probe.toml", &own.to_text())]);
        let Ok(ProbedState::Known { kernel, .. }) = of("/data") else { panic!("its own") };
        assert_eq!(kernel, "6.18.0");
        add(tree.path(), &[("/data.probe.toml", "")]);
        assert!(matches!(of("/data"), Ok(ProbedState::Refused { .. })));
    }
}
