//! A shard that cannot go on, and one whose files are not all there: what it refuses, and how it says so.

mod support;

use sluice_model::{LeaderEpoch, Offset};
use sluice_partition::{Failure, FetchRefusal, OpenError};
use sluice_storage::disk::Disk;
use sluice_storage::recovery::RecoveryError;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use support::{Setup, TestProducer, TestShard, assignment, fill, id};

#[test]
fn a_shard_that_has_failed_writes_nothing_more_on_any_path() {
    // The journal's write, a segment's write or flush, a checkpoint's write: one of the next calls fails.
    let (mut failed, mut kinds) = (0, std::collections::BTreeSet::new());
    for (kind, nth) in [FaultKind::Write, FaultKind::Sync].into_iter().flat_map(|kind| (0..8).map(move |nth| (kind, nth))) {
        let what = format!("{kind:?} {nth} fails");
        let disk = FaultDisk::new(nth);
        let mut shard = TestShard::open(&disk, Setup::new(2, 1));
        let mut producer = TestProducer::new(0, 5);
        for token in 0..8 {
            shard.append(&producer.frame_of(9000), token).unwrap();
        }
        shard.settle();
        let acknowledged = shard.acknowledged().len();
        disk.fail(kind, nth);
        shard.append(&producer.frame_of(9000), 100).unwrap();
        // Write-back after a second, a checkpoint after two; deletions and stops come after the failure.
        for _ in 0..60 {
            if !shard.failures.borrow().is_empty() {
                break;
            }
            shard.advance_ms(50);
        }
        let Some(failure) = shard.failures.borrow().first().map(|failure| format!("{failure:?}")) else { continue };
        failed += 1;
        kinds.insert(failure.split([' ', '(']).next().unwrap().to_owned());
        let calls = disk.call_count();
        let (p, q, r, s) =
            (shard.partitions.clone(), shard.partitions.clone(), shard.partitions.clone(), shard.partitions.clone());
        let closed = shard.run(async move { p.close().await });
        assert!(matches!(closed, Err(Failure::Earlier | Failure::Journal(_))), "{what}: {closed:?}");
        assert!(shard.run(async move { q.create(vec![assignment(7, 1)]).await }).is_err(), "{what}");
        assert!(shard.run(async move { r.remove(&[id(1)]).await }).is_err(), "{what}");
        let truncated = shard.run(async move { s.truncate(id(0), Offset(1), LeaderEpoch(9)).await });
        assert!(truncated.is_err(), "{what}");
        assert!(shard.partitions.contains(id(1)) && !shard.partitions.contains(id(7)), "{what}");
        shard.advance_ms(5000);
        let written: Vec<_> = (calls..disk.call_count()).map(|call| disk.describe_call(call)).collect();
        let to_journal = written.iter().all(|call| call.contains("/journal"));
        assert!(to_journal, "{what}: {failure}, and then {written:?}");
        drop(shard);
        let image = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
        let mut again = TestShard::open(&image, Setup::new(2, 2));
        assert!(again.read_all(0, 0).unwrap().len() >= acknowledged, "{what}: {failure}");
    }
    println!("{failed} failures: {kinds:?}");
    assert!(failed > 4 && kinds.len() > 2, "{failed} failures: {kinds:?}");
}

#[test]
fn a_shard_opens_without_any_one_of_its_files_or_says_which_it_needs() {
    let (mut opened, mut refused) = (0, 0);
    for is_clean in [true, false] {
        let disk = FaultDisk::new(5);
        let mut shard = TestShard::open(&disk, Setup::new(2, 1));
        let mut producers = [TestProducer::new(0, 5), TestProducer::new(1, 6)];
        fill(&mut shard, &mut producers, 12, 9000);
        shard.advance_ms(2100);
        fill(&mut shard, &mut producers, 2, 9000);
        shard.completions();
        let frames = [shard.read_all(0, 0).unwrap(), shard.read_all(1, 0).unwrap()];
        if is_clean {
            let partitions = shard.partitions.clone();
            shard.run(async move { partitions.close().await }).unwrap();
        }
        drop(shard);
        let image = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
        for path in image.files().keys() {
            let disk = image.crash(PowerCut { call: image.call_count(), unflushed: Unflushed::Kept });
            block_on(disk.remove_file(path)).unwrap();
            let what = format!("clean: {is_clean}, without {}", path.display());
            let mut shard = match TestShard::try_open(&disk, Setup::new(2, 2)) {
                Ok(shard) => shard,
                Err(OpenError::Recovery(error)) if matches!(*error, RecoveryError::JournalMissing { .. }) => {
                    assert!(path.extension().is_some_and(|extension| extension == "journal"), "{what}: {error}");
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("{what}: {error:?}"),
            };
            opened += 1;
            let is_segment = path.extension().is_some_and(|extension| extension == "log");
            for (partition, frames) in (0..).zip(&frames) {
                let found = shard.read_all(partition, 0);
                let is_named = matches!(found, Err(FetchRefusal::Damaged { .. }));
                assert!(found.as_ref().is_ok_and(|found| found == frames) || is_segment && is_named, "{what}: {partition}");
            }
        }
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 10 && refused == 8, "{opened} opened, {refused} refused");
}
