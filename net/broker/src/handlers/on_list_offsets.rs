//! ListOffsets: the offset at a time, at the beginning or at the end. A time may need the disk, so it goes the way of
//! the catch-up reads.

use crate::answer::{AnswerFrames, ReplyTo};
use crate::catch_up::{Job, OffsetsJob, OffsetsPart};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::view::Place;
use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{
    ListOffsetsAnswer, ListOffsetsPartition, ListOffsetsRequest, ListedOffset, Malformed, TIMESTAMP_BEGINNING, TIMESTAMP_END,
    decode,
};

/// Bytes of memory that one partition of a request takes while it is under way.
const PART_LEN: usize = 512;

impl DataPlane {
    pub(crate) fn on_list_offsets(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = decode::<ListOffsetsRequest>(body)?;
        let Some(reservation) = self.parts.budget.try_reserve(PART_LEN * (1 + request.partitions.len())) else {
            self.refuse(to, WireError::no_room());
            return Ok(());
        };
        let parts: Vec<OffsetsPart> = request.partitions.iter().map(|entry| self.plan_offset(entry)).collect();
        let job = OffsetsJob { to, parts, reservation };
        let needs_disk = job.parts.iter().any(|part| part.lookup.is_some());
        match self.parts.opened.get().filter(|_| needs_disk) {
            Some(opened) => opened.catch_up.push(Job::Offsets(job)),
            None => self.finish_list_offsets(job),
        }
        Ok(())
    }

    fn plan_offset(&self, entry: &ListOffsetsPartition) -> OffsetsPart {
        let id = TopicPartition { topic_id: TopicId(entry.topic_id), partition: PartitionIndex(entry.partition) };
        let answer =
            ListedOffset { topic_id: entry.topic_id, partition: entry.partition, timestamp_ms: -1, ..Default::default() };
        let found = self.here(id).and_then(|(opened, leader_epoch)| {
            let status = opened.partitions.status(id).ok_or(Place::Here { leader_epoch })?;
            Ok((opened, status))
        });
        let (opened, status) = match found {
            Ok(found) => found,
            Err(place) => {
                let (error, address) = place.refusal();
                let answer = ListedOffset { error: error.code(), text: error.text, address, ..answer };
                return OffsetsPart { answer, lookup: None };
            }
        };
        let offset = if entry.timestamp_ms == TIMESTAMP_BEGINNING { status.log_start_offset } else { status.high_watermark };
        let answer = ListedOffset { offset: offset.0, ..answer };
        if matches!(entry.timestamp_ms, TIMESTAMP_BEGINNING | TIMESTAMP_END) {
            return OffsetsPart { answer, lookup: None };
        }
        match opened.partitions.offset_for_timestamp(id, entry.timestamp_ms) {
            Ok(lookup) => OffsetsPart { answer, lookup: Some(lookup) },
            Err(refusal) => {
                let error = WireError::from(&refusal);
                let answer = ListedOffset { error: error.code(), text: error.text, ..answer };
                OffsetsPart { answer, lookup: None }
            }
        }
    }

    pub(crate) fn finish_list_offsets(&mut self, job: OffsetsJob) {
        let partitions = job.parts.into_iter().map(|part| part.answer).collect();
        let frames = AnswerFrames { reservation: Some(job.reservation), ..AnswerFrames::default() };
        self.answer_reserved(job.to, &ListOffsetsAnswer { partitions }, frames);
    }
}
