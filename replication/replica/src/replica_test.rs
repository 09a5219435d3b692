use super::*;
use crate::effect::Acks;
use crate::testing::{TIMES, TestLog, batch, brokers, incarnation};
use crate::{AppendRefusal, NotLeading, ProduceBatch};
use sluice_model::Offset;

fn settings() -> LeaderSettings {
    LeaderSettings { isr_times: TIMES, min_insync_replicas: 1, frame_len_max: 1000 }
}

fn facts() -> LogFacts {
    LogFacts { log_start_offset: Offset(0), log_state: LogState::Whole }
}

/// Broker 1 in its second incarnation, with frames of epochs 1 and 3, in the last known leader epoch 3.
fn replica(log_state: LogState) -> Replica {
    let log = TestLog::of(&[(1, 2), (3, 2)]).start(3, 0);
    Replica::new(BrokerId(1), incarnation(2), settings(), FollowerStart { log_state, ..log })
}

fn state(leader_epoch: u32, partition_epoch: u32, leader: u32) -> PartitionState {
    PartitionState {
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
        leader: Some(BrokerId(leader)),
        isr: brokers(&[1, 2]),
        replicas: BTreeMap::from([(BrokerId(1), incarnation(2)), (BrokerId(2), incarnation(1))]),
    }
}

fn give(replica: &mut Replica, state: &PartitionState) -> Result<RoleChange, StateRefusal> {
    replica.on_partition_state(state, facts(), &mut Effects::new())
}

fn follows() -> Result<RoleChange, StateRefusal> {
    Ok(RoleChange::Follows { unknown: vec![] })
}

#[test]
fn golden_table() {
    let stale = |leader_epoch, partition_epoch| {
        Err(StateRefusal::Stale { leader_epoch: LeaderEpoch(leader_epoch), partition_epoch: PartitionEpoch(partition_epoch) })
    };
    let mut earlier = state(9, 9, 1);
    earlier.replicas.insert(BrokerId(1), incarnation(1));
    let mut without = state(9, 9, 2);
    without.replicas.remove(&BrokerId(1));
    let out_of_sync = PartitionState { isr: brokers(&[2]), ..state(9, 9, 1) };
    let nobody = PartitionState { leader: None, ..state(5, 5, 1) };
    let whole = LogState::Whole;
    let damaged = StateRefusal::CannotLead { phase: Phase::Fetching, log_state: LogState::Damaged };
    // states that are given one after the other -> what the last comes to
    let rows = [
        (whole, vec![state(4, 1, 1)], Ok(RoleChange::Leads)),
        (whole, vec![state(4, 1, 2)], follows()),
        (whole, vec![state(3, 1, 2)], follows()),
        // An epoch that has frames here already is not one to lead.
        (whole, vec![state(3, 1, 1)], Err(StateRefusal::Impossible)),
        (whole, vec![state(2, 1, 2)], stale(2, 1)),
        (whole, vec![state(4, 1, 1), state(4, 1, 1)], stale(4, 1)),
        (whole, vec![state(4, 2, 1), state(5, 1, 2)], stale(5, 1)),
        (whole, vec![state(4, 1, 1), state(4, 2, 1)], Ok(RoleChange::Continues)),
        (whole, vec![state(4, 1, 1), state(5, 2, 1)], Ok(RoleChange::Leads)),
        (whole, vec![state(4, 1, 1), state(5, 2, 2)], follows()),
        (whole, vec![state(4, 1, 1), nobody], follows()),
        (whole, vec![state(4, 1, 2), state(5, 2, 1)], Ok(RoleChange::Leads)),
        // Two leaders of one epoch.
        (whole, vec![state(4, 1, 1), state(4, 2, 2)], Err(StateRefusal::Impossible)),
        (whole, vec![state(4, 1, 2), state(4, 2, 1)], Err(StateRefusal::Impossible)),
        (whole, vec![earlier], Err(StateRefusal::OtherIncarnation { got: incarnation(1), own: incarnation(2) })),
        (whole, vec![without], Err(StateRefusal::NotAReplica)),
        (whole, vec![out_of_sync], Err(StateRefusal::Impossible)),
        (LogState::Damaged, vec![state(4, 1, 1)], Err(damaged)),
        (LogState::Damaged, vec![state(4, 1, 2)], follows()),
        // Nobody else has anything.
        (LogState::Damaged, vec![PartitionState { isr: brokers(&[1]), ..state(4, 1, 1) }], Ok(RoleChange::Leads)),
    ];
    for (log_state, states, expected) in rows {
        let mut replica = replica(log_state);
        let mut last = None;
        for state in &states {
            let before = (replica.leader_epoch(), replica.partition_epoch());
            let given = give(&mut replica, state);
            if given.is_err() {
                assert_eq!((replica.leader_epoch(), replica.partition_epoch()), before, "a refusal changes nothing");
            }
            last = Some(given);
        }
        assert_eq!(last, Some(expected), "{states:?}");
    }
}

fn produce(replica: &mut Replica, token: u64) -> Result<(), AppendRefusal> {
    let Role::Leader(leader) = replica.role_mut() else { panic!("it leads") };
    let header = batch(-1, -1, 1);
    leader.on_append(0, ProduceBatch { header: &header, acks: Acks::All, token }, &mut Effects::new())
}

#[test]
fn what_waits_is_unknown_when_another_leads_and_waits_on_when_this_one_does_again() {
    let mut replica = replica(LogState::Whole);
    give(&mut replica, &state(4, 1, 1)).unwrap();
    produce(&mut replica, 7).unwrap();
    assert_eq!(give(&mut replica, &state(5, 2, 1)), Ok(RoleChange::Leads));
    let Role::Leader(leader) = replica.role() else { panic!("it leads") };
    assert_eq!((leader.pending().len(), leader.leader_epoch()), (1, LeaderEpoch(5)));
    assert_eq!(give(&mut replica, &state(6, 3, 2)), Ok(RoleChange::Follows { unknown: vec![7] }));
    let Role::Follower(follower) = replica.role() else { panic!("it follows") };
    let place = follower.fetch_position().unwrap();
    assert_eq!((place.leader, place.position.offset, place.flushed), (BrokerId(2), Offset(5), Offset(4)), "nothing is cut off");
    // And back, with what is not flushed yet.
    assert_eq!(give(&mut replica, &state(7, 4, 1)), Ok(RoleChange::Leads));
    let Role::Leader(leader) = replica.role() else { panic!("it leads") };
    assert_eq!((leader.log_end_offset(), leader.local_flushed()), (Offset(5), Offset(4)));
}

#[test]
fn a_broker_without_a_lease_is_elected_and_leads_only_when_it_has_one() {
    let mut replica = replica(LogState::Whole);
    assert_eq!(replica.on_lease_lost(), [0u64; 0]);
    give(&mut replica, &state(4, 1, 1)).unwrap();
    assert_eq!(produce(&mut replica, 1), Err(AppendRefusal::NotLeading(NotLeading::LeaseLost)));
    replica.on_lease_regained(&mut Effects::new());
    assert_eq!(produce(&mut replica, 1), Ok(()));
    assert_eq!(replica.on_lease_lost(), [1]);
}

#[test]
fn a_replica_that_comes_is_followed_and_one_that_goes_is_not_while_the_epoch_goes_on() {
    let mut replica = replica(LogState::Whole);
    give(&mut replica, &state(4, 1, 1)).unwrap();
    let mut other = state(4, 2, 1);
    other.replicas.remove(&BrokerId(2));
    other.replicas.insert(BrokerId(3), incarnation(1));
    other.isr = brokers(&[1]);
    assert_eq!(give(&mut replica, &other), Ok(RoleChange::Continues));
    let Role::Leader(leader) = replica.role_mut() else { panic!("it leads") };
    let log = TestLog::of(&[(1, 2), (3, 2)]);
    let mut fetched = |broker: u32| {
        let request = crate::testing::fetch(broker, 4, log.end(), 4);
        leader.on_follower_fetch(0, &request, log.look_up(Offset(4)), &mut Effects::new()).is_ok()
    };
    assert_eq!((fetched(2), fetched(3)), (false, true));
}
