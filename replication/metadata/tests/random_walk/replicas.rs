//! The model of the data plane: logs, flushes, fetches, high watermarks. A leader goes by what it has heard of the
//! partition, which may be old; a fetch counts only between two that have heard of the same leader epoch.

use sluice_metadata::{Image, PartitionState, ReplicaEnd};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;

/// A record: the epoch it was appended under, and a number that no other one has.
pub(crate) type Entry = (u32, u64);

#[derive(Clone, Default)]
pub(crate) struct Replica {
    pub(crate) log: Vec<Entry>,
    /// So many records outlive a crash.
    pub(crate) flushed: usize,
    /// What its broker has heard of the partition; `None` after a start.
    pub(crate) heard: Option<Heard>,
    pub(crate) reign: Option<Reign>,
}

#[derive(Clone)]
pub(crate) struct Heard {
    pub(crate) state: PartitionState,
    pub(crate) min_insync: usize,
}

/// What a leader keeps under one leader epoch.
#[derive(Clone)]
pub(crate) struct Reign {
    pub(crate) epoch: LeaderEpoch,
    /// Where its log ended when it began.
    pub(crate) start: usize,
    pub(crate) high_watermark: usize,
    /// Of each follower: the incarnation that fetched, and what it has flushed.
    pub(crate) fetched: BTreeMap<BrokerId, (Incarnation, usize)>,
}

impl Replica {
    pub(crate) fn end(&self) -> ReplicaEnd {
        let leader_epoch = LeaderEpoch(self.log.last().map_or(0, |&(epoch, _)| epoch));
        ReplicaEnd { leader_epoch, end_offset: Offset(self.log.len() as u64) }
    }

    pub(crate) fn hear(&mut self, broker: BrokerId, image: &Image, id: TopicPartition) {
        let (Some(topic), Some(state)) = (image.topic(id.topic_id), image.partition(id)) else { return };
        self.heard = Some(Heard { state: state.clone(), min_insync: topic.min_insync() });
        if state.leader != Some(broker) {
            self.reign = None;
        } else if self.reign.as_ref().is_none_or(|reign| reign.epoch != state.leader_epoch) {
            let (epoch, start, fetched) = (state.leader_epoch, self.log.len(), BTreeMap::new());
            self.reign = Some(Reign { epoch, start, high_watermark: 0, fetched });
        }
    }

    pub(crate) fn heard_epoch(&self) -> Option<LeaderEpoch> {
        self.heard.as_ref().map(|heard| heard.state.leader_epoch)
    }

    pub(crate) fn append(&mut self, number: u64) {
        if let Some(reign) = &self.reign {
            self.log.push((reign.epoch.0, number));
        }
    }

    /// Takes over the leader's log, some records of it, and says what is flushed of what both have.
    pub(crate) fn fetch(&mut self, leader: &mut Self, follower: BrokerId, incarnation: Incarnation, records_max: usize) {
        let Some(reign) = leader.reign.as_mut() else { return };
        let same = self.log.iter().zip(&leader.log).take_while(|(a, b)| a == b).count();
        self.log.truncate(same);
        self.flushed = self.flushed.min(same);
        reign.fetched.insert(follower, (incarnation, self.flushed));
        self.log.extend(leader.log.iter().skip(same).take(records_max));
    }

    /// Moves the leader's high watermark, and gives back what is acknowledged by it.
    pub(crate) fn advance(&mut self, broker: BrokerId) -> Option<&[Entry]> {
        let (heard, reign) = (self.heard.as_ref()?, self.reign.as_mut()?);
        if heard.state.isr.len() < heard.min_insync {
            return None;
        }
        let flushed = |member: &BrokerId| {
            if *member == broker { self.flushed } else { reign.fetched.get(member).map_or(0, |&(_, flushed)| flushed) }
        };
        let reached = heard.state.isr.iter().map(flushed).min()?;
        // Below the start of its epoch a new leader knows nothing of the high watermark.
        if reached < reign.start {
            return None;
        }
        reign.high_watermark = reign.high_watermark.max(reached);
        Some(&self.log[..reign.high_watermark])
    }
}
