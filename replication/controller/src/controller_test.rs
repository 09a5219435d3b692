//! A store that fails and loses what was not flushed. Real files: `tests/controller.rs`.

use super::*;
use crate::store::{FORMAT_VERSION, Meta};
use redb::{BackendError, StorageBackend};
use sluice_metadata::{Address, Start};
use sluice_model::{BrokerId, Incarnation, TopicId};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

const FOLDER: FolderId = FolderId([2; 16]);
const CLUSTER: ClusterId = ClusterId([1; 16]);

/// A disk in memory: what is flushed, what is not yet, and when it begins to fail.
#[derive(Clone, Debug, Default)]
struct FakeDisk(Arc<Mutex<FakeDiskState>>);

#[derive(Debug, Default)]
struct FakeDiskState {
    bytes: Vec<u8>,
    flushed: Vec<u8>,
    unflushed: Vec<(u64, Vec<u8>)>,
    /// Changes still to succeed; `None` is all.
    changes_left: Option<usize>,
    /// The file cannot grow.
    full: bool,
}

impl FakeDisk {
    fn fail_after(&self, changes: Option<usize>) {
        self.0.lock().unwrap().changes_left = changes;
    }

    fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// The power fails: of the writes since the last flush only those survive that `keep` picks.
    fn cut_power(&self, keep: impl Fn(usize) -> bool) {
        let mut state = self.0.lock().unwrap();
        let mut bytes = state.flushed.clone();
        for (_, (offset, data)) in state.unflushed.iter().enumerate().filter(|(n, _)| keep(*n)) {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        }
        *state = FakeDiskState { bytes: bytes.clone(), flushed: bytes, ..FakeDiskState::default() };
    }

    fn change(&self, change: impl FnOnce(&mut FakeDiskState)) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match &mut state.changes_left {
            Some(0) => return Err(io::Error::other("the disk is broken")),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut state);
        Ok(())
    }
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let start = offset as usize;
        let bytes = state.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.0.lock().unwrap().full && len > self.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(|state| {
            state.bytes.resize(len as usize, 0);
            state.flushed.resize(len as usize, 0);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|state| {
            state.flushed = state.bytes.clone();
            state.unflushed.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let start = offset as usize;
            state.bytes[start..start + data.len()].copy_from_slice(data);
            state.unflushed.push((offset, data.to_vec()));
        })
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn open(disk: &FakeDisk) -> Result<Controller, OpenError> {
    let disk = disk.clone();
    let owner = Owner { folder_id: FOLDER, broker: None };
    let opened = open_with(Path::new("fake"), owner, Box::new(move || Ok((Store::open(disk.clone())?, None))))?;
    Controller::start(Path::new("fake"), FOLDER, opened)
}

fn register(number: u64) -> RegisterBroker {
    let addresses = vec![Address { host: "localhost".into(), port: 7400 }];
    RegisterBroker {
        broker: BrokerId(1),
        incarnation: Incarnation { number, random: 7 },
        folder_id: FOLDER,
        addresses,
        held: Default::default(),
        start: Start::Alone,
    }
}

fn create_topic(number: u8, partitions: u32) -> CreateTopic {
    CreateTopic {
        topic_id: TopicId([number; 16]),
        name: format!("topic-{number}"),
        partitions,
        replication_factor: None,
        settings: Vec::new(),
    }
}

/// A disk with a log of two entries.
fn prepared() -> FakeDisk {
    let disk = FakeDisk::default();
    let meta = Meta { format_version: FORMAT_VERSION, cluster_id: CLUSTER, folder_id: FOLDER, broker_id: 1 };
    Store::open(disk.clone()).and_then(|store| store.initialize(&meta)).unwrap();
    let mut controller = open(&disk).unwrap();
    controller.register_broker(&register(1)).unwrap();
    controller.create_topic(&create_topic(1, 2)).unwrap();
    disk
}

#[test]
fn a_full_disk_refuses_and_the_controller_goes_on() {
    let disk = prepared();
    let mut controller = open(&disk).unwrap();
    disk.set_full(true);
    let mut topics = 1u8;
    let full = loop {
        match controller.create_topic(&create_topic(topics + 1, 2000)) {
            Ok(_) => topics += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, CommandError::DiskFull), "{full}");
    assert_eq!(controller.image().topics().count(), usize::from(topics));
    controller.delete_topic(&DeleteTopic { name: "topic-1".into() }).expect("a small entry finds room");
    disk.set_full(false);
    controller.create_topic(&create_topic(topics + 1, 2000)).unwrap();
    let image = controller.image().clone();
    drop(controller);
    assert_eq!(*open(&disk).unwrap().image(), image);
}

#[test]
fn after_an_unexplained_error_nothing_is_answered_any_more() {
    let disk = prepared();
    let mut controller = open(&disk).unwrap();
    let before = controller.image().clone();
    disk.fail_after(Some(1));
    assert!(matches!(controller.create_topic(&create_topic(2, 1)), Err(CommandError::Store(_))));
    disk.fail_after(None);
    assert!(matches!(controller.create_topic(&create_topic(3, 1)), Err(CommandError::Store(_))));
    assert_eq!(*controller.image(), before);
}

#[test]
fn power_cut_at_every_write_leaves_the_log_before_or_after() {
    let changes_of_one_command = 64;
    let mut outcomes = BTreeMap::new();
    for changes in 0..changes_of_one_command {
        for kept in 0..4usize {
            let disk = prepared();
            let mut controller = open(&disk).unwrap();
            let before = controller.image().clone();
            disk.fail_after(Some(changes));
            let answer = controller.create_topic(&create_topic(2, 3));
            disk.cut_power(|n| match kept {
                0 => false,
                1 => true,
                _ => (n + kept).is_multiple_of(2),
            });
            drop(controller);
            let after = open(&disk).unwrap_or_else(|error| panic!("{changes} changes, kept {kept}: {error}"));
            let there = after.image().topic_by_name("topic-2").is_some();
            assert!(there || *after.image() == before, "{changes} changes, kept {kept}");
            assert!(there || answer.is_err(), "answered and lost: {changes} changes, kept {kept}");
            assert_eq!(after.last_index(), if there { 3 } else { 2 });
            *outcomes.entry((answer.is_ok(), there)).or_insert(0) += 1;
        }
    }
    assert!(outcomes.contains_key(&(false, false)) && outcomes.contains_key(&(true, true)), "{outcomes:?}");
}
