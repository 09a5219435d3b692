//! What a broker does with a message, or with what a task of its own has come to.

use super::broker::{Broker, Surroundings};
use super::message::{Message, Node};
use super::shard::Done;
use sluice_model::{Incarnation, ShardIndex};
use sluice_partition::CaughtUp;
use std::rc::Rc;

impl Broker {
    pub fn on_message(&mut self, message: Message, around: &mut Surroundings<'_>) {
        match message {
            Message::Registered { incarnation, view } if incarnation == self.incarnation => {
                self.on_registered(&view, around.plan)
            }
            Message::HeartbeatAnswer { incarnation, sent_us, has_lease, is_reported, view } => {
                if incarnation == self.incarnation {
                    self.on_heartbeat_answer(sent_us, has_lease, is_reported);
                }
                if let Some(view) = view {
                    self.on_image(&view, around);
                }
            }
            Message::Image(view) => self.on_image(&view, around),
            Message::AlterAnswer { incarnation, shard, answers } if incarnation == self.incarnation => {
                self.with_shard(shard, around, |shard, context| shard.on_alter_answers(answers, context));
            }
            Message::Fetch(at, request) => {
                self.with_shard(at.leader.1, around, |shard, context| shard.on_replica_fetch(at, &request, context));
            }
            Message::Flush(at, request) => {
                self.with_shard(at.leader.1, around, |shard, context| shard.on_replica_flush(at, &request, context));
            }
            Message::FullAgain(at, session) if self.is_own(at.incarnation) => {
                self.with_shard(at.from.shard, around, |shard, context| shard.on_full_again(&at, session, context));
            }
            Message::FetchAnswer(at, number, entries) if self.is_own(at.incarnation) => {
                self.with_shard(at.from.shard, around, |shard, context| shard.on_fetch_answer(&at, number, &entries, context));
            }
            Message::AskBeginning { at, id, leader_epoch } => {
                self.with_shard(at.leader.1, around, |shard, context| shard.on_ask_beginning(at, id, leader_epoch, context));
            }
            Message::Beginning { at, id, beginning } if self.is_own(at.incarnation) => {
                self.with_shard(at.from.shard, around, |shard, context| shard.on_beginning(id, beginning.as_deref(), context));
            }
            Message::Produce(produce) => {
                self.with_shard(produce.shard, around, |shard, context| shard.on_produce(produce, context));
            }
            Message::Read { client, id, shard, offset, number } => {
                self.with_shard(shard, around, |shard, context| shard.on_read((client, number), id, offset, context));
            }
            // For another process of this broker, or for nobody.
            _ => {}
        }
    }

    /// What is said to the connection of an earlier process does not reach this one.
    fn is_own(&self, incarnation: Incarnation) -> bool {
        incarnation == self.incarnation
    }

    pub fn on_done(&mut self, done: Done, around: &mut Surroundings<'_>) {
        match done {
            Done::LookedUp { shard, at, number, id, result } => {
                self.with_shard(shard, around, |shard, context| shard.on_looked_up(&at, number, id, result, context));
            }
            Done::ReplicaRead { shard, from, number, id, result } => {
                self.with_shard(shard, around, |shard, context| shard.on_replica_read(from, number, id, result, context));
            }
            Done::Beginning { at, id, result } => {
                let to = Node::Broker(at.from.broker);
                around.out.push((to, Message::Beginning { at, id, beginning: result.ok().map(Rc::new) }));
            }
            Done::ConsumerRead { client, id, number, leader_epoch, result } => {
                let frames = match result {
                    CaughtUp::Frames { slices, .. } => Some(slices.concat().into()),
                    CaughtUp::Refused(_) | CaughtUp::Failed(_) => None,
                };
                around.out.push((Node::Client(client), Message::ReadAnswer { id, number, leader_epoch, frames }));
            }
            Done::Opened(..) | Done::Failed(_) | Done::Created(..) | Done::Closed(_) => {}
        }
    }

    /// All shards are closed by a clean stop.
    pub fn close_shards(&mut self) {
        for partitions in self.shards.values().map(|shard| shard.partitions.clone()).collect::<Vec<_>>() {
            self.tasks.spawn(async move { Done::Closed(partitions.close().await) });
        }
    }

    #[must_use]
    pub fn shard_of(&self, id: sluice_model::TopicPartition) -> Option<ShardIndex> {
        let view = self.view.as_ref()?;
        view.image.partition(id)?.placement(self.id).map(|placement| placement.shard)
    }
}
