use super::*;
use crate::effect::Durability;
use crate::in_sync_set::InSyncSet;
use crate::leader::LeaderStart;
use crate::leader::timing::IsrTimes;
use sluice_model::frame::ProducerBatch;
use sluice_model::{BrokerId, LeaderEpoch, LeaderEpochHistory, Offset, ProducerEpoch, ProducerId, ProducerTable, Sequence};
use std::collections::{BTreeMap, BTreeSet};

fn leader(members: &[u32], min_insync_replicas: u32) -> Leader {
    Leader::new(LeaderStart {
        id: TopicPartition::default(),
        broker: BrokerId(1),
        leader_epoch: LeaderEpoch(2),
        isr: InSyncSet::new(members.iter().map(|&b| BrokerId(b)).collect::<BTreeSet<_>>()),
        followers: BTreeMap::new(),
        isr_times: IsrTimes::default(),
        min_insync_replicas,
        frame_len_max: 1000,
        log_end_offset: Offset::ZERO,
        local_flushed: Offset::ZERO,
        high_watermark: Offset::ZERO,
        last_header_crc: 0,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
    })
}

fn header(producer: i64, sequence: i32, record_count: u32) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: TopicPartition::default(),
        attributes: 0,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(if producer < 0 { -1 } else { 0 }),
        base_sequence: Sequence(sequence),
        record_count,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    FrameHeader::new(batch, b"body")
}

fn produce(leader: &mut Leader, header: &FrameHeader, acks: Acks, token: u64) -> Result<Effects, AppendRefusal> {
    let mut effects = Effects::new();
    leader.on_append(50, ProduceBatch { header, acks, token }, &mut effects)?;
    Ok(effects)
}

fn flush(leader: &mut Leader, offset: u64) -> Effects {
    let mut effects = Effects::new();
    leader.on_local_flush(Offset(offset), &mut effects);
    effects
}

fn ack(token: u64, base_offset: u64, durability: Durability) -> Effect {
    Effect::AckProduce { token, base_offset: Some(Offset(base_offset)), append_time_ms: 50, durability }
}

fn moved(offset: u64) -> Effect {
    Effect::HighWatermarkMoved { high_watermark: Offset(offset) }
}

#[test]
fn a_produce_is_answered_by_the_flush_that_covers_it_and_no_earlier() {
    let mut leader = leader(&[1], 1);
    assert!(matches!(produce(&mut leader, &header(-1, -1, 3), Acks::All, 1).unwrap()[..], [Effect::Append { .. }]));
    assert!(matches!(produce(&mut leader, &header(-1, -1, 2), Acks::Leader, 2).unwrap()[..], [Effect::Append { .. }]));
    assert!(matches!(produce(&mut leader, &header(-1, -1, 1), Acks::None, 3).unwrap()[..], [Effect::Append { .. }]));
    assert_eq!(flush(&mut leader, 3), [moved(3), ack(1, 0, Durability::Committed)]);
    assert_eq!(flush(&mut leader, 6), [moved(6), ack(2, 3, Durability::FlushedOnLeader)]);
    assert!(leader.pending().is_empty());
}

#[test]
fn another_member_of_the_in_sync_set_holds_acks_all_but_not_acks_leader() {
    let mut leader = leader(&[1, 2], 1);
    produce(&mut leader, &header(-1, -1, 1), Acks::All, 1).unwrap();
    produce(&mut leader, &header(-1, -1, 1), Acks::Leader, 2).unwrap();
    assert_eq!(flush(&mut leader, 2), [ack(2, 1, Durability::FlushedOnLeader)]);
    assert_eq!(leader.high_watermark(), Offset::ZERO);
}

#[test]
fn a_duplicate_waits_for_the_first_and_gets_its_offset() {
    let mut leader = leader(&[1], 1);
    produce(&mut leader, &header(7, 0, 2), Acks::All, 1).unwrap();
    produce(&mut leader, &header(7, 2, 2), Acks::All, 2).unwrap();
    assert_eq!(produce(&mut leader, &header(7, 0, 2), Acks::All, 3).unwrap(), []);
    let late =
        Effect::AckProduce { token: 3, base_offset: Some(Offset(0)), append_time_ms: -1, durability: Durability::Committed };
    assert_eq!(flush(&mut leader, 2), [moved(2), ack(1, 0, Durability::Committed), late]);
    let at_once =
        Effect::AckProduce { token: 4, base_offset: Some(Offset(0)), append_time_ms: -1, durability: Durability::Committed };
    assert_eq!(produce(&mut leader, &header(7, 0, 2), Acks::All, 4).unwrap(), [at_once]);
    assert_eq!(leader.log_end_offset(), Offset(4));
}

#[test]
fn frames_are_chained_and_numbered() {
    let mut leader = leader(&[1], 1);
    let first = produce(&mut leader, &header(-1, -1, 3), Acks::All, 1).unwrap();
    let second = produce(&mut leader, &header(-1, -1, 1), Acks::All, 2).unwrap();
    let ([Effect::Append { header: a }], [Effect::Append { header: b }]) = (&first[..], &second[..]) else {
        panic!("{first:?} {second:?}")
    };
    assert_eq!((a.base_offset(), b.base_offset(), b.leader_epoch()), (Offset(0), Offset(3), LeaderEpoch(2)));
    assert_eq!((a.prev_header_crc.to_native(), b.prev_header_crc), (0, a.header_crc));
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut leader = leader(&[1], 2);
    assert_eq!(
        produce(&mut leader, &header(-1, -1, 1), Acks::All, 1),
        Err(AppendRefusal::NotEnoughReplicas { in_sync: 1, wanted: 2 })
    );
    let mut other = header(-1, -1, 1);
    other.partition = 9.into();
    assert!(matches!(produce(&mut leader, &other, Acks::Leader, 2), Err(AppendRefusal::WrongPartition { .. })));
    leader.on_settings(50, 1, &mut Effects::new());
    assert_eq!(produce(&mut leader, &header(-1, -1, 1), Acks::All, 3), Err(AppendRefusal::FrameTooLarge { got: 104, max: 50 }));
    leader.on_settings(1000, 1, &mut Effects::new());
    assert!(matches!(produce(&mut leader, &header(7, 5, 1), Acks::All, 4), Err(AppendRefusal::Sequence(_))));
    assert_eq!((leader.log_end_offset(), leader.pending().len(), leader.producers().len()), (Offset::ZERO, 0, 0));
}
