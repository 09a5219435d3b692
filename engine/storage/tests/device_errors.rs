//! A device that answers with an error at every call, and one that writes to the wrong place.
//!
//! EIO: the life, or the recovery, that meets it ends with an error, and after a restart, with or without a power
//! cut, nothing acknowledged is missing. A write that lands elsewhere is silent: what it cost is named after the
//! restart, or the shard is not started. `SLUICE_FAULT_SEEDS=100` lives as many lives of each.

use sluice_storage::checkpoint_slots::{SlotFound, read_slots};
use sluice_storage::recovery::RecoveryError;
use sluice_storage::testing::busy_shard::{BusyLife, LifeEnd, live};
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind, Unflushed};
use sluice_storage::testing::shard_model::ShardModel;
use sluice_storage::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};

const SEEDS_FIRST: u64 = 31;
const SEEDS_DEFAULT: u64 = 2;

/// Two of them, or as many as `SLUICE_FAULT_SEEDS` says.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SLUICE_FAULT_SEEDS").ok().map(|count| count.parse().expect("SLUICE_FAULT_SEEDS is a number"));
    SEEDS_FIRST..SEEDS_FIRST + count.unwrap_or(SEEDS_DEFAULT)
}

fn life(seed: u64) -> BusyLife {
    BusyLife { seed, appends: 50, partitions: 2, body_len: 5000, log_start_every: 6, capacity_at_first: None }
}

/// Lives a life on a disk that `arm` has made fail in some way once the partitions are there.
fn lived(seed: u64, arm: impl FnOnce(&FaultDisk)) -> (FaultDisk, LifeEnd) {
    let disk = FaultDisk::new(seed);
    let mut shard = TestShard::start(&disk, 1, TestSizes::default()).expect("a new shard");
    life(seed).create_partitions(&mut shard);
    arm(&disk);
    let end = live(shard, ShardModel::default(), life(seed));
    (disk, end)
}

/// Starts from what is there and holds it against the model.
fn check(disk: &FaultDisk, number: u64, model: &ShardModel, acknowledged_by: usize, what: &str) {
    let mut shard = TestShard::start(disk, number, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(shard.report().is_clean(), "{what}: {}", shard.report());
    model.check(&mut shard, acknowledged_by, what);
}

/// After every power cut there can be now, and after a restart without one and a cut behind it.
fn check_restarts(disk: &FaultDisk, number: u64, model: &ShardModel, acknowledged_by: usize, what: &str) -> usize {
    disk.clear_faults();
    let cut = disk.cuts().at(disk.call_count());
    let seed = disk.call_count() as u64;
    let cuts = [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed), Unflushed::Reordered(seed)];
    for unflushed in cuts {
        check(&cut.image(unflushed), number, model, acknowledged_by, &format!("{what}, {unflushed:?}"));
    }
    // The process alone starts again: what a failed flush forgot is still there for readers, and goes at the next cut.
    check(disk, number, model, acknowledged_by, &format!("{what}, started again"));
    let later = disk.cuts().at(disk.call_count()).image(Unflushed::Lost);
    check(&later, number + 1, model, acknowledged_by, &format!("{what}, started again and cut"));
    cuts.len() + 2
}

#[test]
fn an_error_of_any_call_ends_the_life_and_loses_nothing() {
    let (mut lives, mut restarts) = (0, 0);
    for seed in seeds() {
        let mut before = 0;
        let (disk, whole) = lived(seed, |disk| before = disk.any_call_count());
        assert!(whole.error.is_none() && whole.model.acknowledged_count() == 50);
        let calls = disk.any_call_count() - before;
        for nth in 0..calls {
            for lasts in [false, true] {
                let what = format!("seed {seed}, EIO at call {nth} of {calls}, lasting: {lasts}");
                let arm =
                    |disk: &FaultDisk| if lasts { disk.fail_from(FaultKind::Any, nth) } else { disk.fail(FaultKind::Any, nth) };
                let (disk, end) = lived(seed, arm);
                assert!(end.error.is_some(), "{what}: nobody noticed");
                restarts += check_restarts(&disk, 2, &end.model, disk.call_count(), &what);
                lives += 1;
            }
        }
    }
    println!("seeds {:?}: {lives} lives ended by EIO, {restarts} restarts after them", seeds());
    assert!(lives > 500, "only {lives} lives");
}

#[test]
fn an_error_of_any_call_of_a_recovery_ends_it_and_the_next_one_finds_everything() {
    let (mut recoveries, mut restarts, mut slots_unread, mut read_again) = (0, 0, 0, 0);
    for seed in seeds() {
        let (disk, end) = lived(seed, |_| ());
        let mut cuts = disk.cuts();
        for call in (20..=disk.call_count()).step_by(13) {
            let cut = cuts.at(call);
            let unflushed = Unflushed::Torn(call as u64);
            for lasts in [false, true] {
                for nth in 0.. {
                    let what = format!("seed {seed}, cut at call {call}, EIO at call {nth} of its recovery, lasting: {lasts}");
                    let crashed = cut.image(unflushed);
                    if lasts {
                        crashed.fail_from(FaultKind::Any, nth)
                    } else {
                        crashed.fail(FaultKind::Any, nth)
                    }
                    match TestShard::start(&crashed, 2, TestSizes::default()) {
                        Err(RecoveryError::Io(_)) => {}
                        Err(error) => panic!("{what}: {error}"),
                        Ok(_) if crashed.any_call_count() <= nth => break,
                        // What fails once is read again; a slot that cannot be read is a lost one, which costs nothing while
                        // the other is good.
                        Ok(mut shard) => {
                            let bad = shard.report().checkpoint_slots_bad;
                            assert!(!lasts, "{what}: nobody noticed");
                            if bad == 0 {
                                end.model.check(&mut shard, call, &what);
                                read_again += 1;
                                continue;
                            }
                            slots_unread += 1;
                            if shard.report().rebuilt {
                                assert!(bad == 2, "{what}: the other slot is good");
                                end.model.check_rebuilt(&mut shard, call, &what);
                                continue;
                            }
                        }
                    }
                    recoveries += 1;
                    restarts += check_restarts(&crashed, 3, &end.model, call, &what);
                }
            }
        }
    }
    println!("seeds {:?}: {recoveries} recoveries ended by EIO, {restarts} restarts after them", seeds());
    assert!(recoveries > 1000, "only {recoveries} recoveries");
    println!("{read_again} recoveries read again what had failed once, and found everything");
    assert!(read_again > 100, "only {read_again} reads were repeated");
    assert!(slots_unread > 20, "only {slots_unread} slots could not be read");
}

/// What became of lives in which one write landed elsewhere.
#[derive(Debug, Default)]
struct Misdirections {
    lives: usize,
    /// The life itself noticed.
    ended: usize,
    both_slots_lost: usize,
    /// Recovered, and nothing was missing.
    harmless: usize,
    frames_missing: usize,
}

/// Every write so far, in words.
fn writes(disk: &FaultDisk) -> Vec<String> {
    (0..disk.call_count()).map(|call| disk.describe_call(call)).filter(|call| call.starts_with("write")).collect()
}

#[test]
fn a_write_that_lands_elsewhere_costs_what_it_hits_and_that_is_named() {
    let mut met = Misdirections::default();
    for seed in seeds() {
        let (disk, whole) = lived(seed, |_| ());
        assert!(whole.error.is_none());
        let mut before = 0;
        let (unused, _) = lived(seed, |disk| before = writes(disk).len());
        let writes = &writes(&disk)[before..];
        assert_eq!(unused.call_count(), disk.call_count(), "the same seed makes the same calls");
        for nth in 0..writes.len() as u64 {
            for target in 0..6 {
                let what = format!("seed {seed}, write {nth} misdirected by {target}");
                let (disk, end) = lived(seed, |disk| disk.misdirect(nth, seed ^ (nth * 64 + target)));
                met.lives += 1;
                met.ended += usize::from(end.error.is_some());
                let found = disk.cuts().at(disk.call_count()).image(Unflushed::Lost);
                check_misdirected(&found, &end, &what, &mut met);
            }
        }
    }
    println!("seeds {:?}: {met:?}", seeds());
    assert!(met.lives > 500 && met.harmless > 100 && met.frames_missing > 100, "{met:?}");
}

fn check_misdirected(found: &FaultDisk, end: &LifeEnd, what: &str, met: &mut Misdirections) {
    let slots = block_on(read_slots(found, &test_layout(), TEST_SHARD)).expect("the device reads");
    let no_slot = !slots.iter().any(|slot| matches!(slot, SlotFound::Good(_)));
    // It is rebuilt then, and held against the same model.
    met.both_slots_lost += usize::from(no_slot);
    match TestShard::start(found, 2, TestSizes::default()) {
        Ok(mut shard) if end.error.is_some() => end.model.check_served(&mut shard, what),
        Ok(mut shard) => {
            let missing = end.model.check_rotten(&mut shard, what);
            met.frames_missing += missing;
            met.harmless += usize::from(missing == 0);
        }
        Err(error) => panic!("{what}: {error}"),
    }
}
