//! What devices hold: logs read from copies of them, as they would be found if the power went now.
//!
//! Nothing that a replica says of itself is believed here. The copy is recovered by the unchanged code, and whatever it then
//! serves is held against the truth.

use super::broker::Broker;
use super::plan::ClusterPlan;
use super::start::{READER_EPOCH, clock_of, config};
use super::truth::Truth;
use crate::demand;
use crate::oracle::Violation;
use crate::oracle::batches::BatchId;
use sluice_model::{Incarnation, Offset, ShardIndex, TopicPartition};
use sluice_partition::pace::Unpaced;
use sluice_partition::{FetchedFrames, OpenShard, PartitionAssignment, PartitionSettings, Partitions};
use sluice_replica::PartitionState;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const READ_LEN: usize = 1 << 20;

/// A log, frame by frame: base offset, batch and checksum of the header.
pub type LogRead = Vec<(u64, BatchId, u32)>;

/// Every log of one shard as it would be found after a power cut that takes all that is not flushed.
pub fn durable_logs(
    broker: &Broker,
    shard: ShardIndex,
    plan: &ClusterPlan,
    truth: &Truth,
) -> Result<BTreeMap<TopicPartition, LogRead>, Violation> {
    let disk = broker.disk.crash(PowerCut { call: broker.disk.call_count(), unflushed: Unflushed::Lost });
    let Some(view) = &broker.view else { return Ok(BTreeMap::new()) };
    let incarnation = Incarnation { number: broker.incarnation.number + 1, random: 1 };
    let own = broker.assignments(view, plan).into_iter().filter(|(index, _)| *index == shard);
    let assigned: Vec<_> = own
        .map(|(_, assignment)| PartitionAssignment {
            state: Some(PartitionState::alone(broker.id, incarnation, READER_EPOCH)),
            settings: PartitionSettings { min_insync_replicas: 1, ..assignment.settings },
            ..assignment
        })
        .collect();
    let open = OpenShard {
        config: config(plan, broker.id, shard),
        incarnation,
        assigned: assigned.clone(),
        imports: Vec::new(),
        owners: BTreeMap::new(),
        handed_over: Vec::new(),
        deleted: BTreeSet::new(),
        pacer: Rc::new(Unpaced),
    };
    let opened = block_on(Partitions::open(disk, clock_of(broker), open));
    let (partitions, _) =
        opened.map_err(|error| Violation(format!("broker {}: a copy of shard {shard} does not open: {error}", broker.id)))?;
    let mut logs = BTreeMap::new();
    for PartitionAssignment { id, settings, .. } in assigned {
        partitions.alter(id, settings);
        logs.insert(id, read_log(&partitions, id, truth)?);
    }
    Ok(logs)
}

fn read_log(
    partitions: &Partitions<FaultDisk, crate::clock::SimClock>,
    id: TopicPartition,
    truth: &Truth,
) -> Result<LogRead, Violation> {
    let status = partitions.status(id).ok_or_else(|| Violation(format!("{id} is not in the copy")))?;
    let whole = status.damaged.is_empty() && status.possibly_short.is_none();
    demand!(whole, "{id}: no bit has changed, and a copy of its log is damaged: {status:?}");
    demand!(status.high_watermark == status.log_end_offset, "{id}: a log without followers is not committed: {status:?}");
    let (mut at, mut log) = (status.log_start_offset.0, LogRead::new());
    while at < status.log_end_offset.0 {
        let fetched = partitions.fetch(id, Offset(at), READ_LEN);
        let bytes = match fetched.map(|fetched| fetched.frames) {
            Ok(FetchedFrames::Memory(slices)) => slices.concat(),
            Ok(FetchedFrames::Disk(plan)) => {
                let read = block_on(plan.run()).map_err(|error| Violation(format!("{id}: a copy cannot be read: {error}")))?;
                read.slices.concat()
            }
            Ok(FetchedFrames::Empty) => Vec::new(),
            Err(refusal) => return Err(Violation(format!("{id}: a copy cannot be read: {refusal}"))),
        };
        demand!(!bytes.is_empty(), "{id}: a copy serves nothing at {at}, it ends at {}", status.log_end_offset);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (batch, header) = truth.batch_of(id, rest)?;
            rest = &rest[header.frame_len()..];
            log.push((header.base_offset().0, batch, header.header_crc.to_native()));
            at = header.next_offset().0;
        }
    }
    Ok(log)
}
