//! Between the messages of a fetch session and the values that the rules speak of.
//!
//! A message that names a partition twice is none: which of the two counts would be anybody's guess.

use sluice_model::limits::{EPOCHS_PER_BEGINNING_MAX, PRODUCERS_PER_BEGINNING_MAX};
use sluice_model::producer_table::{ProducerEntry, ProducerTable, RecentBatch};
use sluice_model::{
    LeaderEpoch, LeaderEpochHistory, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
};
use sluice_protocol::{
    BeginningBatch, BeginningEpoch, BeginningProducer, PartitionRef, ReplicaBeginningAnswer, ReplicaFetchRequest,
    ReplicaFlushRequest, ReplicaFlushed, ReplicaLogState, ReplicaPosition,
};
use sluice_replica::session::{FetchRequest, FlushRequest, PartitionFetch, RequestNumber};
use sluice_replica::{LogBeginning, LogPosition, LogState};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn id_of(topic_id: [u8; 16], partition: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId(topic_id), partition: PartitionIndex(partition) }
}

/// `None`: a partition is named twice, or both named and forgotten.
pub(crate) fn fetch_request(request: &ReplicaFetchRequest) -> Option<FetchRequest> {
    let ReplicaFetchRequest { session, number, named, forgotten, .. } = request;
    let count = named.len() + forgotten.len();
    let named: BTreeMap<_, _> = named.iter().map(|entry| (id_of(entry.topic_id, entry.partition), position(entry))).collect();
    let forgotten: BTreeSet<_> = forgotten.iter().map(|entry| id_of(entry.topic_id, entry.partition)).collect();
    let is_good = named.len() + forgotten.len() == count && forgotten.iter().all(|id| !named.contains_key(id));
    is_good.then_some(FetchRequest { at: RequestNumber { session: *session, number: *number }, named, forgotten })
}

/// `None`: a partition is named twice.
pub(crate) fn flush_request(request: &ReplicaFlushRequest) -> Option<FlushRequest> {
    let ReplicaFlushRequest { session, number, flushed } = request;
    let count = flushed.len();
    let flushed: BTreeMap<_, _> =
        flushed.iter().map(|entry| (id_of(entry.topic_id, entry.partition), Offset(entry.flushed))).collect();
    let at = RequestNumber { session: *session, number: *number };
    (flushed.len() == count).then_some(FlushRequest { at, flushed })
}

fn position(entry: &ReplicaPosition) -> PartitionFetch {
    let log_state = match ReplicaLogState::from_u8(entry.log_state) {
        Some(ReplicaLogState::Whole) => LogState::Whole,
        Some(ReplicaLogState::PossiblyShort) => LogState::PossiblyShort,
        // `Message::check` lets nothing else through; whatever it were, it would not be whole.
        Some(ReplicaLogState::Damaged) | None => LogState::Damaged,
    };
    PartitionFetch {
        leader_epoch: LeaderEpoch(entry.leader_epoch),
        position: LogPosition {
            offset: Offset(entry.offset),
            last_epoch: entry.last_epoch.map(LeaderEpoch),
            last_header_crc: entry.last_header_crc,
        },
        flushed: Offset(entry.flushed),
        log_state,
    }
}

pub(crate) fn fetch_message(request: &FetchRequest, wait_ms_max: u32, len_max: u32) -> ReplicaFetchRequest {
    let named = request.named.iter().map(|(id, fetch)| ReplicaPosition {
        topic_id: id.topic_id.0,
        partition: id.partition.0,
        leader_epoch: fetch.leader_epoch.0,
        offset: fetch.position.offset.0,
        last_epoch: fetch.position.last_epoch.map(|epoch| epoch.0),
        last_header_crc: fetch.position.last_header_crc,
        flushed: fetch.flushed.0,
        log_state: match fetch.log_state {
            LogState::Whole => ReplicaLogState::Whole,
            LogState::PossiblyShort => ReplicaLogState::PossiblyShort,
            LogState::Damaged => ReplicaLogState::Damaged,
        } as u8,
    });
    let forgotten = request.forgotten.iter().map(|id| PartitionRef { topic_id: id.topic_id.0, partition: id.partition.0 });
    let RequestNumber { session, number } = request.at;
    ReplicaFetchRequest { session, number, wait_ms_max, len_max, named: named.collect(), forgotten: forgotten.collect() }
}

pub(crate) fn flush_message(request: &FlushRequest) -> ReplicaFlushRequest {
    let flushed = request.flushed.iter().map(|(id, offset)| ReplicaFlushed {
        topic_id: id.topic_id.0,
        partition: id.partition.0,
        flushed: offset.0,
    });
    ReplicaFlushRequest { session: request.at.session, number: request.at.number, flushed: flushed.collect() }
}

/// The part of a beginning with producers above `after`, as much as goes into one answer.
pub(crate) fn beginning_message(beginning: &LogBeginning, after: Option<ProducerId>) -> ReplicaBeginningAnswer {
    let epochs = beginning.epochs.entries();
    let epochs = epochs[epochs.len().saturating_sub(EPOCHS_PER_BEGINNING_MAX)..].iter();
    let mut left = beginning.producers.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
    let producers: Vec<_> = left.by_ref().take(PRODUCERS_PER_BEGINNING_MAX).map(|(id, entry)| producer(id, entry)).collect();
    ReplicaBeginningAnswer {
        leader_epoch: beginning.leader_epoch.0,
        first_offset: beginning.first_offset.0,
        prev_header_crc: beginning.prev_header_crc,
        epochs: epochs.map(|(epoch, start)| BeginningEpoch { leader_epoch: epoch.0, start_offset: start.0 }).collect(),
        producers,
        more: left.next().is_some(),
        ..ReplicaBeginningAnswer::default()
    }
}

fn producer(id: ProducerId, entry: &ProducerEntry) -> BeginningProducer {
    let batches = entry.batches.iter().map(|batch| BeginningBatch {
        base_sequence: batch.base_sequence.0,
        record_count: batch.record_count,
        base_offset: batch.base_offset.0,
    });
    BeginningProducer {
        producer_id: id.0,
        producer_epoch: entry.epoch.0,
        last_append_ms: entry.last_append_ms,
        batches: batches.collect(),
    }
}

/// What one answer says, without what came with others; `None`: its leader epochs do not grow.
pub(crate) fn beginning(answer: &ReplicaBeginningAnswer) -> Option<LogBeginning> {
    let epochs = answer.epochs.iter().map(|entry| (LeaderEpoch(entry.leader_epoch), Offset(entry.start_offset)));
    let mut producers = ProducerTable::default();
    for entry in &answer.producers {
        let batches = entry.batches.iter().map(|batch| RecentBatch {
            base_sequence: Sequence(batch.base_sequence),
            record_count: batch.record_count,
            base_offset: Offset(batch.base_offset),
        });
        let entry_of = ProducerEntry {
            epoch: ProducerEpoch(entry.producer_epoch),
            last_append_ms: entry.last_append_ms,
            batches: batches.collect(),
        };
        producers.insert(ProducerId(entry.producer_id), entry_of);
    }
    Some(LogBeginning {
        leader_epoch: LeaderEpoch(answer.leader_epoch),
        first_offset: Offset(answer.first_offset),
        prev_header_crc: answer.prev_header_crc,
        epochs: LeaderEpochHistory::from_entries(epochs.collect())?,
        producers,
    })
}

#[cfg(test)]
#[path = "convert_test.rs"]
mod tests;
