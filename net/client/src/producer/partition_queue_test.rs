//! The rules one by one, as they read in the module's head.

use super::*;
use sluice_protocol::Durability;

const HERE: Peer = Peer { session_id: [1; 16], broker_id: 1 };
const ELSEWHERE: Peer = Peer { session_id: [2; 16], broker_id: 2 };
const ONE: ConnectionId = ConnectionId { number: 1, peer: HERE };
const TWO: ConnectionId = ConnectionId { number: 2, peer: HERE };
/// To the broker that leads after the one that ONE and TWO end at.
const THREE: ConnectionId = ConnectionId { number: 3, peer: ELSEWHERE };

type Queue = PartitionQueue<&'static str>;
type Effects = Vec<QueueEffect<&'static str>>;

fn queue() -> Queue {
    PartitionQueue::new(Some(ProducerId(7)), Backoff::new(100, 1000, 1))
}

fn queue_of(batches: &[&'static str]) -> Queue {
    let mut queue = queue();
    for batch in batches {
        queue.push(batch, 10, 10_000);
    }
    queue
}

/// Everything that may be sent now: name, epoch, sequence.
fn sent(queue: &mut Queue, now_ms: u64, on: ConnectionId) -> Vec<(&'static str, i16, i32)> {
    std::iter::from_fn(|| queue.next_send(now_ms, on).map(|o| (*o.batch, o.stamp.epoch.0, o.stamp.base_sequence.0))).collect()
}

fn names(queue: &mut Queue, now_ms: u64, on: ConnectionId) -> String {
    sent(queue, now_ms, on).iter().map(|s| s.0).collect()
}

fn answer(code: ErrorCode) -> BatchAnswer {
    BatchAnswer {
        code,
        text: "a text".into(),
        base_offset: 5,
        append_time_ms: 9,
        durability: Durability::Committed,
        retry_after_ms: 0,
        redirected: false,
    }
}

fn on_answer(queue: &mut Queue, id: u64, on: ConnectionId, code: ErrorCode) -> Effects {
    let mut effects = Effects::new();
    queue.on_answer(0, (BatchId(id), on), answer(code), &mut effects);
    effects
}

fn on_lost(queue: &mut Queue, ids: impl IntoIterator<Item = u64>, on: ConnectionId) {
    let mut effects = Effects::new();
    ids.into_iter().for_each(|id| queue.on_lost((BatchId(id), on), true, &mut effects));
    assert_eq!(effects, []);
}

fn outcomes(effects: &[QueueEffect<&'static str>]) -> Vec<(&'static str, char)> {
    let settled = effects.iter().filter_map(|e| match e {
        QueueEffect::Settled { batch, settlement } => Some((*batch, settlement)),
        _ => None,
    });
    let letter = |s: &Settlement| match s {
        Settlement::Acknowledged { .. } => 'a',
        Settlement::Refused { .. } => 'r',
        Settlement::Unknown { .. } => 'u',
    };
    settled.map(|(batch, s)| (batch, letter(s))).collect()
}

#[test]
fn five_are_in_flight_and_sequences_follow() {
    let mut queue = queue_of(&["a", "b", "c", "d", "e", "f", "g"]);
    let all = sent(&mut queue, 0, ONE);
    assert_eq!(all, [("a", 0, 0), ("b", 0, 10), ("c", 0, 20), ("d", 0, 30), ("e", 0, 40)]);
    // An answer in the middle makes no room: a partition remembers five, and "a" must stay among them.
    assert_eq!(outcomes(&on_answer(&mut queue, 2, ONE, ErrorCode::None)), [("c", 'a')]);
    assert_eq!(names(&mut queue, 0, ONE), "");
    on_answer(&mut queue, 0, ONE, ErrorCode::None);
    assert_eq!(sent(&mut queue, 0, ONE), [("f", 0, 50)]);
}

#[test]
fn a_lost_connection_means_the_same_again_in_order() {
    let mut queue = queue_of(&["a", "b", "c"]);
    let first = sent(&mut queue, 0, ONE);
    on_lost(&mut queue, [0, 1, 2], ONE);
    assert_eq!(sent(&mut queue, 0, TWO), first);
    let effects = on_answer(&mut queue, 0, TWO, ErrorCode::DuplicateSequence);
    let settlement = Settlement::Acknowledged { base_offset: None, append_time_ms: 9, durability: Durability::Committed };
    assert_eq!(effects, [QueueEffect::Settled { batch: "a", settlement }]);
}

#[test]
fn nothing_is_sent_while_another_connection_has_not_ended() {
    let mut queue = queue_of(&["a", "b"]);
    assert!(queue.next_send(0, ONE).is_some());
    assert_eq!(names(&mut queue, 0, TWO), "");
    on_lost(&mut queue, [0], ONE);
    assert_eq!(names(&mut queue, 0, TWO), "ab");
}

#[test]
fn a_refused_batch_takes_those_behind_it_with_it_and_they_come_again_in_order() {
    let mut queue = queue_of(&["a", "b", "c"]);
    let first = sent(&mut queue, 0, ONE);
    assert_eq!(on_answer(&mut queue, 0, ONE, ErrorCode::Overloaded), []);
    assert_eq!(names(&mut queue, 0, ONE), "", "it waits");
    let wait_ms = queue.not_before_ms();
    assert!((50..=100).contains(&wait_ms));
    // The first may go again; those behind it were sent before that and are still to be refused.
    assert_eq!(names(&mut queue, wait_ms, ONE), "a");
    assert_eq!(on_answer(&mut queue, 1, ONE, ErrorCode::OutOfOrderSequence), []);
    assert_eq!(names(&mut queue, wait_ms, ONE), "b");
    assert_eq!(on_answer(&mut queue, 2, ONE, ErrorCode::UnknownProducer), []);
    assert_eq!(sent(&mut queue, wait_ms, ONE), first[2..]);
}

#[test]
fn a_batch_that_is_still_to_be_refused_holds_back_those_behind_it() {
    let mut queue = queue_of(&["a", "b", "c"]);
    assert_eq!(names(&mut queue, 0, ONE), "abc");
    on_answer(&mut queue, 0, ONE, ErrorCode::Overloaded);
    on_answer(&mut queue, 2, ONE, ErrorCode::OutOfOrderSequence);
    let wait_ms = queue.not_before_ms();
    assert_eq!(names(&mut queue, wait_ms, ONE), "a", "b was sent before this a, so c would only be refused again");
    on_answer(&mut queue, 1, ONE, ErrorCode::OutOfOrderSequence);
    assert_eq!(names(&mut queue, wait_ms, ONE), "bc");
}

#[test]
fn the_retry_after_of_the_answer_counts() {
    let mut queue = queue_of(&["a"]);
    sent(&mut queue, 0, ONE);
    let mut effects = Effects::new();
    let refused = BatchAnswer { retry_after_ms: 700, ..answer(ErrorCode::Overloaded) };
    queue.on_answer(1000, (BatchId(0), ONE), refused, &mut effects);
    assert_eq!(names(&mut queue, 1699, ONE), "");
    assert_eq!(names(&mut queue, 1700, ONE), "a");
}

#[test]
fn the_right_address_needs_no_wait() {
    let mut queue = queue_of(&["a"]);
    sent(&mut queue, 0, ONE);
    let mut effects = Effects::new();
    let refused = BatchAnswer { redirected: true, ..answer(ErrorCode::NotLeader) };
    queue.on_answer(1000, (BatchId(0), ONE), refused, &mut effects);
    assert_eq!(effects, [QueueEffect::RefreshMetadata]);
    assert_eq!(names(&mut queue, 1000, TWO), "a");
}

#[test]
fn a_batch_refused_for_good_is_followed_by_a_new_epoch() {
    let mut queue = queue_of(&["a", "b", "c"]);
    assert_eq!(names(&mut queue, 0, ONE), "abc");
    assert_eq!(outcomes(&on_answer(&mut queue, 0, ONE, ErrorCode::InvalidRecords)), [("a", 'r')]);
    queue.push("d", 10, 10_000);
    assert_eq!(names(&mut queue, 0, ONE), "", "b and c are settled under the old epoch first");
    assert_eq!(on_answer(&mut queue, 1, ONE, ErrorCode::OutOfOrderSequence), []);
    assert_eq!(names(&mut queue, 0, ONE), "");
    assert_eq!(on_answer(&mut queue, 2, ONE, ErrorCode::OutOfOrderSequence), []);
    assert_eq!(sent(&mut queue, 0, ONE), [("b", 1, 0), ("c", 1, 10), ("d", 1, 20)]);
}

#[test]
fn only_batches_certainly_not_written_move_to_the_new_epoch() {
    let mut queue = queue_of(&["a", "b", "c", "d"]);
    assert_eq!(names(&mut queue, 0, ONE), "abcd");
    on_lost(&mut queue, 0..4, ONE);
    assert_eq!(names(&mut queue, 0, TWO), "abcd");
    // "a" may be written (it was lost once), and is now refused for good: nobody can say.
    assert_eq!(outcomes(&on_answer(&mut queue, 0, TWO, ErrorCode::FrameTooLarge)), [("a", 'u')]);
    assert_eq!(on_answer(&mut queue, 1, TWO, ErrorCode::Overloaded), [], "says nothing about the copy that was lost");
    assert_eq!(on_answer(&mut queue, 2, TWO, ErrorCode::OutOfOrderSequence), []);
    on_lost(&mut queue, [3], TWO);
    let three = ConnectionId { number: 3, peer: HERE };
    let now_ms = queue.not_before_ms();
    assert_eq!(sent(&mut queue, now_ms, three), [("b", 0, 10), ("d", 0, 30)], "the two in doubt, under the old epoch");
    assert_eq!(outcomes(&on_answer(&mut queue, 1, three, ErrorCode::None)), [("b", 'a')]);
    assert_eq!(on_answer(&mut queue, 3, three, ErrorCode::OutOfOrderSequence), []);
    assert_eq!(sent(&mut queue, now_ms, three), [("c", 1, 0), ("d", 1, 10)]);
}

#[test]
fn a_partition_that_lost_history_gets_a_new_epoch() {
    let mut queue = queue_of(&["a", "b"]);
    sent(&mut queue, 0, ONE);
    on_answer(&mut queue, 0, ONE, ErrorCode::None);
    assert_eq!(on_answer(&mut queue, 1, ONE, ErrorCode::UnknownProducer), [QueueEffect::HistoryLost]);
    assert_eq!(names(&mut queue, 0, ONE), "", "not in a hurry");
    assert_eq!(sent(&mut queue, 1000, ONE), [("b", 1, 0)]);
}

#[test]
fn a_fenced_producer_takes_a_new_id() {
    let mut queue = queue_of(&["a", "b", "c"]);
    sent(&mut queue, 0, ONE);
    on_lost(&mut queue, [2], ONE);
    assert_eq!(on_answer(&mut queue, 0, ONE, ErrorCode::FencedProducerEpoch), []);
    assert_eq!(on_answer(&mut queue, 1, ONE, ErrorCode::FencedProducerEpoch), []);
    assert_eq!(sent(&mut queue, 1000, TWO), [("c", 0, 20)]);
    let effects = on_answer(&mut queue, 2, TWO, ErrorCode::FencedProducerEpoch);
    assert_eq!(outcomes(&effects), [("c", 'u')]);
    assert_eq!(effects.last(), Some(&QueueEffect::NewProducerId));
    assert_eq!(names(&mut queue, 5000, TWO), "");
    queue.on_producer_id(ProducerId(8));
    assert_eq!(queue.next_send(5000, TWO).map(|o| o.stamp.producer_id), Some(ProducerId(8)));
}

#[test]
fn after_the_last_epoch_comes_a_new_id() {
    let mut queue = queue_of(&["a"]);
    queue.epoch = ProducerEpoch(i16::MAX);
    sent(&mut queue, 0, ONE);
    let effects = on_answer(&mut queue, 0, ONE, ErrorCode::InvalidFrame);
    assert_eq!(outcomes(&effects), [("a", 'r')]);
    assert_eq!(effects.last(), Some(&QueueEffect::NewProducerId));
}

#[test]
fn the_delivery_timeout_tells_the_truth() {
    let mut queue = queue();
    for (batch, deadline_ms) in [("a", 100), ("b", 100), ("c", 100), ("d", 100), ("e", 200)] {
        queue.push(batch, 1, deadline_ms);
    }
    for _ in 0..3 {
        queue.next_send(0, ONE);
    }
    on_answer(&mut queue, 1, ONE, ErrorCode::Overloaded);
    on_lost(&mut queue, [2], ONE);
    let mut effects = Effects::new();
    queue.on_tick(99, &mut effects);
    assert_eq!(effects, []);
    assert_eq!(queue.next_deadline_ms(), Some(100));
    queue.on_tick(100, &mut effects);
    // On the wire; refused; lost; never sent.
    assert_eq!(outcomes(&effects), [("a", 'u'), ("b", 'r'), ("c", 'u'), ("d", 'r')]);
    assert_eq!(queue.next_deadline_ms(), Some(200));
    // A late answer changes nothing.
    assert_eq!(on_answer(&mut queue, 0, ONE, ErrorCode::None), []);
    assert_eq!(sent(&mut queue, 2000, ONE), [("e", 1, 0)]);
}

#[test]
fn a_batch_that_never_got_a_sequence_leaves_no_hole() {
    let mut queue = queue_of(&["a"]);
    let mut effects = Effects::new();
    queue.on_tick(10_000, &mut effects);
    assert_eq!(outcomes(&effects), [("a", 'r')]);
    queue.push("b", 1, 20_000);
    assert_eq!(sent(&mut queue, 10_000, ONE), [("b", 0, 0)]);
}

#[test]
fn bytes_that_never_left_leave_no_doubt() {
    let mut queue = queue_of(&["a"]);
    sent(&mut queue, 0, ONE);
    let mut effects = Effects::new();
    queue.on_lost((BatchId(0), ONE), false, &mut effects);
    queue.on_close(&mut effects);
    assert_eq!(outcomes(&effects), [("a", 'r')]);
}

#[test]
fn a_batch_that_no_request_can_hold_is_refused_at_once_and_holds_nothing_up() {
    let mut queue = queue_of(&["a", "b"]);
    assert_eq!(queue.next_send(0, ONE).map(|order| order.stamp.base_sequence), Some(Sequence(0)));
    let mut effects = Effects::new();
    queue.on_unsendable((BatchId(0), ONE), "too long", &mut effects);
    assert_eq!(outcomes(&effects), [("a", 'r')]);
    assert_eq!(sent(&mut queue, 0, ONE), [("b", 1, 0)], "in the next epoch");
}

#[test]
fn codes_of_unknown_outcome_are_asked_again() {
    let mut queue = queue_of(&["a", "b"]);
    let first = sent(&mut queue, 0, ONE);
    assert_eq!(on_answer(&mut queue, 0, ONE, ErrorCode::LeadershipLost), [QueueEffect::RefreshMetadata]);
    assert_eq!(outcomes(&on_answer(&mut queue, 1, ONE, ErrorCode::None)), [("b", 'a')]);
    assert_eq!(sent(&mut queue, 1000, ONE), first[..1]);
    assert_eq!(outcomes(&on_answer(&mut queue, 0, ONE, ErrorCode::None)), [("a", 'a')]);
}

/// The old leader fell silent, and the new one has what it had, or not: either way the same batches in the same order.
#[test]
fn batches_in_flight_go_to_the_new_leader_under_the_same_sequences() {
    let mut queue = queue_of(&["a", "b", "c"]);
    let first = sent(&mut queue, 0, ONE);
    assert_eq!(queue.longest_in_flight(), Some((ONE, 0)));
    queue.push("d", 10, 10_000);
    assert_eq!(names(&mut queue, 5, THREE), "", "nothing overtakes what is on the wire to the old one");
    on_lost(&mut queue, 0..3, ONE);
    assert_eq!(sent(&mut queue, 5, THREE), [&first[..], &[("d", 0, 30)]].concat());
    // The new one has the first from the old one.
    assert_eq!(outcomes(&on_answer(&mut queue, 0, THREE, ErrorCode::None)), [("a", 'a')]);
    assert_eq!(outcomes(&on_answer(&mut queue, 1, THREE, ErrorCode::DuplicateSequence)), [("b", 'a')]);
    assert_eq!(outcomes(&on_answer(&mut queue, 2, ONE, ErrorCode::NotLeader)), [], "too late to mean anything");
    assert_eq!(outcomes(&on_answer(&mut queue, 2, THREE, ErrorCode::None)), [("c", 'a')]);
}

#[test]
fn a_new_leader_is_not_bound_by_what_the_last_one_said_of_waiting() {
    let mut queue = queue_of(&["a"]);
    sent(&mut queue, 0, ONE);
    let mut effects = Effects::new();
    let not_ready = BatchAnswer { retry_after_ms: 5000, ..answer(ErrorCode::NotReady) };
    queue.on_answer(0, (BatchId(0), ONE), not_ready, &mut effects);
    assert_eq!(effects, [QueueEffect::RefreshMetadata], "another may lead soon");
    assert_eq!(names(&mut queue, 4999, ONE), "");
    queue.on_new_leader();
    assert_eq!(names(&mut queue, 1, THREE), "a");
}

/// What the old leader has may be written when it leads again; the new one's sequence check does not know.
#[test]
fn another_leaders_sequence_check_ends_no_doubt() {
    let mut queue = queue_of(&["a", "b"]);
    assert_eq!(names(&mut queue, 0, ONE), "ab");
    on_lost(&mut queue, 0..2, ONE);
    assert_eq!(names(&mut queue, 0, THREE), "ab");
    assert_eq!(on_answer(&mut queue, 0, THREE, ErrorCode::Overloaded), []);
    assert_eq!(on_answer(&mut queue, 1, THREE, ErrorCode::OutOfOrderSequence), []);
    let mut effects = Effects::new();
    queue.on_tick(10_000, &mut effects);
    assert_eq!(outcomes(&effects), [("a", 'u'), ("b", 'u')]);
}

#[test]
fn history_that_a_new_leader_lacks_is_no_silent_duplicate_and_no_silent_gap() {
    let mut queue = queue_of(&["a", "b", "c"]);
    assert_eq!(names(&mut queue, 0, ONE), "abc");
    on_answer(&mut queue, 0, ONE, ErrorCode::None);
    on_lost(&mut queue, [1], ONE);
    on_answer(&mut queue, 2, ONE, ErrorCode::NotLeader);
    let now_ms = queue.not_before_ms();
    assert_eq!(names(&mut queue, now_ms, THREE), "bc");
    // "a" was acknowledged and is not there. "b" may be on the old leader; "c" certainly is nowhere.
    let effects = on_answer(&mut queue, 1, THREE, ErrorCode::UnknownProducer);
    assert_eq!((&effects[0], outcomes(&effects)), (&QueueEffect::HistoryLost, vec![("b", 'u')]));
    assert_eq!(on_answer(&mut queue, 2, THREE, ErrorCode::UnknownProducer), []);
    assert_eq!(sent(&mut queue, 10_000, THREE), [("c", 1, 0)]);
}

#[test]
fn a_batch_in_doubt_elsewhere_is_not_given_up_before_those_in_front_of_it_are_known() {
    let mut queue = queue_of(&["a", "b", "c"]);
    assert_eq!(names(&mut queue, 0, ONE), "abc");
    on_lost(&mut queue, 1..3, ONE);
    assert_eq!(outcomes(&on_answer(&mut queue, 0, ONE, ErrorCode::InvalidRecords)), [("a", 'r')]);
    assert_eq!(names(&mut queue, 0, THREE), "bc");
    assert_eq!(on_answer(&mut queue, 2, THREE, ErrorCode::OutOfOrderSequence), [], "b may yet be acknowledged, and c then");
    assert_eq!(outcomes(&on_answer(&mut queue, 1, THREE, ErrorCode::OutOfOrderSequence)), [("b", 'u')]);
    assert_eq!(names(&mut queue, 0, THREE), "c");
    assert_eq!(outcomes(&on_answer(&mut queue, 2, THREE, ErrorCode::OutOfOrderSequence)), [("c", 'u')]);
}

#[test]
fn a_replaced_log_gets_what_the_old_one_certainly_did_not() {
    let mut queue = queue_of(&["a", "b", "c"]);
    for _ in 0..2 {
        queue.next_send(0, ONE);
    }
    on_lost(&mut queue, [0], ONE);
    let mut effects = Effects::new();
    queue.on_log_replaced(&mut effects);
    assert_eq!(outcomes(&effects), [("a", 'u')]);
    assert!(queue.is_closing());
    on_answer(&mut queue, 1, ONE, ErrorCode::UnknownTopic);
    assert!(!queue.is_closing());
    assert_eq!(sent(&mut queue, 1000, ONE), [("b", 1, 0), ("c", 1, 10)]);
}

#[test]
fn closing_settles_everything() {
    let mut queue = queue_of(&["a", "b"]);
    queue.next_send(0, ONE);
    let mut effects = Effects::new();
    queue.on_close(&mut effects);
    assert_eq!(outcomes(&effects), [("a", 'u'), ("b", 'r')]);
    assert!(queue.is_empty());
}
