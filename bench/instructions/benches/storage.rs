//! Storage under the rules: the tail of a log, the journal's commit groups, reads from memory and from a segment.

use gungraun::prelude::*;
use sluice_instructions::inputs::{BULK, Frame, ONE_OF_1K, Shape, partition, sealed};
use sluice_instructions::memory_disk::MemoryDisk;
use sluice_instructions::shard::{BenchStorage, ready};
use sluice_model::Offset;
use sluice_storage::commit_group::JournalEntry;
use sluice_storage::entry_address::EntryAddress;
use sluice_storage::read_plan::{DiskRead, ReadFrames, ReadPlan};
use std::hint::black_box;

/// Frames taken before counting begins: not as many as make a queue grow with the next one.
const WARM: usize = 11;

/// Storage that has taken some frames and made them durable, with the next ones.
fn storage(shape: Shape, next: usize) -> (BenchStorage, Vec<Frame>) {
    let mut storage = BenchStorage::open(partition(0));
    let mut frames = sealed(partition(0), shape, WARM + next);
    let later = frames.split_off(WARM);
    for frame in &frames {
        storage.append(frame);
        storage.commit();
    }
    (storage, later)
}

fn queued(shape: Shape, count: usize) -> (BenchStorage, Vec<Frame>) {
    let (mut storage, frames) = storage(shape, count);
    frames.iter().for_each(|frame| storage.append(frame));
    (storage, frames)
}

fn on_disk(shape: Shape, count: usize) -> BenchStorage {
    let (mut storage, _) = queued(shape, count);
    storage.commit();
    storage.write_back();
    storage
}

fn disk_read(shape: Shape, count: usize) -> (BenchStorage, DiskRead<MemoryDisk>) {
    let storage = on_disk(shape, count);
    match storage.log.read(Offset::ZERO, 1024 * 1024, storage.log.log_end_offset()) {
        Ok(ReadPlan::Disk(read)) => (storage, read),
        _ => panic!("nothing is left in memory"),
    }
}

// Frames into the tail, their places in a segment given out.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K, 1), setup = storage)]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = storage)]
#[bench::bulk_64k(args = (BULK, 1), setup = storage)]
fn log_append((mut storage, frames): (BenchStorage, Vec<Frame>)) -> (BenchStorage, Vec<Frame>) {
    for (index, frame) in (0..).zip(black_box(&frames)) {
        storage.log.append(&frame.header, &frame.body, EntryAddress { sequence: 1000, index });
    }
    (storage, frames)
}

// Frames into the commit group that fills.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K, 1), setup = storage)]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = storage)]
#[bench::bulk_64k(args = (BULK, 1), setup = storage)]
fn journal_append((storage, frames): (BenchStorage, Vec<Frame>)) -> (BenchStorage, Vec<Frame>) {
    for frame in black_box(&frames) {
        black_box(storage.journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body }));
    }
    (storage, frames)
}

// The group sealed, placed in the ring and given to a disk that copies it.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K, 1), setup = queued)]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = queued)]
fn journal_commit((storage, frames): (BenchStorage, Vec<Frame>)) -> (BenchStorage, Vec<Frame>) {
    black_box(&storage).commit();
    (storage, frames)
}

// From the tail: what a consumer that keeps up asks for, and one that is a little behind.
#[library_benchmark]
#[bench::last_of_many(args = (ONE_OF_1K, 1000), setup = queued)]
fn read_last((storage, frames): (BenchStorage, Vec<Frame>)) -> (BenchStorage, Vec<Frame>, ReadPlan<MemoryDisk>) {
    let end = storage.log.log_end_offset();
    let plan = storage.log.read(black_box(Offset(end.0 - 1)), 1024 * 1024, end).expect("it is there");
    (storage, frames, plan)
}

#[library_benchmark]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = queued)]
fn read_memory((storage, frames): (BenchStorage, Vec<Frame>)) -> (BenchStorage, Vec<Frame>, ReadPlan<MemoryDisk>) {
    let end = storage.log.log_end_offset();
    let plan = storage.log.read(black_box(Offset::ZERO), 1024 * 1024, end).expect("it is there");
    (storage, frames, plan)
}

#[library_benchmark]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = on_disk)]
fn plan_disk_read(storage: BenchStorage) -> (BenchStorage, ReadPlan<MemoryDisk>) {
    let end = storage.log.log_end_offset();
    let plan = storage.log.read(black_box(Offset(20)), 1024 * 1024, end).expect("it is there");
    (storage, plan)
}

// Every frame proved good on the way out.
#[library_benchmark]
#[bench::sixty_four_of_1k(args = (ONE_OF_1K, 64), setup = disk_read)]
#[bench::eight_of_64k(args = (BULK, 8), setup = disk_read)]
fn run_disk_read((storage, read): (BenchStorage, DiskRead<MemoryDisk>)) -> (BenchStorage, ReadFrames) {
    let read = ready(black_box(read).run()).expect("the segment is good");
    (storage, read)
}

library_benchmark_group!(
    name = storage_paths,
    benchmarks = [log_append, journal_append, journal_commit, read_last, read_memory, plan_disk_read, run_disk_read]
);
main!(config = sluice_instructions::counting(); library_benchmark_groups = storage_paths);
