use super::*;
use crate::follower::Follower;
use crate::testing::TestLog;
use sluice_model::frame::LeaderSeal;
use sluice_model::{BrokerId, PartitionIndex};

/// Offsets 0..2 of epoch 1, following broker 1 under epoch 3.
fn follower() -> Follower {
    let mut follower = Follower::new(leader_log().start_of(1));
    follower.on_leader(LeaderEpoch(3), Some(BrokerId(1))).unwrap();
    follower
}

fn leader_log() -> TestLog {
    TestLog::of(&[(1, 2), (1, 1), (2, 2), (3, 1)])
}

impl TestLog {
    fn start_of(mut self, frames: usize) -> crate::FollowerStart {
        self.frames.truncate(frames);
        self.start(1, 0)
    }
}

fn answer(headers: &[FrameHeader]) -> FetchedFrames<'_> {
    FetchedFrames {
        leader_epoch: LeaderEpoch(3),
        fetch_offset: Offset(2),
        headers,
        high_watermark: Offset(5),
        log_start_offset: Offset(0),
    }
}

fn sealed(header: &FrameHeader, base_offset: u64, epoch: u32, prev_header_crc: u32) -> FrameHeader {
    let (base_offset, leader_epoch) = (Offset(base_offset), LeaderEpoch(epoch));
    header.sealed(LeaderSeal { base_offset, leader_epoch, append_time_ms: 0, prev_header_crc })
}

#[test]
fn frames_are_copied_unchanged_and_the_high_watermark_follows() {
    let (mut follower, log) = (follower(), leader_log());
    let mut effects = FollowerEffects::new();
    follower.on_fetched(answer(&log.frames[1..3]), &mut effects).unwrap();
    let expected = [
        FollowerEffect::Append { header: log.frames[1] },
        FollowerEffect::Append { header: log.frames[2] },
        FollowerEffect::HighWatermarkMoved { high_watermark: Offset(5) },
    ];
    assert_eq!(effects, expected);
    assert_eq!(follower.position(), crate::LogPosition::after(&log.frames[2]));
    assert_eq!(follower.flushed(), Offset(2), "until the journal says so");
    assert!(follower.on_local_flush(Offset(5)));
    assert_eq!(follower.flushed(), Offset(5));
}

#[test]
fn golden_table_of_frames_that_are_refused() {
    let log = leader_log();
    let good = log.frames[1];
    let crc = good.prev_header_crc.to_native();
    let mut elsewhere = good;
    elsewhere.partition = 9.into();
    let other = TopicPartition { partition: PartitionIndex(9), ..TopicPartition::default() };
    let epoch = |got| FetchedRefusal::Epoch { got: LeaderEpoch(got), last: Some(LeaderEpoch(1)), leader: LeaderEpoch(3) };
    let rows = [
        (elsewhere, FetchedRefusal::WrongPartition { got: other }),
        (log.frames[0], FetchedRefusal::Gap { got: Offset(0), expected: Offset(2) }),
        (log.frames[2], FetchedRefusal::Gap { got: Offset(3), expected: Offset(2) }),
        (sealed(&good, 2, 0, crc), epoch(0)),
        (sealed(&good, 2, 4, crc), epoch(4)),
        (sealed(&good, 2, 1, crc ^ 1), FetchedRefusal::Unchained { offset: Offset(2), got: crc ^ 1, expected: crc }),
    ];
    for (header, expected) in rows {
        let mut follower = follower();
        let mut effects = FollowerEffects::new();
        assert_eq!(follower.on_fetched(answer(&[header]), &mut effects), Err(expected));
        assert_eq!(follower.log_end_offset(), Offset(2), "{expected}");
        // What came before it is kept.
        let mut follower = self::follower();
        let refused = follower.on_fetched(answer(&[good, header]), &mut effects);
        assert!(refused.is_err() == (header.base_offset() != Offset(3)), "{expected}");
        assert!(follower.log_end_offset() >= Offset(3), "{expected}");
    }
}

#[test]
fn answers_to_another_fetch_or_of_another_leader_are_thrown_away() {
    let log = leader_log();
    let good = answer(&log.frames[1..]);
    let rows = [
        FetchedFrames { leader_epoch: LeaderEpoch(2), ..good },
        FetchedFrames { leader_epoch: LeaderEpoch(4), ..good },
        FetchedFrames { fetch_offset: Offset(0), ..good },
        FetchedFrames { fetch_offset: Offset(3), ..good },
    ];
    for answer in rows {
        let (mut follower, mut effects) = (follower(), FollowerEffects::new());
        assert_eq!(follower.on_fetched(answer, &mut effects), Err(FetchedRefusal::Stale));
        assert_eq!((effects, follower.high_watermark()), (vec![], Offset(0)));
    }
}

#[test]
fn golden_table_of_offsets_that_the_leader_decides() {
    let log = leader_log();
    // (leader's high watermark, log start) with frames up to 5 -> high watermark, log start
    let rows = [
        ((0, 0), Ok((0, 0))),
        ((4, 0), Ok((4, 0))),
        ((9, 0), Ok((5, 0))),
        ((9, 3), Ok((5, 3))),
        ((9, 9), Ok((5, 5))),
        ((3, 4), Err(FetchedRefusal::LogStart { log_start_offset: Offset(4), high_watermark: Offset(3) })),
    ];
    for ((high_watermark, log_start_offset), expected) in rows {
        let mut follower = follower();
        let (high_watermark, log_start_offset) = (Offset(high_watermark), Offset(log_start_offset));
        let answer = FetchedFrames { high_watermark, log_start_offset, ..answer(&log.frames[1..3]) };
        let got = follower.on_fetched(answer, &mut FollowerEffects::new());
        let offsets = (follower.high_watermark(), follower.log_start_offset());
        assert_eq!(got.map(|()| offsets), expected.map(|(hw, start)| (Offset(hw), Offset(start))), "{answer:?}");
        // A leader that knows less takes nothing back.
        if expected.is_ok() {
            let end = follower.log_end_offset();
            let less = FetchedFrames { fetch_offset: end, headers: &[], high_watermark: Offset(0), ..answer };
            let less = FetchedFrames { log_start_offset: Offset(0), ..less };
            follower.on_fetched(less, &mut FollowerEffects::new()).unwrap();
            assert_eq!((follower.high_watermark(), follower.log_start_offset()), offsets);
        }
    }
}

#[test]
fn a_log_that_may_be_short_is_whole_when_it_has_what_was_committed_on_its_disk() {
    let log = leader_log();
    let mut follower = Follower::new(crate::FollowerStart { log_state: LogState::PossiblyShort, ..leader_log().start_of(1) });
    follower.on_leader(LeaderEpoch(3), Some(BrokerId(1))).unwrap();
    follower.on_fetched(answer(&log.frames[1..3]), &mut FollowerEffects::new()).unwrap();
    assert_eq!(follower.log_state(), LogState::PossiblyShort, "not flushed yet");
    follower.on_local_flush(Offset(5));
    let more = FetchedFrames { fetch_offset: Offset(5), headers: &[], ..answer(&[]) };
    follower.on_fetched(more, &mut FollowerEffects::new()).unwrap();
    assert_eq!(follower.log_state(), LogState::Whole);
}
