//! The control thread: it owns the controller, decides administrative requests, and tells the shards what is so now.
//!
//! One change at a time: it is persisted, every shard acts on the new view and says so, and only then is it answered;
//! a topic that was created can be produced to at once, at every shard. The expensive mistake is to wait for a shard
//! that waits for this thread; `control_message` says why that cannot be. Deliberately absent: a runtime (the
//! controller is synchronous), and the data path.

use crate::control_message::{Answer, Question, ToControl, ToShard};
use crate::error_table::WireError;
use crate::orphans::orphan_in_the_way;
use crate::random::random_bytes;
use crate::view::View;
use async_channel::{Receiver, Sender};
use sluice_controller::{Command, CommandError, Controller};
use sluice_metadata::{AllocateProducerIds, AlterTopic, CreateTopic, DeleteTopic, FolderSurvey, PurgeTopic, ReserveProducerIds};
use sluice_model::{BrokerId, Incarnation, ProducerId, ShardIndex, TopicId, TopicPartition};
use sluice_shard::{FatalReason, fatal};
use sluice_storage::layout::Layout;
use std::collections::{BTreeSet, VecDeque};
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
    /// Every shard is open: it is known what their folders hold.
    pub(crate) has_recovered: bool,
    /// Questions whose answer depends on that: producer ids that no partition knows, new partitions of old topics.
    pub(crate) until_recovered: Vec<(ShardIndex, u64, Question)>,
    pub(crate) under_way: Option<Change>,
    pub(crate) put_aside: VecDeque<(ShardIndex, u64, Question)>,
    /// Partitions found in the folder that the metadata does not know.
    pub(crate) orphans: BTreeSet<TopicPartition>,
}

/// A persisted change that not every shard has acted on.
pub(crate) struct Change {
    version: u64,
    shards_left: usize,
    asked_by: ShardIndex,
    token: u64,
    answer: Answer,
}

/// What a question led to.
enum Decision {
    /// Nothing that a shard has to know.
    Answered(Answer),
    Changed(Answer),
}

impl ControlThread {
    /// Until it is told to stop, or nobody is left to talk to.
    pub(crate) fn run(mut self, mailbox: &Receiver<ToControl>) {
        loop {
            match mailbox.recv_blocking() {
                Ok(ToControl::Question { shard, token, question }) => self.put_aside.push_back((shard, token, question)),
                Ok(ToControl::Applied { shard, version }) => self.on_applied(shard, version),
                Ok(ToControl::Recovered { survey, producer_id_max, orphans, replicas: _ }) => {
                    self.has_recovered = true;
                    self.orphans = orphans;
                    self.reserve_producer_ids(producer_id_max);
                    self.purge_deleted(&survey);
                    self.put_aside.extend(std::mem::take(&mut self.until_recovered));
                }
                // Nobody follows, and nobody waits for it to leave.
                Ok(ToControl::IsrProposals { .. } | ToControl::Repaired { .. } | ToControl::Leave { .. }) => {}
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
        let needs_recovery = matches!(question, Question::ProducerIds | Question::AlterTopic { partitions: Some(_), .. });
        if needs_recovery && !self.has_recovered {
            return self.until_recovered.push((shard, token, question));
        }
        let decision = match question {
            Question::CreateTopic { name, partitions, replicas, settings } => {
                self.create_topic(name, partitions, replicas, settings)
            }
            Question::DeleteTopic { name } => self.delete_topic(name),
            Question::AlterTopic { name, settings, partitions } => self.alter_topic(&AlterTopic { name, settings, partitions }),
            Question::ElectLeaders(election) => self.elect_leaders(election),
            Question::ProducerIds => self.allocate_producer_ids(),
        };
        match decision {
            Ok(Decision::Answered(answer)) => self.answer(shard, token, answer),
            Ok(Decision::Changed(answer)) => {
                self.version += 1;
                let (version, shards_left) = (self.version, self.shards.len());
                self.under_way = Some(Change { version, shards_left, asked_by: shard, token, answer });
                self.tell_view();
            }
            Err(CommandError::Refused(refusal)) => self.answer(shard, token, Answer::Refused(WireError::from(&refusal))),
            Err(error @ CommandError::DiskFull) => self.answer(shard, token, Answer::Refused(WireError::disk_full(&error))),
            Err(error @ CommandError::NotController { .. }) => {
                self.answer(shard, token, Answer::Refused(WireError::not_ready(&error)));
            }
            Err(error @ CommandError::Undecided) => {
                self.answer(shard, token, Answer::Refused(WireError::undecided(&error)));
            }
            Err(error @ CommandError::Store(_)) => fatal(FatalReason::Metadata(error.to_string())),
        }
    }

    fn create_topic(
        &mut self,
        name: String,
        partitions: u32,
        replication_factor: Option<u32>,
        settings: Vec<(String, String)>,
    ) -> Result<Decision, CommandError> {
        let topic_id = TopicId(random_bytes().map_err(CommandError::Store)?);
        self.controller.create_topic(&CreateTopic { topic_id, name, partitions, replication_factor, settings })?;
        Ok(Decision::Changed(Answer::TopicCreated(topic_id)))
    }

    fn delete_topic(&mut self, name: String) -> Result<Decision, CommandError> {
        self.controller.delete_topic(&DeleteTopic { name })?;
        Ok(Decision::Changed(Answer::Done))
    }

    fn alter_topic(&mut self, request: &AlterTopic) -> Result<Decision, CommandError> {
        let image = self.controller.image();
        if let Some(count) = request.partitions
            && let Some(orphan) = orphan_in_the_way(image, &self.layout, &self.orphans, &request.name, count)
        {
            return Ok(Decision::Answered(Answer::Refused(WireError::orphan_in_the_way(orphan))));
        }
        let applied = self.controller.alter_topic(request)?;
        if applied.records.is_empty() {
            return Ok(Decision::Answered(Answer::Done));
        }
        Ok(Decision::Changed(Answer::Done))
    }

    fn elect_leaders(&mut self, election: Command) -> Result<Decision, CommandError> {
        let applied = self.controller.elect_leaders(election)?;
        let has_changed = !applied.records.is_empty();
        let partitions = applied.answers.into_iter().map(|answer| match answer {
            Ok(state) => Ok((state.leader, state.leader_epoch)),
            Err(refusal) => Err(refusal.to_string()),
        });
        let answer = Answer::Elected { has_changed, partitions: partitions.collect() };
        Ok(if has_changed { Decision::Changed(answer) } else { Decision::Answered(answer) })
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
        self.answer(change.asked_by, change.token, change.answer);
    }

    /// An id that a partition knows is never given out again, even when the metadata knows nothing of it.
    fn reserve_producer_ids(&mut self, found: Option<ProducerId>) {
        let Some(up_to) = found.filter(|found| *found >= self.controller.image().next_producer_id()) else { return };
        tracing::info!(%up_to, "partitions know producer ids that the metadata has not given out; they are reserved");
        if let Err(error) = self.controller.reserve_producer_ids(&ReserveProducerIds { broker: self.broker, up_to }) {
            fatal(FatalReason::Metadata(format!("producer ids up to {up_to} cannot be reserved: {error}")));
        }
    }

    /// The recovery of this start dropped what it found of deleted topics. Tombstones go of which nothing in the folder
    /// can be replayed any more; the others stay, and the next start drops what it finds.
    fn purge_deleted(&mut self, survey: &FolderSurvey) {
        let deleted = self.controller.image().deleted_topics();
        let free: Vec<TopicId> = deleted.filter(|(_, topic)| !survey.may_name(topic)).map(|(topic_id, _)| topic_id).collect();
        for topic_id in free {
            let dir = self.layout.topic_dir(topic_id);
            if dir.try_exists().unwrap_or(true) {
                tracing::warn!(%topic_id, dir = %dir.display(), "the folder of a deleted topic cannot be removed: something else is in it");
                continue;
            }
            match self.controller.purge_topic(&PurgeTopic { topic_id }) {
                Ok(_) => tracing::info!(%topic_id, "nothing is left of a deleted topic"),
                Err(error) => tracing::warn!(%topic_id, %error, "the deleted topic is remembered until the next start"),
            }
        }
    }

    fn answer(&self, shard: ShardIndex, token: u64, answer: Answer) {
        if let Some(shard) = self.shards.get(usize::from(shard.0)) {
            let _stopping = shard.send_blocking(ToShard::Answer { token, answer });
        }
    }
}
