//! A store that fails and loses what was not flushed. Real files: `tests/controller.rs`.

use super::*;
use crate::codec::{EntryRow, LogIdRow, PayloadRow};
use crate::fake_disk::FakeDisk;
use crate::open_error::EntryError;
use crate::store::{Change, FORMAT_VERSION, Meta, StateRow};
use redb::{ReadableDatabase, TableDefinition};
use sluice_metadata::batch::BATCH_VERSION;
use sluice_metadata::{Address, BatchError, Start};
use sluice_model::{Incarnation, TopicId};
use std::collections::BTreeMap;

const FOLDER: FolderId = FolderId([2; 16]);
const CLUSTER: ClusterId = ClusterId([1; 16]);

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

/// Which of the unflushed writes survive a power cut.
fn survives(kept: usize) -> impl Fn(usize) -> bool {
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

fn damage_of(disk: &FakeDisk) -> Damage {
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
    let crc = crate::codec::checksum(&newer);
    newer[4..8].copy_from_slice(&crc.to_le_bytes());
    add(&disk, 2, newer);
    let error = open(&disk).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NewerVersion { what: "metadata records", got: 3, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("from a newer version"), "{error}");

    let disk = prepared();
    add(&disk, 2, vec![1, 2, 3]);
    let damage = damage_of(&disk);
    let expected = EntryError::Batch(BatchError::Truncated { got: 3 });
    assert_eq!(damage, Damage::Entry { index: 4, error: expected });
}

const LOG_1: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// A disk with a log of version 1, of these batches, and the image it gives.
fn version_1(batches: &[Vec<u8>]) -> (FakeDisk, Image) {
    let disk = FakeDisk::default();
    let store = Store::open(disk.clone()).unwrap();
    store.initialize(&Meta { format_version: 1, cluster_id: CLUSTER, folder_id: FOLDER, broker_id: 1 }).unwrap();
    drop(store);
    let mut image = Image::new(CLUSTER);
    let db = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let transaction = db.begin_write().unwrap();
    for name in ["raft_log", "raft_state"] {
        transaction.delete_table(TableDefinition::<u64, &[u8]>::new(name)).ok();
        transaction.delete_table(TableDefinition::<&str, &[u8]>::new(name)).ok();
    }
    let mut log = transaction.open_table(LOG_1).unwrap();
    for (index, batch) in (1..).zip(batches) {
        log.insert(index, &batch[..]).unwrap();
        image.apply_batch(&Batch::decode(batch).unwrap()).unwrap();
    }
    drop(log);
    transaction.commit().unwrap();
    (disk, image)
}

fn batches() -> Vec<Vec<u8>> {
    let mut image = Image::new(CLUSTER);
    let mut batches = Vec::new();
    let commands = [Command::RegisterBroker(register(1)), Command::CreateTopic(create_topic(1, 2)), Command::CreateTopic(create_topic(2, 7))];
    for command in commands {
        let batch = Batch { records: command.decide(&image).unwrap().records };
        image.apply_batch(&batch).unwrap();
        batches.push(batch.encode());
    }
    batches
}

#[test]
fn a_log_of_version_1_is_converted_once() {
    let (disk, image) = version_1(&batches());
    let mut controller = open(&disk).unwrap();
    assert_eq!((controller.image(), controller.last_index()), (&image, 3));
    controller.create_topic(&create_topic(3, 1)).unwrap();
    let image = controller.image().clone();
    drop(controller);
    assert_eq!(Store::open(disk.clone()).unwrap().meta().unwrap().format_version, FORMAT_VERSION);
    let db = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    assert!(db.begin_read().unwrap().open_table(LOG_1).is_err(), "the old table is gone");
    drop(db);
    let controller = open(&disk).unwrap();
    assert_eq!((controller.image(), controller.last_index()), (&image, 4));

    let mut gap = batches();
    gap.remove(1);
    let (disk, _) = version_1(&[]);
    let db = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let transaction = db.begin_write().unwrap();
    for (index, batch) in [1, 3].into_iter().zip(&gap) {
        transaction.open_table(LOG_1).unwrap().insert(index, &batch[..]).unwrap();
    }
    transaction.commit().unwrap();
    drop(db);
    assert_eq!(damage_of(&disk), Damage::Gap { expected: 2, found: 3 });
}

#[test]
fn power_cut_at_every_write_of_a_conversion_leaves_the_old_log_or_the_new_one() {
    let mut versions = BTreeMap::new();
    for changes in 0..40 {
        for kept in 0..4usize {
            let (disk, image) = version_1(&batches());
            disk.fail_after(Some(changes));
            let opened = open(&disk);
            disk.cut_power(survives(kept));
            drop(opened);
            let version = Store::open(disk.clone()).unwrap().meta().unwrap().format_version;
            *versions.entry(version).or_insert(0) += 1;
            let controller = open(&disk).unwrap_or_else(|error| panic!("{changes} changes, kept {kept}: {error}"));
            assert_eq!((controller.image(), controller.last_index()), (&image, 3), "{changes} changes, kept {kept}");
        }
    }
    assert!(versions.contains_key(&1) && versions.contains_key(&FORMAT_VERSION), "{versions:?}");
}

/// Whatever a node writes: a vote, entries, entries in the place of others, a snapshot with what it stands for.
#[test]
fn power_cut_at_every_write_of_any_change_leaves_all_of_it_or_nothing() {
    let row = |index, base| EntryRow { log_id: LogIdRow { term: 3, node: 2, index }, payload: PayloadRow::Batch { base, batch: vec![7; 3000] } };
    let snapshot = || {
        let meta = crate::raft_types::RaftSnapshotMeta::default();
        (Into::into(&meta), vec![9; 40_000])
    };
    let changes: [fn(&dyn Fn(u64, u64) -> EntryRow, &dyn Fn() -> (crate::codec::SnapshotMetaRow, Vec<u8>)) -> Change; 4] = [
        |_, _| Change::default(),
        |row, _| Change { append: vec![(4, row(4, 2).encode()), (5, row(5, 3).encode())], ..Change::default() },
        |row, _| Change { truncate_from: Some(2), append: vec![(2, row(2, 0).encode())], ..Change::default() },
        |_, snapshot| Change { purge_to: Some(2), snapshot: Some(snapshot()), cluster_id: Some(CLUSTER), ..Change::default() },
    ];
    let content = |disk: &FakeDisk| {
        let store = Store::open(disk.clone()).unwrap();
        (store.state().unwrap(), store.entries(0..u64::MAX, false).unwrap(), store.meta().unwrap())
    };
    for (kind, change) in changes.iter().enumerate() {
        let mut outcomes = BTreeMap::new();
        for writes in 0..24 {
            for kept in 0..4usize {
                let disk = prepared();
                let before = content(&disk);
                let store = Store::open(disk.clone()).unwrap();
                let state = StateRow { change: before.0.change + 1, ..before.0 };
                disk.fail_after(Some(writes));
                let answer = store.change(&change(&row, &snapshot), &state);
                disk.cut_power(survives(kept));
                drop(store);
                let after = content(&disk);
                let there = after.0.change == state.change;
                assert!(there || after == before, "kind {kind}, {writes} writes, kept {kept}: neither before nor after");
                assert!(there || answer.is_err(), "kind {kind}: answered and lost: {writes} writes, kept {kept}");
                *outcomes.entry((answer.is_ok(), there)).or_insert(0) += 1;
            }
        }
        assert!(outcomes.contains_key(&(false, false)) && outcomes.contains_key(&(true, true)), "kind {kind}: {outcomes:?}");
    }
}
