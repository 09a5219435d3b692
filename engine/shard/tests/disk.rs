//! The direct disk keeps the rules of every disk, and chooses between inline and ring as it says.

mod common;

use std::io;
use std::path::Path;

use common::{folder, on_shard};
use sluice_model::limits::BLOCK_LEN;
use sluice_shard::{DirectDisk, DirectFile, FolderProblem, Shard};
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use sluice_storage::testing::disk_contract;

const BLOCK: u64 = BLOCK_LEN as u64;
/// Of a write that is too large to be written inline.
const LARGE_BLOCKS: usize = 48;

/// A file of zeros, flushed, open for durable writes.
async fn durable_file(shard: &Shard, path: &Path, len: usize) -> DirectFile {
    let disk = shard.disk();
    let plain = disk.open(path, OpenMode::CreateNew).await.expect("create");
    plain.write_at(0, disk.buffer(len)).await.expect("zeros");
    plain.sync().await.expect("sync");
    disk.open(path, OpenMode::DurableWrites).await.expect("open")
}

#[test]
fn it_keeps_the_rules_of_every_disk() {
    let folder = folder();
    let path = folder.path().join("contract");
    on_shard(move |shard| async move { disk_contract::run_all(&shard.disk(), &path).await });
}

#[test]
fn small_durable_writes_go_inline_and_large_ones_through_the_ring() {
    let folder = folder();
    let path = folder.path().join("journal");
    let counters = on_shard(move |shard| async move {
        let disk = shard.disk();
        let file = durable_file(&shard, &path, 64 * BLOCK_LEN).await;
        let small_before = shard.metrics().snapshot();
        let mut small = disk.buffer(BLOCK_LEN);
        small.fill(1);
        file.write_at(0, small).await.expect("small");
        let mut large = disk.buffer(LARGE_BLOCKS * BLOCK_LEN);
        large.fill(2);
        file.write_at(BLOCK, large).await.expect("large");
        let read = file.read_at(0, (LARGE_BLOCKS + 2) * BLOCK_LEN).await.expect("read");
        assert!(read[..BLOCK_LEN].iter().all(|byte| *byte == 1));
        assert!(read[BLOCK_LEN..(LARGE_BLOCKS + 1) * BLOCK_LEN].iter().all(|byte| *byte == 2));
        assert!(read[(LARGE_BLOCKS + 1) * BLOCK_LEN..].iter().all(|byte| *byte == 0));
        assert_eq!(small_before.inline_writes, 0);
        shard.metrics().snapshot()
    });
    assert_eq!((counters.inline_writes, counters.durable_ring_writes, counters.bulk_writes), (1, 1, 1));
}

#[test]
fn a_small_durable_write_behind_one_in_the_ring_follows_it_there() {
    let folder = folder();
    let path = folder.path().join("journal");
    let counters = on_shard(move |shard| async move {
        let disk = shard.disk();
        let file = durable_file(&shard, &path, 512 * BLOCK_LEN).await;
        let (done, is_done) = async_channel::bounded(1);
        let (writer, large) = (file.clone(), disk.buffer(256 * BLOCK_LEN));
        shard.spawn(sluice_shard::Queue::Background, async move {
            writer.write_at(0, large).await.expect("large");
            done.send(()).await.expect("the test waits");
        });
        shard.yield_now().await;
        assert_eq!(shard.metrics().snapshot().durable_ring_writes, 1, "the large write is under way");
        file.write_at(400 * BLOCK, disk.buffer(BLOCK_LEN)).await.expect("small");
        is_done.recv().await.expect("the large write ends");
        shard.metrics().snapshot()
    });
    assert_eq!((counters.inline_writes, counters.durable_ring_writes), (0, 2));
}

#[test]
fn a_dropped_write_keeps_its_buffer_until_the_device_is_done_with_it() {
    let folder = folder();
    let path = folder.path().join("dropped");
    on_shard(move |shard| async move {
        let disk = shard.disk();
        let file = disk.open(&path, OpenMode::CreateNew).await.expect("create");
        file.allocate(1024 * BLOCK).await.expect("allocate");
        for round in 0..50_u64 {
            let mut buffer = disk.buffer(16 * BLOCK_LEN);
            buffer.fill(7);
            {
                let mut write = Box::pin(file.write_at(round * 16 * BLOCK, buffer));
                let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                if round % 2 == 0 {
                    shard.sleep(std::time::Duration::from_micros(1)).await;
                }
            }
            // Memory the device may still read must not be handed out again.
            let mut other = disk.buffer(16 * BLOCK_LEN);
            other.fill(9);
        }
        shard.sleep(std::time::Duration::from_millis(50)).await;
        let read = file.read_at(0, 800 * BLOCK_LEN).await.expect("read");
        assert!(read.iter().all(|byte| *byte == 7 || *byte == 0), "a block holds what nobody wrote there");
    });
}

#[test]
fn a_buffer_that_was_read_may_be_changed_and_written() {
    let folder = folder();
    let path = folder.path().join("changed");
    on_shard(move |shard| async move {
        let disk = shard.disk();
        let file = disk.open(&path, OpenMode::CreateNew).await.expect("create");
        file.write_at(0, disk.buffer(2 * BLOCK_LEN)).await.expect("write");
        let mut read = file.read_at(0, 2 * BLOCK_LEN).await.expect("read");
        read[5000] = 42;
        file.write_at(0, read).await.expect("write");
        let unchanged = file.read_at(0, 2 * BLOCK_LEN).await.expect("read");
        file.write_at(2 * BLOCK, unchanged).await.expect("write");
        let read = file.read_at(2 * BLOCK, 2 * BLOCK_LEN).await.expect("read");
        assert_eq!((read[4999], read[5000]), (0, 42));
        assert_eq!(file.read_at(100 * BLOCK, BLOCK_LEN).await.expect("read").len(), 0);
    });
}

#[test]
fn an_allocation_that_cannot_be_had_changes_nothing() {
    let folder = folder();
    let path = folder.path().join("full");
    on_shard(move |shard| async move {
        let disk = shard.disk();
        let file = disk.open(&path, OpenMode::CreateNew).await.expect("create");
        file.write_at(0, disk.buffer(BLOCK_LEN)).await.expect("write");
        let error = file.allocate(1 << 50).await.expect_err("a petabyte");
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert_eq!(file.len().await.expect("length"), BLOCK);
    });
}

#[test]
fn nothing_of_a_probe_is_seen_or_left_and_a_leftover_does_not_disturb() {
    let folder = folder();
    let root = folder.path().to_path_buf();
    on_shard(move |shard| async move {
        let disk = shard.disk();
        let inside = root.join("inside");
        disk.create_dir_all(&inside).await.expect("folder");
        std::fs::write(inside.join(".direct-io-probe-1-1"), "left by a crash").expect("leftover");
        drop(disk.open(&inside.join("a"), OpenMode::CreateNew).await.expect("create"));
        let names: Vec<String> = disk.read_dir(&inside).await.expect("list").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a"]);
        disk.remove_file(&inside.join("a")).await.expect("remove");
        disk.remove_dir(&inside).await.expect("a folder with only a leftover is empty");
    });
}

#[test]
fn a_folder_in_memory_is_refused() {
    let memory = Path::new("/dev/shm");
    match DirectDisk::check_folder(memory) {
        Err(FolderProblem::InMemory { file_system, .. }) => assert_eq!(file_system, "tmpfs"),
        other => panic!("this test needs a tmpfs at /dev/shm: {other:?}"),
    }
    let error = on_shard(|shard| async move {
        let disk = shard.disk();
        disk.open(&Path::new("/dev/shm").join("sluice-test"), OpenMode::CreateNew).await.map(|_| ()).expect_err("tmpfs")
    });
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_good_folder_is_left_as_it_was() {
    let folder = folder();
    DirectDisk::check_folder(folder.path()).expect("a good folder");
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
}
