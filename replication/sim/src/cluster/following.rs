//! The follower's end of fetch sessions: one for each shard that leads something of which this shard has a replica.

use super::leading::LONG_POLL_US;
use super::message::{FetchedEntry, Message, Node, Replication};
use super::shard::{Context, Fact, Shard};
use sluice_model::{BrokerId, LeaderEpoch, ShardIndex, TopicPartition};
use sluice_partition::{CopyRefusal, FetchedReplica};
use sluice_replica::follower::on_below_log_start::LogBeginning;
use sluice_replica::follower::on_diverging::Diverging;
use sluice_replica::follower::on_fetched::FetchedRefusal;
use sluice_replica::session::follower::FollowerSession;
use sluice_replica::session::{FollowerShard, PartitionFetch, RequestNumber};
use std::collections::BTreeMap;
use std::rc::Rc;

/// An answer that has not come after this long will not.
const ANSWER_US: u64 = LONG_POLL_US + 150_000;
/// What was refused is fetched again after this long.
const REFUSED_US: u64 = 40_000;
/// The beginning of a log that was not told after this long will not be.
const BEGINNING_US: u64 = 300_000;

/// One session, and what was asked in it.
#[derive(Default)]
pub struct Fetcher {
    session: FollowerSession,
    /// The fetch that waits for its answer, and since when.
    outstanding: Option<(RequestNumber, u64)>,
    /// All that this fetch is about, named in it or before.
    asked: BTreeMap<TopicPartition, PartitionFetch>,
    /// Partitions that were refused, and are left out until then.
    left_out: BTreeMap<TopicPartition, u64>,
    /// Since when something is to be fetched that the parked fetch does not ask for.
    lacking_since_us: Option<u64>,
}

impl Fetcher {
    fn lose(&mut self) {
        self.session.on_lost(self.session.id());
        self.outstanding = None;
        self.lacking_since_us = None;
    }

    /// Whether the parked fetch asks for all of these from where they stand.
    fn asks_for(&self, wanted: &BTreeMap<TopicPartition, PartitionFetch>) -> bool {
        let same = |a: &PartitionFetch, b: &PartitionFetch| a.leader_epoch == b.leader_epoch && a.position == b.position;
        wanted.iter().all(|(id, fetch)| self.asked.get(id).is_some_and(|asked| same(asked, fetch)))
    }
}

type Groups = BTreeMap<(BrokerId, ShardIndex), BTreeMap<TopicPartition, PartitionFetch>>;

impl Shard {
    fn own(&self, context: &Context<'_>, leader: (BrokerId, ShardIndex)) -> Replication {
        let from = FollowerShard { broker: context.broker, shard: self.index };
        Replication { from, incarnation: context.incarnation, leader }
    }

    /// Everything that is followed here, by the shard that leads it.
    fn groups(&self, context: &Context<'_>) -> Groups {
        let mut groups = Groups::new();
        for (id, position) in self.partitions.follower_positions() {
            let placement = context.view.image.partition(id).and_then(|partition| partition.placement(position.leader));
            if let Some(placement) = placement {
                groups.entry((position.leader, placement.shard)).or_default().insert(id, position.fetch());
            }
        }
        groups
    }

    pub(super) fn fetch_more(&mut self, context: &mut Context<'_>) {
        let now_us = context.now.mono_us;
        for (leader, mut wanted) in self.groups(context) {
            let fetcher = self.fetchers.entry(leader).or_default();
            fetcher.left_out.retain(|_, until_us| *until_us > now_us);
            wanted.retain(|id, _| !fetcher.left_out.contains_key(id));
            if fetcher.outstanding.is_some() {
                let lacks = !fetcher.asks_for(&wanted);
                fetcher.lacking_since_us = fetcher.lacking_since_us.or(Some(now_us)).filter(|_| lacks);
                if fetcher.lacking_since_us.is_none_or(|since_us| now_us - since_us < LONG_POLL_US) {
                    continue;
                }
                context.facts.push(Fact::Met("session: given up for a partition that came back"));
                fetcher.lose();
            }
            if wanted.is_empty() || self.partitions.follower_room() == 0 {
                continue;
            }
            let Some(request) = fetcher.session.fetch(&wanted) else { continue };
            fetcher.outstanding = Some((request.at, now_us));
            fetcher.asked = wanted;
            let from = FollowerShard { broker: context.broker, shard: self.index };
            let at = Replication { from, incarnation: context.incarnation, leader };
            context.out.push((Node::Broker(leader.0), Message::Fetch(at, Rc::new(request))));
        }
    }

    pub fn on_fetch_answer(
        &mut self,
        at: &Replication,
        number: RequestNumber,
        entries: &[(TopicPartition, FetchedEntry)],
        context: &mut Context<'_>,
    ) {
        let Some(fetcher) = self.fetchers.get_mut(&at.leader) else { return };
        if !fetcher.session.on_answer(number) {
            return context.facts.push(Fact::Met("session: answer to an earlier request"));
        }
        fetcher.outstanding = None;
        fetcher.lacking_since_us = None;
        for (id, entry) in entries {
            self.on_fetched_entry(at.leader, *id, entry, context);
        }
        self.pump(context);
    }

    fn on_fetched_entry(
        &mut self,
        leader: (BrokerId, ShardIndex),
        id: TopicPartition,
        entry: &FetchedEntry,
        context: &mut Context<'_>,
    ) {
        let Some(asked) = self.fetchers.get(&leader).and_then(|fetcher| fetcher.asked.get(&id).copied()) else { return };
        let (leader_epoch, fetch_offset) = (asked.leader_epoch, asked.position.offset);
        match entry {
            FetchedEntry::Frames { told, frames } => {
                let fetched = FetchedReplica {
                    leader_epoch,
                    fetch_offset,
                    frames,
                    high_watermark: told.high_watermark,
                    log_start_offset: told.log_start_offset,
                };
                match self.partitions.on_fetched(context.now, id, fetched) {
                    Ok(copied) if !copied.had_room => context.facts.push(Fact::Met("copy: no room")),
                    Ok(_) => {}
                    Err(CopyRefusal::Rules(FetchedRefusal::Stale) | CopyRefusal::NotFollower(_) | CopyRefusal::ShuttingDown) => {
                        context.facts.push(Fact::Met("copy: stale"));
                    }
                    Err(refusal) => {
                        context.facts.push(Fact::BadCopy(id, format!("{refusal:?}")));
                        self.leave_out(leader, id, context.now.mono_us + 1_000_000);
                    }
                }
            }
            &FetchedEntry::Diverging { epoch, end_offset } => {
                let diverging = Diverging { leader_epoch, fetch_offset, epoch, end_offset };
                if self.partitions.on_diverging(id, diverging) {
                    context.facts.push(Fact::Met("copy: cut off"));
                }
            }
            FetchedEntry::ChainMismatch => drop(self.partitions.on_chain_mismatch(id, leader_epoch, fetch_offset)),
            &FetchedEntry::BelowLogStart { first_offset } => {
                if self.partitions.on_below_log_start(id, leader_epoch, fetch_offset, first_offset) {
                    self.beginnings.insert(id, context.now.mono_us);
                    let at = self.own(context, leader);
                    let ask = Message::AskBeginning { at, id, leader_epoch };
                    context.out.push((Node::Broker(leader.0), ask));
                }
            }
            FetchedEntry::Refused => {
                if let Some(fetcher) = self.fetchers.get_mut(&leader) {
                    fetcher.session.on_refused(id);
                }
                self.leave_out(leader, id, context.now.mono_us + REFUSED_US);
            }
        }
    }

    fn leave_out(&mut self, leader: (BrokerId, ShardIndex), id: TopicPartition, until_us: u64) {
        if let Some(fetcher) = self.fetchers.get_mut(&leader) {
            fetcher.left_out.insert(id, until_us);
        }
    }

    pub fn on_full_again(&mut self, at: &Replication, session: u64, context: &mut Context<'_>) {
        if let Some(fetcher) = self.fetchers.get_mut(&at.leader)
            && fetcher.session.on_lost(session)
        {
            fetcher.outstanding = None;
            fetcher.lacking_since_us = None;
        }
        self.pump(context);
    }

    pub fn on_beginning(&mut self, id: TopicPartition, beginning: Option<&LogBeginning>, context: &mut Context<'_>) {
        if self.beginnings.remove(&id).is_none() {
            return;
        }
        match beginning {
            Some(beginning) if self.partitions.on_beginning(id, beginning.clone()).is_ok() => {
                context.facts.push(Fact::Met("copy: replaced"));
            }
            _ => self.partitions.on_beginning_failed(id),
        }
        self.pump(context);
    }

    pub(super) fn give_up_late(&mut self, context: &mut Context<'_>) {
        let now_us = context.now.mono_us;
        for fetcher in self.fetchers.values_mut() {
            if fetcher.outstanding.is_some_and(|(_, since_us)| now_us - since_us >= ANSWER_US) {
                context.facts.push(Fact::Met("session: no answer"));
                fetcher.lose();
            }
        }
        let late: Vec<_> =
            self.beginnings.iter().filter(|(_, since)| now_us - **since >= BEGINNING_US).map(|(id, _)| *id).collect();
        for id in late {
            self.beginnings.remove(&id);
            self.partitions.on_beginning_failed(id);
        }
    }

    /// What was flushed is said while a fetch is parked; otherwise the next one says it.
    pub(super) fn say_flushed(&mut self, context: &mut Context<'_>) {
        let mut flushed = Vec::new();
        self.partitions.take_flushed(&mut flushed);
        if flushed.is_empty() {
            return;
        }
        for (leader, fetcher) in &mut self.fetchers {
            if let Some(request) = fetcher.session.flush(flushed.iter().copied()) {
                let from = FollowerShard { broker: context.broker, shard: self.index };
                let at = Replication { from, incarnation: context.incarnation, leader: *leader };
                context.out.push((Node::Broker(leader.0), Message::Flush(at, Rc::new(request))));
            }
        }
    }

    /// Under which epoch this replica follows now, when it could be called whole.
    #[must_use]
    pub fn followed_epoch(&self, id: TopicPartition) -> Option<LeaderEpoch> {
        let position = self.partitions.follower_positions().get(&id).copied()?;
        (position.log_state == sluice_replica::LogState::Whole).then_some(position.leader_epoch)
    }
}
