use super::*;
use crate::effect::{Acks, Effect, Effects};
use crate::in_sync_set::InSyncSet;
use crate::leader::LeaderStart;
use crate::leader::on_append::ProduceBatch;
use crate::leader::timing::IsrTimes;
use sluice_model::frame::ProducerBatch;
use sluice_model::{BrokerId, FrameHeader, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

fn leader() -> Leader {
    Leader::new(LeaderStart {
        id: TopicPartition::default(),
        broker: BrokerId(1),
        leader_epoch: LeaderEpoch(2),
        isr: InSyncSet::new(BTreeSet::from([BrokerId(1)])),
        followers: BTreeMap::new(),
        isr_times: IsrTimes::default(),
        min_insync_replicas: 1,
        frame_len_max: 1000,
        log_end_offset: Offset::ZERO,
        local_flushed: Offset::ZERO,
        high_watermark: Offset::ZERO,
        last_header_crc: 0,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
    })
}

/// Appends two records; the sealed header.
fn produce(leader: &mut Leader, sequence: i32, acks: Acks, token: u64) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: TopicPartition::default(),
        attributes: 0,
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        record_count: 2,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let mut effects = Effects::new();
    let header = FrameHeader::new(batch, b"body");
    leader.on_append(50, ProduceBatch { header: &header, acks, token }, &mut effects).unwrap();
    match effects[..] {
        [Effect::Append { header }] => header,
        _ => panic!("{effects:?}"),
    }
}

fn tokens(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|effect| if let Effect::AckProduce { token, .. } = effect { Some(*token) } else { None }).collect()
}

#[test]
fn what_waits_above_the_cut_is_given_back_and_never_acknowledged() {
    let mut leader = leader();
    let headers: Vec<_> =
        (0..4).map(|n| produce(&mut leader, n * 2, [Acks::All, Acks::Leader][n as usize % 2], n as u64)).collect();
    let mut effects = Effects::new();
    leader.on_local_flush(Offset(2), &mut effects);
    assert_eq!(tokens(&effects), [0]);
    let mut producers = ProducerTable::default();
    headers[..2].iter().for_each(|header| producers.on_append(header));
    let mut epochs = LeaderEpochHistory::default();
    epochs.on_append(LeaderEpoch(2), Offset(0));
    let last_header_crc = headers[1].header_crc.to_native();
    let log = TruncatedLog { end_offset: Offset(4), last_header_crc, epochs, producers };
    let mut lost = leader.on_truncate(LeaderEpoch(3), log);
    lost.sort_unstable();
    assert_eq!(lost, [2, 3]);
    assert_eq!((leader.log_end_offset(), leader.local_flushed(), leader.high_watermark()), (Offset(4), Offset(2), Offset(2)));
    let mut effects = Effects::new();
    leader.on_local_flush(Offset(4), &mut effects);
    assert_eq!(tokens(&effects), [1], "below the cut it is still waited for");
    // The producer sends what was lost again, and it is new.
    let again = produce(&mut leader, 4, Acks::All, 9);
    assert_eq!((again.base_offset(), again.leader_epoch()), (Offset(4), LeaderEpoch(3)));
    assert_eq!(again.prev_header_crc.to_native(), last_header_crc);
}

#[test]
fn a_high_watermark_above_the_cut_falls_to_it() {
    let mut leader = leader();
    produce(&mut leader, 0, Acks::All, 1);
    leader.on_local_flush(Offset(2), &mut Effects::new());
    let log = TruncatedLog {
        end_offset: Offset(0),
        last_header_crc: 0,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
    };
    assert_eq!(leader.on_truncate(LeaderEpoch(7), log), [0u64; 0]);
    assert_eq!((leader.high_watermark(), leader.local_flushed()), (Offset(0), Offset(0)));
    assert_eq!(produce(&mut leader, 0, Acks::All, 2).base_offset(), Offset(0));
}

#[test]
#[should_panic(expected = "under epoch 2")]
fn the_epoch_is_a_new_one() {
    let log = TruncatedLog {
        end_offset: Offset(0),
        last_header_crc: 0,
        epochs: LeaderEpochHistory::default(),
        producers: ProducerTable::default(),
    };
    leader().on_truncate(LeaderEpoch(2), log);
}
