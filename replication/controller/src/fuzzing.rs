//! The decoders of this package as functions over any bytes, and good bytes to begin with. For `fuzz/` and for tests.

mod commands;

use crate::codec::{EntryRow, LogIdRow, MembershipRow, NodeRow, PayloadRow, SnapshotMetaRow, VoteRow};
use crate::messages::{Answer, AnswerBody, Request, RequestBody, Sender, WhyRefused};
use crate::raft_types::Entry;
use crate::store::{SnapshotRow, StateRow};
use sluice_metadata::framed::{HEADER_LEN, checksum};

pub(crate) use commands::{commands, is_command, renew_answers, submit_answers};

/// What controllers say to each other, as it came and with its checksum made good. True when it would be listened to.
pub fn controller_message(bytes: &[u8]) -> bool {
    is_message(bytes) | is_message(&sealed(bytes))
}

/// What stands in the log and beside it, as it came and with its checksum made good.
pub fn controller_row(bytes: &[u8]) -> bool {
    is_row(bytes) | is_row(&sealed(bytes))
}

/// Commands and what is said of them, as it came and with its checksum made good.
pub fn controller_command(bytes: &[u8]) -> bool {
    is_command(bytes) | is_command(&sealed(bytes))
}

/// Good bytes with a name, for `controller_message`, for `controller_row` and for `controller_command`.
#[must_use]
pub fn seeds() -> [Vec<(String, Vec<u8>)>; 3] {
    let requests = (0..).zip(requests()).map(|(n, request)| (format!("request-{n}"), request.encode()));
    let answers = (0..).zip(answers()).map(|(n, answer)| (format!("answer-{n}"), answer.encode()));
    let entries = (0..).zip(entries()).map(|(n, entry)| (format!("entry-{n}"), entry.encode()));
    let state = StateRow { change: 3, vote: Some(vote(3, true)), committed: Some(id(2, 5)), purged: None };
    let meta = match snapshot(0) {
        RequestBody::Snapshot { meta, .. } => meta,
        other => unreachable!("a snapshot is {other:?}"),
    };
    let snapshot = SnapshotRow { index: 4, image: vec![7; 200] };
    let rows = [("state", state.encode()), ("snapshot-meta", meta.encode()), ("snapshot", snapshot.encode())];
    let rows = rows.into_iter().map(|(name, bytes)| (name.to_owned(), bytes));
    let asked = (0..).zip(commands()).map(|(n, command)| (format!("command-{n}"), command.encode()));
    let submitted = (0..).zip(submit_answers()).map(|(n, answer)| (format!("submitted-{n}"), answer.encode()));
    let renewed = (0..).zip(renew_answers()).map(|(n, answer)| (format!("renewed-{n}"), answer.encode()));
    [requests.chain(answers).collect(), entries.chain(rows).collect(), asked.chain(submitted).chain(renewed).collect()]
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    if sealed.len() >= HEADER_LEN {
        let crc = checksum(&sealed);
        sealed[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    }
    sealed
}

/// What is taken reads back as it was.
pub(crate) fn is_message(bytes: &[u8]) -> bool {
    if let Ok(answer) = Answer::decode(bytes) {
        let is_sound = answer.is_sound();
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        return is_sound;
    }
    let Ok(request) = Request::decode(bytes) else { return false };
    let is_sound = request.is_sound();
    assert_eq!(Request::decode(&request.encode()), Ok(request));
    is_sound
}

fn is_row(bytes: &[u8]) -> bool {
    if let Ok(row) = EntryRow::decode(bytes) {
        let back = EntryRow::from(Entry::from(row.clone()));
        assert_eq!((back.log_id, EntryRow::decode(&row.encode())), (row.log_id, Ok(row)));
        return true;
    }
    StateRow::decode(bytes).is_ok() || SnapshotMetaRow::decode(bytes).is_ok() || SnapshotRow::decode(bytes).is_ok()
}

pub(crate) fn id(term: u64, index: u64) -> LogIdRow {
    LogIdRow { term, node: 2, index }
}

pub(crate) fn vote(term: u64, committed: bool) -> VoteRow {
    VoteRow { term, node: 2, committed }
}

fn membership() -> MembershipRow {
    let nodes = (1..=3).map(|node| NodeRow { node, address: format!("broker-{node}:7500") }).collect();
    MembershipRow { configs: vec![vec![1, 2, 3]], nodes }
}

pub(crate) fn entries() -> Vec<EntryRow> {
    let payloads = [
        PayloadRow::Membership(membership()),
        PayloadRow::Blank,
        PayloadRow::Founded { cluster_id: [7; 16] },
        PayloadRow::Batch { base: 0, batch: vec![3; 300] },
    ];
    (4..).zip(payloads).map(|(index, payload)| EntryRow { log_id: id(2, index), payload }).collect()
}

pub(crate) fn append_of(entries: Vec<EntryRow>) -> RequestBody {
    RequestBody::Append { vote: vote(3, true), previous: Some(id(1, 3)), entries, committed: Some(id(2, 5)) }
}

pub(crate) fn snapshot(offset: u64) -> RequestBody {
    let (last_log_id, membership_log_id) = (Some(id(2, 9)), Some(id(1, 1)));
    let meta = SnapshotMetaRow { last_log_id, membership_log_id, membership: membership(), snapshot_id: "9-4".into() };
    RequestBody::Snapshot { vote: vote(3, true), meta, offset, data: vec![1; 100], done: false }
}

pub(crate) fn request(body: RequestBody) -> Request {
    Request { from: Sender { broker: 2, folder_id: [4; 16], cluster_id: [5; 16] }, body }
}

pub(crate) fn requests() -> Vec<Request> {
    let voting = RequestBody::Vote { vote: vote(3, false), last: None };
    let joining = RequestBody::Join { address: "broker-9:7500".into() };
    let submitting = RequestBody::Submit { command: commands().remove(2).encode() };
    let renewing = RequestBody::Renew { number: 3, random: 9 };
    [append_of(entries()), voting, snapshot(4096), joining, submitting, renewing].into_iter().map(request).collect()
}

pub(crate) fn answers() -> Vec<Answer> {
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
        AnswerBody::Submitted { answer: submit_answers().remove(1).encode() },
        AnswerBody::Renewed { answer: renew_answers().remove(0).encode() },
    ];
    let from = Sender { broker: 2, folder_id: [4; 16], cluster_id: [5; 16] };
    bodies.into_iter().map(|body| Answer { from, body }).collect()
}
