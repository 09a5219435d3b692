//! What every `Disk` promises, as tests that run over any of them: the fault disk here, direct I/O in the shard.
//!
//! A disk that passes may stand behind storage. Deliberately absent: durability, which only a power cut shows, and
//! a full device, which only some disks can be made to be.

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode};
use sluice_model::limits::BLOCK_LEN;
use std::io;
use std::path::{Path, PathBuf};

const BLOCK: u64 = BLOCK_LEN as u64;

/// Runs every check in a folder that does not exist yet; panics with the rule that is broken.
pub async fn run_all<D: Disk>(disk: &D, folder: &Path) {
    disk.create_dir_all(&folder.join("deep/deeper")).await.expect("a folder is created with those above it");
    disk.create_dir_all(&folder.join("deep/deeper")).await.expect("a folder that exists is no error");
    check_open_modes(disk, folder).await;
    check_bytes(disk, folder).await;
    check_end_of_file(disk, folder).await;
    check_alignment(disk, folder).await;
    check_lengths(disk, folder).await;
    check_durable_writes(disk, folder).await;
    check_names(disk, folder).await;
    check_folders(disk, folder).await;
    check_clones(disk, folder).await;
    check_large(disk, folder).await;
    assert!(disk.free_len(folder).await.expect("free space is known") > 0, "some space is free");
}

async fn create<D: Disk>(disk: &D, path: &Path) -> D::File {
    let opened = disk.open(path, OpenMode::CreateNew).await;
    opened.unwrap_or_else(|error| panic!("creating {} failed: {error}", path.display()))
}

fn block<D: Disk>(disk: &D, byte: u8, count: usize) -> D::Buffer {
    let mut buffer = disk.buffer(count * BLOCK_LEN);
    assert_eq!(buffer.len(), count * BLOCK_LEN, "a buffer has the length asked for");
    assert!(buffer.iter().all(|&b| b == 0), "a new buffer is zeroed");
    buffer.fill(byte);
    buffer
}

async fn assert_bytes<F: DiskFile>(file: &F, position: u64, want: &[(u8, usize)]) {
    let len: usize = want.iter().map(|&(_, count)| count * BLOCK_LEN).sum();
    let got = file.read_at(position, len).await.expect("a read inside the file");
    assert_eq!(got.len(), len, "a read inside the file is whole");
    let mut at = 0;
    for &(byte, count) in want {
        let end = at + count * BLOCK_LEN;
        assert!(
            got[at..end].iter().all(|&b| b == byte),
            "{}: bytes {at}..{end} from {position} are not {byte}",
            file.path().display()
        );
        at = end;
    }
}

fn assert_kind<T>(result: io::Result<T>, kind: io::ErrorKind, rule: &str) {
    match result {
        Ok(_) => panic!("{rule}: it succeeded"),
        Err(error) => assert_eq!(error.kind(), kind, "{rule}: {error}"),
    }
}

async fn check_open_modes<D: Disk>(disk: &D, folder: &Path) {
    let path = folder.join("modes");
    for mode in [OpenMode::Existing, OpenMode::DurableWrites] {
        assert_kind(disk.open(&path, mode).await, io::ErrorKind::NotFound, "opening a file that is missing");
    }
    let file = create(disk, &path).await;
    assert_eq!(file.path(), path, "a file knows its path");
    assert_eq!(file.len().await.expect("length"), 0, "a new file is empty");
    assert_kind(disk.open(&path, OpenMode::CreateNew).await, io::ErrorKind::AlreadyExists, "creating a file that exists");
    disk.open(&path, OpenMode::Existing).await.expect("a file that exists is opened");
    let nowhere = folder.join("missing/file");
    assert_kind(disk.open(&nowhere, OpenMode::CreateNew).await, io::ErrorKind::NotFound, "creating a file in a missing folder");
}

async fn check_bytes<D: Disk>(disk: &D, folder: &Path) {
    let file = create(disk, &folder.join("bytes")).await;
    file.write_at(0, block(disk, 1, 1)).await.expect("write at the start");
    file.write_at(BLOCK, block(disk, 2, 3)).await.expect("write behind it");
    file.write_at(2 * BLOCK, block(disk, 3, 1)).await.expect("write over the middle");
    assert_eq!(file.len().await.expect("length"), 4 * BLOCK, "writes lengthen a file");
    assert_bytes(&file, 0, &[(1, 1), (2, 1), (3, 1), (2, 1)]).await;
    assert_bytes(&file, 2 * BLOCK, &[(3, 1), (2, 1)]).await;
    file.write_at(6 * BLOCK, block(disk, 7, 1)).await.expect("write behind a hole");
    assert_bytes(&file, 4 * BLOCK, &[(0, 2), (7, 1)]).await;
    file.sync().await.expect("sync");
    let again = disk.open(&folder.join("bytes"), OpenMode::Existing).await.expect("opened again");
    assert_bytes(&again, 0, &[(1, 1), (2, 1), (3, 1), (2, 1), (0, 2), (7, 1)]).await;
}

async fn check_end_of_file<D: Disk>(disk: &D, folder: &Path) {
    let file = create(disk, &folder.join("end")).await;
    file.write_at(0, block(disk, 5, 2)).await.expect("write");
    let short = file.read_at(BLOCK, 4 * BLOCK_LEN).await.expect("a read across the end");
    assert_eq!(short.len(), BLOCK_LEN, "a read across the end gives what is there");
    let none = file.read_at(2 * BLOCK, BLOCK_LEN).await.expect("a read at the end");
    assert_eq!(none.len(), 0, "a read at the end gives nothing");
    let beyond = file.read_at(8 * BLOCK, BLOCK_LEN).await.expect("a read beyond the end");
    assert_eq!(beyond.len(), 0, "a read beyond the end gives nothing");
}

async fn check_alignment<D: Disk>(disk: &D, folder: &Path) {
    let file = create(disk, &folder.join("alignment")).await;
    file.write_at(0, block(disk, 1, 2)).await.expect("write");
    let invalid = io::ErrorKind::InvalidInput;
    assert_kind(file.read_at(512, BLOCK_LEN).await, invalid, "reading at an unaligned position");
    assert_kind(file.read_at(0, 100).await, invalid, "reading an unaligned length");
    assert_kind(file.write_at(100, block(disk, 9, 1)).await, invalid, "writing at an unaligned position");
    assert_bytes(&file, 0, &[(1, 2)]).await;
}

async fn check_lengths<D: Disk>(disk: &D, folder: &Path) {
    let file = create(disk, &folder.join("lengths")).await;
    file.write_at(0, block(disk, 4, 1)).await.expect("write");
    file.allocate(8 * BLOCK).await.expect("allocate");
    assert_eq!(file.len().await.expect("length"), 8 * BLOCK, "an allocation lengthens a file");
    assert_bytes(&file, 0, &[(4, 1), (0, 7)]).await;
    file.allocate(2 * BLOCK).await.expect("allocate less");
    assert_eq!(file.len().await.expect("length"), 8 * BLOCK, "an allocation never shortens a file");
    file.write_at(3 * BLOCK, block(disk, 6, 1)).await.expect("write into allocated space");
    assert_eq!(file.len().await.expect("length"), 8 * BLOCK, "a write inside a file keeps its length");
    file.truncate(4 * BLOCK).await.expect("truncate");
    assert_eq!(file.len().await.expect("length"), 4 * BLOCK, "a truncation shortens a file");
    assert_bytes(&file, 0, &[(4, 1), (0, 2), (6, 1)]).await;
    file.truncate(BLOCK).await.expect("truncate again");
    file.allocate(4 * BLOCK).await.expect("allocate again");
    assert_bytes(&file, 0, &[(4, 1), (0, 3)]).await;
    file.sync().await.expect("sync");
}

async fn check_durable_writes<D: Disk>(disk: &D, folder: &Path) {
    let path = folder.join("durable");
    let plain = create(disk, &path).await;
    plain.write_at(0, block(disk, 0, 16)).await.expect("zeroing");
    plain.sync().await.expect("sync");
    disk.sync_dir(folder).await.expect("sync of the folder");
    drop(plain);
    let durable = disk.open(&path, OpenMode::DurableWrites).await.expect("opened for durable writes");
    for round in 0..3u8 {
        for at in 0..4u64 {
            durable.write_at(at * 4 * BLOCK, block(disk, round * 4 + 1, 1 + usize::from(round))).await.expect("durable write");
        }
    }
    assert_bytes(&durable, 0, &[(9, 3), (0, 1), (9, 3), (0, 1)]).await;
    assert_eq!(durable.len().await.expect("length"), 16 * BLOCK, "the size stays fixed");
}

async fn check_names<D: Disk>(disk: &D, folder: &Path) {
    let names = folder.join("names");
    disk.create_dir_all(&names).await.expect("folder");
    for name in ["b", "a", "c"] {
        create(disk, &names.join(name)).await.write_at(0, block(disk, name.as_bytes()[0], 1)).await.expect("write");
    }
    assert_eq!(listed(disk, &names).await, ["a", "b", "c"], "entries are sorted by name");
    let open = disk.open(&names.join("a"), OpenMode::Existing).await.expect("open");
    disk.rename(&names.join("a"), &names.join("d")).await.expect("rename");
    disk.rename(&names.join("b"), &names.join("c")).await.expect("rename over a file");
    assert_eq!(listed(disk, &names).await, ["c", "d"], "a rename replaces");
    assert_bytes(&open, 0, &[(b'a', 1)]).await;
    let replaced = disk.open(&names.join("c"), OpenMode::Existing).await.expect("open");
    assert_bytes(&replaced, 0, &[(b'b', 1)]).await;
    disk.remove_file(&names.join("c")).await.expect("remove");
    assert_bytes(&replaced, 0, &[(b'b', 1)]).await;
    disk.sync_dir(&names).await.expect("sync of the folder");
    assert_eq!(listed(disk, &names).await, ["d"], "a removed name is gone");
    let missing = names.join("missing");
    assert_kind(disk.remove_file(&missing).await, io::ErrorKind::NotFound, "removing a file that is missing");
    assert_kind(disk.rename(&missing, &names.join("x")).await, io::ErrorKind::NotFound, "renaming a file that is missing");
}

async fn listed<D: Disk>(disk: &D, folder: &Path) -> Vec<String> {
    let entries = disk.read_dir(folder).await.expect("entries");
    entries.into_iter().map(|entry| entry.name).collect()
}

async fn check_folders<D: Disk>(disk: &D, folder: &Path) {
    let missing: PathBuf = folder.join("no-such-folder");
    assert_kind(disk.read_dir(&missing).await, io::ErrorKind::NotFound, "listing a folder that is missing");
    let deep = folder.join("deep");
    let entries = disk.read_dir(&deep).await.expect("entries");
    assert_eq!(entries, [DirEntry { name: "deeper".to_owned(), is_dir: true }], "a folder is listed as one");
    assert_kind(disk.remove_dir(&deep).await, io::ErrorKind::DirectoryNotEmpty, "removing a folder that is not empty");
    disk.rename(&deep, &folder.join("moved")).await.expect("a folder is renamed with what is in it");
    disk.remove_dir(&folder.join("moved/deeper")).await.expect("remove an empty folder");
    disk.remove_dir(&folder.join("moved")).await.expect("remove the folder above it");
    assert_kind(disk.remove_dir(&missing).await, io::ErrorKind::NotFound, "removing a folder that is missing");
    disk.sync_dir(folder).await.expect("sync of the folder");
}

async fn check_clones<D: Disk>(disk: &D, folder: &Path) {
    let path = folder.join("clones");
    let file = create(&disk.clone(), &path).await;
    let clone = file.clone();
    clone.write_at(0, block(disk, 8, 1)).await.expect("write through a clone");
    drop(clone);
    assert_bytes(&file, 0, &[(8, 1)]).await;
}

/// Larger than one device request, so that an implementation has to go on after a short one.
async fn check_large<D: Disk>(disk: &D, folder: &Path) {
    let blocks = 2048;
    let file = create(disk, &folder.join("large")).await;
    let mut buffer = disk.buffer(blocks * BLOCK_LEN);
    for (at, piece) in buffer.chunks_mut(BLOCK_LEN).enumerate() {
        piece.fill(u8::try_from(at % 251).expect("below 251"));
    }
    file.write_at(0, buffer).await.expect("large write");
    let got = file.read_at(0, (blocks + 1) * BLOCK_LEN).await.expect("large read");
    assert_eq!(got.len(), blocks * BLOCK_LEN, "a large read is whole");
    for (at, piece) in got.chunks(BLOCK_LEN).enumerate() {
        assert!(piece.iter().all(|&byte| usize::from(byte) == at % 251), "block {at} of a large write differs");
    }
}
