//! The scrubber beside everything else a shard does: it finds what rots, costs no more than that, and says nothing
//! when nothing is wrong.

mod support;

use sluice_model::{Offset, ShardIndex};
use sluice_partition::{FetchRefusal, ProduceRefusal};
use sluice_storage::commit_group::GroupHeader;
use sluice_storage::layout::{Layout, segment_base_offset};
use sluice_storage::scrub_finding::ScrubKind;
use sluice_storage::testing::fault_disk::FaultDisk;
use sluice_storage::testing::random::Random;
use std::path::{Path, PathBuf};
use support::{Setup, TestProducer, TestShard, assignment, id};

fn open(disk: &FaultDisk, setup: Setup) -> TestShard {
    TestShard::open(disk, Setup { scrub_interval_ms: 1000, ..setup })
}

fn append(shard: &mut TestShard, producer: &mut TestProducer, len: usize) {
    let before = producer.next_sequence;
    match shard.append(&producer.frame_of(len), 1) {
        Ok(()) => {}
        Err(ProduceRefusal::Overloaded { .. }) => producer.next_sequence = before,
        Err(other) => panic!("{other}"),
    }
}

fn layout() -> Layout {
    Layout::new(Path::new("/data"))
}

/// The segment files of partition 0, oldest first.
fn segments(disk: &FaultDisk) -> Vec<PathBuf> {
    let dir = layout().partition_dir(id(0));
    disk.files().into_keys().filter(|path| path.parent() == Some(dir.as_path())).collect()
}

#[test]
fn an_untouched_shard_has_no_findings_whatever_goes_on() {
    let (mut passes, mut removed) = (0, 0);
    for seed in 0..60 {
        let disk = FaultDisk::new(seed);
        let mut setup = Setup { seed, tail_budget: 256 * 1024, ..Setup::new(3, 1) };
        setup.assigned[1].settings.retention_bytes = Some(100 * 1024);
        let mut shard = open(&disk, setup);
        let mut random = Random::new(seed);
        let mut producers: Vec<_> = (0..3).map(|partition| TestProducer::new(partition, 5)).collect();
        for _ in 0..150 {
            for _ in 0..random.below(6) {
                let producer = &mut producers[usize::try_from(random.below(3)).expect("small")];
                append(&mut shard, producer, usize::try_from(random.below(20_000)).expect("small"));
            }
            match random.below(8) {
                0 => {
                    let status = shard.partitions.status(id(0)).expect("it is there");
                    let offset = Offset(random.below(status.high_watermark.0 + 1).max(status.log_start_offset.0));
                    shard.partitions.delete_records(id(0), offset, 7).expect("it lies within the log");
                }
                1 => shard.advance_ms(1000),
                2 if random.below(20) == 0 && shard.partitions.contains(id(2)) => {
                    let partitions = shard.partitions.clone();
                    shard.run(async move { partitions.remove(&[id(2)]).await }).expect("it can be removed");
                    producers.truncate(2);
                    producers.push(TestProducer::new(1, 6));
                    removed += 1;
                }
                _ => shard.advance_ms(100),
            }
            shard.completions();
            assert_eq!(shard.partitions.take_scrub_news(), [], "seed {seed}");
        }
        assert!(shard.failures.borrow().is_empty(), "seed {seed}: {:?}", shard.failures.borrow());
        passes += shard.partitions.shard_status().scrub.pass;
    }
    println!("{passes} passes, {removed} partitions removed");
    assert!(passes > 100 && removed > 0, "{passes} {removed}");
}

#[test]
fn rot_in_a_segment_costs_its_frame_and_is_reported_once() {
    let disk = FaultDisk::new(3);
    let mut shard = open(&disk, Setup { tail_budget: 128 * 1024, ..Setup::new(1, 1) });
    let mut producer = TestProducer::new(0, 5);
    for _ in 0..60 {
        append(&mut shard, &mut producer, 5000);
        shard.advance_ms(100);
    }
    shard.advance_ms(3000);
    assert_eq!(shard.partitions.take_scrub_news(), []);
    // Frames of this size lie back to back from the second block on: this is in the third one of the second segment.
    let file = segments(&disk)[1].clone();
    let base = segment_base_offset(file.file_name().and_then(|name| name.to_str()).expect("a name")).expect("a segment").0;
    disk.flip_bit(&file, 4096 + 2 * 5200, 3);
    shard.advance_ms(2000);
    let news = shard.partitions.take_scrub_news();
    let [report] = &news[..] else { panic!("{news:?}") };
    let lost = report.finding.lost.expect("a record is lost");
    assert_eq!((report.finding.file.clone(), lost.from, lost.until), (file.clone(), Offset(base + 2), Offset(base + 3)));
    assert!(matches!(report.finding.kind, ScrubKind::Segment(_)) && !report.is_repaired);
    assert!(matches!(shard.read_all(0, base + 2), Err(FetchRefusal::Damaged { until, .. }) if until == Offset(base + 3)));
    assert_eq!(shard.read_all(0, base + 3).expect("the rest is served").last().expect("records").base_offset, 59);
    assert_eq!(shard.partitions.damaged_ranges(10), (vec![(id(0), lost)], 1));
    shard.advance_ms(5000);
    assert_eq!(shard.partitions.take_scrub_news(), [], "it is news once");
    let status = shard.partitions.shard_status().scrub;
    assert!(status.finding_count == 1 && status.last_ended_ms.is_some() && status.done_len > 200_000, "{status:?}");
    shard.partitions.delete_records(id(0), Offset(base + 40), 9).expect("within the log");
    shard.advance_ms(8000);
    assert!(!segments(&disk).contains(&file), "the segment is gone");
    assert_eq!((shard.partitions.shard_status().scrub.finding_count, shard.partitions.damaged_ranges(10).1), (0, 0));
}

/// It is not refused again when both slots are lost: the spare has heard of it.
#[test]
fn what_a_pass_proved_good_stays_so_in_a_shard_that_is_rebuilt() {
    let disk = FaultDisk::new(6);
    let mut shard = open(&disk, Setup { tail_budget: 128 * 1024, ..Setup::new(1, 1) });
    let mut producer = TestProducer::new(0, 5);
    for _ in 0..60 {
        append(&mut shard, &mut producer, 5000);
        shard.advance_ms(100);
    }
    shard.advance_ms(3000);
    let file = segments(&disk)[1].clone();
    for (is_bad, count) in [(true, 1), (false, 0)] {
        disk.flip_bit(&file, 4096 + 2 * 5200, 3);
        shard.advance_ms(2000);
        assert_eq!(shard.partitions.damaged_ranges(10).1, count, "bad: {is_bad}");
        if is_bad {
            // Partitions come: the spare says what is damaged.
            let (partitions, new) = (shard.partitions.clone(), assignment(1, 1));
            shard.run(async move { partitions.create(vec![new]).await }).expect("there is room");
        }
    }
    shard.advance_ms(3000);
    drop(shard);
    (0..2).for_each(|slot| disk.flip_bit(&layout().checkpoint_slot(ShardIndex(0), slot), 30, 1));
    let restarted = open(&disk, Setup::new(2, 2));
    assert!(restarted.report.rebuilt && restarted.report.damaged.is_empty(), "{}", restarted.report);
}

#[test]
fn a_slot_that_rots_is_written_anew() {
    for slot in 0..2 {
        let disk = FaultDisk::new(4);
        let mut shard = open(&disk, Setup::new(2, 1));
        let mut producer = TestProducer::new(0, 5);
        (0..30).for_each(|_| append(&mut shard, &mut producer, 5000));
        shard.advance_ms(4000);
        assert_eq!(shard.partitions.take_scrub_news(), []);
        let path = layout().checkpoint_slot(ShardIndex(0), slot);
        let before = disk.files();
        disk.flip_bit(&path, 4100, 1);
        shard.advance_ms(2000);
        let news = shard.partitions.take_scrub_news();
        assert!(matches!(&news[..], [one] if one.finding.file == path && one.is_repaired), "{news:?}");
        let other = layout().checkpoint_slot(ShardIndex(0), 1 - slot);
        assert!(disk.files()[&other] == before[&other], "the good slot is left alone");
        shard.advance_ms(2000);
        assert_eq!(shard.partitions.take_scrub_news(), []);
        assert_eq!(shard.partitions.shard_status().scrub.finding_count, 0, "a whole pass has found nothing");
    }
}

#[test]
fn nothing_is_left_to_depend_on_a_group_that_rots() {
    let disk = FaultDisk::new(5);
    let mut shard = open(&disk, Setup::new(2, 1));
    let mut producers: Vec<_> = (0..2).map(|partition| TestProducer::new(partition, 5)).collect();
    shard.advance_ms(1100);
    for producer in &mut producers {
        append(&mut shard, producer, 700);
        shard.settle();
    }
    let full: Vec<_> = (0..2).map(|partition| shard.read_all(partition, 0).expect("all of it")).collect();
    let (path, position, _) = groups(&disk).into_iter().find(|group| group.2.entry_count > 0).expect("a group with entries");
    disk.flip_bit(&path, position + 500, 1);
    let pass = shard.partitions.shard_status().scrub.pass;
    while shard.partitions.shard_status().scrub.pass == pass {
        shard.advance_ms(100);
    }
    let news = shard.partitions.take_scrub_news();
    assert!(matches!(&news[..], [one] if one.finding.file == path && one.is_repaired), "{news:?}");
    assert!(matches!(news[0].finding.kind, ScrubKind::Group { field: "entries", .. }), "{news:?}");
    // Without the journal's help: what rots there costs nothing any more.
    drop(shard);
    let mut restarted = TestShard::open(&disk, Setup::new(2, 2));
    assert!(restarted.report.damaged_groups.is_empty(), "{:?}", restarted.report);
    for (partition, expected) in (0..2).zip(full) {
        assert!(restarted.read_all(partition, 0).expect("all of it") == expected);
    }
}

/// Every group in the ring.
fn groups(disk: &FaultDisk) -> Vec<(PathBuf, u64, GroupHeader)> {
    let mut groups = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.starts_with(layout().journal_dir())) {
        for at in (0..bytes.len()).step_by(4096) {
            if let Some((header, _)) = GroupHeader::parse(&bytes[at..]) {
                groups.push((path.clone(), at as u64, header));
            }
        }
    }
    groups
}
