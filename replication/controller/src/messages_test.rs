use super::*;
use crate::fuzzing::{answers, append_of, entries, id, is_message, request, requests, snapshot, vote};
use sluice_metadata::FramedError;
use sluice_metadata::framed::{HEADER_LEN, checksum};

#[test]
fn what_is_sent_is_what_arrives() {
    for request in requests() {
        assert!(request.is_sound(), "{request:?}");
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    for answer in answers() {
        assert!(answer.is_sound(), "{answer:?}");
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

#[test]
fn what_the_engine_takes_for_granted_is_refused_when_it_is_not_so() {
    let changed = |change: fn(&mut Vec<EntryRow>)| {
        let mut entries = entries();
        change(&mut entries);
        append_of(entries)
    };
    let bad = [
        ("a gap between entries", changed(|entries| drop(entries.remove(1)))),
        ("entries that do not follow what is before them", changed(|entries| drop(entries.remove(0)))),
        ("a term that falls", changed(|entries| entries[2].log_id.term = 1)),
        ("an entry from after the leader's term", changed(|entries| entries[3].log_id.term = 4)),
        (
            "nobody votes",
            changed(|entries| entries[0].payload = PayloadRow::Membership(MembershipRow { configs: vec![], nodes: vec![] })),
        ),
        (
            "an empty set of voters",
            changed(|entries| {
                entries[0].payload = PayloadRow::Membership(MembershipRow { configs: vec![vec![]], nodes: vec![] });
            }),
        ),
        ("another's vote", RequestBody::Vote { vote: VoteRow { node: 1, ..vote(3, false) }, last: None }),
        ("a term without a next one", RequestBody::Vote { vote: vote(u64::MAX, false), last: None }),
        ("an index without a next one", RequestBody::Vote { vote: vote(3, false), last: Some(id(1, u64::MAX)) }),
        ("a leader that is none", RequestBody::Append { vote: vote(3, false), previous: None, entries: vec![], committed: None }),
        ("a chunk beyond any snapshot", snapshot(SNAPSHOT_LEN_MAX as u64 + 4096)),
        ("a chunk beyond all numbers", snapshot(u64::MAX)),
        ("a command beyond any", RequestBody::Submit { command: vec![0; COMMAND_LEN_MAX + 1] }),
        ("a start without a next one", RequestBody::Renew { number: u64::MAX, random: 0 }),
        ("no address", RequestBody::Join { address: String::new() }),
        ("a long address", RequestBody::Join { address: "x".repeat(ADDRESS_LEN_MAX + 1) }),
    ];
    for (what, body) in bad {
        assert!(!request(body).is_sound(), "{what}");
    }
    let from = answers()[0].from;
    assert!(!Answer { from, body: AnswerBody::HigherVote { vote: vote(u64::MAX, true) } }.is_sound());
    assert!(!Answer { from, body: AnswerBody::Submitted { answer: vec![0; COMMAND_ANSWER_LEN_MAX + 1] } }.is_sound());
    assert!(!Answer { from, body: AnswerBody::Renewed { answer: vec![0; RENEW_ANSWER_LEN_MAX + 1] } }.is_sound());
}

/// Cut, flipped, and flipped with the checksum made good: read or refused, never a panic.
#[test]
fn hostile_bytes_are_refused() {
    let (mut taken, mut refused) = (0, 0);
    let all = requests().into_iter().map(|r| r.encode()).chain(answers().into_iter().map(|a| a.encode()));
    for bytes in all.collect::<Vec<_>>() {
        assert!(is_message(&bytes));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!is_message(&flipped), "its checksum does not agree");
            assert!(!is_message(&bytes[..at]), "it is cut");
            if at >= HEADER_LEN {
                let crc = checksum(&flipped);
                flipped[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
                if is_message(&flipped) { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    let mut newer = requests().remove(0).encode();
    newer[3] = crate::codec::CODEC_VERSION + 1;
    let crc = checksum(&newer);
    newer[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Request::decode(&newer), Err(FramedError::NewerVersion { got: 2, known: 1 }));
    let too_long = vec![0; CONTROLLER_MESSAGE_LEN_MAX + 1];
    let (got, max) = (too_long.len(), CONTROLLER_MESSAGE_LEN_MAX);
    assert_eq!(Request::decode(&too_long), Err(FramedError::TooLong { got, max }));
}
