//! What controllers say to each other, as bytes.
//!
//! Every message says who sends it, from which folder, and of which cluster. The expensive mistake is to hand the
//! consensus engine what it takes for granted of itself: order of entries, votes of the sender, numbers that can be
//! counted up. So a message is looked at as a whole before the engine sees it, and one that makes no sense is refused.

use crate::codec::{EntryRow, LogIdRow, MembershipRow, PayloadRow, SnapshotMetaRow, VoteRow, framed};
use crate::command_codec::{COMMAND_ANSWER_LEN_MAX, COMMAND_LEN_MAX, RENEW_ANSWER_LEN_MAX};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::SNAPSHOT_LEN_MAX;
use sluice_metadata::batch::BATCH_LEN_MAX;
use sluice_model::limits::HOST_LEN_MAX;

/// Longest message and longest answer, bytes: one largest batch and what is around it.
pub const CONTROLLER_MESSAGE_LEN_MAX: usize = BATCH_LEN_MAX + 8 * 1024 * 1024;
/// Bytes of a snapshot that one message carries.
pub(crate) const SNAPSHOT_CHUNK_LEN: u64 = 1024 * 1024;
/// Terms and indexes beyond this are never reached.
pub(crate) const PLAUSIBLE_END: u64 = 1 << 62;
/// Longest address of a controller, bytes.
const ADDRESS_LEN_MAX: usize = HOST_LEN_MAX + 8;
/// Most brokers of one cluster.
const NODES_MAX: usize = 1024;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) from: Sender,
    pub(crate) body: RequestBody,
}

/// Who speaks.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) broker: u32,
    pub(crate) folder_id: [u8; 16],
    /// Zeros while it is not known.
    pub(crate) cluster_id: [u8; 16],
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestBody {
    Append {
        vote: VoteRow,
        previous: Option<LogIdRow>,
        entries: Vec<EntryRow>,
        committed: Option<LogIdRow>,
    },
    Vote {
        vote: VoteRow,
        last: Option<LogIdRow>,
    },
    Snapshot {
        vote: VoteRow,
        meta: SnapshotMetaRow,
        offset: u64,
        data: Vec<u8>,
        done: bool,
    },
    /// A broker that does not vote wants the log, and can be reached at `address`.
    Join {
        address: String,
    },
    /// A broker wants a command decided (`command_codec.rs`).
    Submit {
        command: Vec<u8>,
    },
    /// A broker renews its own lease.
    Renew {
        number: u64,
        random: u64,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) from: Sender,
    pub(crate) body: AnswerBody,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    Appended,
    AppendedTo {
        last: Option<LogIdRow>,
    },
    Conflict,
    HigherVote {
        vote: VoteRow,
    },
    Voted {
        vote: VoteRow,
        granted: bool,
        last: Option<LogIdRow>,
    },
    SnapshotTaken {
        vote: VoteRow,
    },
    /// A chunk came that does not follow what is there: from the beginning, please.
    SnapshotMismatch,
    Joined,
    NotController {
        leader: Option<u32>,
    },
    Refused {
        why: WhyRefused,
    },
    /// It cannot answer now.
    Unavailable,
    /// What became of a command (`command_codec.rs`).
    Submitted {
        answer: Vec<u8>,
    },
    /// What became of a lease (`command_codec.rs`).
    Renewed {
        answer: Vec<u8>,
    },
}

/// Why a message is not listened to.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyRefused {
    OtherCluster {
        cluster_id: [u8; 16],
    },
    /// The broker is known with another folder: this one may have forgotten what it voted for.
    OtherFolder {
        known: [u8; 16],
    },
    Malformed,
}

framed!(Request, b"SLQ", CONTROLLER_MESSAGE_LEN_MAX);
framed!(Answer, b"SLA", CONTROLLER_MESSAGE_LEN_MAX);

impl Request {
    /// Whether the engine may see it.
    pub(crate) fn is_sound(&self) -> bool {
        let from = u64::from(self.from.broker);
        let own = |vote: &VoteRow| vote.node == from && vote.term < PLAUSIBLE_END;
        match &self.body {
            RequestBody::Append { vote, previous, entries, committed } => {
                own(vote) && vote.committed && committed.iter().all(is_sound_log_id) && follow(previous, entries, vote)
            }
            RequestBody::Vote { vote, last } => own(vote) && last.iter().all(is_sound_log_id),
            RequestBody::Snapshot { vote, meta, offset, data, .. } => {
                let end = offset.checked_add(data.len() as u64);
                own(vote)
                    && vote.committed
                    && end.is_some_and(|end| end <= SNAPSHOT_LEN_MAX as u64 + 4096)
                    && meta.last_log_id.iter().chain(&meta.membership_log_id).all(is_sound_log_id)
                    && is_sound_membership(&meta.membership)
                    && meta.snapshot_id.len() <= 256
            }
            RequestBody::Join { address } => (1..=ADDRESS_LEN_MAX).contains(&address.len()),
            RequestBody::Submit { command } => command.len() <= COMMAND_LEN_MAX,
            RequestBody::Renew { number, .. } => *number < PLAUSIBLE_END,
        }
    }
}

impl Answer {
    /// Whether the engine may see it.
    pub(crate) fn is_sound(&self) -> bool {
        match &self.body {
            AnswerBody::AppendedTo { last } => last.iter().all(is_sound_log_id),
            AnswerBody::HigherVote { vote } | AnswerBody::SnapshotTaken { vote } => vote.term < PLAUSIBLE_END,
            AnswerBody::Submitted { answer } => answer.len() <= COMMAND_ANSWER_LEN_MAX,
            AnswerBody::Renewed { answer } => answer.len() <= RENEW_ANSWER_LEN_MAX,
            AnswerBody::Voted { vote, last, .. } => vote.term < PLAUSIBLE_END && last.iter().all(is_sound_log_id),
            _ => true,
        }
    }
}

fn is_sound_log_id(id: &LogIdRow) -> bool {
    id.term < PLAUSIBLE_END && id.index < PLAUSIBLE_END
}

/// Entries follow each other and what is before them, and none is from after the leader's own term.
fn follow(previous: &Option<LogIdRow>, entries: &[EntryRow], vote: &VoteRow) -> bool {
    let mut last = *previous;
    if !last.iter().all(is_sound_log_id) {
        return false;
    }
    entries.iter().all(|entry| {
        let id = entry.log_id;
        let next = last.map_or(0, |last| last.index + 1);
        let grows = last.is_none_or(|last| (last.term, last.node) <= (id.term, id.node));
        last = Some(id);
        let by_then = (id.term, id.node) <= (vote.term, vote.node);
        is_sound_log_id(&id) && id.index == next && grows && by_then && is_sound_payload(&entry.payload)
    })
}

fn is_sound_payload(payload: &PayloadRow) -> bool {
    match payload {
        PayloadRow::Blank | PayloadRow::Founded { .. } => true,
        PayloadRow::Membership(membership) => is_sound_membership(membership) && !membership.configs.is_empty(),
        PayloadRow::Batch { base, batch } => *base < PLAUSIBLE_END && batch.len() <= BATCH_LEN_MAX,
    }
}

fn is_sound_membership(membership: &MembershipRow) -> bool {
    let MembershipRow { configs, nodes } = membership;
    configs.len() <= 2
        && configs.iter().all(|voters| !voters.is_empty() && voters.len() <= NODES_MAX)
        && nodes.len() <= NODES_MAX
        && nodes.iter().all(|node| node.address.len() <= ADDRESS_LEN_MAX)
}

#[cfg(test)]
#[path = "messages_test.rs"]
mod tests;
