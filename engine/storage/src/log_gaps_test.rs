//! Offsets that a log has lost, and says so each time it is restored.

use super::tests::{Bench, dir};
use super::*;

#[test]
fn a_log_without_its_first_segments_begins_where_it_did_behind_a_gap() {
    let mut bench = Bench::new(4, 20_000);
    for _ in 0..30 {
        bench.append(1, 2000);
    }
    bench.write_all_and_evict();
    let mut checkpoint = bench.log.checkpoint(Offset::ZERO);
    let first = checkpoint.sealed.remove(0);
    for (log_start, gap) in [(0, Some(0)), (3, Some(3)), (first.next_offset.0, None)] {
        checkpoint.log_start_offset = Offset(log_start);
        let log = Log::restore(bench.disk.clone(), dir(), &checkpoint, bench.config, bench.memory.clone());
        let gap: Vec<_> = gap.into_iter().map(|from| DamagedRange { from: Offset(from), until: first.next_offset }).collect();
        assert_eq!((log.log_start_offset(), log.damaged()), (Offset(log_start), gap.as_slice()));
    }
}
