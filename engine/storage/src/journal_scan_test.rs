use super::*;
use crate::commit_group::JournalEntry;
use crate::disk::DiskFile;
use crate::journal::{Journal, JournalStart};
use crate::journal_files::{create_ring, open_ring};
use crate::journal_ring::Ring;
use crate::layout::journal_file;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultFile};
use crate::testing::frames::{FrameSource, test_partition};
use std::path::Path;

const DIR: &str = "/j";
const RING: RingGeometry = RingGeometry { file_len: 8 * BLOCK, file_count: 3 };
const SHARD: ShardIndex = ShardIndex(3);

fn incarnation(number: u64) -> Incarnation {
    Incarnation { number, random: number + 1000 }
}

/// A ring that an incarnation has written groups of these many blocks to, from `first_sequence` in `first_file` on,
/// releasing each at once.
fn write(disk: &FaultDisk, number: u64, first_sequence: u64, first_file: u32, blocks: &[usize]) -> Vec<FaultFile> {
    if block_on(disk.read_dir(Path::new(DIR))).is_err() {
        block_on(create_ring(disk, Path::new(DIR), RING)).unwrap();
    }
    let files = block_on(open_ring(disk, Path::new(DIR), RING)).unwrap();
    let start = JournalStart {
        shard: SHARD,
        incarnation: incarnation(number),
        group_len_target: BLOCK_LEN,
        files: files.clone(),
        ring: Ring::new(RING, first_file),
        first_sequence,
    };
    let journal = Journal::new(disk.clone(), start);
    let mut source = FrameSource::new(test_partition(0), number);
    for blocks in blocks {
        let frame = source.next(1, blocks * BLOCK_LEN - 500);
        journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body });
        let group = block_on(journal.commit_next()).unwrap();
        assert_eq!(group.len, *blocks as u64 * BLOCK);
        journal.release(group.sequence);
    }
    files
}

fn scan(files: &[FaultFile], number: u64, from_sequence: u64) -> JournalScan {
    let wanted = Wanted { shard: SHARD, incarnation: incarnation(number), from_sequence };
    block_on(scan_journal::<FaultDisk>(files, RING, wanted)).unwrap()
}

fn sequences(scan: &JournalScan) -> Vec<u64> {
    scan.groups.iter().map(|group| group.header.sequence).collect()
}

#[test]
fn an_empty_ring_holds_nothing() {
    let files = write(&FaultDisk::new(1), 1, 1, 0, &[]);
    let scan = scan(&files, 1, 1);
    assert_eq!((sequences(&scan), scan.incarnation_number_max), (vec![], 0));
}

#[test]
fn groups_are_found_in_order_however_often_the_ring_went_round() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 1, &[3; 20]);
    let scan = scan(&files, 1, 17);
    assert_eq!(sequences(&scan), [17, 18, 19, 20]);
    assert!(scan.groups.iter().all(|group| group.body_ok));
    assert_eq!(scan.incarnation_number_max, 1);
}

#[test]
fn other_incarnations_and_shards_do_not_count() {
    let disk = FaultDisk::new(1);
    write(&disk, 1, 1, 0, &[1; 20]);
    let files = write(&disk, 2, 21, 0, &[2, 2]);
    assert_eq!(sequences(&scan(&files, 2, 21)), [21, 22]);
    assert_eq!(scan(&files, 2, 21).incarnation_number_max, 2);
    let wanted = Wanted { shard: ShardIndex(9), incarnation: incarnation(2), from_sequence: 1 };
    assert!(block_on(scan_journal::<FaultDisk>(&files, RING, wanted)).unwrap().groups.is_empty());
}

#[test]
fn a_lost_header_does_not_hide_what_follows() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 0, &[2, 3, 1, 2, 2]);
    disk.flip_bit(&journal_file(Path::new(DIR), 0), 2 * BLOCK + 3, 1);
    assert_eq!(sequences(&scan(&files, 1, 1)), [1, 3, 4, 5]);
    disk.flip_bit(&journal_file(Path::new(DIR), 0), 3, 1);
    assert_eq!(sequences(&scan(&files, 1, 1)), [3, 4, 5]);
}

#[test]
fn only_the_last_body_decides_whether_it_counts() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 0, &[2, 2, 2]);
    disk.flip_bit(&journal_file(Path::new(DIR), 0), 4 * BLOCK + 300, 1);
    let found = scan(&files, 1, 1);
    assert_eq!(found.groups.iter().map(|group| group.body_ok).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(named_durable(&found.groups), 2);
}

#[test]
fn a_record_body_that_imitates_a_group_is_not_taken_for_one() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 0, &[1, 4]);
    // A header as an attacker would write it, who knows everything but the random bits, at a block's start.
    let forged = GroupHeader {
        shard: SHARD,
        incarnation: Incarnation { number: 1, random: 7 },
        sequence: 3,
        durable_sequence: 2,
        ..GroupHeader::default()
    };
    let mut block = vec![0; BLOCK_LEN];
    forged.write(block.first_chunk_mut().unwrap());
    block_on(files[0].write_at(2 * BLOCK, block)).unwrap();
    disk.flip_bit(&journal_file(Path::new(DIR), 0), BLOCK + 3, 1);
    assert_eq!(sequences(&scan(&files, 1, 1)), [1], "the real header is lost, so the search looks inside its body");
}

#[test]
fn files_that_cannot_hold_what_is_wanted_are_not_read() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 0, &[4; 6]);
    let header = scan(&files, 1, 1).groups[0].header;
    let firsts: Vec<_> = [1, 3, 5, 7, 9].map(|sequence| Some(GroupHeader { sequence, ..header })).to_vec();
    let wanted = Wanted { shard: SHARD, incarnation: incarnation(1), from_sequence: 6 };
    let read = |firsts: &[Option<GroupHeader>], wanted: Wanted| -> Vec<bool> {
        (0..5).map(|index| can_hold_wanted(firsts, index, wanted)).collect()
    };
    let far = Wanted { from_sequence: 8, ..wanted };
    assert_eq!(read(&firsts, far), [true, false, true, true, true], "the first comes after the newest");
    assert_eq!(read(&firsts, wanted), [true; 5], "5 alone does not say that all behind 3 is over: it may have landed there");
    let newer = Wanted { incarnation: incarnation(2), ..wanted };
    let begins = [true, false, false, false, false];
    assert_eq!(read(&firsts, newer), begins, "all of an older incarnation: only where the newer one begins");
    assert!(can_hold_wanted(&[None, None, None], 1, wanted), "an unreadable start tells nothing");

    // The ring went round: 11 and 13 over 1 and 3, and the write of 11 never arrived.
    let (first, second) = (Some(GroupHeader { sequence: 11, ..header }), Some(GroupHeader { sequence: 13, ..header }));
    let mut round = firsts.clone();
    (round[0], round[1]) = (first, second);
    let late = Wanted { from_sequence: 12, ..wanted };
    assert_eq!(read(&round, late), [true, true, true, false, true]);
    round[0] = firsts[0];
    assert!(read(&round, late)[0], "it stands between newer ones");

    // A second incarnation begins in file 3, at 11, and its first write never arrived.
    let of_second = |sequence| Some(GroupHeader { sequence, incarnation: incarnation(2), ..header });
    let mut begun = firsts.clone();
    begun[4] = of_second(13);
    let wanted = Wanted { incarnation: incarnation(2), from_sequence: 11, ..wanted };
    assert_eq!(read(&begun, wanted), [true, false, false, true, true]);
    begun[3] = of_second(11);
    assert_eq!(read(&begun, wanted), [true, false, false, true, true], "it did, and so nothing before it is read");
}

#[test]
fn a_first_write_that_never_arrived_does_not_hide_what_follows_it_in_its_file() {
    for from_sequence in [1, 3] {
        let disk = FaultDisk::new(1);
        let files = write(&disk, 1, 1, 0, &[4; 6]);
        let path = crate::layout::journal_file(Path::new(DIR), 0);
        let old = disk.files()[&path].clone();
        let round = write(&disk, 2, 7, 0, &[4; 2]);
        // Group 7 went elsewhere: the file begins with group 1 of the first incarnation again.
        block_on(round[0].write_at(0, old[..4 * BLOCK_LEN].to_vec())).unwrap();
        assert_eq!(sequences(&scan(&files, 2, from_sequence)), [8]);
    }
}

#[test]
fn a_group_that_lands_at_the_beginning_of_another_file_hides_none() {
    for file in [0, 2] {
        let disk = FaultDisk::new(1);
        let files = write(&disk, 1, 1, 0, &[4, 4, 4, 2, 2]);
        let held = disk.files()[&journal_file(Path::new(DIR), 1)].clone();
        // Group 4 went there, and where it was to go there is nothing.
        block_on(files[file].write_at(0, held[4 * BLOCK_LEN..6 * BLOCK_LEN].to_vec())).unwrap();
        block_on(files[1].write_at(4 * BLOCK, vec![0; 2 * BLOCK_LEN])).unwrap();
        assert_eq!(sequences(&scan(&files, 1, 5)), [5], "it landed in file {file}");
        assert_eq!(sequences(&scan(&files, 1, 3)), [3, 4, 5], "it landed in file {file}");
    }
}

#[test]
fn a_first_group_that_lands_in_another_file_does_not_hide_what_follows_it_in_its_own() {
    let disk = FaultDisk::new(1);
    write(&disk, 1, 1, 1, &[4; 6]);
    let old = disk.files()[&journal_file(Path::new(DIR), 1)].clone();
    let files = write(&disk, 2, 7, 1, &[2, 2]);
    let held = disk.files()[&journal_file(Path::new(DIR), 1)].clone();
    // Group 7 went to the file behind its own, which begins with group 1 of the first incarnation again.
    block_on(files[1].write_at(0, old[..2 * BLOCK_LEN].to_vec())).unwrap();
    block_on(files[2].write_at(0, held[..2 * BLOCK_LEN].to_vec())).unwrap();
    assert_eq!(sequences(&scan(&files, 2, 7)), [7, 8]);
}

#[test]
fn a_group_of_an_earlier_round_does_not_hide_what_was_written_behind_it() {
    let disk = FaultDisk::new(1);
    let files = write(&disk, 1, 1, 0, &[2, 4, 2, 8, 8]);
    let path = journal_file(Path::new(DIR), 0);
    let old = disk.files()[&path].clone();
    let journal = write(&disk, 1, 6, 0, &[2, 2, 2]);
    assert_eq!(sequences(&scan(&files, 1, 6)), [6, 7, 8]);
    // Group 7 went elsewhere: where it was to go stands group 2 of four blocks, in whose third one group 8 begins.
    block_on(journal[0].write_at(2 * BLOCK, old[2 * BLOCK_LEN..4 * BLOCK_LEN].to_vec())).unwrap();
    assert_eq!(sequences(&scan(&files, 1, 6)), [6, 8]);
}

#[test]
fn a_group_that_stands_too_far_back_does_not_hide_the_next_one() {
    for missed_by in 1..3 {
        let disk = FaultDisk::new(1);
        let files = write(&disk, 1, 1, 0, &[1, 3, 2, 1]);
        let path = journal_file(Path::new(DIR), 0);
        let held = disk.files()[&path].clone();
        // Group 2 went some blocks too far, where group 3 was written over its end, and 4 behind that.
        let (from, until) = ((1 + missed_by) * BLOCK_LEN, 4 * BLOCK_LEN);
        let gone = vec![0; missed_by * BLOCK_LEN];
        block_on(files[0].write_at(BLOCK, [&gone, &held[BLOCK_LEN..BLOCK_LEN + until - from]].concat())).unwrap();
        let found = scan(&files, 1, 1);
        assert_eq!(sequences(&found), [1, 2, 3, 4], "missed by {missed_by} blocks");
        assert_eq!(found.groups[1].placement.position, from as u64);
        assert_eq!(found.groups[2].placement.position, until as u64);
    }
}
