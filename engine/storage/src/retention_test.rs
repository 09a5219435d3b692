use super::*;
use crate::batch_cache::TailMemory;
use crate::checkpoint::{PartitionCheckpoint, RecoveryPoint, SealedSegmentInfo};
use crate::layout::segment_file;
use crate::log::LogConfig;
use crate::log::tests::{Bench, dir};
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use sluice_model::{LeaderEpochHistory, PlacementEpoch, ProducerTable};

/// A log of sealed segments of 10 offsets and 1000 bytes each, with these greatest append times.
fn log(append_times: &[i64]) -> Log<FaultDisk> {
    let count = append_times.len() as u64;
    let info = |n: u64, append_time_ms_max| SealedSegmentInfo {
        base_offset: Offset(n * 10),
        next_offset: Offset(n * 10 + 10),
        file_len: 1000,
        last_header_crc: 0,
        append_time_ms_max,
        timestamp_ms_max: 0,
        has_footer: true,
    };
    let point = RecoveryPoint { offset: Offset(count * 10), segment_base: Offset(count * 10), ..RecoveryPoint::default() };
    let checkpoint = PartitionCheckpoint {
        id: test_partition(1),
        placement_epoch: PlacementEpoch(1),
        log_start_offset: Offset::ZERO,
        high_watermark: Offset(count * 10),
        recovery_point: point,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
        sealed: (0..count).zip(append_times).map(|(n, &time)| info(n, time)).collect(),
        damaged: Vec::new(),
        accepted: Vec::new(),
        possibly_short: None,
    };
    Log::restore(FaultDisk::new(1), PathBuf::from("/d"), &checkpoint, LogConfig::default(), TailMemory::new(0))
}

#[test]
fn by_age_a_segment_is_as_old_as_the_smallest_time_from_it_to_the_end() {
    let table: &[(&[i64], i64, Option<u64>)] = &[
        (&[100, 200, 300], 100, None),
        (&[100, 200, 300], 101, Some(10)),
        (&[100, 200, 300], 201, Some(20)),
        (&[100, 200, 300], 1000, Some(30)),
        // A clock that ran an hour ahead once: the sane segment behind it heals it.
        (&[9000, 200, 300], 250, Some(20)),
        (&[100, 9000, 300], 250, Some(10)),
        (&[100, 9000, 300], 301, Some(30)),
        // Nothing behind it yet.
        (&[100, 200, 9000], 301, Some(20)),
        (&[], 1000, None),
    ];
    for (times, before_ms, wanted) in table {
        let start = log(times).retention_log_start(None, Some(*before_ms));
        assert_eq!(start, wanted.map(Offset), "{times:?} before {before_ms}");
    }
}

#[test]
fn by_bytes_at_least_so_many_are_kept() {
    let table =
        [(0, Some(40)), (999, Some(30)), (1000, Some(30)), (1001, Some(20)), (3000, Some(10)), (3001, None), (9000, None)];
    for (bytes, wanted) in table {
        assert_eq!(log(&[1, 2, 3, 4]).retention_log_start(Some(bytes), None), wanted.map(Offset), "{bytes} bytes");
    }
    assert_eq!(
        log(&[1, 2, 3, 4]).retention_log_start(Some(2500), Some(4)),
        Some(Offset(30)),
        "the rule that deletes more counts"
    );
}

#[test]
fn segments_wholly_below_the_log_start_are_removed() {
    let mut log = log(&[1, 2, 3]);
    log.set_log_start(Offset(9));
    assert!(log.plan_remove_segments().is_empty());
    log.set_log_start(Offset(25));
    log.set_log_start(Offset(5));
    assert_eq!(log.log_start_offset(), Offset(25), "it never moves back");
    let names: Vec<PathBuf> = [0, 10].map(|base| crate::layout::segment_file(&PathBuf::from("/d"), Offset(base))).into();
    assert_eq!(log.plan_remove_segments(), names);
    assert!(log.plan_remove_segments().is_empty());
    assert_eq!(log.checkpoint(Offset(30)).sealed.len(), 1);
    assert_eq!(log.retention_log_start(None, Some(1000)), Some(Offset(30)));
}

/// A start leaves what stood in a segment unread, and its footer is written later: of frames that cannot be read by then nobody
/// knows how old they are, and no segment before them is older for it.
#[test]
fn a_segment_that_cannot_be_read_hastens_no_deletion() {
    let mut bench = Bench::new(9, 16 * 1024);
    (0..20).for_each(|_| bench.append(1, 1000));
    bench.write_all_and_evict();
    let base = bench.log.open[0].base_offset;
    assert!(base > Offset::ZERO && bench.log.sealed.len() == 1, "one segment is sealed, another one begun");
    bench.restart();
    let path = segment_file(&dir(), base);
    let len = bench.disk.files()[&path].len();
    (0..len).step_by(512).for_each(|position| bench.disk.flip_bit(&path, position as u64, 3));
    // Too large for what is left of it.
    bench.append(1, 12_000);
    bench.write_all_and_evict();
    assert_eq!(bench.log.sealed.len(), 2);
    let oldest = bench.log.sealed[0].info.append_time_ms_max;
    assert_eq!(bench.log.retention_log_start(None, Some(oldest)), None);
    assert_eq!(bench.log.retention_log_start(None, Some(oldest + 1)), Some(base));
    assert_eq!(bench.log.retention_log_start(None, Some(199)), Some(base), "the youngest record has time 200");
    assert_eq!(bench.log.retention_log_start(None, Some(201)), Some(Offset(20)));
}
