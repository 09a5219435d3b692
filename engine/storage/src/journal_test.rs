use super::*;
use crate::commit_group::Entries;
use crate::journal_files::{create_ring, open_ring};
use crate::layout::journal_file;
use crate::testing::executor::{Runner, block_on};
use crate::testing::fault_disk::{FaultDisk, FaultKind};
use crate::testing::frames::{FrameSource, test_partition};
use std::path::Path;

const BLOCK: u64 = BLOCK_LEN as u64;
const DIR: &str = "/j";

fn open(disk: &FaultDisk, file_blocks: u64, file_count: u32, group_len_target: usize) -> Journal<FaultDisk> {
    let geometry = RingGeometry { file_len: file_blocks * BLOCK, file_count };
    block_on(create_ring(disk, Path::new(DIR), geometry)).unwrap();
    let files = block_on(open_ring(disk, Path::new(DIR), geometry)).unwrap();
    let start = JournalStart {
        shard: ShardIndex(1),
        incarnation: Incarnation { number: 5, random: 6 },
        group_len_target,
        files,
        ring: Ring::new(geometry, 0),
        first_sequence: 1,
    };
    Journal::new(disk.clone(), start)
}

fn append(journal: &Journal<FaultDisk>, source: &mut FrameSource, body_len: usize) -> EntryAddress {
    let frame = source.next(1, body_len);
    journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body })
}

fn group_at(disk: &FaultDisk, file: u32, block: u64) -> Option<(GroupHeader, Vec<u8>)> {
    let bytes = &disk.files()[&journal_file(Path::new(DIR), file)];
    let at = usize::try_from(block * BLOCK).unwrap();
    let (header, _) = GroupHeader::parse(&bytes[at..])?;
    let body = at + crate::commit_group::GROUP_HEADER_LEN;
    Some((header, bytes[body..body + header.body_len as usize].to_vec()))
}

#[test]
fn what_is_appended_together_is_committed_together() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 64 * 1024);
    let mut source = FrameSource::new(test_partition(0), 1);
    let addresses: Vec<_> = (0..3).map(|_| append(&journal, &mut source, 1000)).collect();
    assert_eq!(addresses, [0, 1, 2].map(|index| EntryAddress { sequence: 1, index }));
    assert_eq!(journal.queued_len(), 3 * 1108);
    let writes = disk.call_count();
    assert_eq!(block_on(journal.commit_next()).unwrap(), CommittedGroup { sequence: 1, entry_count: 3, len: BLOCK });
    assert_eq!(disk.call_count(), writes + 1, "one group is one write");
    assert_eq!((journal.queued_len(), journal.durable_sequence(), journal.distance()), (0, 1, BLOCK));
    let (header, body) = group_at(&disk, 0, 0).unwrap();
    assert_eq!((header.sequence, header.durable_sequence, header.prev_group_crc), (1, 0, 0));
    assert_eq!(header.incarnation, Incarnation { number: 5, random: 6 });
    assert_eq!(header.body_crc, crc32c::crc32c(&body));
    assert_eq!(Entries::new(&body).filter(Result::is_ok).count(), 3);
}

#[test]
fn groups_name_the_one_before_and_what_is_durable() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 64 * 1024);
    let mut source = FrameSource::new(test_partition(0), 1);
    for _ in 0..3 {
        append(&journal, &mut source, 5000);
        block_on(journal.commit_next()).unwrap();
    }
    let bytes = &disk.files()[&journal_file(Path::new(DIR), 0)];
    let mut previous = 0;
    for (sequence, block) in [(1, 0), (2, 2), (3, 4)] {
        let (header, crc) = GroupHeader::parse(&bytes[block * BLOCK_LEN..]).unwrap();
        assert_eq!((header.sequence, header.durable_sequence, header.prev_group_crc), (sequence, sequence - 1, previous));
        previous = crc;
    }
}

#[test]
fn a_group_is_closed_at_its_target_unless_one_entry_is_larger() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 8192);
    let mut source = FrameSource::new(test_partition(0), 1);
    let sequences: Vec<_> = [3000, 3000, 3000, 40_000, 10].map(|len| append(&journal, &mut source, len).sequence).to_vec();
    assert_eq!(sequences, [1, 1, 2, 3, 4]);
    let lens: Vec<_> = (0..4).map(|_| block_on(journal.commit_next()).unwrap().len / BLOCK).collect();
    assert_eq!(lens, [2, 1, 10, 1]);
    assert_eq!(journal.queued_len(), 0);
    let (_, body) = group_at(&disk, 0, 3).unwrap();
    assert!(matches!(Entries::new(&body).next(), Some(Ok(JournalEntry::Frame { body, .. })) if body.len() == 40_000));
}

#[test]
fn while_a_group_is_in_flight_the_next_one_fills() {
    for seed in 0..20 {
        let disk = FaultDisk::new(seed);
        let journal = open(&disk, 64, 4, 64 * 1024);
        let committed = Rc::new(RefCell::new(Vec::new()));
        let mut runner = Runner::new(seed);
        let (loop_journal, groups) = (journal.clone(), committed.clone());
        runner.spawn(async move {
            loop {
                let group = loop_journal.commit_next().await.unwrap();
                groups.borrow_mut().push(group);
            }
        });
        for partition in 0..3 {
            let journal = journal.clone();
            runner.spawn(async move {
                let mut source = FrameSource::new(test_partition(partition), 1);
                for _ in 0..5 {
                    append(&journal, &mut source, 100);
                    crate::testing::executor::yield_times(1).await;
                }
            });
        }
        assert_eq!(runner.run_until_stalled(), 1, "the commit loop waits for more");
        let groups = committed.borrow();
        assert_eq!(groups.iter().map(|group| group.entry_count).sum::<u32>(), 15, "seed {seed}");
        assert!(groups.iter().map(|group| group.sequence).eq(1..=groups.len() as u64), "seed {seed}");
        assert_eq!(journal.queued_len(), 0);
    }
}

#[test]
fn the_idle_marker_follows_the_last_group_and_never_another() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 64 * 1024);
    assert!(!journal.request_idle_marker(), "there is nothing to mark");
    let mut source = FrameSource::new(test_partition(0), 1);
    append(&journal, &mut source, 10);
    block_on(journal.commit_next()).unwrap();
    assert!(!journal.is_marked());
    assert!(journal.request_idle_marker());
    assert_eq!(block_on(journal.commit_next()).unwrap(), CommittedGroup { sequence: 2, entry_count: 0, len: BLOCK });
    assert!(journal.is_marked() && !journal.request_idle_marker());
    assert_eq!(group_at(&disk, 0, 1).unwrap().0.durable_sequence, 1);
    assert_eq!(append(&journal, &mut source, 10).sequence, 3);
    assert!(journal.request_idle_marker(), "asked for while a group is queued, it comes behind it");
    assert_eq!(block_on(journal.commit_next()).unwrap().entry_count, 1);
    assert_eq!(block_on(journal.commit_next()).unwrap().entry_count, 0);
}

#[test]
fn a_journal_begins_with_a_group_that_says_who_writes_and_holds_nothing() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 64 * 1024);
    block_on(journal.begin()).unwrap();
    assert!(journal.is_marked() && !journal.request_idle_marker(), "nothing stands before it that it could mark");
    assert_eq!((journal.durable_sequence(), journal.distance()), (1, BLOCK));
    let (header, body) = group_at(&disk, 0, 0).unwrap();
    assert_eq!((header.sequence, header.durable_sequence, header.prev_group_crc, header.entry_count), (1, 0, 0, 0));
    assert!(header.incarnation == Incarnation { number: 5, random: 6 } && body.is_empty());
    assert_eq!(append(&journal, &mut FrameSource::new(test_partition(0), 1), 10).sequence, 2);
}

#[test]
fn after_a_failed_write_nothing_is_ever_committed() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 64, 4, 64 * 1024);
    let mut source = FrameSource::new(test_partition(0), 1);
    append(&journal, &mut source, 10);
    disk.fail(FaultKind::Write, 0);
    assert!(block_on(journal.commit_next()).is_err());
    append(&journal, &mut source, 10);
    assert!(block_on(journal.commit_next()).is_err());
    assert!(journal.failed() && !journal.request_idle_marker());
    assert_eq!(journal.durable_sequence(), 0);
}

#[test]
fn buffers_follow_the_groups_and_slack_stays_inside_the_file() {
    let disk = FaultDisk::new(1);
    let journal = open(&disk, 32, 4, 16 * BLOCK_LEN);
    let mut source = FrameSource::new(test_partition(0), 1);
    let mut random = crate::testing::random::Random::new(3);
    let mut written = Vec::new();
    for _ in 0..200 {
        for _ in 0..=random.below(6) {
            append(&journal, &mut source, usize::try_from(random.below(12_000)).unwrap());
        }
        while journal.queued_len() > 0 {
            written.push(block_on(journal.commit_next()).unwrap());
            journal.release(journal.durable_sequence());
        }
    }
    assert!(written.iter().all(|group| group.len <= 16 * BLOCK));
    assert!(written.iter().map(|group| group.sequence).eq(1..=written.len() as u64));
}
