use super::*;
use sluice_model::frame::{LeaderSeal, ProducerBatch};
use sluice_model::{LeaderEpoch, TopicPartition};

fn frame(producer: i64, epoch: i16, sequence: i32, record_count: u32, offset: u64) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: TopicPartition::default(),
        attributes: 0,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(sequence),
        record_count,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let seal = LeaderSeal { base_offset: Offset(offset), leader_epoch: LeaderEpoch(1), append_time_ms: 0, prev_header_crc: 0 };
    FrameHeader::new(batch, b"").sealed(seal)
}

/// Producer 7 in epoch 3 has appended sequences 0..20 in batches of two; the last five are 10, 12, .. 18.
fn table() -> ProducerTable {
    let mut table = ProducerTable::default();
    for n in 0..10 {
        table.on_append(&frame(7, 3, n * 2, 2, 100 + u64::try_from(n).unwrap() * 2));
    }
    table
}

#[test]
fn golden_table() {
    use SequenceRefusal::{FencedEpoch, Incomplete, OutOfOrder, UnknownProducer};
    let out_of_order = |got, expected| Err(OutOfOrder { got: Sequence(got), expected: Sequence(expected) });
    // (producer, epoch, sequence, records) -> verdict
    let rows = [
        ((-1, -1, -1, 1), Ok(Verdict::New)),
        ((-1, 0, 0, 1), Err(Incomplete)),
        ((7, -1, 0, 1), Err(Incomplete)),
        ((7, 3, -1, 1), Err(Incomplete)),
        ((-5, 0, 0, 1), Err(Incomplete)),
        ((8, 0, 0, 4), Ok(Verdict::New)),
        ((8, 0, 1, 4), Err(UnknownProducer { got: Sequence(1) })),
        ((7, 2, 20, 2), Err(FencedEpoch { got: ProducerEpoch(2), current: ProducerEpoch(3) })),
        ((7, 4, 0, 2), Ok(Verdict::New)),
        ((7, 4, 20, 2), out_of_order(20, 0)),
        ((7, 3, 20, 9), Ok(Verdict::New)),
        ((7, 3, 22, 2), out_of_order(22, 20)),
        ((7, 3, 18, 2), Ok(Verdict::Duplicate { base_offset: Offset(118), end_offset: Offset(120) })),
        ((7, 3, 10, 2), Ok(Verdict::Duplicate { base_offset: Offset(110), end_offset: Offset(112) })),
        ((7, 3, 18, 3), out_of_order(18, 20)),
        ((7, 3, 11, 2), out_of_order(11, 20)),
        ((7, 3, 8, 2), Ok(Verdict::OldDuplicate { end_offset: Offset(110) })),
        ((7, 3, 0, 2), Ok(Verdict::OldDuplicate { end_offset: Offset(110) })),
        ((7, 3, 8, 3), out_of_order(8, 20)),
    ];
    for ((producer, epoch, sequence, records), expected) in rows {
        let got = judge(&table(), &frame(producer, epoch, sequence, records, 0));
        assert_eq!(got, expected, "producer {producer} epoch {epoch} sequence {sequence} records {records}");
    }
}

#[test]
fn sequences_wrap() {
    let mut table = ProducerTable::default();
    table.on_append(&frame(1, 0, i32::MAX - 1, 2, 0));
    assert_eq!(judge(&table, &frame(1, 0, 0, 1, 0)), Ok(Verdict::New));
    table.on_append(&frame(1, 0, 0, 1, 2));
    assert_eq!(judge(&table, &frame(1, 0, i32::MAX - 5, 2, 0)), Ok(Verdict::OldDuplicate { end_offset: Offset(0) }));
}

#[test]
fn at_the_bound_new_producers_are_refused_and_known_ones_go_on() {
    let mut table = ProducerTable::default();
    for id in 0..PRODUCERS_PER_PARTITION_MAX {
        table.on_append(&frame(i64::try_from(id).unwrap(), 0, 0, 1, 0));
    }
    assert_eq!(judge(&table, &frame(i64::MAX, 0, 0, 1, 0)), Err(SequenceRefusal::TooManyProducers));
    assert_eq!(judge(&table, &frame(0, 0, 1, 1, 0)), Ok(Verdict::New));
}
