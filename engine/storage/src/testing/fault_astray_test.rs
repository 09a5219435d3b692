use super::*;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultFile, PowerCut, Unflushed};
use std::collections::BTreeMap;

const BLOCK: u64 = BLOCK_LEN as u64;

async fn file_with(disk: &FaultDisk, name: &str, byte: u8, blocks: usize) -> FaultFile {
    disk.create_dir_all(Path::new("/data")).await.unwrap();
    let file = disk.open(&Path::new("/data").join(name), OpenMode::CreateNew).await.unwrap();
    file.write_at(0, vec![byte; blocks * BLOCK_LEN]).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir(Path::new("/data")).await.unwrap();
    file
}

/// The first byte of each block.
fn blocks(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(BLOCK_LEN).map(|block| block[0]).collect()
}

/// What the device has reported, by file; and how many sectors differ from that.
fn told(disk: &FaultDisk) -> (BTreeMap<String, Vec<u8>>, usize) {
    let told = disk.told_from(0);
    let bad = told.iter().map(|(_, told)| told.bad_sectors.len()).sum();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    (told.into_iter().map(|(path, told)| (name(&path), blocks(&told.bytes))).collect(), bad)
}

#[test]
fn a_write_that_goes_astray_is_told_with_what_it_hit() {
    let (mut nowhere, mut elsewhere, mut same_file) = (0, 0, 0);
    for seed in 0..60 {
        block_on(async {
            let disk = FaultDisk::new(1);
            let a = file_with(&disk, "a", 1, 3).await;
            let b = file_with(&disk, "b", 2, 2).await;
            disk.lead_astray(0, "/a", seed);
            b.write_at(0, vec![2; BLOCK_LEN]).await.unwrap();
            assert_eq!((disk.scar_count(), disk.is_astray_armed()), (0, true), "seed {seed}: that was another file");
            a.write_at(BLOCK, vec![9; BLOCK_LEN]).await.unwrap();
            let files = disk.files();
            let held = ["a", "b"].map(|name| blocks(&files[&Path::new("/data").join(name)]));
            let landed = held.iter().flatten().filter(|&&byte| byte == 9).count();
            assert!(held[0][1] == 1 && landed <= 1, "seed {seed}: {held:?}");
            let (told, bad) = told(&disk);
            assert_eq!(told["a"], [1, 9, 1], "seed {seed}");
            assert!(!told.contains_key("b") || told["b"] == [2, 2], "seed {seed}");
            assert_eq!(bad, 8 * (1 + landed), "seed {seed}");
            nowhere += usize::from(landed == 0);
            elsewhere += usize::from(held[1].contains(&9));
            same_file += usize::from(held[0].contains(&9));
        });
    }
    assert!(nowhere > 8 && elsewhere > 8 && same_file > 8, "{nowhere}, {elsewhere}, {same_file}");
}

#[test]
fn what_is_written_properly_later_is_no_scar_and_a_power_cut_heals_nothing() {
    for seed in 0..30 {
        block_on(async {
            let disk = FaultDisk::new(1);
            let a = file_with(&disk, "a", 1, 3).await;
            file_with(&disk, "b", 2, 2).await;
            disk.lead_astray(0, "/a", seed);
            a.write_at(0, vec![9; BLOCK_LEN]).await.unwrap();
            a.sync().await.unwrap();
            let before = told(&disk);
            let cut = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
            assert_eq!(told(&cut), before, "seed {seed}: it had landed");
            let a = cut.open(Path::new("/data/a"), OpenMode::Existing).await.unwrap();
            a.write_at(0, vec![8; 3 * BLOCK_LEN]).await.unwrap();
            assert!(!told(&cut).0.contains_key("a"), "seed {seed}");
            assert_eq!(cut.told_from(cut.scar_count()), []);
        });
    }
}

#[test]
fn what_is_only_read_and_written_again_stays_a_scar() {
    block_on(async {
        let disk = FaultDisk::new(1);
        let a = file_with(&disk, "a", 1, 3).await;
        disk.lose_write(0, "/a");
        a.write_at(BLOCK, vec![9; BLOCK_LEN]).await.unwrap();
        let before = told(&disk);
        assert_eq!((before.0["a"].clone(), before.1), (vec![1, 9, 1], 8));
        let there = a.read_at(0, 3 * BLOCK_LEN).await.unwrap().to_vec();
        a.write_at(0, there).await.unwrap();
        assert_eq!(told(&disk), before, "nobody has written what ought to stand there");
        a.write_at(0, vec![8; 3 * BLOCK_LEN]).await.unwrap();
        assert_eq!(told(&disk).1, 0);
    });
}

#[test]
fn the_first_byte_that_differs_is_found_in_its_sector() {
    let told = Told { bytes: vec![0; 4096], bad_sectors: vec![512, 2048] };
    assert_eq!(told.first_bad(0, 512), None);
    assert_eq!(told.first_bad(0, 513), Some(512));
    assert_eq!(told.first_bad(600, 700), Some(600));
    assert_eq!(told.first_bad(1024, 4096), Some(2048));
    assert_eq!(told.first_bad(2560, 4096), None);
}
