use super::*;
use crate::effect::{Acks, Effect};
use crate::leader::NotLeading;
use crate::leader::on_append::AppendRefusal;
use crate::leader::on_follower_fetch::FollowerRefusal;
use crate::testing::{TestLog, acknowledged, batch, fetch, produce};
use crate::{EndOffsetRefusal, ProduceBatch};
use sluice_model::{LeaderEpoch, Offset};

/// One record each for acks=all and acks=leader, flushed by nobody.
fn leader(log: &mut TestLog) -> Leader {
    let mut leader = log.led(1, &[1, 2], &[1, 2], 1);
    produce(&mut leader, log, Acks::All, 1);
    produce(&mut leader, log, Acks::Leader, 2);
    leader
}

fn refusal(leader: &mut Leader) -> Option<AppendRefusal> {
    let header = batch(-1, -1, 1);
    leader.on_append(0, ProduceBatch { header: &header, acks: Acks::None, token: 9 }, &mut Effects::new()).err()
}

#[test]
fn without_a_lease_nothing_is_acknowledged_and_what_waits_is_unknown() {
    let mut log = TestLog::default();
    let mut leader = leader(&mut log);
    let mut unknown = leader.on_lease_lost();
    unknown.sort_unstable();
    assert_eq!(unknown, [1, 2]);
    assert_eq!(refusal(&mut leader), Some(AppendRefusal::NotLeading(NotLeading::LeaseLost)));
    assert_eq!(leader.end_offset(), Err(EndOffsetRefusal::NotLeading(NotLeading::LeaseLost)));
    let mut effects = Effects::new();
    leader.on_local_flush(Offset(2), &mut effects);
    let fetched = leader.on_follower_fetch(0, &fetch(2, 1, log.end(), 2), log.look_up(Offset(2)), &mut effects);
    assert_eq!(fetched, Err(FollowerRefusal::NotLeading(NotLeading::LeaseLost)));
    assert_eq!(effects, []);
    leader.on_lease_regained(&mut effects);
    leader.on_follower_fetch(0, &fetch(2, 1, log.end(), 2), log.look_up(Offset(2)), &mut effects).unwrap();
    assert_eq!(effects, [Effect::HighWatermarkMoved { high_watermark: Offset(2) }], "nobody waits for an answer any more");
    assert_eq!(refusal(&mut leader), None);
}

#[test]
fn a_newer_epoch_ends_it_for_good_whatever_becomes_of_the_lease() {
    let mut log = TestLog::default();
    let mut leader = leader(&mut log);
    assert_eq!(leader.on_newer_leader_epoch(LeaderEpoch(1)), [0u64; 0], "its own is not newer");
    assert_eq!(leader.on_newer_leader_epoch(LeaderEpoch(3)).len(), 2);
    assert_eq!(leader.on_newer_leader_epoch(LeaderEpoch(2)), [0u64; 0]);
    let reason = NotLeading::NewerEpoch { epoch: LeaderEpoch(3) };
    assert_eq!(leader.on_lease_lost(), [0u64; 0]);
    let mut effects = Effects::new();
    leader.on_lease_regained(&mut effects);
    leader.on_local_flush(Offset(2), &mut effects);
    assert_eq!((leader.not_leading(), acknowledged(&effects).len()), (Some(reason), 0));
    assert_eq!(refusal(&mut leader), Some(AppendRefusal::NotLeading(reason)));
    // Elected again, it leads.
    leader.on_leader_epoch(LeaderEpoch(4));
    assert_eq!(refusal(&mut leader), None);
}

/// Each is known by itself, in whichever order they come and go.
#[test]
fn a_lost_lease_and_a_newer_epoch_do_not_hide_each_other() {
    let newer = |epoch| Some(NotLeading::NewerEpoch { epoch: LeaderEpoch(epoch) });
    let mut log = TestLog::default();
    let mut leader = leader(&mut log);
    assert_eq!(leader.on_lease_lost().len(), 2);
    assert_eq!(leader.on_newer_leader_epoch(LeaderEpoch(3)), [0u64; 0]);
    assert_eq!(leader.not_leading(), newer(3));
    leader.on_leader_epoch(LeaderEpoch(3));
    assert_eq!(leader.not_leading(), Some(NotLeading::LeaseLost), "elected again, and still without a lease");
    assert_eq!(refusal(&mut leader), Some(AppendRefusal::NotLeading(NotLeading::LeaseLost)));
    leader.on_lease_regained(&mut Effects::new());
    assert_eq!(leader.not_leading(), None);
    // An election that is older than what is known comes late.
    let _nobody_waits = leader.on_newer_leader_epoch(LeaderEpoch(7));
    leader.on_leader_epoch(LeaderEpoch(5));
    assert_eq!(leader.not_leading(), newer(7));
    let _nobody_waits = leader.on_lease_lost();
    leader.on_leader_epoch(LeaderEpoch(8));
    assert_eq!(leader.not_leading(), Some(NotLeading::LeaseLost));
}
