//! The controller on real files: what it keeps, and what it says of files that are not as it left them.

use redb::{Database, ReadableTable, TableDefinition};
use sluice_controller::{Applied, CommandError, Controller, Damage, OpenError, ProducerIdBlock, read_image};
use sluice_metadata::{
    Address, AllocateProducerIds, AlterTopic, ClusterId, CreateTopic, DeleteTopic, FolderId, PurgeTopic, Refusal, RegisterBroker,
    Start,
};
use sluice_model::{BrokerId, Incarnation, ProducerId, TopicId};
use std::fs;
use std::path::{Path, PathBuf};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("raft_log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FOLDER: FolderId = FolderId([2; 16]);
const CLUSTER: ClusterId = ClusterId([1; 16]);

/// A fresh folder of this test, on a real disk.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("controller").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn open(path: &Path) -> Result<Controller, OpenError> {
    Controller::open(path, FOLDER, Some(CLUSTER))
}

fn incarnation(number: u64) -> Incarnation {
    Incarnation { number, random: number * 77 }
}

fn register(number: u64, shard_count: u16) -> RegisterBroker {
    let addresses = (0..shard_count).map(|shard| Address { host: "localhost".into(), port: 7400 + shard }).collect();
    RegisterBroker {
        broker: BrokerId(1),
        incarnation: incarnation(number),
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

/// A log of four batches, from index 2 on: the engine's own entries come first.
fn prepared(test: &str) -> PathBuf {
    let path = folder(test).join("metadata.redb");
    let mut controller = open(&path).unwrap();
    controller.register_broker(&register(1, 2)).unwrap();
    controller.create_topic(&create_topic(1, 4)).unwrap();
    controller.create_topic(&create_topic(2, 1)).unwrap();
    controller.delete_topic(&DeleteTopic { name: "topic-2".into() }).unwrap();
    path
}

fn change_log(path: &Path, change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) {
    let db = Database::open(path).unwrap();
    let transaction = db.begin_write().unwrap();
    change(&mut transaction.open_table(LOG).unwrap());
    transaction.commit().unwrap();
}

fn damage_of(path: &Path) -> Damage {
    match open(path).map(drop).unwrap_err() {
        OpenError::Damaged { damage, .. } => damage,
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_applied_is_there_after_a_restart() {
    let path = folder("restart").join("metadata.redb");
    let mut controller = open(&path).unwrap();
    assert_eq!((controller.last_index(), controller.image().cluster_id()), (0, CLUSTER));
    for (start, shard_count) in (1..).zip([1, 2, 2, 3]) {
        let applied = controller.register_broker(&register(start, shard_count)).unwrap();
        assert_eq!(applied.index, controller.last_index());
        let number = u8::try_from(start).unwrap();
        controller.create_topic(&create_topic(number, 4)).unwrap();
        let settings = vec![("retention_ms".to_owned(), format!("{start}h"))];
        controller.alter_topic(&AlterTopic { name: format!("topic-{number}"), settings, partitions: Some(5) }).unwrap();
        let ids = AllocateProducerIds { broker: BrokerId(1), incarnation: incarnation(start) };
        let first = ProducerId(1000 * (i64::try_from(start).unwrap() - 1));
        assert_eq!(controller.allocate_producer_ids(&ids).unwrap(), ProducerIdBlock { first, count: 1000 });
        if start == 2 {
            controller.delete_topic(&DeleteTopic { name: "topic-1".into() }).unwrap();
            controller.purge_topic(&PurgeTopic { topic_id: TopicId([1; 16]) }).unwrap();
        }
        let (image, last_index) = (controller.image().clone(), controller.last_index());
        drop(controller);
        controller = Controller::open(&path, FOLDER, None).unwrap();
        assert_eq!((controller.image(), controller.last_index()), (&image, last_index));
    }
    let unused = Controller::open(&path, FOLDER, Some(ClusterId([9; 16])));
    assert!(matches!(unused, Err(OpenError::InUse { .. })), "the file is locked");
    drop(controller);
    let kept = Controller::open(&path, FOLDER, Some(ClusterId([9; 16]))).unwrap();
    assert_eq!(kept.image().cluster_id(), CLUSTER, "a new id is for a new log only");
}

#[test]
fn a_refusal_and_a_repetition_write_nothing() {
    let path = prepared("refusal");
    let mut controller = open(&path).unwrap();
    let index = controller.last_index();
    let refused = controller.create_topic(&create_topic(1, 4)).unwrap_err();
    assert!(matches!(refused, CommandError::Refused(Refusal::TopicExists { .. })), "{refused}");
    assert_eq!(controller.register_broker(&register(1, 2)).unwrap(), Applied { index, records: Vec::new(), answers: Vec::new() });
    assert_eq!(controller.last_index(), index);
}

#[test]
fn a_missing_log_is_made_only_when_asked_for() {
    let path = folder("missing").join("metadata.redb");
    let error = Controller::open(&path, FOLDER, None).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }));
    assert!(error.to_string().contains("is missing, though its data folder was in use before"), "{error}");
    fs::write(path.with_extension("redb.new"), b"left by a crash").unwrap();
    drop(open(&path).unwrap());
    assert!(!path.with_extension("redb.new").exists());
    let error = open(&path.join("below")).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[test]
fn a_log_of_another_folder_or_a_newer_version_is_refused() {
    let path = prepared("newer");
    let error = Controller::open(&path, FolderId([3; 16]), None).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::OtherFolder { .. }), "{error}");
    let db = Database::open(&path).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format_version", &3u32.to_le_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = open(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NewerVersion { what: "format of the metadata log", got: 3, known: 2, .. }), "{error}");
}

#[test]
fn a_gap_a_bad_entry_and_one_in_anothers_place_are_named() {
    let path = prepared("gap");
    change_log(&path, |log| drop(log.remove(2).unwrap()));
    assert_eq!(damage_of(&path), Damage::Gap { expected: 2, found: 3 });

    let path = prepared("bad-entry");
    change_log(&path, |log| {
        let mut entry = log.get(3).unwrap().unwrap().value().to_vec();
        entry[20] ^= 4;
        log.insert(3, &entry[..]).unwrap();
    });
    assert!(matches!(damage_of(&path), Damage::Entry { index: 3, .. }));

    let path = prepared("elsewhere");
    change_log(&path, |log| {
        let entry = log.get(2).unwrap().unwrap().value().to_vec();
        log.insert(6, &entry[..]).unwrap();
    });
    let damage = damage_of(&path);
    assert!(matches!(damage, Damage::Entry { index: 6, .. }), "{damage}");

    let path = folder("no-meta").join("metadata.redb");
    drop(Database::create(&path).unwrap());
    assert_eq!(damage_of(&path), Damage::Meta { key: "format_version" });
}

#[test]
fn files_that_are_no_log_are_called_damaged() {
    let folder = folder("garbage");
    for (name, bytes) in [("empty", Vec::new()), ("short", vec![7; 100]), ("long", vec![7; 100_000]), ("zeros", vec![0; 100_000])]
    {
        let path = folder.join(name);
        fs::write(&path, &bytes).unwrap();
        let _ = damage_of(&path);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} is left as it was");
    }
}

#[test]
fn a_cut_file_is_called_damaged() {
    let path = prepared("cut");
    let whole = fs::read(&path).unwrap();
    for parts in 1..16 {
        fs::write(&path, &whole[..whole.len() * parts / 16]).unwrap();
        let _ = damage_of(&path);
    }
}

/// A flipped bit is found, or lies where nothing is kept: the image is the right one or there is none. Not even the
/// last entry is lost unnoticed, whether the broker was stopped or killed.
#[test]
fn a_flipped_bit_never_gives_another_image() {
    let path = prepared("flipped");
    let mut controller = open(&path).unwrap();
    controller.create_topic(&create_topic(7, 3)).unwrap();
    let image = controller.image().clone();
    let killed = fs::read(&path).unwrap();
    drop(controller);
    let stopped = fs::read(&path).unwrap();
    for (how, whole) in [("stopped", stopped), ("killed", killed)] {
        fs::write(&path, &whole).unwrap();
        assert_eq!(*open(&path).unwrap().image(), image, "{how}");
        let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
        let (mut found, mut harmless) = (0, 0);
        for &at in used.iter().step_by(used.len() / 400 + 1).chain(&[0, 9, 16, 64, 100]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            match open(&path) {
                Ok(controller) => {
                    assert_eq!(*controller.image(), image, "{how}: bit at {at}");
                    harmless += 1;
                }
                Err(OpenError::Damaged { .. }) => found += 1,
                Err(other) => panic!("{how}: bit at {at}: {other}"),
            }
        }
        assert!(found > 0, "{how}: {found} found, {harmless} harmless");
    }
}

#[test]
fn an_image_is_read_and_the_file_is_left_as_it_is() {
    let path = prepared("read_image");
    let image = open(&path).unwrap().image().clone();
    let bytes = fs::read(&path).unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    assert_eq!(read_image(&path, FOLDER).unwrap(), image);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(matches!(read_image(&path.with_extension("absent"), FOLDER), Err(OpenError::Missing { .. })));
    assert!(matches!(read_image(&path, FolderId([9; 16])), Err(OpenError::OtherFolder { .. })));
    let cut = path.with_extension("cut");
    for len in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&cut, &bytes[..len]).unwrap();
        assert!(matches!(read_image(&cut, FOLDER), Err(OpenError::Damaged { .. })), "{len} bytes");
    }
    // As a broker leaves it that is killed while the log is open.
    let held = prepared("read_image_held");
    let controller = open(&held).unwrap();
    assert_eq!(read_image(&held, FOLDER).unwrap(), *controller.image());
}
