use crate::testing::{Desk, commit, group_id, tp};
use crate::*;

#[test]
fn only_a_group_without_members_is_deleted() {
    let mut desk = Desk::new(&[2]);
    let request = DeleteGroup { group_id: group_id() };
    let delete = |desk: &mut Desk| {
        let decided = desk.coordinator.on_delete_group(&request);
        desk.take(decided)
    };
    let unknown = format!("refused: {:?}", Refusal::UnknownGroup { group_id: group_id() });
    assert_eq!(delete(&mut desk), unknown);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5)]);
    assert_eq!(delete(&mut desk), format!("refused: {:?}", Refusal::GroupNotEmpty { members: 1 }));
    desk.leave("a", 1, true);
    assert_eq!(delete(&mut desk), "deleted; -> Deleted");
    assert_eq!(desk.coordinator.image(), &Image::default());
    assert_eq!(delete(&mut desk), unknown);
    // A group of the same name begins with nothing.
    assert!(desk.join("b", &["t1"]).starts_with("epoch 0; epoch 0; b is number 0; epoch 1;"));
    desk.fail_over();
}
