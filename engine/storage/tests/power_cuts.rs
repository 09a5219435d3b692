//! Every power cut of many short lives: what was acknowledged is there, whole and in order, and nothing is invented.
//!
//! `cargo test -p sluice-storage` walks at least 100,000 images, each different from the others of its cut. For more:
//! `SLUICE_CUT_IMAGES=1000000 cargo test -p sluice-storage --test power_cuts -- --nocapture`.

#[path = "power_cuts/met.rs"]
mod met;

use met::Met;
use sluice_storage::checkpoint_slots::{SlotFound, read_slots};
use sluice_storage::testing::busy_shard::{BusyLife, live};
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_cuts::Cut;
use sluice_storage::testing::fault_disk::{FaultDisk, Unflushed};
use sluice_storage::testing::shard_model::ShardModel;
use sluice_storage::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use std::collections::BTreeSet;

const IMAGES_DEFAULT: usize = 100_000;
/// Seeds of the torn and of the reordered images of one cut, each.
const CHANCES: u64 = 4;
/// Every so many cuts of a life, the recovery from one image is cut too.
const RECOVERY_CUT_EVERY: usize = 60;

/// A kind of life; the seed makes many of each.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    sizes: TestSizes,
    life: BusyLife,
    turns_max: u64,
    /// Calls stall now and then.
    spikes: bool,
    /// What the shard is configured with when it is started again.
    sizes_after: TestSizes,
    /// The life begins with the recovery of another one.
    second: bool,
}

fn kinds() -> Vec<Kind> {
    let sizes = TestSizes::default();
    let life = BusyLife { seed: 0, appends: 60, partitions: 3, body_len: 5000, log_start_every: 12, capacity_at_first: None };
    let usual = Kind { name: "usual", sizes, life, turns_max: 4, spikes: false, sizes_after: sizes, second: false };
    let small_segments = TestSizes { segment_len: 12 * 1024, ..sizes };
    let wide = TestSizes { journal_file_blocks: 16, journal_file_count: 5, ..sizes };
    let small = TestSizes { journal_file_blocks: 4, journal_file_count: 6, group_blocks: 2, ..sizes };
    vec![
        usual,
        Kind { name: "stalls", spikes: true, turns_max: 12, ..usual },
        Kind { name: "small frames", life: BusyLife { appends: 150, body_len: 300, ..life }, ..usual },
        Kind {
            name: "small segments",
            sizes: small_segments,
            sizes_after: small_segments,
            life: BusyLife { log_start_every: 5, ..life },
            ..usual
        },
        Kind { name: "second life", second: true, ..usual },
        Kind { name: "full disk", life: BusyLife { capacity_at_first: Some(180 * 1024), ..life }, ..usual },
        Kind { name: "larger ring", sizes_after: wide, life: BusyLife { appends: 40, ..life }, ..usual },
        Kind {
            name: "smaller ring, second life",
            sizes_after: small,
            second: true,
            life: BusyLife { appends: 40, body_len: 2500, ..life },
            ..usual
        },
    ]
}

fn started(disk: &FaultDisk, number: u64, sizes: TestSizes, what: &str) -> TestShard {
    TestShard::start(disk, number, sizes).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// What a cut's images are held against.
struct Expected<'a> {
    model: &'a ShardModel,
    /// The cut in the calls of the model's disk.
    call: usize,
    number: u64,
    sizes: TestSizes,
}

/// Every kind of image of one cut, each different one recovered and held against the model. Gives back the image of
/// the last torn one, before its recovery.
fn walk_cut(cut: &Cut, expected: &Expected<'_>, seed: u64, met: &mut Met, what: &str) {
    let mut seen = BTreeSet::new();
    let chances = (0..CHANCES).map(|n| seed.wrapping_mul(31).wrapping_add(expected.call as u64 * CHANCES + n));
    let by_chance = chances.flat_map(|seed| [Unflushed::Torn(seed), Unflushed::Reordered(seed)]);
    for unflushed in [Unflushed::Kept, Unflushed::Lost].into_iter().chain(by_chance) {
        let image = cut.image(unflushed);
        if seen.insert(image.fingerprint()) {
            let what = format!("{what}, {unflushed:?}");
            let mut shard = started(&image, expected.number, expected.sizes, &what);
            assert!(shard.report().is_clean(), "{what}: {}", shard.report());
            expected.model.check(&mut shard, expected.call, &what);
            met.on_image(&shard);
        }
    }
}

/// Whether a frame straddles a recovery point that the image's newest checkpoint names.
fn has_straddle(image: &FaultDisk) -> bool {
    let slots = block_on(read_slots(image, &test_layout(), TEST_SHARD)).expect("the device reads");
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
    let newest = good.max_by_key(|found| found.slot_sequence);
    newest.is_some_and(|found| {
        let mut points = found.checkpoint.partitions.iter().map(|partition| &partition.recovery_point);
        points.any(|point| point.next_frame_position < point.position)
    })
}

/// Lives one life, and walks every cut of it.
fn walk_life(kind: &Kind, seed: u64) -> Met {
    let mut met = Met::default();
    let life = BusyLife { seed, ..kind.life };
    let name = format!("life \"{}\", seed {seed}", kind.name);
    let disk = FaultDisk::new(seed);
    disk.set_turns_max(kind.turns_max);
    let mut shard = started(&disk, 1, kind.sizes, &name);
    life.create_partitions(&mut shard);
    if kind.spikes {
        disk.set_spikes(12, 120);
    }
    disk.set_allocation_leaves_part(true);
    let first = live(shard, ShardModel::default(), life);
    assert!(first.error.is_none(), "{name}: {:?}", first.error);
    met.on_life(&disk, &first);
    if !kind.second {
        walk(kind, &Lived { name: &name, disk: &disk, model: &first.model, from: 0, number: 2 }, seed, &mut met);
        return met;
    }
    let cut_at = disk.call_count() - disk.call_count() / 5;
    let crashed = disk.cuts().at(cut_at).image(Unflushed::Torn(seed));
    let mut shard = started(&crashed, 2, kind.sizes_after, &name);
    // Until the recovery is over, what is found is the first life's.
    let recovered_at = crashed.call_count();
    let resumed = first.model.resumed(&shard, recovered_at);
    walk_recovery(
        kind,
        &name,
        &crashed,
        &Expected { model: &first.model, call: cut_at, number: 3, sizes: kind.sizes_after },
        seed,
        &mut met,
    );
    life.create_partitions(&mut shard);
    let second = live(shard, resumed, BusyLife { capacity_at_first: None, ..life });
    assert!(second.error.is_none(), "{name}: {:?}", second.error);
    met.on_life(&crashed, &second);
    let lived = Lived { name: &name, disk: &crashed, model: &second.model, from: recovered_at, number: 3 };
    walk(kind, &lived, seed, &mut met);
    met
}

/// A life that is over: where it was lived, from which call on, and what it acknowledged.
struct Lived<'a> {
    name: &'a str,
    disk: &'a FaultDisk,
    model: &'a ShardModel,
    from: usize,
    /// Of the start after it.
    number: u64,
}

/// Every cut of a life, and every cut of some of the recoveries after it.
fn walk(kind: &Kind, lived: &Lived<'_>, seed: u64, met: &mut Met) {
    let &Lived { name, disk, model, from, number } = lived;
    let mut cuts = disk.cuts();
    for call in from..=disk.call_count() {
        let what = format!("{name}, cut at call {call} ({})", disk.describe_call(call));
        let cut = cuts.at(call);
        met.on_cut(&cut.under_way);
        let expected = Expected { model, call, number, sizes: kind.sizes_after };
        walk_cut(&cut, &expected, seed, met, &what);
        if has_straddle(&cut.image(Unflushed::Lost)) {
            met.straddling += 1;
        }
        if call % RECOVERY_CUT_EVERY == (seed as usize) % RECOVERY_CUT_EVERY {
            let crashed = cut.image(Unflushed::Torn(seed));
            started(&crashed, number, kind.sizes_after, &what);
            let expected = Expected { number: number + 1, ..expected };
            walk_recovery(kind, &what, &crashed, &expected, seed, met);
        }
    }
}

/// The cuts of a recovery that ran on `disk`: whatever it left, another one finds the same.
fn walk_recovery(kind: &Kind, name: &str, disk: &FaultDisk, expected: &Expected<'_>, seed: u64, met: &mut Met) {
    let mut cuts = disk.cuts();
    for call in 0..=disk.call_count() {
        let what = format!("{name}, then recovery cut at call {call} ({})", disk.describe_call(call));
        let before = met.images;
        walk_cut(&cuts.at(call), expected, seed + call as u64, met, &what);
        met.recovery_cuts += met.images - before;
        if kind.sizes.journal_file_blocks != kind.sizes_after.journal_file_blocks {
            met.new_rings += met.images - before;
        }
    }
}

/// Found by this walk, one life in some thousand: the entry of a log start before the frame that straddles the recovery point
/// in its segment was dropped, and deleted records came back.
#[test]
fn a_log_start_before_the_frame_that_straddles_the_recovery_point_counts() {
    let stalls = kinds().into_iter().find(|kind| kind.name == "stalls").expect("one of the kinds");
    assert!(walk_life(&stalls, 2202).images > 0);
}

#[test]
fn every_power_cut_of_every_life_leaves_what_was_acknowledged() {
    let wanted = std::env::var("SLUICE_CUT_IMAGES").ok().map(|count| count.parse().expect("SLUICE_CUT_IMAGES is a number"));
    let wanted: usize = wanted.unwrap_or(IMAGES_DEFAULT);
    let begun = std::time::Instant::now();
    let kinds = kinds();
    let mut met = Met::default();
    let mut wave = 0;
    while met.images < wanted {
        // Two lives at a time, whose cuts are walked on two cores; which ones they are depends on nothing but `wave`.
        let walked = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|half| {
                    let kinds = &kinds;
                    let mine = kinds.iter().enumerate().filter(move |(at, _)| at % 2 == half);
                    scope.spawn(move || {
                        mine.map(|(at, kind)| walk_life(kind, 1 + wave * 100 + at as u64)).fold(Met::default(), Met::and)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        for walked in walked {
            match walked {
                Ok(walked) => met = met.and(walked),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        wave += 1;
    }
    println!("{wave} seeds of {} kinds of lives, {:.1} s: {met:?}", kinds.len(), begun.elapsed().as_secs_f64());
    met.assert_all();
}
