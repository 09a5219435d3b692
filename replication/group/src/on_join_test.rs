use crate::testing::{Desk, joining, topics};
use crate::*;

fn failover(name: &str) -> JoinGroup {
    JoinGroup { mode: Mode::Failover, ..joining(name, &["t1"]) }
}

fn instance(name: &str, instance_id: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance_id.into()), ..joining(name, &["t1"]) }
}

/// The first has everything; what is to move is told, and moves when it is given up.
#[test]
fn members_join_one_by_one() {
    let mut desk = Desk::new(&[2, 1]);
    let table = [
        (
            "a",
            "epoch 0; epoch 0; a is number 0; epoch 1; a is to have [t1/0 t1/1 t2/0]; \
             a@1 has [t1/0 since 1, t1/1 since 1, t2/0 since 1]; \
             -> @1 assigned [t1/0 since 1, t1/1 since 1, t2/0 since 1] revoking []",
        ),
        (
            "b",
            "epoch 1; b is number 1; epoch 2; a is to have [t1/0 t1/1]; b is to have [t2/0]; b@1 has []; \
             -> @1 assigned [] revoking []; news for a",
        ),
        (
            "c",
            "epoch 2; c is number 2; epoch 3; a is to have [t1/0]; c is to have [t1/1]; c@1 has []; \
             -> @1 assigned [] revoking []; news for a",
        ),
        // One too many: it has nothing, and nobody moves for it.
        ("d", "epoch 3; d is number 3; epoch 4; d@1 has []; -> @1 assigned [] revoking []"),
    ];
    for (name, expected) in table {
        assert_eq!(desk.join(name, &["t1", "t2"]), expected, "{name}");
    }
    // An answer that was lost is given again, and nothing else happens.
    assert_eq!(desk.join("d", &["t1", "t2"]), "-> @1 assigned [] revoking []");
}

#[test]
fn a_join_that_comes_after_what_followed_it_is_refused() {
    let mut desk = Desk::new(&[1]);
    desk.join("a", &["t1"]);
    desk.beat("a", 1, &[]);
    let refused = format!("refused: {:?}", Refusal::MemberIdTaken { member_id: testing::member_id("a") });
    assert_eq!(desk.join("a", &["t1"]), refused);
}

/// What it had stays, under its new name; what it was giving up is free, and nobody else hears of it.
#[test]
fn a_static_member_comes_back() {
    let mut desk = Desk::new(&[3]);
    let first = desk.joins(&instance("a", "x"));
    assert!(first.ends_with("assigned [t1/0 since 1, t1/1 since 1, t1/2 since 1] revoking []"), "{first}");
    desk.join("b", &["t1"]);
    assert_eq!(
        desk.beat("a", 1, &[]),
        "a@2 has [t1/0 since 1, t1/1 since 1, t1/2 since 1 until 2]; \
         -> @2 assigned [t1/0 since 1, t1/1 since 1] revoking [t1/2 since 1]"
    );
    let again = "a is gone; c is number 0; c is to have [t1/0 t1/1]; c@3 has [t1/0 since 3, t1/1 since 3]; epoch 3; \
                 -> @3 assigned [t1/0 since 3, t1/1 since 3] revoking []; news for b";
    let effects = desk.joins(&instance("c", "x"));
    assert_eq!(effects, again);
    assert_eq!(desk.beat("b", 1, &[]), "b@2 has [t1/2 since 2]; -> @2 assigned [t1/2 since 2] revoking []");
    // The life before is fenced, however late it speaks, and cannot take it all back.
    let fenced = format!("refused: {:?}", Refusal::FencedInstance { by: testing::member_id("c") });
    assert_eq!(desk.beat("a", 2, &[]), fenced);
    assert_eq!(desk.joins(&instance("a", "x")), fenced);
    assert_eq!(desk.commits("a", 2, &[testing::commit(testing::tp(1, 0), 5)]), fenced);
    desk.fail_over();
    assert_eq!(desk.joins(&instance("a", "x")), fenced, "that is in the log");
}

#[test]
fn an_exclusive_group_has_one_consumer() {
    let mut desk = Desk::new(&[2]);
    let exclusive = |name: &str| JoinGroup { mode: Mode::Exclusive, ..instance(name, name) };
    assert!(desk.joins(&exclusive("a")).ends_with("-> @1 assigned [t1/0 since 1, t1/1 since 1] revoking []"));
    let busy = Refusal::GroupBusy { by: testing::member_id("a"), client_id: "client-a".into(), client_host: "host".into() };
    assert_eq!(desk.joins(&exclusive("b")), format!("refused: {busy:?}"));
    // Its own next life is no second one.
    let again = JoinGroup { instance_id: Some("a".into()), ..exclusive("c") };
    assert!(desk.joins(&again).ends_with("-> @2 assigned [t1/0 since 2, t1/1 since 2] revoking []"));
    assert_eq!(desk.leave("c", 2, true), "c is gone; epoch 3 empty since 0; -> Left");
    assert!(desk.joins(&exclusive("b")).ends_with("-> @1 assigned [t1/0 since 1, t1/1 since 1] revoking []"));
}

/// One is active, the others take over in the order in which they joined.
#[test]
fn a_failover_group_hands_over_in_order() {
    let mut desk = Desk::new(&[2]);
    assert!(desk.joins(&failover("b")).ends_with("-> @1 assigned [t1/0 since 1, t1/1 since 1] revoking []"));
    let waiting = "epoch 1; a is number 1; epoch 2; a@1 has []; -> @1 assigned [] revoking []";
    assert_eq!(desk.joins(&failover("a")), waiting);
    desk.joins(&failover("c"));
    assert_eq!(desk.leave("b", 1, true), "b is gone; epoch 4; a is to have [t1/0 t1/1]; -> Left; news for a");
    let active = desk.beat("a", 1, &[]);
    assert_eq!(active, "a@2 has [t1/0 since 2, t1/1 since 2]; -> @2 assigned [t1/0 since 2, t1/1 since 2] revoking []");
    // Whoever comes back waits behind those who are there.
    desk.joins(&failover("d"));
    assert_eq!(desk.leave("a", 2, true), "a is gone; epoch 6; c is to have [t1/0 t1/1]; -> Left; news for c");
}

#[test]
fn what_is_refused() {
    let mut desk = Desk::new(&[1]);
    let long = "x".repeat(300);
    let text = |what, len_max| Refusal::InvalidText { what, len_max };
    let timeout = |what, got, min, max| Refusal::InvalidTimeout { what, got, min, max };
    let ok = joining("a", &["t1"]);
    let table = [
        (JoinGroup { group_id: GroupId(String::new()), ..ok.clone() }, Refusal::InvalidGroupId),
        (JoinGroup { group_id: GroupId("a\nb".into()), ..ok.clone() }, Refusal::InvalidGroupId),
        (JoinGroup { group_id: GroupId(long.clone()), ..ok.clone() }, Refusal::InvalidGroupId),
        (JoinGroup { instance_id: Some(long.clone()), ..ok.clone() }, text("instance id", 255)),
        (JoinGroup { client_id: long.clone(), ..ok.clone() }, text("client id", 256)),
        (JoinGroup { client_host: long, ..ok.clone() }, text("client host", 255)),
        (JoinGroup { session_timeout_ms: Some(999), ..ok.clone() }, timeout("session timeout", 999, 1000, 1_800_000)),
        (JoinGroup { poll_timeout_ms: Some(0), ..ok.clone() }, timeout("poll timeout", 0, 1000, 86_400_000)),
        (joining("a", &[]), Refusal::InvalidSubscription(SubscriptionFault::Empty)),
    ];
    for (request, refusal) in table {
        assert_eq!(desk.joins(&request), format!("refused: {refusal:?}"));
    }
    assert_eq!(desk.coordinator.image(), &Image::default());
    desk.joins(&ok);
    let mode = Refusal::OtherMode { current: Mode::Partitioned };
    assert_eq!(desk.joins(&failover("b")), format!("refused: {mode:?}"));
    let range = JoinGroup { assignor: Some(Assignor::Range), ..joining("b", &["t1"]) };
    assert_eq!(desk.joins(&range), format!("refused: {:?}", Refusal::OtherAssignor { current: Assignor::Sticky }));
    // Once it is empty, the next one says how it is shared.
    desk.leave("a", 1, true);
    assert!(desk.joins(&failover("b")).starts_with("epoch 2; b is number 1;"));
    assert_eq!(desk.coordinator.image().group(&testing::group_id()).map(Group::mode), Some(Mode::Failover));
}

#[test]
fn there_is_room_for_so_many() {
    let mut desk = Desk::new(&[1]);
    for number in 0..limits::MEMBERS_PER_GROUP_MAX {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let joined = desk.joins(&JoinGroup { member_id: MemberId(id), mode: Mode::Failover, ..joining("a", &["t1"]) });
        assert!(joined.contains("-> @1"), "{joined}");
    }
    let refused = desk.joins(&failover("z"));
    assert_eq!(refused, format!("refused: {:?}", Refusal::TooManyMembers { max: 1000 }));
    // The largest group there can be fits into one batch.
    let everything = topics(&[10_000; 10]);
    let mut desk = Desk::new(&[1]);
    desk.coordinator.on_topics_changed(everything, &[]);
    let subscription = Subscription { topics: Vec::new(), patterns: vec!["*".into()] };
    desk.joins(&JoinGroup { subscription: subscription.clone(), ..joining("a", &[]) });
    desk.joins(&JoinGroup { subscription, ..joining("b", &[]) });
    assert!(desk.log.iter().all(|bytes| bytes.len() < limits::BATCH_LEN_MAX / 4));
}
