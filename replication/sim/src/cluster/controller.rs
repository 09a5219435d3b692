//! The controller: the unchanged rules of `sluice_metadata` over a log that is durable and in one order by decree. Its
//! leases, and what is said to brokers and heard from them, are subject to everything that befalls messages.
//!
//! The expensive mistake is an answer that says more than was decided. Whatever a rule refuses is told as refused, and a
//! request that comes twice is decided twice. Deliberately absent: the consensus under it.

use super::message::{AlterAnswer, Message, Node};
use crate::coverage::Coverage;
use crate::demand;
use crate::oracle::Violation;
use sluice_metadata::*;
use sluice_model::{BrokerId, Incarnation, ShardIndex, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// From the receipt of a heartbeat, microseconds.
const LEASE_US: u64 = 1_000_000;
/// So long a partition without a leader waits for those that may hold more.
const RECOVERY_WAIT_US: u64 = 2_000_000;

/// The image after so many batches.
#[derive(Debug)]
pub struct View {
    pub version: u64,
    pub image: Image,
}

pub struct Controller {
    pub view: Rc<View>,
    leases: BTreeMap<BrokerId, (Incarnation, u64)>,
    /// Since when each partition has no leader.
    leaderless: BTreeMap<TopicPartition, u64>,
    next_look_us: u64,
}

/// What is to be sent, and to whom.
pub type Outgoing = Vec<(Node, Message)>;

impl Controller {
    #[must_use]
    pub fn new() -> Self {
        let view = Rc::new(View { version: 0, image: Image::new(ClusterId([7; 16])) });
        Self { view, leases: BTreeMap::new(), leaderless: BTreeMap::new(), next_look_us: 0 }
    }

    #[must_use]
    pub fn image(&self) -> &Image {
        &self.view.image
    }

    pub fn create_topic(&mut self, number: u8, partitions: u32, settings: Vec<(String, String)>) -> Result<TopicId, Violation> {
        let topic_id = TopicId([number; 16]);
        let name = format!("topic-{number}");
        let request = CreateTopic { topic_id, name, partitions, replication_factor: Some(3), settings };
        let records = on_create_topic(self.image(), &request);
        let records = records.map_err(|refusal| Violation(format!("no topic can be created: {refusal}")))?;
        self.apply(records)?;
        Ok(topic_id)
    }

    pub fn on_message(&mut self, now_us: u64, message: Message, out: &mut Outgoing) -> Result<(), Violation> {
        match message {
            Message::Register(request) => self.on_register(&request, out),
            Message::Report(report) => {
                if let Ok(records) = on_report_recovery(self.image(), &report) {
                    self.apply_and_tell(records, out)?;
                }
                Ok(())
            }
            Message::Heartbeat { broker, incarnation, sent_us, version } => {
                self.on_heartbeat(now_us, (broker, incarnation), sent_us, version, out)
            }
            Message::Alter { request, shard, numbers } => self.on_alter(&request, shard, &numbers, out),
            Message::Repair(request) => {
                if let Ok(answered) = on_repair_replicas(self.image(), &request) {
                    self.apply_and_tell(answered.records, out)?;
                }
                Ok(())
            }
            message => Err(Violation(format!("the controller is told: {message}"))),
        }
    }

    fn on_register(&mut self, request: &RegisterBroker, out: &mut Outgoing) -> Result<(), Violation> {
        let Ok(records) = on_register_broker(self.image(), request) else { return Ok(()) };
        self.apply_and_tell(records, out)?;
        let answer = Message::Registered { incarnation: request.incarnation, view: Rc::clone(&self.view) };
        out.push((Node::Broker(request.broker), answer));
        Ok(())
    }

    fn on_heartbeat(
        &mut self,
        now_us: u64,
        (broker, incarnation): (BrokerId, Incarnation),
        sent_us: u64,
        version: u64,
        out: &mut Outgoing,
    ) -> Result<(), Violation> {
        let known = self.image().broker(broker).filter(|known| known.incarnation == incarnation);
        let Some(state) = known.map(|known| known.state) else { return Ok(()) };
        self.leases.insert(broker, (incarnation, now_us + LEASE_US));
        let is_current = version == self.view.version;
        if state == BrokerState::Fenced && is_current {
            let request = UnfenceBroker { broker, incarnation };
            let records = on_unfence_broker(self.image(), &request);
            self.apply_and_tell(records.map_err(|refusal| Violation(format!("not let in: {refusal}")))?, out)?;
        }
        let state = self.image().broker(broker).map(|known| known.state);
        let answer = Message::HeartbeatAnswer {
            incarnation,
            sent_us,
            has_lease: state.is_some_and(BrokerState::holds_lease),
            is_reported: state != Some(BrokerState::Recovering),
            view: (version != self.view.version).then(|| Rc::clone(&self.view)),
        };
        out.push((Node::Broker(broker), answer));
        Ok(())
    }

    fn on_alter(
        &mut self,
        request: &AlterPartitions,
        shard: ShardIndex,
        numbers: &[u64],
        out: &mut Outgoing,
    ) -> Result<(), Violation> {
        let answered = on_alter_partitions(self.image(), request);
        let each: Vec<Option<_>> = match answered {
            Ok(answered) => {
                self.apply_and_tell(answered.records, out)?;
                answered.answers.into_iter().map(Some).collect()
            }
            Err(_) => vec![None; request.changes.len()],
        };
        let named = request.changes.iter().zip(numbers).zip(each);
        let answers = named.map(|((change, &number), answer)| AlterAnswer {
            id: change.id,
            leader_epoch: change.leader_epoch,
            number,
            answer,
        });
        let answer = Message::AlterAnswer { incarnation: request.incarnation, shard, answers: answers.collect() };
        out.push((Node::Broker(request.broker), answer));
        Ok(())
    }

    /// Time has passed: leases end, and nobody waits for ever.
    pub fn on_tick(&mut self, now_us: u64, coverage: &mut Coverage, out: &mut Outgoing) -> Result<(), Violation> {
        self.next_look_us = now_us + 20_000;
        let ended: Vec<_> = self.leases.iter().filter(|(_, (_, until_us))| *until_us <= now_us).map(|(id, _)| *id).collect();
        for broker in ended {
            let Some((incarnation, _)) = self.leases.remove(&broker) else { continue };
            let records = on_lease_ended(self.image(), &EndLease { broker, incarnation }).unwrap_or_default();
            coverage.hit_if(!records.is_empty(), "controller: lease ended");
            self.apply_and_tell(records, out)?;
        }
        let without: BTreeSet<_> = self.image().partitions().filter(|(_, p)| p.leader.is_none()).map(|(id, _)| id).collect();
        self.leaderless.retain(|id, _| without.contains(id));
        for id in without {
            self.leaderless.entry(id).or_insert(now_us);
        }
        let waited = |since_us: u64| now_us.saturating_sub(since_us) >= RECOVERY_WAIT_US;
        let tired: BTreeSet<_> = self.leaderless.iter().filter(|(_, since)| waited(**since)).map(|(id, _)| *id).collect();
        if !tired.is_empty() {
            let records = on_recovery_wait_ended(self.image(), &EndRecoveryWait { partitions: Some(tired) });
            coverage.hit_if(!records.is_empty(), "controller: recovery wait ended");
            self.apply_and_tell(records, out)?;
        }
        Ok(())
    }

    #[must_use]
    pub fn next_us(&self) -> u64 {
        self.next_look_us
    }

    /// Decides something that nobody has asked for over the network.
    pub fn decide(&mut self, records: Vec<Record>, out: &mut Outgoing) -> Result<(), Violation> {
        self.apply_and_tell(records, out)
    }

    pub fn tell_all(&self, out: &mut Outgoing) {
        out.extend(self.image().brokers().map(|(id, _)| (Node::Broker(id), Message::Image(Rc::clone(&self.view)))));
    }

    fn apply_and_tell(&mut self, records: Vec<Record>, out: &mut Outgoing) -> Result<(), Violation> {
        if records.is_empty() {
            return Ok(());
        }
        self.apply(records)?;
        self.tell_all(out);
        Ok(())
    }

    fn apply(&mut self, records: Vec<Record>) -> Result<(), Violation> {
        for batch in Batch::split(&records) {
            let before = self.image();
            let mut image = before.clone();
            image.apply_batch(&batch).map_err(|error| Violation(format!("the image refuses {batch:?}: {error}")))?;
            let checked = invariants::check(&image).and_then(|()| invariants::check_succession(before, &image));
            checked.map_err(|broken| Violation(format!("the metadata is broken: {broken}: {batch:?}")))?;
            check_elections(before, &image)?;
            self.view = Rc::new(View { version: self.view.version + 1, image });
        }
        invariants::check_settled(self.image()).map_err(|broken| Violation(format!("the metadata is not settled: {broken}")))
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

/// A leader comes from those who hold all that was acknowledged: nothing in a run is an operator's election.
fn check_elections(before: &Image, after: &Image) -> Result<(), Violation> {
    for (id, partition) in after.partitions() {
        let Some(known) = before.partition(id) else { continue };
        let Some(leader) = partition.leader.filter(|_| partition.leader_epoch != known.leader_epoch) else { continue };
        let is_trusted = known.is_trusted(leader) && !known.damaged.contains(&leader);
        demand!(is_trusted, "{id}: broker {leader} is elected, and was none to be trusted: {known:?}");
    }
    Ok(())
}
