use super::*;
use crate::codec::{NodeRow, checksum};

fn id(term: u64, index: u64) -> LogIdRow {
    LogIdRow { term, node: 2, index }
}

fn vote(term: u64, committed: bool) -> VoteRow {
    VoteRow { term, node: 2, committed }
}

fn membership() -> MembershipRow {
    let nodes = (1..=3).map(|node| NodeRow { node, address: format!("broker-{node}:7500") }).collect();
    MembershipRow { configs: vec![vec![1, 2, 3]], nodes }
}

fn entries() -> Vec<EntryRow> {
    let payloads = [
        PayloadRow::Membership(membership()),
        PayloadRow::Blank,
        PayloadRow::Founded { cluster_id: [7; 16] },
        PayloadRow::Batch { base: 0, batch: vec![3; 300] },
    ];
    (4..).zip(payloads).map(|(index, payload)| EntryRow { log_id: id(2, index), payload }).collect()
}

fn append() -> RequestBody {
    RequestBody::Append { vote: vote(3, true), previous: Some(id(1, 3)), entries: entries(), committed: Some(id(2, 5)) }
}

fn snapshot(offset: u64) -> RequestBody {
    let (last_log_id, membership_log_id) = (Some(id(2, 9)), Some(id(1, 1)));
    let meta = SnapshotMetaRow { last_log_id, membership_log_id, membership: membership(), snapshot_id: "9-4".into() };
    RequestBody::Snapshot { vote: vote(3, true), meta, offset, data: vec![1; 100], done: false }
}

fn request(body: RequestBody) -> Request {
    Request { from: Sender { broker: 2, folder_id: [4; 16], cluster_id: [5; 16] }, body }
}

fn requests() -> Vec<Request> {
    let voting = RequestBody::Vote { vote: vote(3, false), last: None };
    let joining = RequestBody::Join { address: "broker-9:7500".into() };
    [append(), voting, snapshot(4096), joining].into_iter().map(request).collect()
}

fn answers() -> Vec<Answer> {
    let bodies = [
        AnswerBody::Appended,
        AnswerBody::AppendedTo { last: Some(id(1, 3)) },
        AnswerBody::Conflict,
        AnswerBody::HigherVote { vote: vote(9, true) },
        AnswerBody::Voted { vote: vote(3, false), granted: true, last: Some(id(1, 3)) },
        AnswerBody::SnapshotTaken { vote: vote(3, true) },
        AnswerBody::SnapshotMismatch,
        AnswerBody::Joined,
        AnswerBody::NotController { leader: Some(1) },
        AnswerBody::Refused { why: WhyRefused::OtherCluster { cluster_id: [6; 16] } },
        AnswerBody::Unavailable,
    ];
    let from = Sender { broker: 2, folder_id: [4; 16], cluster_id: [5; 16] };
    bodies.into_iter().map(|body| Answer { from, body }).collect()
}

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
        RequestBody::Append { vote: vote(3, true), previous: Some(id(1, 3)), entries, committed: None }
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
        ("no address", RequestBody::Join { address: String::new() }),
        ("a long address", RequestBody::Join { address: "x".repeat(ADDRESS_LEN_MAX + 1) }),
    ];
    for (what, body) in bad {
        assert!(!request(body).is_sound(), "{what}");
    }
    let from = answers()[0].from;
    assert!(!Answer { from, body: AnswerBody::HigherVote { vote: vote(u64::MAX, true) } }.is_sound());
}

/// Cut, flipped, and flipped with the checksum made good: read or refused, never a panic.
#[test]
fn hostile_bytes_are_refused() {
    let (mut taken, mut refused) = (0, 0);
    let all = requests().into_iter().map(|r| r.encode()).chain(answers().into_iter().map(|a| a.encode()));
    for bytes in all.collect::<Vec<_>>() {
        assert!(is_controller_message(&bytes));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!is_controller_message(&flipped), "its checksum does not agree");
            assert!(!is_controller_message(&bytes[..at]), "it is cut");
            if at >= HEADER_LEN {
                let crc = checksum(&flipped);
                flipped[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
                if is_controller_message(&flipped) { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    let mut newer = requests().remove(0).encode();
    newer[3] = crate::codec::CODEC_VERSION + 1;
    let crc = checksum(&newer);
    newer[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Request::decode(&newer), Err(CodecError::NewerVersion { got: 2, known: 1 }));
    let too_long = vec![0; CONTROLLER_MESSAGE_LEN_MAX + 1];
    let (got, max) = (too_long.len(), CONTROLLER_MESSAGE_LEN_MAX);
    assert_eq!(Request::decode(&too_long), Err(CodecError::TooLong { got, max }));
}
