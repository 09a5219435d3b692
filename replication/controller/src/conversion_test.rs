//! A log of version 1 becomes one of this version.

use super::*;
use redb::{ReadableDatabase, TableDefinition};

const LOG_1: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// A disk with a log of version 1, of these batches, and the image it gives.
fn version_1(batches: &[Vec<u8>]) -> (FakeDisk, Image) {
    let disk = FakeDisk::default();
    let store = Store::open(disk.clone()).unwrap();
    store
        .initialize(&Meta {
            format_version: 1,
            cluster_id: CLUSTER,
            folder_id: FOLDER,
            broker_id: 1,
            founding_id: ClusterId([0; 16]),
        })
        .unwrap();
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
    let commands = [
        Command::RegisterBroker(register(1)),
        Command::CreateTopic(create_topic(1, 2)),
        Command::CreateTopic(create_topic(2, 7)),
    ];
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
