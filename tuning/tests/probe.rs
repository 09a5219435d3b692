//! The probe on a real disk: what it writes and reads, what it refuses, what it leaves behind. No assertion depends on how
//! quick it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_tuning::folder::refuse_memory;
use sluice_tuning::probe::{Steps, run};
use sluice_tuning::properties::testing::made_up;
use sluice_tuning::{DurableBlockFile, FolderError, ProbeError, Properties, ScratchFolder, SequentialFile, Stop};

const SHORT: Duration = Duration::from_millis(50);

/// A folder of its own for each test, so that one test's clean-up never meets another's folders.
fn parent(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{name}"))
}

#[test]
fn durable_writes_are_counted_one_by_one() {
    let folder = ScratchFolder::create(&parent("durable")).expect("a scratch folder on a disk");
    let path = folder.join("durable");
    let mut file = DurableBlockFile::create(&path, 64 << 10).expect("a pre-written file");
    let latencies = file.measure(SHORT).expect("writes");
    assert!(latencies.count() > 0);
    assert!(latencies.summary().p50 > 0.0 && latencies.summary().p50 <= latencies.summary().max);
    assert_eq!(fs::metadata(&path).expect("the file").len(), 64 << 10, "writes wrap inside the file");
}

#[test]
fn a_duration_of_zero_still_measures_one() {
    let folder = ScratchFolder::create(&parent("zero")).expect("a scratch folder on a disk");
    let mut durable = DurableBlockFile::create(&folder.join("durable"), 8 << 10).expect("a pre-written file");
    assert_eq!(durable.measure(Duration::ZERO).expect("one write").count(), 1);
    let mut sequential = SequentialFile::create(&folder.join("sequential"), 4 << 20).expect("a pre-written file");
    assert_eq!(sequential.measure_write(2, Duration::ZERO).expect("two pieces").len, 2 << 20);
    assert_eq!(sequential.measure_write(1, Duration::from_secs(60)).expect("the whole file").len, 4 << 20, "a full file ends it");
}

#[test]
fn sequential_pieces_are_moved_both_ways_within_the_file() {
    let folder = ScratchFolder::create(&parent("sequential")).expect("a scratch folder on a disk");
    let path = folder.join("sequential");
    let mut file = SequentialFile::create(&path, 4 << 20).expect("a pre-written file");
    for throughput in [file.measure_write(3, SHORT).expect("writes"), file.measure_read(3, SHORT).expect("reads")] {
        assert!(throughput.len >= 3 << 20 && throughput.len.is_multiple_of(1 << 20), "{throughput:?}");
        assert!(throughput.mb_per_s() > 0.0);
    }
    assert_eq!(fs::metadata(&path).expect("the file").len(), 4 << 20);
}

#[test]
fn a_probe_takes_every_step_and_a_file_of_it_is_read() {
    let folder = ScratchFolder::create(&parent("whole")).expect("a scratch folder on a disk");
    let steps = Steps::quick(Some(Duration::ZERO));
    let mut told = Vec::new();
    let figures = run(&folder, &steps, &Stop::default(), &mut |progress| told.push(progress.what.clone())).expect("figures");
    assert_eq!(told.len(), 1 + steps.steps.len(), "{told:?}");
    // Memory, checksums and loopback are no rows.
    assert_eq!(figures.row_count(), steps.steps.len() - 4);
    assert!(figures.flushes_under_load.iter().all(|row| (row.load > 0.0) == (row.written > 0.0)), "{figures:?}");
    let properties = Properties { figures, ..made_up() };
    assert_eq!(Properties::parse(&properties.to_text()).expect("whole"), properties);
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert!(!left.contains(&"fresh".into()), "each file of writes goes with its step: {left:?}");
}

#[test]
fn a_probe_that_is_asked_to_stop_gives_no_figures() {
    let folder = ScratchFolder::create(&parent("stopped")).expect("a scratch folder on a disk");
    let stop = Stop::default();
    let ended = run(&folder, &Steps::full(Some(Duration::from_secs(2))), &stop, &mut |progress| {
        if progress.done == 2 {
            stop.ask();
        }
    });
    assert!(matches!(ended, Err(ProbeError::Interrupted)), "{ended:?}");
}

#[test]
fn memory_is_refused_by_name() {
    let shared_memory = Path::new("/dev/shm");
    assert!(shared_memory.is_dir(), "this test needs a tmpfs at /dev/shm");
    assert!(matches!(refuse_memory(shared_memory), Err(FolderError::InMemory { .. })));
    let error = ScratchFolder::create(shared_memory).expect_err("tmpfs");
    assert!(error.to_string().contains("tmpfs"), "{error}");
    let error = DurableBlockFile::create(&shared_memory.join("sluice-probe"), 4096).expect_err("tmpfs");
    assert!(matches!(error, ProbeError::Folder(FolderError::InMemory { .. })));
}

#[test]
fn a_missing_folder_or_a_taken_name_is_an_error_with_its_path() {
    let missing = parent("missing").join("not-there").join("file");
    let error = DurableBlockFile::create(&missing, 4096).expect_err("no such folder");
    assert!(error.to_string().contains("not-there"), "{error}");
    let folder = ScratchFolder::create(&parent("taken")).expect("a scratch folder on a disk");
    fs::write(folder.join("file"), b"somebody's").expect("a file");
    assert!(DurableBlockFile::create(&folder.join("file"), 4096).is_err(), "a file that exists is never overwritten");
}

#[test]
fn scratch_folders_go_away_and_those_of_ended_runs_too() {
    let parent = parent("scratch");
    let abandoned = parent.join("sluice-scratch-1-0");
    let kept = parent.join("somebody-elses");
    fs::create_dir_all(&abandoned).expect("a folder");
    fs::create_dir_all(&kept).expect("a folder");
    fs::write(abandoned.join("lock"), b"").expect("a lock nobody holds");
    let first = ScratchFolder::create(&parent).expect("a scratch folder on a disk");
    assert!(!abandoned.exists() && kept.exists());
    let second = ScratchFolder::create(&parent).expect("another");
    assert!(first.path().exists() && first.path() != second.path(), "a folder in use is left alone");
    let path = first.path().to_path_buf();
    drop(first);
    assert!(!path.exists() && second.path().exists());
}
