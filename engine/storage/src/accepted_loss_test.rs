use super::*;
use crate::checkpoint::PartitionCheckpoint;
use crate::layout::{journal_file, segment_file};
use crate::read_plan::{ReadPlan, ReadRefusal};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;

fn power_cycled(disk: &FaultDisk) -> FaultDisk {
    disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost })
}

fn start(disk: &FaultDisk, number: u64) -> TestShard {
    TestShard::start(&power_cycled(disk), number, TestSizes::default()).unwrap_or_else(|error| panic!("start {number}: {error}"))
}

fn loss(disk: &FaultDisk) -> ShardLoss {
    block_on(find_loss(disk, &test_layout(), TEST_SHARD)).unwrap().expect("the shard has a checkpoint")
}

/// Twenty frames in several sealed segments, the recovery point behind them; then one only in the journal.
fn filled() -> TestShard {
    let mut shard = TestShard::start(&FaultDisk::new(1), 1, TestSizes::default()).unwrap();
    let mut source = shard.source(test_partition(0), 1);
    for n in 0..21 {
        let frame = source.next(2, 4000);
        shard.append(&frame);
        shard.commit();
        if n == 19 {
            shard.write_back(WriteBackKind::Everything);
            shard.flush();
            shard.checkpoint();
            shard.checkpoint();
        }
        shard.make_room();
    }
    shard
}

#[test]
fn an_accepted_range_is_stepped_over_and_stays_so() {
    let id = test_partition(0);
    let mut shard = filled();
    let end = shard.log(id).log_end_offset();
    let sealed = shard.log(id).checkpoint(Offset::ZERO).sealed;
    let gone: &PartitionCheckpoint = &shard.log(id).checkpoint(Offset::ZERO);
    assert!(gone.sealed.len() > 2);
    let disk = power_cycled(&shard.disk);
    block_on(disk.remove_file(&segment_file(&test_layout().partition_dir(id), sealed[1].base_offset))).unwrap();
    block_on(disk.sync_dir(&test_layout().partition_dir(id))).unwrap();
    let mut shard = start(&disk, 2);
    let range = DamagedRange { from: sealed[1].base_offset, until: sealed[1].next_offset };
    let refused = shard.log(id).read(range.from, 9000, end);
    assert!(matches!(refused, Err(ReadRefusal::Damaged { from, until }) if from == range.from && until == range.until));

    let disk = power_cycled(&shard.disk);
    let found = loss(&disk);
    assert_eq!(found.partitions, [PartitionLoss { id, damaged: vec![range], possibly_short: None, journal_from: None }]);
    block_on(found.accept(&disk, &test_layout())).unwrap();
    assert!(loss(&disk).is_empty(), "there is nothing left to accept");
    let mut disk = disk;
    for number in 3..6 {
        let mut shard = start(&disk, number);
        assert!(shard.report().is_clean(), "start {number}: {}", shard.report());
        assert_eq!(shard.log(id).accepted(), [range]);
        assert!(shard.log(id).damaged().is_empty());
        for offset in [range.from, Offset(range.until.0 - 1)] {
            assert_eq!(shard.log(id).first_offset(offset), range.until);
            let plan = shard.log(id).read(offset, 5000, end).unwrap();
            let read = match plan {
                ReadPlan::Disk(read) => block_on(read.run()).unwrap(),
                ReadPlan::Memory(read) => read,
                ReadPlan::Empty => panic!("there is more behind the range"),
            };
            assert_eq!(read.next_offset, Offset(range.until.0 + 2));
        }
        assert_eq!(shard.read_all(id).len() as u64, (end.0 - (range.until.0 - range.from.0)) / 2);
        disk = shard.disk.clone();
    }
}

#[test]
fn what_is_possibly_short_is_so_until_it_is_accepted() {
    let mut shard = filled();
    let end = shard.log(test_partition(0)).log_end_offset();
    shard.shard.partitions.get_mut(&test_partition(0)).unwrap().log.doubt(end);
    shard.checkpoint();
    let disk = power_cycled(&shard.disk);
    let found = loss(&disk);
    assert_eq!(found.partitions[0].possibly_short, Some(end));
    block_on(found.accept(&disk, &test_layout())).unwrap();
    let shard = start(&disk, 2);
    assert!(shard.report().is_clean() && shard.report().entries_replayed == 1, "{}", shard.report());
}

#[test]
fn a_journal_that_is_missing_can_be_given_up() {
    let id = test_partition(0);
    let mut shard = filled();
    let end = shard.log(id).log_end_offset();
    let disk = power_cycled(&shard.disk);
    block_on(disk.remove_file(&journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 1))).unwrap();
    block_on(disk.sync_dir(&test_layout().shard_journal_dir(TEST_SHARD))).unwrap();
    let error = TestShard::start(&disk, 2, TestSizes::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, RecoveryError::JournalMissing { .. }));
    let found = loss(&disk);
    assert!(found.journal.is_some());
    let from = found.partitions[0].journal_from.expect("the journal had more");
    assert_eq!(from.0 + 2, end.0, "one frame was only in the journal");
    block_on(found.accept(&disk, &test_layout())).unwrap();
    let mut shard = start(&disk, 2);
    assert!(shard.report().is_clean(), "{}", shard.report());
    assert_eq!(shard.log(id).log_end_offset(), from);
    assert_eq!(shard.read_all(id).len() as u64, from.0 / 2);
    let frame = shard.source(id, 3).next(1, 50);
    shard.append(&frame);
    shard.commit();
    assert_eq!(start(&shard.disk, 3).log(id).log_end_offset().0, from.0 + 1, "its new journal is relied on");
}

/// The newest checkpoint has the log as it was before a cut that the journal alone knows of.
#[test]
fn what_a_truncation_has_cut_off_since_is_nothing_to_accept() {
    let id = test_partition(0);
    let mut shard = filled();
    let sealed = shard.log(id).checkpoint(Offset::ZERO).sealed;
    let (low, high) = (sealed[0].base_offset, sealed[sealed.len() - 2].base_offset);
    let (end, below) = (Offset(high.0 + 2), DamagedRange { from: low, until: Offset(low.0 + 2) });
    shard.log(id).quarantine(below);
    shard.log(id).quarantine(DamagedRange { from: high, until: sealed[sealed.len() - 1].next_offset });
    shard.log(id).doubt(sealed[sealed.len() - 1].next_offset);
    (0..2).for_each(|_| shard.checkpoint());
    assert_eq!(shard.truncate(id, end), end);
    let disk = power_cycled(&shard.disk);
    let mut found = loss(&disk);
    let cut = DamagedRange { from: high, until: end };
    let expected = [PartitionLoss { id, damaged: vec![below, cut], possibly_short: None, journal_from: None }];
    assert_eq!(found.partitions, expected);
    found.on_found(id, DamagedRange { from: end, until: Offset(end.0 + 4) });
    assert_eq!(found.partitions, expected, "a look at what is left of its segments finds nothing more");
    block_on(found.accept(&disk, &test_layout())).unwrap();
    let mut shard = start(&disk, 2);
    assert!(shard.report().is_clean(), "{}", shard.report());
    assert_eq!((shard.log(id).accepted().to_vec(), shard.log(id).log_end_offset()), (vec![below, cut], end));
}
