//! Every bit of slots and journal is flipped, one at a time, and the scrubber finds it.

use super::tests::{scrub_journal, scrub_slot, scrub_slots, small_shard};
use super::*;
use crate::scrub_finding::ScrubKind;
use crate::scrub_journal::JournalScrub;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::random::Random;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use std::ops::Range;
use std::path::PathBuf;

#[test]
fn every_bit_of_both_slots_and_of_the_journal_that_is_needed_is_found() {
    let (mut shard, _) = small_shard(32);
    shard.disk.set_turns_max(0);
    shard.write_back(WriteBackKind::Everything);
    (0..2).for_each(|_| (shard.flush(), shard.checkpoint()).1);
    let mut source = shard.source(test_partition(0), 33);
    for n in 0..3 {
        shard.append(&source.next(2, 300 + 1500 * n));
        shard.commit();
    }
    shard.mark_idle();
    assert_eq!((scrub_slots(&shard), scrub_journal(&shard)), (vec![], vec![]));
    let disk = shard.disk.clone();
    let mut flipped = 0;
    for slot in 0..2 {
        let path = test_layout().checkpoint_slot(TEST_SHARD, slot);
        // One block of header, one of body; what lies behind is left of longer checkpoints.
        for position in 0..2 * BLOCK_LEN as u64 {
            for bit in 0..8 {
                disk.flip_bit(&path, position, bit);
                let findings = scrub_slot(&shard, slot);
                disk.flip_bit(&path, position, bit);
                let found = matches!(&findings[..], [one] if one.file == path && matches!(one.kind, ScrubKind::Slot { .. }));
                assert!(found, "bit {bit} of byte {position} of slot {slot}: {findings:?}");
                flipped += 1;
            }
        }
    }
    let needed = needed_groups(&shard);
    assert!(needed.len() == 4, "{needed:?}");
    for (path, sequence, bytes) in needed {
        for position in bytes {
            for bit in 0..8 {
                disk.flip_bit(&path, position, bit);
                let findings = scrub_journal(&shard);
                disk.flip_bit(&path, position, bit);
                let wanted = |kind: ScrubKind| matches!(kind, ScrubKind::Group { sequence: found, .. } if found == sequence);
                let found = matches!(&findings[..], [one] if one.file == path && wanted(one.kind));
                assert!(found, "bit {bit} of byte {position} of group {sequence}: {findings:?}");
                flipped += 1;
            }
        }
    }
    println!("{flipped} bits of slots and journal, all found");
    assert_eq!((scrub_slots(&shard), scrub_journal(&shard)), (vec![], vec![]));
}

/// Where the groups are that a slot needs, padding included.
fn needed_groups(shard: &TestShard) -> Vec<(PathBuf, u64, Range<u64>)> {
    let needed_from = shard.shard.checkpoints.needed_from_sequence();
    let mut groups = Vec::new();
    for (path, bytes) in shard.disk.files().into_iter().filter(|(path, _)| path.starts_with(test_layout().journal_dir())) {
        for at in (0..bytes.len()).step_by(BLOCK_LEN) {
            if let Some((header, _)) = crate::commit_group::GroupHeader::parse(&bytes[at..])
                && header.sequence >= needed_from
            {
                groups.push((path.clone(), header.sequence, at as u64..(at + header.group_len()) as u64));
            }
        }
    }
    groups
}

#[test]
fn a_journal_that_turns_over_has_no_findings_and_names_every_group_that_rots() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut shard = TestShard::start(&FaultDisk::new(seed), 1, TestSizes::default()).expect("a new shard");
        let mut source = shard.source(test_partition(0), seed);
        let mut scrub = JournalScrub::default();
        for _ in 0..60 {
            let plan = shard.shard.journal.plan_scrub(&mut scrub);
            for _ in 0..random.below(4) {
                shard.append(&source.next(1, usize::try_from(random.below(9000)).expect("small")));
                shard.commit();
                shard.make_room();
            }
            match plan {
                None => scrub = JournalScrub::default(),
                Some(plan) => {
                    let scrubbed = block_on(plan.run());
                    let findings = shard.shard.journal.on_scrubbed(&mut scrub, scrubbed);
                    assert_eq!(findings, [], "seed {seed}");
                }
            }
        }
        let needed = needed_groups(&shard);
        if needed.is_empty() {
            continue;
        }
        let mut bad: Vec<u64> = Vec::new();
        for _ in 0..1 + random.below(3) {
            let (path, sequence, bytes) = &needed[usize::try_from(random.below(needed.len() as u64)).expect("small")];
            if !bad.contains(sequence) {
                let within = if random.coin() { 64 } else { bytes.end - bytes.start };
                shard.disk.flip_bit(path, bytes.start + random.below(within), 5);
                bad.push(*sequence);
            }
        }
        let mut found: Vec<u64> = scrub_journal(&shard)
            .iter()
            .map(|finding| match finding.kind {
                ScrubKind::Group { sequence, .. } => sequence,
                other => panic!("seed {seed}: {other:?}"),
            })
            .collect();
        bad.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, bad, "seed {seed}");
    }
}
