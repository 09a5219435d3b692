use crate::testing::{Desk, commit, group_id, member_id, tp};
use crate::*;
use sluice_model::{Offset, TopicPartition};

fn to(offsets: &[(TopicPartition, Option<u64>)]) -> ResetOffsets {
    let offsets = offsets.iter().map(|&(id, to)| OffsetReset { id, to: to.map(Offset) }).collect();
    ResetOffsets { group_id: group_id(), offsets, is_forced: false, is_dry_run: false }
}

fn reset(desk: &mut Desk, request: &ResetOffsets) -> (String, Option<Answer>) {
    let decided = desk.coordinator.on_reset_offsets(desk.now(), request);
    let answer = decided.as_ref().ok().and_then(|decision| decision.answer.clone());
    let told = desk.take(decided);
    (told.split("-> ").next().unwrap_or_default().to_owned(), answer)
}

fn change(id: TopicPartition, from: Option<u64>, to: Option<u64>, member: Option<&str>) -> OffsetChange {
    OffsetChange { id, from: from.map(Offset), to: to.map(Offset), member_id: member.map(member_id) }
}

#[test]
fn an_empty_group_goes_where_it_is_told() {
    let mut desk = Desk::new(&[3]);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 50), commit(tp(1, 1), 60)]);
    desk.leave("a", 1, true);
    let request = to(&[(tp(1, 0), Some(7)), (tp(1, 1), None), (tp(1, 2), Some(9))]);
    let changes = Answer::Reset(vec![
        change(tp(1, 0), Some(50), Some(7), None),
        change(tp(1, 1), Some(60), None, None),
        change(tp(1, 2), None, Some(9), None),
    ]);
    // A dry run says the same and writes nothing.
    let before = desk.coordinator.image().clone();
    let dry = reset(&mut desk, &ResetOffsets { is_dry_run: true, ..request.clone() });
    assert_eq!(dry, (String::new(), Some(changes.clone())));
    assert_eq!(desk.coordinator.image(), &before);
    assert_eq!(reset(&mut desk, &request), ("reset t1/0=7 t1/2=9; forget t1/1; ".into(), Some(changes)));
    // Whoever comes next goes on from there, and goes on only.
    desk.join("b", &["t1"]);
    let answer = desk.commits("b", 1, &[commit(tp(1, 0), 6), commit(tp(1, 1), 0)]);
    assert_eq!(answer, "commit t1/1=0; -> t1/0 Behind { committed: Offset(7) }, t1/1 ok");
    desk.fail_over();
}

/// Under the hands of its members only by force; each begins again where it is told, and what it does before is fenced.
#[test]
fn a_group_with_members_is_reset_by_force() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 50), commit(tp(1, 1), 60)]);
    desk.beat("a", 1, &[]);
    let request = to(&[(tp(1, 0), Some(7)), (tp(1, 1), Some(8))]);
    assert_eq!(reset(&mut desk, &request).0, format!("refused: {:?}", Refusal::GroupNotEmpty { members: 2 }));
    let changes = vec![change(tp(1, 0), Some(50), Some(7), Some("a")), change(tp(1, 1), Some(60), Some(8), Some("a"))];
    let dry = reset(&mut desk, &ResetOffsets { is_dry_run: true, ..request.clone() });
    assert_eq!(dry, (String::new(), Some(Answer::Reset(changes))), "a dry run needs no force");
    let decided = desk.coordinator.on_reset_offsets(desk.now(), &ResetOffsets { is_forced: true, ..request });
    let told = desk.take(decided);
    let expected = "reset t1/0=7 t1/1=8; a@3 has [t1/0 since 3, t1/1 since 3 until 3]; ";
    assert!(told.starts_with(expected) && told.ends_with("news for a"), "{told}");
    let fenced = "-> t1/0 FencedMemberEpoch { since: MemberEpoch(3) }, t1/1 FencedMemberEpoch { since: MemberEpoch(3) }";
    assert_eq!(desk.commits("a", 2, &[commit(tp(1, 0), 70), commit(tp(1, 1), 70)]), fenced);
    // Giving up under the epoch before does not count: what it would commit first is fenced, so it says it again.
    let told = "-> @3 assigned [t1/0 since 3] revoking [t1/1 since 3]";
    assert_eq!(desk.beat("a", 2, &[tp(1, 1)]), told);
    assert!(desk.beat("a", 3, &[tp(1, 1)]).ends_with("assigned [t1/0 since 3] revoking []; news for b"));
    assert_eq!(desk.commits("a", 4, &[commit(tp(1, 0), 8)]), "commit t1/0=8; -> t1/0 ok");
}

#[test]
fn what_is_refused() {
    let mut desk = Desk::new(&[1]);
    let unknown = Refusal::UnknownGroup { group_id: group_id() };
    assert_eq!(reset(&mut desk, &to(&[])).0, format!("refused: {unknown:?}"));
    desk.join("a", &["t1"]);
    desk.leave("a", 1, true);
    let twice = to(&[(tp(1, 0), None), (tp(1, 0), Some(1))]);
    assert_eq!(reset(&mut desk, &twice).0, format!("refused: {:?}", Refusal::NamedTwice));
    let many: Vec<_> = (0..2049).map(|partition| (tp(1, partition), None)).collect();
    let refused = Refusal::TooManyAtOnce { got: 2049, max: 2048 };
    assert_eq!(reset(&mut desk, &to(&many)).0, format!("refused: {refused:?}"));
}
