//! Every file and folder of a small shard is taken away, one at a time: what that costs is named, or the start is
//! refused by name. No bare "not found" ever.

use super::tests::{Scenario, WHOLE_BLOCKS, power_cycled};
use super::*;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use std::path::Path;
use std::path::PathBuf;

/// Two partitions with sealed segments and an active one, of which the last checkpoint knows.
fn scenario(seed: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, TestSizes::default());
    for n in 0..24 {
        scenario.append_and_commit(n % 2, 2500 + 300 * (n as usize % 3));
        if n % 6 == 5 {
            scenario.shard.write_back(WHOLE_BLOCKS);
            scenario.shard.flush();
            scenario.shard.checkpoint();
        }
    }
    scenario
}

/// After a clean stop: all of it in segments, in both slots, and the journal marked.
fn stopped() -> Scenario {
    let mut scenario = scenario(3);
    scenario.shard.write_back(WriteBackKind::Everything);
    (0..2).for_each(|_| (scenario.shard.flush(), scenario.shard.checkpoint()).1);
    scenario.shard.mark_idle();
    scenario
}

/// With a frame that straddles the recovery point, more behind it in the journal, and the slots of different ages.
fn crashed() -> Scenario {
    let mut scenario = scenario(4);
    scenario.append_and_commit(0, 9000);
    scenario.shard.write_back(WHOLE_BLOCKS);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let point = *scenario.shard.log(test_partition(0)).held.point();
    assert!(point.next_frame_position < point.position, "a frame straddles {point:?}");
    scenario.append_and_commit(1, 900);
    scenario.shard.mark_idle();
    scenario
}

/// Takes a file away, or a folder with all that is in it.
fn remove(disk: &FaultDisk, path: &Path) {
    let files = disk.files();
    if files.contains_key(path) {
        return block_on(disk.remove_file(path)).unwrap();
    }
    for file in files.keys().filter(|file| file.starts_with(path)) {
        block_on(disk.remove_file(file)).unwrap();
    }
    let mut folders: Vec<&Path> =
        files.keys().flat_map(|file| file.ancestors()).filter(|folder| folder.starts_with(path)).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.dedup();
    for folder in folders.into_iter().filter(|folder| !files.contains_key(*folder)) {
        // One that several files name comes up more than once.
        match block_on(disk.remove_dir(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
        }
    }
}

/// Everything below the data folder that can be taken away.
fn removable(disk: &FaultDisk) -> Vec<PathBuf> {
    let root = Path::new("/data");
    let mut paths: Vec<PathBuf> = disk
        .files()
        .keys()
        .flat_map(|file| file.ancestors())
        .filter(|path| path.starts_with(root) && *path != root)
        .map(Path::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn a_file_that_is_missing_is_damage_or_a_refusal_by_name() {
    let (mut refused, mut damaged, mut harmless, mut rebuilt) = (0, 0, 0, 0);
    for (scenario, what) in [(stopped(), "after a clean stop"), (crashed(), "after a crash")] {
        let image = power_cycled(&scenario.shard.disk);
        for path in removable(&image) {
            for slots_lost in [false, true] {
                let disk = power_cycled(&image);
                remove(&disk, &path);
                let slots = (0..2).map(|slot| test_layout().checkpoint_slot(TEST_SHARD, slot));
                if slots_lost {
                    slots.filter(|slot| disk.files().contains_key(slot)).for_each(|slot| remove(&disk, &slot));
                }
                let what = format!("{what}, without {}, slots lost: {slots_lost}", path.display());
                let before = disk.files();
                let mut shard = match TestShard::start(&disk, 2, TestSizes::default()) {
                    Ok(shard) => shard,
                    Err(error @ RecoveryError::JournalMissing { .. }) => {
                        assert!(path.starts_with(test_layout().journal_dir()), "{what}: {error}");
                        assert_eq!(disk.files(), before, "{what}: nothing was changed");
                        refused += 1;
                        continue;
                    }
                    Err(error @ RecoveryError::UnknownData { .. }) => {
                        // Slots and journal are all gone: segments alone say that there ever was a shard.
                        assert!(slots_lost && path.starts_with(test_layout().journal_dir()), "{what}: {error}");
                        assert_eq!(disk.files(), before, "{what}: nothing was changed");
                        refused += 1;
                        continue;
                    }
                    Err(error) => panic!("{what}: {error:?}"),
                };
                assert!(!shard.report().created, "{what}");
                rebuilt += u32::from(shard.report().rebuilt);
                let missing = scenario.model.check_rotten(&mut shard, &what);
                let is_segment = path.starts_with(test_layout().partitions_dir());
                assert!(missing == 0 || is_segment, "{what}: {missing} frames are missing: {}", shard.report());
                *(if missing > 0 { &mut damaged } else { &mut harmless }) += 1;
                // It goes on, and is found again.
                let mut next = scenario.resumed(shard, 9);
                next.append_and_commit(0, 5000);
                next.append_and_commit(1, 500);
                next.shard.write_back(WriteBackKind::Everything);
                next.shard.flush();
                next.shard.checkpoint();
                let disk = power_cycled(&next.shard.disk);
                TestShard::start(&disk, 3, TestSizes::default()).unwrap_or_else(|error| panic!("{what}, and again: {error:?}"));
            }
        }
    }
    println!("{refused} refused, {damaged} damaged, {harmless} harmless, {rebuilt} rebuilt");
    assert!(refused > 4 && damaged > 4 && harmless > 4 && rebuilt > 8, "too little was met");
}
