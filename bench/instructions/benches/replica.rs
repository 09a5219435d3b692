//! What a leader decides: a batch that arrives, and a group that is durable.

use gungraun::prelude::*;
use sluice_instructions::inputs::{Frame, ONE_OF_1K, partition, produced};
use sluice_model::{BrokerId, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable};
use sluice_replica::{Acks, Effects, InSyncSet, IsrTimes, Leader, LeaderStart, ProduceBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

/// A leader that has taken `appended` batches, all of them durable, with the next ones.
fn leader(next: usize) -> (Leader, Vec<Frame>, Effects) {
    const APPENDED: usize = 8;
    let mut leader = Leader::new(LeaderStart {
        id: partition(0),
        broker: BrokerId(1),
        leader_epoch: LeaderEpoch(1),
        isr: InSyncSet::new(BTreeSet::from([BrokerId(1)])),
        followers: BTreeMap::new(),
        isr_times: IsrTimes::default(),
        min_insync_replicas: 1,
        frame_len_max: 1024 * 1024,
        log_end_offset: Offset::ZERO,
        local_flushed: Offset::ZERO,
        high_watermark: Offset::ZERO,
        last_header_crc: 0,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
    });
    let mut frames = produced(partition(0), ONE_OF_1K, APPENDED + next);
    let later = frames.split_off(APPENDED);
    let mut effects = Effects::with_capacity(1024);
    append(&mut leader, &frames, &mut effects);
    leader.on_local_flush(leader.log_end_offset(), &mut effects);
    effects.clear();
    (leader, later, effects)
}

fn appended(count: usize) -> (Leader, Vec<Frame>, Effects) {
    let (mut leader, frames, mut effects) = leader(count);
    append(&mut leader, &frames, &mut effects);
    effects.clear();
    (leader, frames, effects)
}

fn append(leader: &mut Leader, frames: &[Frame], effects: &mut Effects) {
    for (token, frame) in (0..).zip(frames) {
        let batch = ProduceBatch { header: &frame.header, acks: Acks::All, token };
        leader.on_append(1_800_000_000_000, batch, effects).expect("the batch is taken");
    }
}

#[library_benchmark]
#[bench::one(args = (1), setup = leader)]
#[bench::sixteen(args = (16), setup = leader)]
fn on_append((mut leader, frames, mut effects): (Leader, Vec<Frame>, Effects)) -> (Leader, Vec<Frame>, Effects) {
    append(black_box(&mut leader), black_box(&frames), &mut effects);
    (leader, frames, effects)
}

// The flush that covers as many batches, each of which is answered by it.
#[library_benchmark]
#[bench::one(args = (1), setup = appended)]
#[bench::sixteen(args = (16), setup = appended)]
fn on_local_flush((mut leader, frames, mut effects): (Leader, Vec<Frame>, Effects)) -> (Leader, Vec<Frame>, Effects) {
    leader.on_local_flush(black_box(leader.log_end_offset()), &mut effects);
    (leader, frames, effects)
}

library_benchmark_group!(name = replica, benchmarks = [on_append, on_local_flush]);
main!(config = sluice_instructions::counting(); library_benchmark_groups = replica);
