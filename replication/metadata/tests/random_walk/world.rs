//! The world: an image, its log, brokers that are up or not, and the model of their replicas.

use crate::replicas::{Entry, Replica};
use sluice_metadata::invariants::{check, check_settled, check_succession};
use sluice_metadata::*;
use sluice_model::{BrokerId, Incarnation, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What may go wrong beside crashes, freezes and slow messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    LostDisks,
    Rot,
}

/// Broker whose last group rots.
pub(crate) const ROTTEN: BrokerId = BrokerId(1);

pub(crate) struct World {
    pub(crate) random: u64,
    pub(crate) faults: Faults,
    pub(crate) image: Image,
    log: Vec<Vec<u8>>,
    pub(crate) up: BTreeSet<BrokerId>,
    pub(crate) replicas: BTreeMap<(BrokerId, TopicPartition), Replica>,
    /// What was acknowledged of each partition.
    pub(crate) acknowledged: BTreeMap<TopicPartition, Vec<Entry>>,
    /// What a controller that died has left half done: its successor decides it again.
    pub(crate) retries: Vec<Retry>,
    pub(crate) next_number: u64,
    pub(crate) folders: u8,
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Retry {
    EndLease(EndLease),
    Unfence(UnfenceBroker),
    Shutdown(BeginShutdown),
    Report(ReportRecovery),
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            faults,
            image: Image::new(ClusterId([7; 16])),
            log: Vec::new(),
            up: BTreeSet::new(),
            replicas: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            retries: Vec::new(),
            next_number: 0,
            folders: 0,
            counts: BTreeMap::new(),
        };
        let brokers = 3 + u32::try_from(world.below(3)).unwrap();
        for broker in (1..=brokers).map(BrokerId) {
            world.start(broker, false);
            world.let_in(broker);
        }
        (1..=4).for_each(|topic| world.create_topic(topic));
        world
    }

    /// A number below `bound`, from the seed.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len());
        from.get(at).copied()
    }

    pub(crate) fn brokers(&self) -> Vec<BrokerId> {
        self.image.brokers().map(|(id, _)| id).collect()
    }

    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        self.image.partitions().map(|(id, _)| id).collect()
    }

    pub(crate) fn incarnation(&self, broker: BrokerId) -> Incarnation {
        self.image.broker(broker).unwrap().incarnation
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// What a step of the data plane needs: replica of a broker that is up.
    pub(crate) fn replica(&mut self, broker: BrokerId, id: TopicPartition) -> &mut Replica {
        self.replicas.entry((broker, id)).or_default()
    }

    fn create_topic(&mut self, number: u8) {
        let brokers = self.brokers().len();
        let replicas = if self.faults == Faults::Rot { 3 } else { 1 + self.below(brokers.min(4)) };
        let min = if self.faults == Faults::Rot { 2 + self.below(2) } else { 1 + self.below(replicas) };
        let request = CreateTopic {
            topic_id: TopicId([number; 16]),
            name: format!("topic-{number}"),
            partitions: 1 + u32::try_from(self.below(3)).unwrap(),
            replication_factor: Some(u32::try_from(replicas).unwrap()),
            settings: vec![("min_insync_replicas".into(), min.to_string())],
        };
        let records = on_create_topic(&self.image, &request).unwrap();
        self.apply_whole(records);
    }

    /// Applies a decision in pieces of any length; whether all of it was applied. A registration stays whole.
    pub(crate) fn apply_in_pieces(&mut self, records: Vec<Record>, may_die: bool) -> bool {
        let mut rest = &records[..];
        while !rest.is_empty() {
            if may_die && self.one_in(12) {
                self.count("controllers died half-way");
                return false;
            }
            let len = (1 + self.below(4)).min(rest.len());
            self.apply(Batch { records: rest[..len].to_vec() });
            rest = &rest[len..];
        }
        true
    }

    pub(crate) fn apply_whole(&mut self, records: Vec<Record>) {
        if !records.is_empty() {
            self.apply(Batch { records });
        }
    }

    fn apply(&mut self, batch: Batch) {
        let before = self.image.clone();
        self.image.apply_batch(&batch).unwrap_or_else(|error| panic!("{error}: {batch:?}"));
        check(&self.image).unwrap_or_else(|broken| panic!("{broken}: {batch:?}"));
        check_succession(&before, &self.image).unwrap_or_else(|broken| panic!("{broken}: {batch:?}"));
        self.log.push(batch.encode());
        for record in &batch.records {
            self.check_leader(&before, record);
        }
    }

    /// A leader that the rules elect holds all that was acknowledged.
    fn check_leader(&mut self, before: &Image, record: &Record) {
        let (topic_id, partition, unclean) = match record {
            Record::PartitionChanged(r) => (r.topic_id, r.partition, false),
            Record::PartitionStateChanged(r) => (r.topic_id, r.partition, false),
            Record::UncleanLeaderElected(r) => (r.topic_id, r.partition, true),
            _ => return,
        };
        let id = TopicPartition { topic_id, partition };
        let (from, to) = (before.partition(id).unwrap(), self.image.partition(id).unwrap());
        if from.leader == to.leader {
            return;
        }
        let Some(leader) = to.leader else { return self.count("partitions without a leader") };
        let elected = from.isr.contains(&leader);
        let log = self.replicas.get(&(leader, id)).map(|replica| replica.log.clone()).unwrap_or_default();
        let acknowledged = self.acknowledged.entry(id).or_default();
        if unclean {
            // The operator was shown what goes.
            let kept = acknowledged.iter().zip(&log).take_while(|(a, b)| a == b).count();
            acknowledged.truncate(kept);
            return self.count("unclean elections");
        }
        assert!(log.starts_with(acknowledged), "partition {id}: {leader} leads without what was acknowledged: {from:?} {to:?}");
        self.count(if elected { "elections of in-sync replicas" } else { "elections of eligible replicas" });
    }

    pub(crate) fn check_settled(&self) {
        if self.retries.is_empty() {
            check_settled(&self.image).unwrap_or_else(|broken| panic!("{broken}"));
        }
    }

    pub(crate) fn check_replay(&self) {
        let mut image = Image::new(self.image.cluster_id());
        for bytes in &self.log {
            image.apply_batch(&Batch::decode(bytes).unwrap()).unwrap();
        }
        assert_eq!(image, self.image);
    }
}
