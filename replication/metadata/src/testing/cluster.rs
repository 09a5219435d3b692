//! A cluster of brokers, driven event by event. Whatever is decided is applied in its batches, and every invariant is
//! checked after each of them.

use super::{create, topic_id};
use crate::batch::Batch;
use crate::identity::{ClusterId, FolderId};
use crate::image::Image;
use crate::invariants::{check, check_settled, check_succession};
use crate::on_alter_partitions::IsrChange;
use crate::on_report_recovery::Recovered;
use crate::partition_state::{PartitionState, ReplicaEnd};
use crate::record::{Address, Record};
use crate::*;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset, PartitionIndex, TopicPartition};

pub(crate) struct Cluster {
    pub(crate) image: Image,
    /// Every batch, as bytes.
    pub(crate) log: Vec<Vec<u8>>,
}

/// Partition `partition` of topic 1.
pub(crate) fn tp(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: topic_id(1), partition: PartitionIndex(partition) }
}

pub(crate) fn end(leader_epoch: u32, end_offset: u64) -> ReplicaEnd {
    ReplicaEnd { leader_epoch: LeaderEpoch(leader_epoch), end_offset: Offset(end_offset) }
}

pub(crate) fn folder(broker: u32, generation: u8) -> FolderId {
    let mut bytes = [generation; 16];
    bytes[..4].copy_from_slice(&broker.to_le_bytes());
    FolderId(bytes)
}

impl Cluster {
    /// Brokers from 1 on, active, each with so many shards.
    pub(crate) fn new(shards: &[u16]) -> Self {
        let racks: Vec<_> = shards.iter().map(|&count| (count, None)).collect();
        Self::with_racks(&racks)
    }

    pub(crate) fn with_racks(brokers: &[(u16, Option<&str>)]) -> Self {
        let mut cluster = Self { image: Image::new(ClusterId([1; 16])), log: Vec::new() };
        for (broker, &(shards, rack)) in (1..).zip(brokers) {
            let request = cluster.registration(broker, shards, rack);
            cluster.run(|i| on_register_broker(i, &request)).unwrap();
            cluster.report(broker, &[]);
            cluster.unfence(broker);
        }
        cluster
    }

    /// Three brokers with a partition of three replicas, of which `min_insync` have to be in sync.
    pub(crate) fn of_three(min_insync: u32) -> Self {
        let mut cluster = Self::new(&[1, 1, 1]);
        cluster.create(1, 1, 3, min_insync).unwrap();
        cluster
    }

    pub(crate) fn create(&mut self, topic: u8, partitions: u32, replicas: u32, min: u32) -> Result<Vec<Record>, Refusal> {
        let settings = vec![("min_insync_replicas".to_owned(), min.to_string())];
        let request = CreateTopic { replication_factor: Some(replicas), settings, ..create(topic, partitions) };
        self.run(|i| on_create_topic(i, &request))
    }

    /// Decides, applies, and gives back what was decided.
    pub(crate) fn run<E>(&mut self, decide: impl FnOnce(&Image) -> Result<Vec<Record>, E>) -> Result<Vec<Record>, E> {
        let records = decide(&self.image)?;
        self.apply(&records);
        check_settled(&self.image).unwrap_or_else(|broken| panic!("{broken}: {records:?}"));
        Ok(records)
    }

    pub(crate) fn answered(&mut self, decide: impl FnOnce(&Image) -> Result<Answered, Refusal>) -> Result<Answered, Refusal> {
        let answered = decide(&self.image)?;
        self.apply(&answered.records);
        check_settled(&self.image).unwrap_or_else(|broken| panic!("{broken}: {answered:?}"));
        Ok(answered)
    }

    fn apply(&mut self, records: &[Record]) {
        for batch in Batch::split(records) {
            self.apply_batch(&batch);
        }
    }

    pub(crate) fn apply_batch(&mut self, batch: &Batch) {
        let before = self.image.clone();
        self.image.apply_batch(batch).unwrap_or_else(|error| panic!("{error}: {batch:?}"));
        check(&self.image).unwrap_or_else(|broken| panic!("{broken}: {batch:?}"));
        check_succession(&before, &self.image).unwrap_or_else(|broken| panic!("{broken}: {batch:?}"));
        self.log.push(batch.encode());
    }

    pub(crate) fn incarnation(&self, broker: u32) -> Incarnation {
        self.image.broker(BrokerId(broker)).unwrap().incarnation
    }

    /// The next start of a broker on the folder it has.
    pub(crate) fn registration(&self, broker: u32, shards: u16, rack: Option<&str>) -> RegisterBroker {
        let id = BrokerId(broker);
        let number = self.image.next_incarnation_number(id);
        let port = |shard| 7000 + 10 * u16::try_from(broker).unwrap() + shard;
        let addresses = (0..shards).map(|shard| Address { host: "localhost".into(), port: port(shard) }).collect();
        RegisterBroker {
            broker: id,
            incarnation: Incarnation { number, random: u64::from(broker) << 32 | number },
            folder_id: self.image.broker(id).map_or(folder(broker, 0), |known| known.folder_id),
            addresses,
            held: HeldPartitions::default(),
            start: Start::InCluster { rack: rack.map(str::to_owned), replaces_folder: None },
        }
    }

    pub(crate) fn register(&mut self, broker: u32) {
        let known = self.image.broker(BrokerId(broker)).unwrap();
        let (shards, rack) = (u16::try_from(known.shard_count()).unwrap(), known.rack.clone());
        let request = self.registration(broker, shards, rack.as_deref());
        self.run(|i| on_register_broker(i, &request)).unwrap();
    }

    /// A start on another folder, which the operator says takes the place of the known one.
    pub(crate) fn register_fresh(&mut self, broker: u32) {
        let known = self.image.broker(BrokerId(broker)).unwrap().clone();
        let request = RegisterBroker {
            folder_id: folder(broker, known.folder_id.0[15] + 1),
            start: Start::InCluster { rack: known.rack, replaces_folder: Some(known.folder_id) },
            ..self.registration(broker, u16::try_from(known.addresses.len()).unwrap(), None)
        };
        self.run(|i| on_register_broker(i, &request)).unwrap();
    }

    /// All that recovery found, of partitions of topic 1.
    pub(crate) fn report(&mut self, broker: u32, replicas: &[(u32, Recovered)]) {
        let replicas = replicas.iter().map(|&(partition, recovered)| (tp(partition), recovered)).collect();
        let (broker, incarnation) = (BrokerId(broker), self.incarnation(broker));
        let report = ReportRecovery { broker, incarnation, replicas, complete: true };
        self.run(|i| on_report_recovery(i, &report)).unwrap();
    }

    pub(crate) fn unfence(&mut self, broker: u32) {
        let request = UnfenceBroker { broker: BrokerId(broker), incarnation: self.incarnation(broker) };
        self.run(|i| on_unfence_broker(i, &request)).unwrap();
    }

    /// Registers, reports the same of partition 0, and is let in.
    pub(crate) fn restart(&mut self, broker: u32, recovered: Recovered) {
        self.register(broker);
        self.report(broker, &[(0, recovered)]);
        self.unfence(broker);
    }

    pub(crate) fn fence(&mut self, broker: u32) -> Vec<Record> {
        let event = EndLease { broker: BrokerId(broker), incarnation: self.incarnation(broker) };
        self.run(|i| on_lease_ended(i, &event)).unwrap()
    }

    pub(crate) fn shut_down(&mut self, broker: u32) -> Vec<Record> {
        let request = BeginShutdown { broker: BrokerId(broker), incarnation: self.incarnation(broker) };
        self.run(|i| on_begin_shutdown(i, &request)).unwrap()
    }

    /// What the leader of the partition would ask for now.
    pub(crate) fn isr_change(&self, partition: u32, isr: &[u32]) -> AlterPartitions {
        let state = self.image.partition(tp(partition)).unwrap();
        let broker = state.leader.unwrap_or(BrokerId(1));
        let change = IsrChange {
            id: tp(partition),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: isr.iter().map(|&b| (BrokerId(b), self.incarnation(b))).collect(),
        };
        AlterPartitions { broker, incarnation: self.incarnation(broker.0), changes: vec![change] }
    }

    /// The leader changes the in-sync set.
    pub(crate) fn alter_isr(&mut self, partition: u32, isr: &[u32]) -> Result<PartitionState, PartitionRefusal> {
        let request = self.isr_change(partition, isr);
        let answered = self.answered(|i| on_alter_partitions(i, &request)).unwrap();
        answered.answers[0].clone()
    }

    /// Partition 0 in short: `leader@leader epoch`, in-sync set, and what else is not as usual.
    pub(crate) fn shown(&self) -> String {
        show(self.image.partition(tp(0)).unwrap())
    }
}

pub(crate) fn show(state: &PartitionState) -> String {
    let list = |brokers: &[BrokerId]| brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let leader = state.leader.map_or("-".to_owned(), |leader| leader.to_string());
    let mut text = format!("{leader}@{} isr {}", state.leader_epoch, list(&state.isr));
    for (name, brokers) in [("elr", &state.eligible_leader_replicas), ("damaged", &state.damaged)] {
        if !brokers.is_empty() {
            text += &format!(" {name} {}", list(brokers));
        }
    }
    for restarted in &state.restarted {
        let (ReplicaEnd { leader_epoch, end_offset }, cut) = (restarted.end, if restarted.cut_torn_group { " cut" } else { "" });
        text += &format!(" ({} has {leader_epoch}:{end_offset}{cut})", restarted.broker);
    }
    if let Some(last) = state.last_known_leader {
        text += &format!(" last {last}");
    }
    text
}
