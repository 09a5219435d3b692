use super::*;
use crate::log::tests::{Bench, dir};
use crate::read_plan::ReadPlan;
use crate::read_turns::Turns;
use crate::scrub::tests::scrub_log;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::write_back::{WriteBackKind, WriteBackPlan};
use sluice_model::limits::BLOCK_LEN;

const FRAME_LEN: u64 = 40_100;
/// What one step may read: a piece, what the last frame of it needs, and blocks begun.
const STEP_LEN_MAX: u64 = 2 * INDEX_PIECE_LEN as u64 + FRAME_LEN + 2 * BLOCK_LEN as u64;

/// A segment of which 12 MiB stood there before a restart, and that has ended since.
fn ended(seed: u64) -> Bench {
    let mut bench = Bench::new(seed, 12 << 20);
    for _ in 0..300 {
        bench.append(2, 40_000);
    }
    bench.write_all_and_evict();
    bench.restart();
    assert!(bench.log.plan_index().is_none(), "nothing is read before the segment has ended");
    for _ in 0..30 {
        bench.append(2, 40_000);
    }
    bench
}

/// Bytes that a step has read.
fn read_len<T>(disk: &FaultDisk, step: impl FnOnce() -> T) -> (T, u64) {
    let before = disk.read_len();
    let done = step();
    (done, disk.read_len() - before)
}

fn run(bench: &mut Bench, plan: WriteBackPlan<FaultDisk>) -> u64 {
    let disk = bench.disk.clone();
    let (written, len) = read_len(&disk, || block_on(plan.run()).expect("write-back works"));
    bench.log.on_written_back(written);
    len
}

fn gather(bench: &mut Bench, pieces_max: usize) -> usize {
    let disk = bench.disk.clone();
    let mut pieces = 0;
    while let Some(plan) = bench.log.plan_index().filter(|_| pieces < pieces_max) {
        let (indexed, len) = read_len(&disk, || block_on(plan.run()).expect("the device reads"));
        assert!(len <= STEP_LEN_MAX, "piece {pieces} reads {len} bytes");
        bench.log.on_indexed(indexed);
        pieces += 1;
    }
    pieces
}

#[test]
fn no_step_of_sealing_reads_more_than_a_piece_however_much_is_gathered() {
    for pieces_max in [0, 1, 20, usize::MAX] {
        let mut bench = ended(1);
        let pieces = gather(&mut bench, pieces_max);
        while let Some(plan) = bench.log.plan_write_back(WriteBackKind::Everything) {
            let len = run(&mut bench, plan);
            assert!(len <= STEP_LEN_MAX, "after {pieces} pieces a step of write-back reads {len} bytes");
        }
        bench.flush();
        let sealed = &bench.log.sealed[0];
        let (file, extent) = (sealed.file.clone(), sealed.extent());
        let footer = block_on(file.footer(&extent, &crate::read_turns::Turns::UNPACED)).expect("it has a footer");
        assert_eq!(footer.index.is_partial(), pieces_max != usize::MAX, "after {pieces} pieces");
        if pieces_max == usize::MAX {
            assert!((40..60).contains(&pieces), "{pieces} pieces");
            let handle = block_on(file.open(extent.end_offset)).expect("it opens");
            let epochs = LeaderEpochHistory::default();
            let reading = Reading { turns: &Turns::UNPACED, epochs: &epochs };
            let walked = block_on(file.rebuild_index(handle, &extent, reading)).expect("it can be walked");
            assert_eq!(walked.offsets, footer.index.offsets);
            assert_eq!(
                (walked.frame_count, walked.append_time_ms_max),
                (footer.index.frame_count, footer.index.append_time_ms_max)
            );
        }
        assert_eq!(scrub_log(&mut bench.log, None), [], "after {pieces} pieces");
        bench.restart();
        assert!(bench.read_all(Offset::ZERO, 1 << 20) == bench.bytes_from(0), "after {pieces} pieces");
    }
}

#[test]
fn damage_on_the_way_ends_it_and_costs_nothing_else() {
    for (bad, is_read) in [(30, true), (30, false), (0, true)] {
        let mut bench = ended(2);
        let path = crate::layout::segment_file(&dir(), Offset::ZERO);
        let position = BLOCK_LEN as u64 + bad * FRAME_LEN + 20;
        match is_read {
            true => bench.disk.flip_bit(&path, position, 3),
            false => bench.disk.make_unreadable(&path, position..position + 1),
        }
        let pieces = gather(&mut bench, usize::MAX);
        assert!(pieces < 8 && bench.log.plan_index().is_none(), "{pieces} pieces before the damage at frame {bad}");
        bench.write_all_and_evict();
        bench.restart();
        let end = bench.log.log_end_offset();
        let Ok(ReadPlan::Disk(read)) = bench.log.read(Offset(2 * bad), 100_000, end) else { panic!("it is on disk") };
        let Err(crate::read_plan::DiskReadError::Damaged(damage)) = block_on(read.run()) else {
            panic!("frame {bad} is damaged")
        };
        // An unreadable block takes the frame with it that ends there.
        let from = if is_read || bad == 0 { 2 * bad } else { 2 * bad - 2 };
        assert!((from..=2 * bad).contains(&damage.range.from.0) && damage.range.until == Offset(2 * bad + 2), "{damage}");
        let behind = usize::try_from(bad + 1).expect("small");
        assert!(bench.read_all(Offset(2 * bad + 2), 1 << 20) == bench.bytes_from(behind), "frame {bad}");
    }
}
