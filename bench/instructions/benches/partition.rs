//! The whole path of a produce and of a fetch within one shard, sockets left out: checks, offsets, tail, commit group,
//! a write that is a copy, answers; and frames out of memory.

use gungraun::prelude::*;
use sluice_instructions::inputs::{BULK, HUNDRED_OF_100, ONE_OF_1K, Shape, partition, produced};
use sluice_instructions::memory_disk::MemoryDisk;
use sluice_instructions::shard::BenchShard;
use sluice_model::Offset;
use sluice_partition::Fetched;
use std::hint::black_box;

/// Batches that every partition has taken before counting begins: not as many as make a queue grow with the next one.
const WARM: usize = 11;

/// A shard of `partitions` partitions that has answered some batches of each, with `rounds` further ones of each of the
/// first `busy`.
fn shard(partitions: u32, busy: u32, rounds: usize, shape: Shape) -> (BenchShard, Vec<Vec<u8>>) {
    let mut shard = BenchShard::open(partitions);
    let frames: Vec<Vec<Vec<u8>>> = (0..busy)
        .map(|index| produced(partition(index), shape, WARM + rounds).iter().map(|frame| frame.bytes().to_vec()).collect())
        .collect();
    for round in 0..WARM {
        frames.iter().for_each(|frames| shard.append(&frames[round], 0));
        assert_eq!(shard.commit(), busy as usize, "every batch is answered");
    }
    let later = (WARM..WARM + rounds).flat_map(|round| frames.iter().map(move |frames| frames[round].clone()));
    (shard, later.collect())
}

fn fetched_from(rounds: usize) -> BenchShard {
    let (mut shard, frames) = shard(1000, 1, rounds, ONE_OF_1K);
    frames.iter().for_each(|frame| shard.append(frame, 0));
    shard.commit();
    shard
}

// From the frame's arrival to its answer.
#[library_benchmark]
#[bench::one_of_1k(args = (1, 1, 1, ONE_OF_1K), setup = shard)]
#[bench::one_of_1k_beside_1000(args = (1000, 1, 1, ONE_OF_1K), setup = shard)]
#[bench::one_of_1k_to_each_of_64(args = (64, 64, 1, ONE_OF_1K), setup = shard)]
#[bench::sixteen_of_1k(args = (1, 1, 16, ONE_OF_1K), setup = shard)]
#[bench::hundred_of_100(args = (1, 1, 1, HUNDRED_OF_100), setup = shard)]
#[bench::bulk_64k(args = (1, 1, 1, BULK), setup = shard)]
fn produce((mut shard, frames): (BenchShard, Vec<Vec<u8>>)) -> (BenchShard, Vec<Vec<u8>>) {
    for (token, frame) in (0..).zip(black_box(&frames)) {
        shard.append(frame, token);
    }
    assert_eq!(shard.commit(), frames.len());
    (shard, frames)
}

// The newest frame, beside 1000 partitions.
#[library_benchmark]
#[bench::newest(args = (64), setup = fetched_from)]
fn fetch_newest(shard: BenchShard) -> (BenchShard, Fetched<MemoryDisk>) {
    let fetched = shard.partitions.fetch(partition(0), black_box(Offset(WARM as u64 + 63)), 1024 * 1024);
    (shard, fetched.expect("it is there"))
}

#[library_benchmark]
#[bench::sixty_four_of_1k(args = (64), setup = fetched_from)]
fn fetch_many(shard: BenchShard) -> (BenchShard, Fetched<MemoryDisk>) {
    let fetched = shard.partitions.fetch(partition(0), black_box(Offset(0)), 1024 * 1024);
    (shard, fetched.expect("it is there"))
}

// Nothing new: what a parked fetch costs, and taking it back.
#[library_benchmark]
#[bench::nothing_new(args = (64), setup = fetched_from)]
fn fetch_and_watch(shard: BenchShard) -> BenchShard {
    let fetched = shard.partitions.fetch(partition(0), black_box(Offset(WARM as u64 + 64)), 1024 * 1024);
    black_box(fetched.is_ok());
    shard.partitions.watch(7, &[partition(0)]);
    shard.partitions.unwatch(7, &[partition(0)]);
    shard
}

library_benchmark_group!(name = partition_paths, benchmarks = [produce, fetch_newest, fetch_many, fetch_and_watch]);
main!(config = sluice_instructions::counting(); library_benchmark_groups = partition_paths);
