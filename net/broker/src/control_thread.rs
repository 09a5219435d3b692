//! The control thread: it owns the controller, decides administrative requests, and tells the shards what is so now.
//!
//! One change at a time: it is persisted, every shard acts on the new view and says so, and only then is it answered;
//! a topic that was created can be produced to at once, at every shard. The expensive mistake is to wait for a shard
//! that waits for this thread; `control_message` says why that cannot be. Deliberately absent: a runtime (the
//! controller is synchronous), and the data path.

use crate::control_message::{Answer, Question, ToControl, ToShard};
use crate::error_table::WireError;
use crate::random::random_bytes;
use crate::view::View;
use async_channel::{Receiver, Sender};
use sluice_controller::{CommandError, Controller};
use sluice_metadata::{AllocateProducerIds, AlterTopic, CreateTopic, DeleteTopic, PurgeTopic};
use sluice_model::{BrokerId, Incarnation, ShardIndex, TopicId};
use sluice_shard::{FatalReason, fatal};
use sluice_storage::layout::Layout;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::Arc;

pub(crate) struct ControlThread {
    pub(crate) controller: Controller,
    pub(crate) layout: Layout,
    pub(crate) broker: BrokerId,
    pub(crate) incarnation: Incarnation,
    /// Shard 0 first.
    pub(crate) shards: Vec<Sender<ToShard>>,
    /// Of the view the shards were told last.
    pub(crate) version: u64,
    pub(crate) under_way: Option<Change>,
    pub(crate) put_aside: VecDeque<(ShardIndex, u64, Question)>,
}

/// A persisted change that not every shard has acted on.
pub(crate) struct Change {
    version: u64,
    shards_left: usize,
    asked_by: ShardIndex,
    token: u64,
    answer: Answer,
    /// A deleted topic, to be forgotten when its files are gone.
    purge: Option<TopicId>,
}

/// What a question led to.
enum Decision {
    /// Nothing that a shard has to know.
    Answered(Answer),
    Changed {
        answer: Answer,
        purge: Option<TopicId>,
    },
}

impl ControlThread {
    /// Until it is told to stop, or nobody is left to talk to.
    pub(crate) fn run(mut self, mailbox: &Receiver<ToControl>) {
        loop {
            match mailbox.recv_blocking() {
                Ok(ToControl::Question { shard, token, question }) => self.put_aside.push_back((shard, token, question)),
                Ok(ToControl::Applied { shard, version }) => self.on_applied(shard, version),
                Ok(ToControl::Recovered) => self.purge_deleted(),
                Ok(ToControl::Stop) | Err(_) => return,
            }
            while self.under_way.is_none()
                && let Some((shard, token, question)) = self.put_aside.pop_front()
            {
                self.decide(shard, token, question);
            }
        }
    }

    fn decide(&mut self, shard: ShardIndex, token: u64, question: Question) {
        let decision = match question {
            Question::CreateTopic { name, partitions, settings } => self.create_topic(name, partitions, settings),
            Question::DeleteTopic { name } => self.delete_topic(name),
            Question::AlterTopic { name, settings, partitions } => self.alter_topic(&AlterTopic { name, settings, partitions }),
            Question::ProducerIds => self.allocate_producer_ids(),
        };
        match decision {
            Ok(Decision::Answered(answer)) => self.answer(shard, token, answer),
            Ok(Decision::Changed { answer, purge }) => {
                self.version += 1;
                let (version, shards_left) = (self.version, self.shards.len());
                self.under_way = Some(Change { version, shards_left, asked_by: shard, token, answer, purge });
                self.tell_view();
            }
            Err(CommandError::Refused(refusal)) => self.answer(shard, token, Answer::Refused(WireError::from(&refusal))),
            Err(error @ CommandError::DiskFull) => self.answer(shard, token, Answer::Refused(WireError::disk_full(&error))),
            Err(error @ CommandError::Store(_)) => fatal(FatalReason::Metadata(error.to_string())),
        }
    }

    fn create_topic(&mut self, name: String, partitions: u32, settings: Vec<(String, String)>) -> Result<Decision, CommandError> {
        let topic_id = TopicId(random_bytes().map_err(CommandError::Store)?);
        self.controller.create_topic(&CreateTopic { topic_id, name, partitions, settings })?;
        Ok(Decision::Changed { answer: Answer::TopicCreated(topic_id), purge: None })
    }

    fn delete_topic(&mut self, name: String) -> Result<Decision, CommandError> {
        let purge = self.controller.image().topic_by_name(&name).map(|(topic_id, _)| topic_id);
        self.controller.delete_topic(&DeleteTopic { name })?;
        Ok(Decision::Changed { answer: Answer::Done, purge })
    }

    fn alter_topic(&mut self, request: &AlterTopic) -> Result<Decision, CommandError> {
        let applied = self.controller.alter_topic(request)?;
        if applied.records.is_empty() {
            return Ok(Decision::Answered(Answer::Done));
        }
        Ok(Decision::Changed { answer: Answer::Done, purge: None })
    }

    fn allocate_producer_ids(&mut self) -> Result<Decision, CommandError> {
        let request = AllocateProducerIds { broker: self.broker, incarnation: self.incarnation };
        let block = self.controller.allocate_producer_ids(&request)?;
        Ok(Decision::Answered(Answer::ProducerIds(block.first.0..block.first.0 + i64::from(block.count))))
    }

    fn tell_view(&self) {
        let view = Arc::new(View { broker: self.broker, image: Arc::new(self.controller.image().clone()) });
        for shard in &self.shards {
            // An error means that the shard is stopping; it applies the image at its next start.
            let _stopping = shard.send_blocking(ToShard::View { version: self.version, view: Arc::clone(&view) });
        }
    }

    fn on_applied(&mut self, shard: ShardIndex, version: u64) {
        let Some(change) = self.under_way.as_mut().filter(|change| change.version == version) else {
            tracing::warn!(shard = shard.0, version, "a shard acted on a view nobody waits for");
            return;
        };
        change.shards_left = change.shards_left.saturating_sub(1);
        if change.shards_left > 0 {
            return;
        }
        let Some(change) = self.under_way.take() else { return };
        if let Some(topic_id) = change.purge {
            self.purge(topic_id);
        }
        self.answer(change.asked_by, change.token, change.answer);
    }

    /// The deletions of former starts have been carried out by the recovery of this one.
    fn purge_deleted(&mut self) {
        let deleted: Vec<TopicId> = self.controller.image().deleted_topics().map(|(topic_id, _)| topic_id).collect();
        deleted.into_iter().for_each(|topic_id| self.purge(topic_id));
    }

    /// Forgets a deleted topic whose files are gone; until then it is remembered, and the next start removes them.
    fn purge(&mut self, topic_id: TopicId) {
        match fs::remove_dir(self.layout.topic_dir(topic_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%topic_id, %error, "a deleted topic still has files; the next start removes them");
                return;
            }
            _ => {}
        }
        if let Err(error) = self.controller.purge_topic(&PurgeTopic { topic_id }) {
            tracing::warn!(%topic_id, %error, "the deleted topic is remembered until the next start");
        }
    }

    fn answer(&self, shard: ShardIndex, token: u64, answer: Answer) {
        if let Some(shard) = self.shards.get(usize::from(shard.0)) {
            let _stopping = shard.send_blocking(ToShard::Answer { token, answer });
        }
    }
}
