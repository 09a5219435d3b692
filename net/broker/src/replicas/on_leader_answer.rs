//! What a leader answers, and what that does to the logs that follow it.
//!
//! Frames are appended in the turn in which they come, and the next fetch names the new log ends. What the leader refuses
//! for one partition leaves that one out for a while; what it refuses for a session begins another. The expensive mistake
//! is to ask again at once for what was just refused.

use crate::data_plane::DataPlane;
use crate::opened::Opened;
use crate::replicas::beginnings::{PartialBeginning, Progress};
use crate::replicas::convert::{beginning, id_of};
use crate::replicas::fetcher::{Asked, Fetcher};
use sluice_model::{ErrorCode, LeaderEpoch, Offset, ProducerId, TopicPartition};
use sluice_partition::{CopyRefusal, FetchedReplica};
use sluice_protocol::{
    Api, Message, Prefix, Refusal, ReplicaBeginningAnswer, ReplicaBeginningRequest, ReplicaFetchAnswer, ReplicaFetched,
    ReplicaFlushAnswer, ReplicaOutcome, decode,
};
use sluice_replica::session::RequestNumber;
use sluice_replica::{Diverging, FetchedRefusal};

/// A partition that the leader does not serve now is left out for this long, microseconds: metadata is on its way.
const REFUSED_US: u64 = 100_000;
/// The same when its bytes make no sense: somebody has to look at it.
const BROKEN_US: u64 = 1_000_000;
/// Before a session is begun again whose leader cannot serve any, microseconds.
const SESSION_US: u64 = 50_000;

impl DataPlane {
    /// One whole answer. An error ends the connection.
    pub(crate) fn on_leader_message(&mut self, fetcher: &mut Fetcher, prefix: Prefix, rest: &[u8]) -> Result<(), String> {
        let (body, frames) = rest.split_at(prefix.body_len.min(rest.len()));
        // Without one it answers a fetch of a session that was given up.
        let Some(asked) = fetcher.asked.remove(&prefix.correlation_id) else { return Ok(()) };
        if prefix.api == Api::Refusal.number() {
            return self.on_leader_refusal(fetcher, asked, &decoded::<Refusal>(body)?);
        }
        let config = std::sync::Arc::clone(&self.parts.config);
        let Some(cluster) = &config.cluster else { return Err("this broker is in no cluster".to_owned()) };
        match asked {
            Asked::Hello => fetcher.on_hello_answer(&decoded(body)?),
            Asked::Challenge => fetcher.on_challenge_answer(&decoded(body)?, &cluster.secret),
            Asked::Proof => {
                fetcher.on_proof_answer(&decoded(body)?, &cluster.secret)?;
                let (broker, shard) = fetcher.leader;
                tracing::debug!(leader = broker.0, leader_shard = shard.0, "connected to the leader of partitions here");
                Ok(())
            }
            Asked::Fetch { at, .. } => self.on_fetch_answer(fetcher, at, body, frames),
            Asked::Flush { session } => {
                let answer = decoded::<ReplicaFlushAnswer>(body)?;
                if answer.error != 0 && session == fetcher.session.id() {
                    fetcher.lose_session();
                }
                Ok(())
            }
            Asked::Beginning(id) => self.on_beginning_answer(fetcher, id, &decoded(body)?),
        }
    }

    fn on_leader_refusal(&mut self, fetcher: &mut Fetcher, asked: Asked, refusal: &Refusal) -> Result<(), String> {
        let now_us = self.now.mono_us;
        let wait_us = u64::from(refusal.retry_after_ms) * 1000;
        match asked {
            Asked::Fetch { .. } | Asked::Flush { .. } if refusal.retry_after_ms > 0 => {
                fetcher.lose_session();
                fetcher.fetch_from_us = now_us + wait_us.max(SESSION_US);
                Ok(())
            }
            Asked::Beginning(id) => {
                self.give_up_beginning(fetcher, id, wait_us.max(REFUSED_US));
                Ok(())
            }
            _ => Err(refusal.text.clone()),
        }
    }

    fn on_fetch_answer(&mut self, fetcher: &mut Fetcher, at: RequestNumber, body: &[u8], frames: &[u8]) -> Result<(), String> {
        let answer = decoded::<ReplicaFetchAnswer>(body)?;
        let ranges = answer.frame_ranges(frames.len()).map_err(|malformed| malformed.to_string())?;
        if answer.error != 0 {
            fetcher.lose_session();
            if answer.error != ErrorCode::FetchSessionFullAgain as u16 {
                fetcher.fetch_from_us = self.now.mono_us + SESSION_US;
            }
            return Ok(());
        }
        let answers = RequestNumber { session: answer.session, number: answer.number };
        if answers != at || !fetcher.session.on_answer(at) {
            return Ok(());
        }
        for (fetched, range) in answer.partitions.iter().zip(ranges) {
            self.on_fetched_partition(fetcher, fetched, frames.get(range).unwrap_or_default())?;
        }
        Ok(())
    }

    fn on_fetched_partition(&mut self, fetcher: &mut Fetcher, fetched: &ReplicaFetched, frames: &[u8]) -> Result<(), String> {
        let Some(Opened { partitions, .. }) = self.parts.opened.get() else { return Ok(()) };
        let id = id_of(fetched.topic_id, fetched.partition);
        let (leader_epoch, fetch_offset) = (LeaderEpoch(fetched.leader_epoch), Offset(fetched.fetch_offset));
        let mut put_off_us = 0;
        match &fetched.outcome {
            ReplicaOutcome::Frames { high_watermark, log_start_offset, .. } => {
                let (high_watermark, log_start_offset) = (Offset(*high_watermark), Offset(*log_start_offset));
                let answer = FetchedReplica { leader_epoch, fetch_offset, frames, high_watermark, log_start_offset };
                match partitions.on_fetched(self.now, id, answer) {
                    Ok(copied) => self.parts.metrics.replica_copied_len.add(copied.len as u64),
                    Err(refusal) => put_off_us = judge_copy(id, &refusal),
                }
            }
            ReplicaOutcome::Diverging { epoch, end_offset } => {
                let (epoch, end_offset) = (epoch.map(LeaderEpoch), Offset(*end_offset));
                let is_current = partitions.on_diverging(id, Diverging { leader_epoch, fetch_offset, epoch, end_offset });
                tracing::info!(partition = %id, %end_offset, is_current, "the leader's history parts from this replica's");
            }
            ReplicaOutcome::BelowLogStart { first_offset } => {
                if partitions.on_below_log_start(id, leader_epoch, fetch_offset, Offset(*first_offset)) {
                    fetcher.beginnings.insert(id, PartialBeginning::default());
                    self.ask_beginning(fetcher, id, leader_epoch, None)?;
                }
            }
            ReplicaOutcome::Refused { error, text } if *error == ErrorCode::ChainMismatch as u16 => {
                partitions.on_chain_mismatch(id, leader_epoch, fetch_offset);
                tracing::warn!(partition = %id, text, "the leader's frames differ from this replica's");
            }
            ReplicaOutcome::Refused { error, text } => {
                tracing::debug!(partition = %id, error, text, "the leader does not serve this replica now");
                fetcher.session.on_refused(id);
                put_off_us = REFUSED_US;
            }
        }
        if put_off_us > 0 {
            fetcher.put_off.insert(id, self.now.mono_us + put_off_us);
        }
        self.refresh_position(fetcher, id);
        Ok(())
    }

    /// Where the partition goes on now, when it still does from that leader.
    fn refresh_position(&self, fetcher: &mut Fetcher, id: TopicPartition) {
        let position = self.parts.opened.get().and_then(|opened| opened.partitions.follower_position(id));
        let position = position.filter(|position| position.leader == fetcher.leader.0);
        fetcher.set_position(id, position.map(|position| position.fetch()));
    }

    fn ask_beginning(
        &self,
        fetcher: &mut Fetcher,
        id: TopicPartition,
        leader_epoch: LeaderEpoch,
        after: Option<ProducerId>,
    ) -> Result<(), String> {
        let request = ReplicaBeginningRequest {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            leader_epoch: leader_epoch.0,
            after_producer_id: after.map(|id| id.0),
        };
        fetcher.ask(&request, Asked::Beginning(id)).map_err(|error| error.to_string())
    }

    fn on_beginning_answer(
        &mut self,
        fetcher: &mut Fetcher,
        id: TopicPartition,
        answer: &ReplicaBeginningAnswer,
    ) -> Result<(), String> {
        let Some(opened) = self.parts.opened.get() else { return Ok(()) };
        let progress = match beginning(answer).filter(|_| answer.error == 0) {
            Some(part) => fetcher.beginnings.entry(id).or_default().on_part(part, answer.more),
            None => Progress::Broken,
        };
        match progress {
            Progress::More(after) => self.ask_beginning(fetcher, id, LeaderEpoch(answer.leader_epoch), Some(after)),
            Progress::Whole(whole) => {
                fetcher.beginnings.remove(&id);
                if let Err(failure) = opened.partitions.on_beginning(id, whole) {
                    tracing::warn!(partition = %id, %failure, "this replica cannot begin where the leader's log does");
                    opened.partitions.on_beginning_failed(id);
                    fetcher.put_off.insert(id, self.now.mono_us + BROKEN_US);
                }
                Ok(())
            }
            Progress::Broken => {
                tracing::info!(partition = %id, text = answer.text, "where the leader's log begins is asked again");
                self.give_up_beginning(fetcher, id, REFUSED_US);
                Ok(())
            }
        }
    }

    fn give_up_beginning(&self, fetcher: &mut Fetcher, id: TopicPartition, wait_us: u64) {
        fetcher.beginnings.remove(&id);
        fetcher.put_off.insert(id, self.now.mono_us + wait_us);
        if let Some(opened) = self.parts.opened.get() {
            opened.partitions.on_beginning_failed(id);
        }
    }
}

fn decoded<M: Message>(body: &[u8]) -> Result<M, String> {
    decode::<M>(body).map_err(|malformed| malformed.to_string())
}

/// How long the partition is left out on account of what was wrong with its frames, microseconds.
fn judge_copy(id: TopicPartition, refusal: &CopyRefusal) -> u64 {
    match refusal {
        CopyRefusal::Rules(FetchedRefusal::Stale)
        | CopyRefusal::UnknownPartition(_)
        | CopyRefusal::NotFollower(_)
        | CopyRefusal::ShuttingDown => 0,
        CopyRefusal::Frame(_) | CopyRefusal::OffsetTooLarge { .. } | CopyRefusal::Rules(_) => {
            tracing::warn!(partition = %id, %refusal, "what the leader sent is not taken");
            BROKEN_US
        }
    }
}
