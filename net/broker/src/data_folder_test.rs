use super::*;

/// A folder beside the build, which is on a disk; the default temporary folder may be in memory.
fn temp() -> tempfile::TempDir {
    let near = std::env::current_exe().expect("a path").parent().expect("a folder").to_path_buf();
    tempfile::TempDir::new_in(near).expect("a temporary folder")
}

fn refusal(dir: &Path) -> String {
    DataFolder::open(dir, None).expect_err("a refusal").to_string()
}

#[test]
fn a_missing_folder_is_created_and_every_start_is_a_new_incarnation() {
    let temp = temp();
    let dir = temp.path().join("a/b");
    let mut first = DataFolder::open(&dir, None).expect("the first start");
    assert!(first.is_new);
    let id = first.folder_id;
    let (moving, serving) = first.begin_incarnations(1).expect("written");
    assert_eq!((moving.number, serving.number), (1, 2));
    assert_ne!(moving.random, serving.random);
    drop(first);
    let mut second = DataFolder::open(&dir, None).expect("the second start");
    assert_eq!(second.folder_id, id);
    assert_eq!(second.begin_incarnations(1).expect("written").1.number, 4);
    assert_eq!(second.begin_incarnations(10).expect("written").1.number, 11);
    drop(second);
    let mut third = DataFolder::open(&dir, None).expect("the third start");
    assert_eq!(third.begin_incarnations(1).expect("written").0.number, 12);
}

#[test]
fn a_folder_in_use_names_the_process() {
    let temp = temp();
    let _first = DataFolder::open(temp.path(), None).expect("the first start");
    let text = refusal(temp.path());
    assert!(text.contains(&std::process::id().to_string()), "{text}");
}

#[test]
fn a_newer_format_and_a_damaged_file_are_told_apart() {
    let temp = temp();
    drop(DataFolder::open(temp.path(), None).expect("the first start"));
    fs::write(temp.path().join("meta.json"), r#"{"format_version": 99, "something": "new"}"#).expect("written");
    assert!(refusal(temp.path()).contains("format version 99"));
    for damage in ["", "{", "{\"format_version\": 1}", "\u{0}\u{0}"] {
        fs::write(temp.path().join("meta.json"), damage).expect("written");
        assert!(refusal(temp.path()).contains("damaged"), "{damage:?}");
    }
    fs::write(temp.path().join("meta.json"), [0xff, 0xfe]).expect("written");
    assert!(refusal(temp.path()).contains("damaged"));
    let meta = r#"{"format_version": 1, "folder_id": "xyz", "incarnation_number": 1, "journal_dir": "j"}"#;
    fs::write(temp.path().join("meta.json"), meta).expect("written");
    assert!(refusal(temp.path()).contains("folder_id"));
}

#[test]
fn partitions_without_metadata_are_never_taken_for_a_fresh_folder() {
    let temp = temp();
    drop(DataFolder::open(temp.path(), None).expect("the first start"));
    fs::create_dir_all(temp.path().join("partitions/00")).expect("created");
    assert!(refusal(temp.path()).contains("metadata.redb is missing"));
    fs::write(temp.path().join("metadata.redb"), "anything").expect("written");
    drop(DataFolder::open(temp.path(), None).expect("whole again"));
    fs::remove_file(temp.path().join("meta.json")).expect("removed");
    assert!(refusal(temp.path()).contains("meta.json is missing"));
    assert!(temp.path().join("partitions/00").exists());
}

#[test]
fn a_journal_elsewhere_is_not_replaced_by_an_empty_one() {
    let temp = temp();
    let (data, journal) = (temp.path().join("data"), temp.path().join("journal"));
    drop(DataFolder::open(&data, Some(&journal)).expect("the first start"));
    fs::create_dir_all(data.join("partitions/00")).expect("created");
    fs::write(data.join("metadata.redb"), "anything").expect("written");
    let text = refusal(&data);
    assert!(text.contains("it was last in") && text.contains(&*journal.to_string_lossy()), "{text}");
    drop(DataFolder::open(&data, Some(&journal)).expect("the same journal"));
    let other = DataFolder::open(&temp.path().join("other"), Some(&journal)).expect_err("a foreign journal");
    assert!(other.to_string().contains("holds the journal of data folder"));
}

#[test]
fn a_folder_that_cannot_be_written_or_keeps_nothing_is_refused() {
    let text = refusal(Path::new("/sys/sluice-test"));
    assert!(text.contains("/sys/sluice-test"), "{text}");
    let shm = Path::new("/dev/shm");
    let in_memory = tempfile::TempDir::new_in(shm).expect("a folder on a tmpfs at /dev/shm, which this test needs");
    assert!(refusal(in_memory.path()).contains("memory"));
    let temp = temp();
    fs::write(temp.path().join("file"), "x").expect("written");
    assert!(refusal(&temp.path().join("file")).contains("a file stands where a folder should be"));
}
