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
