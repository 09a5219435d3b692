use super::*;
use crate::effect::Acks;
use crate::testing::{TestLog, acknowledged, fetch, incarnation, produce};

fn flush(flushed: u64) -> FollowerFlush {
    FollowerFlush { broker: BrokerId(2), incarnation: incarnation(1), leader_epoch: LeaderEpoch(1), flushed: Offset(flushed) }
}

/// Two of four records were fetched, none is flushed by broker 2.
fn leader() -> Leader {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2], &[1, 2], 2);
    (0..4).for_each(|token| assert_eq!(produce(&mut leader, &mut log, Acks::All, token), []));
    leader.on_local_flush(Offset(4), &mut Effects::new());
    let place = log.boundaries().nth(2).unwrap();
    leader.on_follower_fetch(0, &fetch(2, 1, place, 0), log.look_up(Offset(2)), &mut Effects::new()).unwrap();
    leader
}

#[test]
fn golden_table() {
    let beyond = |flushed: u64| Err(FollowerRefusal::FlushedBeyond { flushed: Offset(flushed), end: Offset(2) });
    let current = LeaderEpoch(1);
    let rows = [
        (flush(0), Ok(()), 0),
        (flush(1), Ok(()), 1),
        (flush(2), Ok(()), 2),
        (flush(3), beyond(3), 0),
        (flush(9), beyond(9), 0),
        (
            FollowerFlush { leader_epoch: LeaderEpoch(0), ..flush(2) },
            Err(FollowerRefusal::FencedLeaderEpoch { got: LeaderEpoch(0), current }),
            0,
        ),
        (
            FollowerFlush { incarnation: incarnation(0), ..flush(2) },
            Err(FollowerRefusal::OtherIncarnation { got: incarnation(0), current: incarnation(1) }),
            0,
        ),
        (FollowerFlush { broker: BrokerId(3), ..flush(2) }, Err(FollowerRefusal::UnknownReplica(BrokerId(3))), 0),
    ];
    for (flush, expected, high_watermark) in rows {
        let mut leader = leader();
        let mut effects = Effects::new();
        assert_eq!(leader.on_follower_flush(0, &flush, &mut effects), expected, "{flush:?}");
        assert_eq!(leader.high_watermark(), Offset(high_watermark), "{flush:?}");
        assert_eq!(acknowledged(&effects).len() as u64, high_watermark, "{flush:?}");
    }
}

#[test]
fn a_report_that_was_overtaken_is_old_news() {
    let mut leader = leader();
    leader.on_follower_flush(0, &flush(2), &mut Effects::new()).unwrap();
    let refusal = leader.on_follower_flush(0, &flush(1), &mut Effects::new());
    assert_eq!(refusal, Err(FollowerRefusal::Stale { got: Offset(1), known: Offset(2) }));
    assert_eq!(leader.follower_flushed(BrokerId(2)), Some(Offset(2)));
}
