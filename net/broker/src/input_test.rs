use super::*;
use sluice_model::limits::{MESSAGE_BODY_LEN_MAX, MESSAGE_LEN_MAX};
use sluice_shard::Budget;

const RICH: usize = 1 << 20;

fn message(correlation_id: u32, rest_len: usize) -> Vec<u8> {
    let prefix = Prefix { api: 1, version: 0, correlation_id, body_len: rest_len.min(8), frames_len: rest_len.saturating_sub(8) };
    let mut bytes = prefix.to_bytes().to_vec();
    bytes.extend((0..rest_len).map(|at| (at % 251) as u8));
    bytes
}

/// Every request that comes out when `bytes` arrive in pieces of `len`.
fn feed_all(bytes: &[u8], len: usize, room: &mut RequestRoom) -> Vec<(u32, Vec<u8>)> {
    let mut input = Input::new(0);
    let mut out = Vec::new();
    for piece in bytes.chunks(len) {
        let mut left = piece;
        loop {
            match input.feed(&mut left, room, 0) {
                Fed::More => break,
                Fed::Whole { prefix, rest, .. } => out.push((prefix.correlation_id, rest.to_vec())),
                Fed::Gathered(gathered) => out.push((gathered.prefix.correlation_id, gathered.rest)),
                fed => panic!("{fed:?}"),
            }
        }
    }
    out
}

#[test]
fn requests_come_out_whole_however_they_arrive() {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for (id, len) in [(1, 0), (2, 5), (3, 100), (4, 0), (5, 3000)] {
        bytes.extend(message(id, len));
        expected.push((id, message(id, len)[PREFIX_LEN..].to_vec()));
    }
    for len in [1, 2, 3, 15, 16, 17, 100, 1000, 10_000] {
        let budget = Budget::new(RICH);
        assert_eq!(feed_all(&bytes, len, &mut RequestRoom::new(budget.clone())), expected, "in pieces of {len}");
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn the_rest_of_a_request_is_received_without_a_copy() {
    let budget = Budget::new(RICH);
    let mut room = RequestRoom::new(budget.clone());
    let mut input = Input::new(0);
    let bytes = message(7, 1000);
    assert!(input.window().is_none());
    assert!(matches!(input.feed(&mut &bytes[..100], &mut room, 0), Fed::More));
    assert_eq!(budget.used(), 1000);
    let window = input.window().expect("a rest is awaited");
    assert_eq!(window.len(), 1016 - 100);
    window[..500].copy_from_slice(&bytes[100..600]);
    assert!(input.received(500, 0).is_none());
    input.window().expect("still awaited").copy_from_slice(&bytes[600..]);
    let gathered = input.received(416, 0).expect("whole");
    assert_eq!((gathered.prefix.correlation_id, &gathered.rest[..]), (7, &bytes[PREFIX_LEN..]));
    assert_eq!(budget.used(), 1000);
    drop(gathered);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_request_begins_with_its_first_byte() {
    let mut room = RequestRoom::new(Budget::new(RICH));
    let mut input = Input::new(0);
    let bytes = [message(1, 10), message(2, 1000), message(3, 0)].concat();
    let mut left = &bytes[..26 + 3];
    assert!(matches!(input.feed(&mut left, &mut room, 100), Fed::Whole { began_us: 100, .. }));
    // Three bytes of the second come with the first, the others by feed and by window.
    assert!(matches!(input.feed(&mut left, &mut room, 100), Fed::More));
    assert!(matches!(input.feed(&mut &bytes[29..500], &mut room, 200), Fed::More));
    let window = input.window().expect("a rest is awaited");
    let len = window.len();
    window.copy_from_slice(&bytes[500..500 + len]);
    assert_eq!(input.received(len, 300).map(|gathered| gathered.began_us), Some(100));
    let mut left = &bytes[500 + len..];
    assert!(matches!(input.feed(&mut left, &mut room, 400), Fed::Whole { began_us: 400, .. }));
}

#[test]
fn without_room_a_request_is_refused_at_once_and_thrown_away() {
    let budget = Budget::new(10);
    let mut room = RequestRoom::new(budget.clone());
    let mut input = Input::new(0);
    let mut bytes = message(8, 1000);
    bytes.extend(message(9, 4));
    assert!(matches!(input.feed(&mut &bytes[..50], &mut room, 0), Fed::NoRoom { prefix } if prefix.correlation_id == 8));
    assert!(matches!(input.feed(&mut &bytes[16..516], &mut room, 0), Fed::More), "what is left of the piece is thrown away too");
    assert!(input.window().is_none());
    assert!(matches!(input.feed(&mut &bytes[516..], &mut room, 0), Fed::Whole { prefix, .. } if prefix.correlation_id == 9));
    assert_eq!(budget.used(), 0);
}

#[test]
fn lengths_beyond_the_limits_allocate_nothing() {
    for (length, body_length) in
        [(u32::MAX, 0), (MESSAGE_LEN_MAX as u32, 0), (20, 100), (0, 0), (12 + (1 << 21), MESSAGE_BODY_LEN_MAX as u32 + 1)]
    {
        let mut bytes = [0xaa; 64];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&body_length.to_le_bytes());
        let budget = Budget::new(RICH);
        let mut room = RequestRoom::new(budget.clone());
        assert!(matches!(Input::new(0).feed(&mut &bytes[..], &mut room, 0), Fed::Broken { .. }), "{length} {body_length}");
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn a_request_that_stops_arriving_or_drips_for_ever_is_stalled() {
    let budget = Budget::new(RICH);
    let mut room = RequestRoom::new(budget.clone());
    let bytes = message(1, 100);
    let mut input = Input::new(0);
    assert!(!input.is_stalled(u64::MAX), "nothing is owed");
    assert!(matches!(input.feed(&mut &bytes[..20], &mut room, 1000), Fed::More));
    assert!(!input.is_stalled(1000 + STALL_US_MAX));
    assert!(input.is_stalled(1001 + STALL_US_MAX));
    let mut now_us = 1000;
    for byte in &bytes[20..40] {
        now_us += 4_000_000;
        assert!(matches!(input.feed(&mut std::slice::from_ref(byte), &mut room, now_us), Fed::More));
    }
    assert!(input.is_stalled(now_us), "one byte every four seconds is too slow");
    let mut input = Input::new(0);
    assert!(matches!(input.feed(&mut &bytes[..3], &mut room, 0), Fed::More));
    assert!(input.is_stalled(1 + STALL_US_MAX), "half a prefix");
    let mut input = Input::new(0);
    assert!(matches!(input.feed(&mut &bytes[..20], &mut RequestRoom::new(Budget::new(0)), 0), Fed::NoRoom { .. }));
    assert!(matches!(input.feed(&mut &bytes[16..20], &mut RequestRoom::new(Budget::new(0)), 0), Fed::More));
    assert!(input.is_stalled(1 + STALL_US_MAX), "a body that is thrown away");
}
