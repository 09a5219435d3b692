//! Produce: each frame goes to its partition; the request is answered when all of them are settled.
//!
//! The expensive mistake is an answer that is lost for want of room after the append, so its bytes are reserved before
//! the first frame goes in.

use crate::answer::{AnswerFrames, ReplyTo};
use crate::data_plane::DataPlane;
use crate::error_table::{WireError, frame_code};
use crate::pending::{PendingProduce, Token};
use crate::refusal_reason::RefusalReason;
use crate::view::Place;
use sluice_model::{ErrorCode, FrameHeader, PartitionIndex, TopicId, TopicPartition};
use sluice_partition::{Completed, Completion};
use sluice_protocol::{
    Acks, ArchivedProduceRequest, DeleteRecordsAnswer, Durability, Malformed, ProduceAnswer, ProduceRequest, ProducedPartition,
    ShardAddress, access,
};

/// Bytes of an answer besides its partitions.
const ANSWER_LEN: usize = 64;
/// Bytes of one partition in an answer, with a text of the usual length.
const ANSWER_PARTITION_LEN: usize = 192;

impl DataPlane {
    pub(crate) fn on_produce(&mut self, to: ReplyTo, body: &[u8], frames: &[u8]) -> Result<(), Malformed> {
        let request = access::<ProduceRequest>(body)?;
        if let Some(opened) = self.parts.opened.get() {
            opened.catch_up.on_produce(self.now.mono_us);
        }
        check_lens(request, frames.len())?;
        match request.acks() {
            Acks::None => self.produce_unanswered(to, request, frames),
            Acks::Leader => self.produce(to, request, frames, sluice_replica::Acks::Leader),
            Acks::All => self.produce(to, request, frames, sluice_replica::Acks::All),
        }
        Ok(())
    }

    fn produce_unanswered(&mut self, to: ReplyTo, request: &ArchivedProduceRequest, frames: &[u8]) {
        for (id, frame) in entries(request, frames) {
            // Whoever wants no answer is not told about refusals either.
            let _refused = self.append(id, frame, sluice_replica::Acks::None, u64::MAX);
        }
        self.no_answer(to);
    }

    fn produce(&mut self, to: ReplyTo, request: &ArchivedProduceRequest, frames: &[u8], acks: sluice_replica::Acks) {
        let count = request.partitions.len();
        let Some(reservation) = self.parts.budget.try_reserve(ANSWER_LEN + count * ANSWER_PARTITION_LEN) else {
            self.parts.metrics.refused_for.add(RefusalReason::NetworkBudget);
            return self.refuse(to, WireError::no_room());
        };
        let partitions = entries(request, frames).map(|(id, _)| ProducedPartition {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            ..ProducedPartition::default()
        });
        let pending = PendingProduce {
            to,
            appended_us: self.now.mono_us,
            times: None,
            partitions: partitions.collect(),
            // One more than there are frames, so that it is not settled before all of them are in.
            left: count + 1,
            reservation: Some(reservation),
        };
        let request_number = self.produces.insert(pending).index;
        for (part, (id, frame)) in entries(request, frames).enumerate() {
            let token = Token::Produce { request: request_number, part };
            if let Err(refused) = self.append(id, frame, acks, token.to_u64()) {
                self.settle_part(request_number, part, |answer| {
                    answer.error = refused.error.code();
                    answer.text = refused.error.text;
                    answer.retry_after_ms = refused.error.retry_after_ms;
                    answer.address = refused.address;
                });
            }
        }
        self.settle_request(request_number);
    }

    fn append(&mut self, id: TopicPartition, frame: &[u8], acks: sluice_replica::Acks, token: u64) -> Result<(), Refused> {
        let metrics = &self.parts.metrics;
        match self.try_append(id, frame, acks, token) {
            Ok(record_count) => {
                metrics.batches_appended.add(1);
                metrics.admitted_records.add(record_count.into());
                metrics.admitted_len.add(frame.len() as u64);
                Ok(())
            }
            Err(refused) => {
                metrics.batches_refused.add(1);
                metrics.refused_for.add(refused.reason);
                Err(refused)
            }
        }
    }

    /// How many records were appended.
    fn try_append(&self, id: TopicPartition, frame: &[u8], acks: sluice_replica::Acks, token: u64) -> Result<u32, Refused> {
        let (opened, _) = self.here(id)?;
        let header = FrameHeader::parse(frame).map_err(|error| WireError::new(frame_code(&error), error))?;
        if header.topic_partition() != id {
            let text = format!("the frame names partition {}, the request names {id}", header.topic_partition());
            return Err(WireError::new(ErrorCode::InvalidFrame, text).into());
        }
        opened.partitions.append(self.now, frame, acks, token).map_err(|refusal| {
            let refused = Refused::from(WireError::from(&refusal));
            Refused { reason: RefusalReason::of_overload(&refusal).unwrap_or(refused.reason), ..refused }
        })?;
        Ok(header.record_count.to_native())
    }

    /// What the flush, or the removal of a partition, has settled.
    pub(crate) fn on_completion(&mut self, completion: Completion) {
        match Token::from_u64(completion.token) {
            Token::Produce { request, part } => {
                if let Completed::Produced { times, .. } = completion.outcome
                    && let Some(pending) = self.produces.at_mut(request)
                {
                    pending.times = Some(times);
                }
                self.settle_part(request, part, |answer| fill_in(answer, completion.outcome));
                self.answer_if_settled(request);
            }
            Token::DeleteRecords { request } => self.answer_delete_records(request, completion.outcome),
        }
    }

    fn settle_part(&mut self, request: u32, part: usize, fill_in: impl FnOnce(&mut ProducedPartition)) {
        let Some(pending) = self.produces.at_mut(request) else { return };
        if let Some(answer) = pending.partitions.get_mut(part) {
            fill_in(answer);
        }
        pending.left = pending.left.saturating_sub(1);
    }

    /// All frames of the request are in.
    fn settle_request(&mut self, request: u32) {
        let appended_us = self.parts.clock.mono_us();
        if let Some(pending) = self.produces.at_mut(request) {
            pending.left = pending.left.saturating_sub(1);
            pending.appended_us = appended_us;
        }
        self.answer_if_settled(request);
    }

    fn answer_if_settled(&mut self, request: u32) {
        if self.produces.at_mut(request).is_none_or(|pending| pending.left > 0) {
            return;
        }
        let Some(pending) = self.produces.remove_at(request) else { return };
        let stages = &self.parts.metrics.stages;
        let times = pending.times.map(|times| stages.on_committed(pending.to.began_us, pending.appended_us, times));
        let frames = AnswerFrames { reservation: pending.reservation, times, ..AnswerFrames::default() };
        self.answer_reserved(pending.to, &ProduceAnswer { partitions: pending.partitions }, frames);
    }

    fn answer_delete_records(&mut self, request: u32, outcome: Completed) {
        let Some(pending) = self.produces.remove_at(request) else { return };
        let mut answer = DeleteRecordsAnswer::default();
        match outcome {
            Completed::RecordsDeleted { log_start_offset } => answer.log_start_offset = log_start_offset.0,
            Completed::Produced { log_start_offset, .. } => answer.log_start_offset = log_start_offset.0,
            Completed::PartitionRemoved | Completed::Truncated | Completed::LeadershipLost => {
                let error = leadership_lost(outcome);
                (answer.error, answer.text) = (error.code(), error.text);
            }
        }
        let frames = AnswerFrames { reservation: pending.reservation, ..AnswerFrames::default() };
        self.answer_reserved(pending.to, &answer, frames);
    }
}

/// Why a frame was not appended, and where it should go instead.
pub(crate) struct Refused {
    pub(crate) error: WireError,
    pub(crate) address: Option<ShardAddress>,
    pub(crate) reason: RefusalReason,
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Self { reason: RefusalReason::of_code(error.code), error, address: None }
    }
}

impl From<Place> for Refused {
    fn from(place: Place) -> Self {
        let (error, address) = place.refusal();
        Self { reason: RefusalReason::of_code(error.code), error, address }
    }
}

fn leadership_lost(outcome: Completed) -> WireError {
    let happened = match outcome {
        Completed::Truncated => "its log was truncated",
        Completed::LeadershipLost => "its leader became another one",
        _ => "it was removed",
    };
    WireError::new(ErrorCode::LeadershipLost, format_args!("{happened} before the partition's records were durable"))
}

fn fill_in(answer: &mut ProducedPartition, outcome: Completed) {
    match outcome {
        Completed::Produced { base_offset, append_time_ms, log_start_offset, durability, .. } => {
            match base_offset {
                Some(offset) => answer.base_offset = offset.0,
                None => {
                    answer.error = ErrorCode::DuplicateSequence as u16;
                    answer.text = "written before, too long ago to say at which offset".to_owned();
                }
            }
            answer.append_time_ms = append_time_ms;
            answer.log_start_offset = log_start_offset.0;
            answer.durability = match durability {
                sluice_replica::Durability::FlushedOnLeader => Durability::Flushed as u8,
                sluice_replica::Durability::Committed => Durability::Committed as u8,
            };
        }
        Completed::RecordsDeleted { log_start_offset } => answer.log_start_offset = log_start_offset.0,
        Completed::PartitionRemoved | Completed::Truncated | Completed::LeadershipLost => {
            let error = leadership_lost(outcome);
            (answer.error, answer.text) = (error.code(), error.text);
        }
    }
}

/// The lengths the body names are those of the frames that follow it.
fn check_lens(request: &ArchivedProduceRequest, frames_len: usize) -> Result<(), Malformed> {
    let named: u64 = request.partitions.iter().map(|entry| u64::from(entry.frame_len.to_native())).sum();
    if named == frames_len as u64 { Ok(()) } else { Err(Malformed::Frames { named, got: frames_len }) }
}

/// Each partition with its frame; the lengths have been checked.
fn entries<'a>(request: &'a ArchivedProduceRequest, frames: &'a [u8]) -> impl Iterator<Item = (TopicPartition, &'a [u8])> {
    let mut left = frames;
    request.partitions.iter().map(move |entry| {
        let (frame, rest) = left.split_at(left.len().min(entry.frame_len.to_native() as usize));
        left = rest;
        let partition = PartitionIndex(entry.partition.to_native());
        (TopicPartition { topic_id: TopicId(entry.topic_id), partition }, frame)
    })
}
