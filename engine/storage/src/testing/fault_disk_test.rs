use super::*;
use crate::testing::disk_contract;
use crate::testing::executor::block_on;

const BLOCK: u64 = BLOCK_LEN as u64;

fn root() -> PathBuf {
    PathBuf::from("/data")
}

fn block(byte: u8, count: usize) -> Vec<u8> {
    vec![byte; count * BLOCK_LEN]
}

async fn file_with(disk: &FaultDisk, name: &str, bytes: Vec<u8>) -> FaultFile {
    disk.create_dir_all(&root()).await.unwrap();
    let file = disk.open(&root().join(name), OpenMode::CreateNew).await.unwrap();
    file.write_at(0, bytes).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir(&root()).await.unwrap();
    file
}

fn after(disk: &FaultDisk, unflushed: Unflushed) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.crash(PowerCut { call: disk.call_count(), unflushed }).files()
}

#[test]
fn it_keeps_the_contract_of_a_disk() {
    for seed in 0..4 {
        block_on(disk_contract::run_all(&FaultDisk::new(seed), &root().join("contract")));
    }
}

#[test]
fn a_write_is_durable_after_a_sync_and_not_before() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 2)).await;
        file.write_at(BLOCK, block(2, 1)).await.unwrap();
        let path = root().join("f");
        assert_eq!(after(&disk, Unflushed::Lost)[&path], block(1, 2));
        assert_eq!(after(&disk, Unflushed::Kept)[&path], [block(1, 1), block(2, 1)].concat());
        file.sync().await.unwrap();
        assert_eq!(after(&disk, Unflushed::Lost)[&path], [block(1, 1), block(2, 1)].concat());
    });
}

#[test]
fn a_torn_write_leaves_any_subset_of_its_sectors() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 1)).await;
        let write = disk.call_count();
        file.write_at(0, block(2, 1)).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let crashed = disk.crash(PowerCut { call: write, unflushed: Unflushed::Torn(seed) });
            let bytes = crashed.files().remove(&root().join("f")).unwrap();
            let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
            assert!(bytes.chunks(512).all(|sector| sector.iter().all(|&b| b == sector[0])), "a sector is torn");
            seen.insert(sectors);
        }
        assert!(seen.len() > 32, "64 seeds tear in only {} ways", seen.len());
    });
}

#[test]
fn durable_writes_need_no_sync() {
    block_on(async {
        let disk = FaultDisk::new(1);
        file_with(&disk, "f", block(0, 2)).await;
        let file = disk.open(&root().join("f"), OpenMode::DurableWrites).await.unwrap();
        let write = disk.call_count();
        file.write_at(BLOCK, block(3, 1)).await.unwrap();
        let path = root().join("f");
        assert_eq!(after(&disk, Unflushed::Lost)[&path], [block(0, 1), block(3, 1)].concat());
        let during = disk.crash(PowerCut { call: write, unflushed: Unflushed::Lost });
        assert_eq!(during.files()[&path], block(0, 2));
        assert_eq!(file.write_at(2 * BLOCK, block(3, 1)).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn names_are_durable_after_a_sync_of_their_folder() {
    block_on(async {
        let disk = FaultDisk::new(1);
        file_with(&disk, "a", block(1, 1)).await;
        disk.rename(&root().join("a"), &root().join("b")).await.unwrap();
        let new = disk.open(&root().join("c"), OpenMode::CreateNew).await.unwrap();
        new.write_at(0, block(3, 1)).await.unwrap();
        new.sync().await.unwrap();
        let names = |unflushed| after(&disk, unflushed).into_keys().collect::<Vec<_>>();
        assert_eq!(names(Unflushed::Lost), [root().join("a")]);
        assert_eq!(names(Unflushed::Kept), [root().join("b"), root().join("c")]);
        disk.sync_dir(&root()).await.unwrap();
        assert_eq!(names(Unflushed::Lost), [root().join("b"), root().join("c")]);
        disk.remove_file(&root().join("b")).await.unwrap();
        assert_eq!(names(Unflushed::Lost), [root().join("b"), root().join("c")]);
    });
}

#[test]
fn lengths_are_durable_after_a_sync() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 4)).await;
        let path = root().join("f");
        file.truncate(BLOCK).await.unwrap();
        assert_eq!(after(&disk, Unflushed::Lost)[&path].len(), 4 * BLOCK_LEN);
        assert_eq!(after(&disk, Unflushed::Kept)[&path].len(), BLOCK_LEN);
        file.allocate(3 * BLOCK).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(after(&disk, Unflushed::Lost)[&path], [block(1, 1), block(0, 2)].concat());
    });
}

#[test]
fn injected_faults_fail_the_call_they_are_armed_for() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 1)).await;
        disk.fail(FaultKind::Write, 1);
        file.write_at(0, block(2, 1)).await.unwrap();
        assert_eq!(file.write_at(0, block(3, 1)).await.unwrap_err().raw_os_error(), Some(DEVICE_ERROR));
        disk.fail(FaultKind::Read, 0);
        assert!(file.read_at(0, BLOCK_LEN).await.is_err());
        assert!(file.read_at(0, BLOCK_LEN).await.is_ok());
        disk.fail(FaultKind::Sync, 0);
        assert!(file.sync().await.is_err());
        file.sync().await.unwrap();
        assert_eq!(after(&disk, Unflushed::Kept)[&root().join("f")], block(1, 1), "a failed flush loses what it was to flush");
    });
}

#[test]
fn a_full_device_refuses_and_changes_nothing() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 2)).await;
        disk.set_capacity(3 * BLOCK);
        assert_eq!(file.allocate(4 * BLOCK).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.write_at(2 * BLOCK, block(2, 2)).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().await.unwrap(), 2 * BLOCK);
        file.allocate(3 * BLOCK).await.unwrap();
        assert_eq!(disk.free_len(&root()).await.unwrap(), 0);
        disk.remove_file(&root().join("f")).await.unwrap();
        assert_eq!(disk.free_len(&root()).await.unwrap(), 3 * BLOCK);
    });
}

#[test]
fn a_flipped_bit_is_seen_now_and_after_a_cut() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(0, 1)).await;
        disk.flip_bit(&root().join("f"), 700, 3);
        assert_eq!(file.read_at(0, BLOCK_LEN).await.unwrap()[700], 8);
        assert_eq!(after(&disk, Unflushed::Lost)[&root().join("f")][700], 8);
    });
}

#[test]
fn the_same_seed_gives_the_same_image() {
    block_on(async {
        let disk = FaultDisk::new(7);
        let file = file_with(&disk, "f", block(1, 8)).await;
        file.write_at(0, block(2, 8)).await.unwrap();
        assert_eq!(after(&disk, Unflushed::Torn(3)), after(&disk, Unflushed::Torn(3)));
        assert_ne!(after(&disk, Unflushed::Torn(3)), after(&disk, Unflushed::Torn(4)));
    });
}

fn sectors(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.chunks(512).all(|sector| sector.iter().all(|&b| b == sector[0])), "a sector is torn");
    bytes.chunks(512).map(|sector| sector[0]).collect()
}

#[test]
fn a_cut_keeps_calls_wholly_or_not_and_later_ones_without_earlier_ones() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let first = file_with(&disk, "a", block(0, 1)).await;
        let second = file_with(&disk, "b", block(0, 1)).await;
        first.write_at(0, block(1, 1)).await.unwrap();
        second.write_at(0, block(2, 1)).await.unwrap();
        first.write_at(0, block(3, 1)).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let files = after(&disk, Unflushed::Reordered(seed));
            let [a, b] = ["a", "b"].map(|name| sectors(&files[&root().join(name)]));
            assert!([&a, &b].iter().all(|file| file.iter().all(|&sector| sector == file[0])), "seed {seed} keeps half a call");
            seen.insert((a[0], b[0]));
        }
        assert_eq!(seen.len(), 6, "0, 1 or 3 in the one file, 0 or 2 in the other: {seen:?}");
    });
}

#[test]
fn a_failed_write_leaves_some_of_its_start_or_any_sectors() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..64 {
        block_on(async {
            let disk = FaultDisk::new(seed);
            let file = file_with(&disk, "f", block(1, 1)).await;
            disk.fail(FaultKind::Write, 0);
            assert!(file.write_at(0, block(2, 1)).await.is_err());
            let live = sectors(&file.read_at(0, BLOCK_LEN).await.unwrap());
            assert_eq!(sectors(&after(&disk, Unflushed::Kept)[&root().join("f")]), live, "what readers see is what there is");
            seen.insert(live);
        });
    }
    let prefixes = seen.iter().filter(|sectors| sectors.is_sorted_by(|a, b| a >= b)).count();
    assert!(prefixes > 5 && seen.len() - prefixes > 10, "{seen:?}");
}

#[test]
fn a_misdirected_write_lands_elsewhere_and_nowhere_else() {
    let mut other_file = 0;
    for seed in 0..40 {
        block_on(async {
            let disk = FaultDisk::new(1);
            let file = file_with(&disk, "a", block(1, 3)).await;
            file_with(&disk, "b", block(2, 2)).await;
            disk.misdirect(0, seed);
            file.write_at(BLOCK, block(9, 1)).await.unwrap();
            let files = disk.files();
            let [a, b] = ["a", "b"].map(|name| sectors(&files[&root().join(name)]));
            let landed = a.iter().chain(&b).filter(|&&sector| sector == 9).count();
            assert_eq!((a.len(), b.len(), landed), (24, 16, 8), "seed {seed}: all of it, once, and no file is longer");
            assert!(a[8..16].contains(&1), "seed {seed}: it landed where it was meant to");
            other_file += usize::from(b.contains(&9));
            assert_eq!(after(&disk, Unflushed::Lost)[&root().join("a")], block(1, 3), "seed {seed}: it is not flushed");
            file.write_at(BLOCK, block(8, 1)).await.unwrap();
            assert_eq!(sectors(&file.read_at(BLOCK, BLOCK_LEN).await.unwrap()), [8; 8], "the next one arrives");
        });
    }
    assert!((5..35).contains(&other_file), "{other_file} of 40 left their file");
}

#[test]
fn every_kind_of_call_fails_once_or_from_then_on() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let file = file_with(&disk, "f", block(1, 2)).await;
        let path = root().join("f");
        for kind in [
            FaultKind::Open,
            FaultKind::List,
            FaultKind::Allocate,
            FaultKind::Truncate,
            FaultKind::Rename,
            FaultKind::Remove,
            FaultKind::CreateDir,
            FaultKind::Sync,
            FaultKind::Read,
            FaultKind::Write,
        ] {
            for any in [false, true] {
                disk.fail_from(if any { FaultKind::Any } else { kind }, 0);
                for _ in 0..2 {
                    let error = match kind {
                        FaultKind::Open => disk.open(&path, OpenMode::Existing).await.err(),
                        FaultKind::List => disk.read_dir(&root()).await.err(),
                        FaultKind::Allocate => file.allocate(BLOCK).await.err(),
                        FaultKind::Truncate => file.truncate(2 * BLOCK).await.err(),
                        FaultKind::Rename => disk.rename(&path, &path).await.err(),
                        FaultKind::Remove => {
                            drop(disk.open(&root().join("gone"), OpenMode::CreateNew).await);
                            if disk.files().contains_key(&root().join("gone")) {
                                disk.remove_file(&root().join("gone")).await.err()
                            } else {
                                Some(device_error())
                            }
                        }
                        FaultKind::CreateDir => disk.create_dir_all(&root().join("deep/er/still")).await.err(),
                        FaultKind::Sync => disk.sync_dir(&root()).await.err(),
                        FaultKind::Read => file.read_at(0, BLOCK_LEN).await.err(),
                        FaultKind::Write | FaultKind::Any => file.write_at(0, block(1, 1)).await.err(),
                    };
                    assert_eq!(error.and_then(|error| error.raw_os_error()), Some(DEVICE_ERROR), "{kind:?}, any: {any}");
                }
                disk.clear_faults();
            }
        }
        file.read_at(0, BLOCK_LEN).await.expect("the device works again");
    });
}

#[test]
fn an_allocation_without_space_may_leave_a_part() {
    block_on(async {
        let disk = FaultDisk::new(3);
        let file = file_with(&disk, "f", block(1, 2)).await;
        disk.set_capacity(8 * BLOCK);
        disk.set_allocation_leaves_part(true);
        let mut lens = std::collections::BTreeSet::new();
        for _ in 0..40 {
            assert_eq!(file.allocate(20 * BLOCK).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
            lens.insert(file.len().await.unwrap() / BLOCK);
            file.truncate(2 * BLOCK).await.unwrap();
        }
        assert!(lens.len() > 3 && lens.iter().all(|len| (2..=8).contains(len)), "{lens:?}");
    });
}

#[test]
fn a_slow_call_lets_the_others_go_first() {
    let disk = FaultDisk::new(1);
    let file = block_on(file_with(&disk, "f", block(0, 2)));
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut runner = crate::testing::executor::Runner::new(1);
    disk.slow(FaultKind::Sync, 0, 5000);
    let (slow, done) = (file.clone(), order.clone());
    runner.spawn(async move {
        slow.sync().await.unwrap();
        done.borrow_mut().push("the flush");
    });
    let done = order.clone();
    runner.spawn(async move {
        for _ in 0..100 {
            file.write_at(0, block(1, 1)).await.unwrap();
        }
        done.borrow_mut().push("a hundred writes");
    });
    assert_eq!(runner.run_until_stalled(), 0);
    assert_eq!(*order.borrow(), ["a hundred writes", "the flush"]);
}
