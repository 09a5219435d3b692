//! The follower's end: what the leader has been told, and so what the next request has to name.

use super::{FetchRequest, FlushRequest, PartitionFetch, RequestNumber};
use sluice_model::{LeaderEpoch, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// One session with one leader shard, and those before it.
#[derive(Clone, Debug, Default)]
pub struct FollowerSession {
    id: u64,
    /// Number of the next request; `None` when the next one has to be full.
    next: Option<u64>,
    /// Number of the fetch whose answer is waited for.
    outstanding: Option<u64>,
    /// What the leader knows.
    named: BTreeMap<TopicPartition, PartitionFetch>,
    /// Of those, the ones that it has refused since they were named: it judges what is named, and nothing else.
    refused: BTreeSet<TopicPartition>,
}

impl FollowerSession {
    /// The next fetch, of exactly the partitions of `wanted`; `None` while one is outstanding.
    pub fn fetch(&mut self, wanted: &BTreeMap<TopicPartition, PartitionFetch>) -> Option<FetchRequest> {
        if self.outstanding.is_some() {
            return None;
        }
        let Some(number) = self.next else { return Some(self.full(wanted)) };
        let refused = std::mem::take(&mut self.refused);
        let changed = wanted.iter().filter(|&(id, fetch)| self.named.get(id) != Some(fetch) || refused.contains(id));
        let named: BTreeMap<_, _> = changed.map(|(&id, &fetch)| (id, fetch)).collect();
        let forgotten = self.named.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in &forgotten {
            self.named.remove(id);
        }
        self.named.extend(named.iter().map(|(&id, &fetch)| (id, fetch)));
        Some(FetchRequest { at: self.take(number), named, forgotten })
    }

    fn full(&mut self, wanted: &BTreeMap<TopicPartition, PartitionFetch>) -> FetchRequest {
        self.id += 1;
        self.refused.clear();
        self.named.clone_from(wanted);
        FetchRequest { at: self.take(0), named: wanted.clone(), forgotten: Default::default() }
    }

    fn take(&mut self, number: u64) -> RequestNumber {
        self.next = Some(number + 1);
        self.outstanding = Some(number);
        RequestNumber { session: self.id, number }
    }

    /// What was flushed since it was last said, while a fetch is outstanding; `None` when there is nothing to say, or the
    /// next fetch can say it at once. An offset beyond the last fetch of its partition waits for the next one, which
    /// proves it; so does what was flushed under another leader epoch than that fetch names, where other records may stand
    /// at these offsets.
    pub fn flush(&mut self, flushed: impl IntoIterator<Item = (TopicPartition, LeaderEpoch, Offset)>) -> Option<FlushRequest> {
        let number = self.next.filter(|_| self.outstanding.is_some())?;
        let mut news = BTreeMap::new();
        for (id, leader_epoch, offset) in flushed {
            let Some(named) = self.named.get_mut(&id).filter(|named| named.leader_epoch == leader_epoch) else { continue };
            let offset = offset.min(named.position.offset);
            if offset > named.flushed {
                named.flushed = offset;
                news.insert(id, offset);
            }
        }
        if news.is_empty() {
            return None;
        }
        self.next = Some(number + 1);
        Some(FlushRequest { at: RequestNumber { session: self.id, number }, flushed: news })
    }

    /// The answer to a fetch is here. `false` when it is not the one that is waited for: it is to be thrown away.
    pub fn on_answer(&mut self, at: RequestNumber) -> bool {
        self.id == at.session && self.outstanding.take_if(|number| *number == at.number).is_some()
    }

    /// The leader wants a full request, the connection is gone, or the answer has not come in time: nobody can say what
    /// the leader knows. A late "full again" to a request of an earlier session changes nothing: `false`.
    pub fn on_lost(&mut self, session: u64) -> bool {
        if session != self.id {
            return false;
        }
        self.next = None;
        self.outstanding = None;
        self.named.clear();
        self.refused.clear();
        true
    }

    /// The answer says of a partition that the leader does not serve it. The next fetch that wants it names it anew, with
    /// or without news; until then the leader would never look at it again.
    pub fn on_refused(&mut self, id: TopicPartition) {
        if self.named.contains_key(&id) {
            self.refused.insert(id);
        }
    }

    /// Of the session that is open, or was last.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

#[cfg(test)]
#[path = "follower_test.rs"]
mod tests;
