//! A store that fails and loses what was not flushed. Real files: `tests/controller.rs`.

#[path = "conversion_test.rs"]
mod conversion;
#[path = "store_test.rs"]
mod store;

use super::*;
use crate::codec::{EntryRow, LogIdRow, PayloadRow};
use crate::fake_disk::FakeDisk;
use crate::open_error::EntryError;
use crate::store::{Change, FORMAT_VERSION, Meta};
use sluice_metadata::batch::BATCH_VERSION;
use sluice_metadata::{Address, FramedError, Start};
use sluice_model::{Incarnation, TopicId};
use std::collections::BTreeMap;

pub(crate) const FOLDER: FolderId = FolderId([2; 16]);
pub(crate) const CLUSTER: ClusterId = ClusterId([1; 16]);

pub(crate) fn open(disk: &FakeDisk) -> Result<Controller, OpenError> {
    let disk = disk.clone();
    let owner = Owner { folder_id: FOLDER, broker: None };
    let opened = open_with(Path::new("fake"), owner, Box::new(move || Ok((Store::open(disk.clone())?, None))))?;
    Controller::start(Path::new("fake"), FOLDER, opened)
}

pub(crate) fn register(number: u64) -> RegisterBroker {
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

pub(crate) fn create_topic(number: u8, partitions: u32) -> CreateTopic {
    CreateTopic {
        topic_id: TopicId([number; 16]),
        name: format!("topic-{number}"),
        partitions,
        replication_factor: None,
        settings: Vec::new(),
    }
}

/// A disk with a log of two entries.
pub(crate) fn prepared() -> FakeDisk {
    let disk = FakeDisk::default();
    let meta = Meta {
        format_version: FORMAT_VERSION,
        cluster_id: CLUSTER,
        folder_id: FOLDER,
        broker_id: 1,
        founding_id: ClusterId([0; 16]),
    };
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

/// Which of the unflushed writes survive a power cut.
pub(crate) fn survives(kept: usize) -> impl Fn(usize) -> bool {
    move |n| match kept {
        0 => false,
        1 => true,
        _ => (n + kept).is_multiple_of(2),
    }
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
            disk.cut_power(survives(kept));
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

/// Adds an entry to a log that has one membership, one blank entry and two batches.
fn add(disk: &FakeDisk, base: u64, batch: Vec<u8>) {
    let store = Store::open(disk.clone()).unwrap();
    let state = store.state().unwrap();
    let row = EntryRow { log_id: LogIdRow { term: 1, node: 1, index: 4 }, payload: PayloadRow::Batch { base, batch } };
    let change = Change { append: vec![(4, row.encode())], ..Change::default() };
    store.change(&change, &state).unwrap();
}

pub(crate) fn damage_of(disk: &FakeDisk) -> Damage {
    match open(disk).map(drop).unwrap_err() {
        OpenError::Damaged { damage, .. } => damage,
        other => panic!("{other}"),
    }
}

#[test]
fn a_contradiction_a_newer_batch_and_a_stale_one_are_told_apart() {
    let disk = prepared();
    let registration = on_register_broker(&Image::new(CLUSTER), &register(1)).unwrap();
    let batch = Batch { records: registration }.encode();
    add(&disk, 2, batch.clone());
    let damage = damage_of(&disk);
    assert!(matches!(damage, Damage::Apply { index: 4, .. }), "{damage}");

    let disk = prepared();
    let before = open(&disk).unwrap().image().clone();
    add(&disk, 1, batch);
    let stale = open(&disk).unwrap();
    assert_eq!((stale.image(), stale.last_index()), (&before, 2), "decided on another image it counts for nothing");
    drop(stale);

    let disk = prepared();
    let mut newer = Batch::default().encode();
    newer[3] = BATCH_VERSION + 1;
    let crc = sluice_metadata::framed::checksum(&newer);
    newer[4..8].copy_from_slice(&crc.to_le_bytes());
    add(&disk, 2, newer);
    let error = open(&disk).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NewerVersion { what: "metadata records", got: 3, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("from a newer version"), "{error}");

    let disk = prepared();
    add(&disk, 2, vec![1, 2, 3]);
    let damage = damage_of(&disk);
    let expected = EntryError::Batch(FramedError::Truncated { got: 3 });
    assert_eq!(damage, Damage::Entry { index: 4, error: expected });
}
