use super::*;
use crate::effect::Effects;
use crate::testing::{TestLog, fetch};

#[test]
fn golden_table() {
    let log = TestLog::of(&[(1, 2), (1, 2), (2, 2)]);
    // What it knew when it began, what broker 2 says -> what it tells
    let refused = |high_watermark: u64| {
        Err(EndOffsetRefusal::NotCaughtUp { high_watermark: Offset(high_watermark), epoch_start_offset: Offset(6) })
    };
    let rows = [(2, None, refused(2)), (2, Some(4), refused(4)), (2, Some(6), Ok(Offset(6))), (6, None, Ok(Offset(6)))];
    for (known, flushed, expected) in rows {
        let mut leader = log.led_from(3, &[1, 2], &[1, 2], 1, known);
        if let Some(flushed) = flushed {
            leader.on_follower_fetch(0, &fetch(2, 3, log.end(), flushed), log.look_up(Offset(6)), &mut Effects::new()).unwrap();
        }
        assert_eq!(leader.end_offset(), expected, "{known} {flushed:?}");
    }
}

#[test]
fn who_reads_learns_where_an_epoch_ended() {
    let leader = TestLog::of(&[(1, 2), (3, 2)]).led(4, &[1], &[1], 1);
    let rows = [(0, None), (1, Some((1, 2))), (2, Some((1, 2))), (3, Some((3, 4))), (9, Some((3, 4)))];
    for (epoch, expected) in rows {
        let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
        assert_eq!(leader.end_offset_for_epoch(LeaderEpoch(epoch)), expected, "epoch {epoch}");
    }
}
