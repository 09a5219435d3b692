use super::*;
use crate::record::{GroupChanged, GroupState, MemberAssigned, Record, TargetChanged, by_topic, held_by_topic};
use crate::testing::{Desk, group_id, joining, member_id, topics, tp};
use crate::*;

fn rule(result: Result<(), Broken>) -> &'static str {
    result.unwrap_err().rule
}

/// `image` with records that no rule decides but that each apply.
fn with(image: &Image, records: Vec<Record>) -> Image {
    let mut image = image.clone();
    image.apply_batch(&Batch { records }).unwrap();
    image
}

fn has(group: &Group, name: &str, change: impl Fn(&mut Member)) -> Record {
    let mut member = group.member(member_id(name)).unwrap().clone();
    member.epoch = member.epoch.next();
    change(&mut member);
    let (group_id, member_id, member_epoch) = (group_id(), member_id(name), member.epoch);
    Record::MemberAssigned(MemberAssigned { group_id, member_id, member_epoch, held: held_by_topic(&member.held) })
}

fn target(name: &str, partitions: &[sluice_model::TopicPartition]) -> Record {
    Record::TargetChanged(TargetChanged { group_id: group_id(), member_id: member_id(name), target: by_topic(partitions) })
}

fn state(group: &Group, change: impl Fn(&mut GroupState)) -> Record {
    let mut state = group.state().clone();
    change(&mut state);
    Record::GroupChanged(GroupChanged { group_id: group_id(), state })
}

#[test]
fn each_rule_of_a_group_is_looked_at() {
    let mut desk = Desk::new(&[3]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    let image = desk.coordinator.image().clone();
    let group = image.group(&group_id()).unwrap();
    assert_eq!(check(&image), Ok(()));
    let broken = |records| rule(check(&with(&image, records)));
    assert_eq!(broken(vec![state(group, |state| state.empty_since_ms = Some(0))]), "a group is empty since its last member went");
    assert_eq!(broken(vec![state(group, |state| state.mode = Mode::Exclusive)]), "an exclusive group has one member");
    assert_eq!(broken(vec![state(group, |state| state.mode = Mode::Failover)]), "only the first member is active");
    let same_place = |number| {
        let state = crate::record::MemberState { join_number: number, ..group.member(member_id("b")).unwrap().state.clone() };
        Record::MemberChanged(crate::record::MemberChanged { group_id: group_id(), member_id: member_id("b"), state })
    };
    assert_eq!(broken(vec![same_place(0)]), "every member has a place of its own");
}

#[test]
fn each_rule_of_a_settled_group_is_looked_at() {
    let mut desk = Desk::new(&[2]);
    desk.joins(&JoinGroup { mode: Mode::Failover, ..joining("a", &["t1"]) });
    desk.joins(&JoinGroup { mode: Mode::Failover, ..joining("b", &["t1"]) });
    let image = desk.coordinator.image().clone();
    let settled = |image: &Image, topics: &Topics| check_settled(image.group(&group_id()).unwrap(), topics);
    assert_eq!(settled(&image, &topics(&[2])), Ok(()));
    assert_eq!(rule(settled(&image, &topics(&[3]))), "every partition that is subscribed to is somebody's");
    assert_eq!(rule(settled(&image, &topics(&[1]))), "a member has only what it subscribes to");
    let less = with(&image, vec![target("a", &[tp(1, 0)])]);
    assert_eq!(rule(settled(&less, &topics(&[2]))), "a member has what it is to have");
    let more = with(&image, vec![target("a", &[tp(1, 0), tp(1, 1), tp(2, 0)])]);
    assert_eq!(rule(settled(&more, &topics(&[2]))), "a member has what it is to have");
}

#[test]
fn each_rule_of_succession_is_looked_at() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    let image = desk.coordinator.image().clone();
    let group = image.group(&group_id()).unwrap();
    let broken = |records| rule(check_succession(&image, &with(&image, records)));
    assert_eq!(broken(vec![target("a", &[tp(1, 0)])]), "a new target has a new epoch");
    let late = |member: &mut Member| {
        member.held.remove(&tp(1, 1));
        member.held.insert(tp(2, 0), Hold { since: MemberEpoch(1), revoked_at: None });
    };
    let unknown = "what is given is given under an epoch that the member has never named";
    assert_eq!(broken(vec![has(group, "a", late)]), unknown);
    let removed = Record::MemberRemoved(crate::record::MemberRemoved { group_id: group_id(), member_id: member_id("a") });
    assert_eq!(broken(vec![removed]), "new members have a new epoch");
    desk.join("b", &["t1"]);
    let after = desk.coordinator.image();
    assert_eq!(check_succession(&image, after), Ok(()));
    assert_eq!(rule(check_succession(after, &image)), "group epochs grow");
    desk.beat("a", 1, &[]);
    let told = desk.coordinator.image().clone();
    let back = with(&image, vec![state(group, |state| state.epoch = GroupEpoch(9))]);
    assert_eq!(rule(check_succession(&told, &back)), "member epochs grow with what they have");
}
