//! Produces that wait for their condition: an end offset that has to be flushed here, or committed.

use crate::effect::{Acks, Durability, Effect, Effects};
use sluice_model::Offset;
use std::collections::VecDeque;

/// One produce that was appended (or found to be a duplicate) and not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingAck {
    pub token: u64,
    pub base_offset: Option<Offset>,
    /// Everything below this has to be durable first.
    pub end_offset: Offset,
    pub append_time_ms: i64,
}

/// Two queues, each ordered by `end_offset`.
#[derive(Clone, Debug, Default)]
pub struct PendingAcks {
    on_leader: VecDeque<PendingAck>,
    on_all: VecDeque<PendingAck>,
}

impl PendingAcks {
    /// Keeps `ack` until its condition holds. A duplicate may wait for less than those before it.
    pub fn push(&mut self, acks: Acks, ack: PendingAck) {
        let queue = match acks {
            Acks::None => return,
            Acks::Leader => &mut self.on_leader,
            Acks::All => &mut self.on_all,
        };
        let at = queue.partition_point(|waiting| waiting.end_offset <= ack.end_offset);
        queue.insert(at, ack);
    }

    /// Releases every produce whose condition holds now.
    pub fn release(&mut self, flushed: Offset, high_watermark: Offset, effects: &mut Effects) {
        release_below(&mut self.on_leader, flushed, Durability::FlushedOnLeader, effects);
        release_below(&mut self.on_all, high_watermark, Durability::Committed, effects);
    }

    /// The tokens of all produces that wait, which nobody can answer any more.
    pub fn drain_tokens(&mut self) -> Vec<u64> {
        self.on_leader.drain(..).chain(self.on_all.drain(..)).map(|ack| ack.token).collect()
    }

    /// The tokens of produces that wait for more than `end_offset`, which are not waited for any more.
    pub fn drain_above(&mut self, end_offset: Offset) -> Vec<u64> {
        let mut tokens = Vec::new();
        for queue in [&mut self.on_leader, &mut self.on_all] {
            let at = queue.partition_point(|waiting| waiting.end_offset <= end_offset);
            tokens.extend(queue.drain(at..).map(|ack| ack.token));
        }
        tokens
    }

    /// The smallest end offsets still waited for: on the leader's flush, on the high watermark.
    #[must_use]
    pub fn oldest(&self) -> (Option<Offset>, Option<Offset>) {
        (self.on_leader.front().map(|a| a.end_offset), self.on_all.front().map(|a| a.end_offset))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.on_leader.len() + self.on_all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn release_below(queue: &mut VecDeque<PendingAck>, durable: Offset, durability: Durability, effects: &mut Effects) {
    while let Some(ack) = queue.pop_front_if(|ack| ack.end_offset <= durable) {
        effects.push(Effect::AckProduce {
            token: ack.token,
            base_offset: ack.base_offset,
            append_time_ms: ack.append_time_ms,
            durability,
        });
    }
}
