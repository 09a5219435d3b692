use super::*;
use crate::testing::{Desk, commit, group_id, joining, member_id, tp};
use crate::{JoinGroup, Record};

fn described(desk: &Desk) -> GroupDescription {
    match desk.coordinator.on_describe_group(&group_id()).unwrap() {
        Decision { answer: Some(Answer::Group(description)), records, .. } if records == Vec::<Record>::new() => *description,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_shows_who_has_what_and_what_is_under_way() {
    let mut desk = Desk::new(&[2]);
    assert!(matches!(desk.coordinator.on_describe_group(&group_id()), Err(Refusal::UnknownGroup { .. })));
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 1), 5)]);
    assert_eq!(described(&desk).listing.progress, Progress::Stable);
    desk.join("b", &["t1"]);
    let shown = described(&desk);
    assert_eq!(shown.listing.progress, Progress::Reconciling { members: 2 });
    let [a, b] = &shown.members[..] else { panic!("{shown:?}") };
    assert_eq!((&a.assigned[..], &a.revoking[..], &a.waiting_for[..]), (&[tp(1, 0)][..], &[tp(1, 1)][..], &[][..]));
    assert_eq!((&b.assigned[..], &b.revoking[..], &b.waiting_for[..]), (&[][..], &[][..], &[tp(1, 1)][..]));
    assert_eq!((b.member_id, b.client_id.as_str(), b.epoch), (member_id("b"), "client-b", MemberEpoch(1)));
    assert_eq!(shown.offsets.iter().map(|(id, committed)| (*id, committed.offset.0)).collect::<Vec<_>>(), [(tp(1, 1), 5)]);
    desk.beat("a", 1, &[]);
    desk.beat("a", 2, &[tp(1, 1)]);
    desk.beat("b", 1, &[]);
    assert_eq!(described(&desk).listing.progress, Progress::Stable);
    desk.now_ms = 5;
    desk.leave("a", 3, true);
    desk.leave("b", 2, true);
    let shown = described(&desk);
    assert_eq!((shown.listing.progress, shown.empty_since_ms, shown.epoch), (Progress::Empty, Some(5), GroupEpoch(4)));
}

#[test]
fn groups_are_listed_page_by_page() {
    let mut desk = Desk::new(&[1]);
    for number in 0..GROUPS_PER_ANSWER_MAX + 2 {
        desk.joins(&JoinGroup { group_id: GroupId(format!("group-{number:05}")), ..joining("a", &["t1"]) });
    }
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let Some(Answer::Groups(page)) = desk.coordinator.on_list_groups(after.as_ref()).answer else { panic!() };
        let Some(last) = page.last() else { break };
        after = Some(last.group_id.clone());
        seen.push(page.len());
    }
    assert_eq!(seen, [GROUPS_PER_ANSWER_MAX, 2]);
}
