use super::*;
use crate::testing::{Desk, group_id, heartbeat, joining, member_id, tp};
use crate::{Heartbeat, JoinGroup};

fn session(desk: &Desk, name: &str) -> Session {
    *desk.coordinator.sessions.session(&group_id(), member_id(name)).unwrap()
}

/// Only what a member is known to have been told runs, and from then on.
#[test]
fn a_revocation_runs_from_when_it_is_heard_of() {
    let mut desk = Desk::new(&[4]);
    desk.joins(&JoinGroup { poll_timeout_ms: Some(20_000), ..joining("a", &["t1"]) });
    desk.join("b", &["t1"]);
    let table = [
        (1_000, 1, vec![], None),
        (1_000, 1, vec![], None),
        (1_000, 2, vec![], Some((2, 23_000_000))),
        (1_000, 2, vec![], Some((2, 23_000_000))),
        (1_000, 2, vec![tp(1, 2)], Some((2, 23_000_000))),
        (1_000, 3, vec![tp(1, 3)], None),
    ];
    for (row, (ms, epoch, revoked, expected)) in table.into_iter().enumerate() {
        assert_eq!(desk.pass(ms), [""; 0]);
        desk.beat("a", epoch, &revoked);
        let running = session(&desk, "a").revocation.map(|(epoch, end_us)| (epoch.0, end_us));
        assert_eq!(running, expected, "row {row}");
    }
}

/// A poll is one that the application made; hearing of the member is another thing.
#[test]
fn each_time_is_renewed_by_its_own() {
    let mut desk = Desk::new(&[1]);
    desk.join("a", &["t1"]);
    desk.now_ms = 5_000;
    desk.beats(&Heartbeat { has_polled: false, ..heartbeat("a", 1) });
    assert_eq!((session(&desk, "a").session_end_us, session(&desk, "a").poll_end_us), (15_000_000, 300_000_000));
    desk.beat("a", 1, &[]);
    assert_eq!(session(&desk, "a").poll_end_us, 305_000_000);
    // Neither a commit nor a refused heartbeat renews anything.
    desk.now_ms = 6_000;
    desk.commits("a", 1, &[crate::testing::commit(tp(1, 0), 1)]);
    desk.beat("a", 2, &[]);
    assert_eq!(session(&desk, "a").session_end_us, 15_000_000);
    desk.leave("a", 1, true);
    assert_eq!(desk.coordinator.sessions.next_us(), None);
    assert!(desk.coordinator.sessions.by_group.is_empty());
}
