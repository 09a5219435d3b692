//! The steps of a walk: what befalls brokers, what leaders and operators ask for, what replicas do.

use crate::replicas::Replica;
use crate::world::{Faults, ROTTEN, Retry, World};
use sluice_metadata::*;
use sluice_model::{BrokerId, Incarnation, TopicPartition};

impl World {
    pub(crate) fn step(&mut self) {
        match self.below(100) {
            0..3 => self.crash_somebody(),
            3..9 => self.start_somebody(),
            9..12 => self.freeze_somebody(),
            12..17 => self.thaw_somebody(),
            17..18 => self.shut_somebody_down(),
            18..20 => self.elect(),
            20..21 => self.alter_topic(),
            21..24 => self.hand_over(),
            24..27 => self.repair(),
            27..40 => self.alter_isr(),
            40..55 => self.hear_somewhere(),
            _ => (0..16).for_each(|_| self.data_step()),
        }
        if self.one_in(3) {
            self.retry();
        }
        self.check_settled();
    }

    fn retry(&mut self) {
        let Some(retry) = self.retries.pop() else { return };
        self.decide(retry);
    }

    pub(crate) fn finish_retries(&mut self) {
        while !self.retries.is_empty() {
            self.retry();
        }
    }

    /// Decides an event and applies it, or dies half-way and leaves it to a successor.
    fn decide(&mut self, event: Retry) {
        let decided = match &event {
            Retry::EndLease(event) => on_lease_ended(&self.image, event),
            Retry::Unfence(event) => on_unfence_broker(&self.image, event),
            Retry::Shutdown(event) => on_begin_shutdown(&self.image, event),
            Retry::Report(event) => on_report_recovery(&self.image, event),
        };
        let Ok(records) = decided else { return self.count("refusals") };
        if !self.apply_in_pieces(records, true) {
            self.retries.push(event);
        }
    }

    fn end_lease(&mut self, broker: BrokerId) {
        let incarnation = self.incarnation(broker);
        self.decide(Retry::EndLease(EndLease { broker, incarnation }));
    }

    fn crash_somebody(&mut self) {
        let up: Vec<_> = self.up.iter().copied().collect();
        // Sometimes all of them lose their power at once.
        let all = self.one_in(2);
        let hit = if all { up } else { self.pick(&up).into_iter().collect() };
        for broker in hit {
            self.up.remove(&broker);
            if self.one_in(2) {
                self.end_lease(broker);
            }
        }
    }

    fn start_somebody(&mut self) {
        let down: Vec<_> = self.brokers().into_iter().filter(|b| !self.up.contains(b)).collect();
        let Some(broker) = self.pick(&down) else { return };
        let fresh = self.faults == Faults::LostDisks && self.one_in(6);
        self.start(broker, fresh);
    }

    /// A broker starts, on its folder or a fresh one, recovers, reports and is let in.
    pub(crate) fn start(&mut self, broker: BrokerId, fresh: bool) {
        let known = self.image.broker(broker).cloned();
        let fresh = fresh || known.is_none();
        // What it was assigned and has no trace of it calls whole and empty: nothing was flushed.
        let assigned = self.image.partitions().filter(|(_, partition)| partition.is_replica(broker));
        let held: Vec<_> = assigned.map(|(id, _)| (broker, id)).collect();
        if fresh {
            self.folders += 1;
            held.iter().for_each(|key| drop(self.replicas.remove(key)));
        }
        let number = self.image.next_incarnation_number(broker);
        let folder_id = if fresh { FolderId([self.folders; 16]) } else { known.as_ref().unwrap().folder_id };
        let shards = known.as_ref().map_or(2, |known| known.addresses.len() as u16);
        let shards = if self.one_in(8) { 3 - shards.min(2) } else { shards };
        let request = RegisterBroker {
            broker,
            incarnation: Incarnation { number, random: self.random },
            folder_id,
            addresses: (0..shards).map(|shard| Address { host: "localhost".into(), port: 7000 + shard }).collect(),
            held: HeldPartitions::default(),
            start: Start::InCluster { rack: None, replaces_folder: known.filter(|_| fresh).map(|known| known.folder_id) },
        };
        let records = on_register_broker(&self.image, &request).unwrap();
        self.apply_whole(records);
        let replicas = held.into_iter().filter(|_| !fresh).map(|key| (key.1, self.recover(key))).collect();
        let incarnation = request.incarnation;
        self.decide(Retry::Report(ReportRecovery { broker, incarnation, replicas, complete: true }));
        self.up.insert(broker);
        self.decide(Retry::Unfence(UnfenceBroker { broker, incarnation }));
    }

    /// What a crash leaves of a replica, and what recovery says of it.
    fn recover(&mut self, key: (BrokerId, TopicPartition)) -> Recovered {
        let mut replica = self.replicas.remove(&key).unwrap_or_default();
        let unflushed = replica.log.len() - replica.flushed;
        let kept = replica.flushed + self.below(unflushed + 1);
        let cut = kept < replica.log.len() || self.one_in(4);
        replica.log.truncate(kept);
        let mut damaged = false;
        if self.faults == Faults::Rot && key.0 == ROTTEN && cut && self.one_in(2) {
            let rotten = 1 + self.below(4);
            replica.log.truncate(kept.saturating_sub(rotten));
            self.count("last groups that rotted");
        } else if self.faults == Faults::LostDisks && self.one_in(15) {
            let kept = self.below(kept + 1);
            replica.log.truncate(kept);
            damaged = true;
        }
        replica.flushed = replica.log.len();
        let end = replica.end();
        self.replicas.insert(key, Replica { heard: None, reign: None, ..replica });
        match (damaged, cut) {
            (true, _) => Recovered::Damaged,
            (false, true) => Recovered::CutTornGroup { end },
            (false, false) => Recovered::Whole { end },
        }
    }

    /// It loses its lease and does not hear of it: what it leads it goes on to lead for a while.
    fn freeze_somebody(&mut self) {
        let brokers = self.brokers();
        let Some(broker) = self.pick(&brokers) else { return };
        self.end_lease(broker);
    }

    fn thaw_somebody(&mut self) {
        let up: Vec<_> = self.up.iter().copied().collect();
        let Some(broker) = self.pick(&up) else { return };
        let incarnation = self.incarnation(broker);
        self.decide(Retry::Unfence(UnfenceBroker { broker, incarnation }));
    }

    fn shut_somebody_down(&mut self) {
        let up: Vec<_> = self.up.iter().copied().collect();
        let Some(broker) = self.pick(&up) else { return };
        let incarnation = self.incarnation(broker);
        self.decide(Retry::Shutdown(BeginShutdown { broker, incarnation }));
    }

    fn elect(&mut self) {
        if self.one_in(3) {
            let records = elect_all_preferred_leaders(&self.image);
            self.apply_in_pieces(records, false);
        } else if self.faults == Faults::LostDisks && self.one_in(3) {
            let records = on_recovery_wait_ended(&self.image, &EndRecoveryWait { partitions: None });
            self.apply_in_pieces(records, false);
        } else if self.faults == Faults::LostDisks {
            let partitions = self.partitions();
            let Some(id) = self.pick(&partitions) else { return };
            self.elect_unclean(id);
        }
    }

    /// The operator names the longest replica that is there.
    fn elect_unclean(&mut self, id: TopicPartition) {
        let state = self.image.partition(id).unwrap();
        let active = |b: BrokerId| self.image.broker(b).is_some_and(|known| known.state == BrokerState::Active);
        let end = |b: BrokerId| self.replicas.get(&(b, id)).map_or_else(Default::default, Replica::end);
        let ends = state.replicas.iter().map(|r| (active(r.broker).then(|| end(r.broker)), r.broker));
        let shown: Vec<_> = ends.map(|(end, broker)| ShownReplica { broker, end }).collect();
        let Some(longest) = shown.iter().filter(|s| s.end.is_some()).max_by_key(|s| s.end) else { return };
        let request =
            ElectUncleanLeader { id, broker: longest.broker, partition_epoch: state.partition_epoch, shown: shown.clone() };
        match on_elect_unclean_leader(&self.image, &request) {
            Ok(records) => self.apply_whole(records),
            Err(_) => self.count("refusals"),
        }
    }

    fn alter_topic(&mut self) {
        let names: Vec<_> = self.image.topics().map(|(id, topic)| (id, topic.replication_factor())).collect();
        let Some((topic_id, replicas)) = self.pick(&names) else { return };
        let topic = self.image.topic(topic_id).unwrap();
        let (name, count) = (topic.name.clone(), topic.partitions.len() as u32);
        // One copy alone cannot outlive rot: there, two are wanted.
        let least = if self.faults == Faults::Rot { 2 } else { 1 };
        let min = least + self.below((replicas as usize + 1).saturating_sub(least));
        let partitions = (count < 6 && self.one_in(4)).then_some(count + 1);
        let settings = vec![("min_insync_replicas".into(), min.to_string())];
        match on_alter_topic(&self.image, &AlterTopic { name, settings, partitions }) {
            Ok(records) => drop(self.apply_in_pieces(records, false)),
            Err(_) => self.count("refusals"),
        }
    }

    /// A replica whose broker believes that it leads, and is up.
    fn leader(&mut self) -> Option<(BrokerId, TopicPartition)> {
        let leading = |(key, replica): (&(BrokerId, TopicPartition), &Replica)| replica.reign.is_some().then_some(*key);
        let leaders: Vec<_> = self.replicas.iter().filter_map(leading).filter(|(b, _)| self.up.contains(b)).collect();
        self.pick(&leaders)
    }

    fn hand_over(&mut self) {
        let Some((broker, id)) = self.leader() else { return };
        let state = &self.replicas[&(broker, id)].heard.as_ref().unwrap().state;
        let (isr, leader_epoch) = (state.isr.clone(), state.leader_epoch);
        let Some(to) = self.pick(&isr) else { return };
        let incarnation = self.incarnation(broker);
        let request = HandOverLeaders { broker, incarnation, partitions: vec![HandOver { id, leader_epoch, to }] };
        self.answered(on_hand_over_leaders(&self.image, &request));
    }

    /// What is damaged and has fetched all that its leader had when it began says so.
    fn repair(&mut self) {
        let Some((leader, id)) = self.leader() else { return };
        let reign = self.replicas[&(leader, id)].reign.clone().unwrap();
        let damaged = self.image.partition(id).unwrap().damaged.clone();
        let Some(broker) = self.pick(&damaged) else { return };
        let incarnation = self.incarnation(broker);
        let whole = reign.start.max(reign.high_watermark);
        if reign.fetched.get(&broker).is_some_and(|&(by, flushed)| by == incarnation && flushed >= whole) {
            let request = RepairReplicas { broker, incarnation, replicas: vec![(id, reign.epoch)] };
            if self.answered(on_repair_replicas(&self.image, &request)) {
                self.count("replicas repaired");
            }
        }
    }

    /// A leader, which may have heard nothing for a while, asks for the set it would like.
    fn alter_isr(&mut self) {
        let Some((broker, id)) = self.leader() else { return };
        let replica = &self.replicas[&(broker, id)];
        let (state, reign) = (replica.heard.clone().unwrap().state, replica.reign.clone().unwrap());
        let caught_up = reign.start.max(reign.high_watermark);
        let mut isr = vec![(broker, self.incarnation(broker))];
        for (follower, (incarnation, flushed)) in reign.fetched {
            let stays = state.isr.contains(&follower) && !self.one_in(4);
            if stays || (flushed >= caught_up && !self.one_in(4)) {
                isr.push((follower, incarnation));
            }
        }
        let change = IsrChange { id, leader_epoch: state.leader_epoch, partition_epoch: state.partition_epoch, isr };
        let request = AlterPartitions { broker, incarnation: self.incarnation(broker), changes: vec![change] };
        let accepted = self.answered(on_alter_partitions(&self.image, &request));
        if accepted {
            self.count("in-sync sets changed");
            // The answer comes with the metadata that it is part of.
            let image = self.image.clone();
            self.replica(broker, id).hear(broker, &image, id);
        }
    }

    fn answered(&mut self, answered: Result<Answered, Refusal>) -> bool {
        let Ok(answered) = answered else {
            self.count("refusals");
            return false;
        };
        self.apply_whole(answered.records);
        if answered.answers[0].is_err() {
            self.count("refusals");
        }
        answered.answers[0].is_ok()
    }

    fn hear_somewhere(&mut self) {
        let partitions = self.partitions();
        let Some(id) = self.pick(&partitions) else { return };
        let image = self.image.clone();
        for replica in &image.partition(id).unwrap().replicas {
            if self.up.contains(&replica.broker) && !self.one_in(3) {
                self.replica(replica.broker, id).hear(replica.broker, &image, id);
            }
        }
    }

    fn data_step(&mut self) {
        let Some((leader, id)) = self.leader() else { return };
        self.next_number += 1;
        let number = self.next_number;
        match self.below(4) {
            0 => self.replica(leader, id).append(number),
            1 => self.fetch(leader, id),
            2 => {
                let replicas: Vec<_> = self.image.partition(id).unwrap().replicas.iter().map(|r| r.broker).collect();
                let Some(broker) = self.pick(&replicas).filter(|b| self.up.contains(b)) else { return };
                let replica = self.replica(broker, id);
                replica.flushed = replica.log.len();
            }
            _ => self.advance(leader, id),
        }
    }

    fn fetch(&mut self, leader: BrokerId, id: TopicPartition) {
        let replicas: Vec<_> = self.image.partition(id).unwrap().replicas.iter().map(|r| r.broker).collect();
        for follower in replicas {
            if follower == leader || !self.up.contains(&follower) || self.one_in(4) {
                continue;
            }
            let (incarnation, records_max) = (self.incarnation(follower), self.below(6));
            let mut of_leader = self.replica(leader, id).clone();
            let of_follower = self.replica(follower, id);
            if of_follower.reign.is_none() && of_follower.heard_epoch() == of_leader.heard_epoch() {
                of_follower.fetch(&mut of_leader, follower, incarnation, records_max);
                self.replicas.insert((leader, id), of_leader);
            }
        }
    }

    fn advance(&mut self, leader: BrokerId, id: TopicPartition) {
        let reached = self.replica(leader, id).advance(leader).map(<[_]>::to_vec);
        let Some(reached) = reached else { return };
        let known = self.acknowledged.entry(id).or_default();
        assert!(known.starts_with(&reached) || reached.starts_with(known), "partition {id}: two histories were acknowledged");
        let new = reached.len().saturating_sub(known.len());
        if new > 0 {
            *known = reached;
            (0..new).for_each(|_| self.count("records acknowledged"));
        }
    }

    /// Whatever controllers have left half done is finished.
    pub(crate) fn let_in(&mut self, broker: BrokerId) {
        self.finish_retries();
        let unfence = UnfenceBroker { broker, incarnation: self.incarnation(broker) };
        let records = on_unfence_broker(&self.image, &unfence).unwrap();
        self.apply_whole(records);
    }

    /// Everybody comes back; where only damaged replicas are left, the operator decides.
    pub(crate) fn all_come_back(&mut self) {
        self.finish_retries();
        for broker in self.brokers() {
            if !self.up.contains(&broker) || self.image.broker(broker).unwrap().state == BrokerState::ShuttingDown {
                self.start(broker, false);
            }
            self.let_in(broker);
        }
        self.check_settled();
        for (id, partition) in self.image.clone().partitions().filter(|(_, partition)| partition.leader.is_none()) {
            let mut trusted = partition.replicas.iter().map(|r| r.broker).filter(|&b| partition.is_trusted(b));
            assert!(trusted.all(|b| partition.damaged.contains(&b)), "partition {id} could have a leader: {partition:?}");
            assert_eq!(self.faults, Faults::LostDisks, "without damage nobody has to decide: {partition:?}");
            self.elect_unclean(id);
        }
        assert!(self.image.partitions().all(|(_, partition)| partition.leader.is_some()));
    }
}
