//! Brokers that come and go, and the controller that decides about them: simulated, and not what is tested here.

use super::*;

impl Walk {
    pub(super) fn review(&mut self) {
        let broker = self.any_broker();
        let now_us = self.now_us;
        let node = self.nodes.get_mut(&broker).expect("known");
        let leader = (broker, node.incarnation);
        if let (true, Role::Leader(role)) = (node.is_up, node.replica.role_mut())
            && let Some(proposal) = role.on_isr_review(now_us)
        {
            self.network.push((broker, Message::Isr { proposal, leader }));
        }
    }

    /// The controller judges a change, as KIP-497 and KIP-903 have it.
    pub(super) fn on_isr(&mut self, proposal: &IsrProposal, leader: (BrokerId, Incarnation)) {
        let state = &mut self.state;
        let is_leader = state.leader == Some(leader.0)
            && state.replicas[&leader.0] == leader.1
            && state.leader_epoch == proposal.leader_epoch;
        let are_current = proposal.followers.iter().all(|(broker, incarnation)| state.replicas[broker] == *incarnation);
        let are_up = proposal.followers.keys().all(|broker| self.nodes[broker].is_up);
        let answer = if !is_leader || state.partition_epoch != proposal.partition_epoch {
            self.count("isr change of another epoch");
            IsrAnswer::Unknown
        } else if !are_current || !are_up {
            self.count("isr change refused");
            IsrAnswer::Refused
        } else {
            state.isr = proposal.followers.keys().copied().chain([leader.0]).collect();
            state.partition_epoch.0 += 1;
            self.count("isr change");
            self.publish();
            IsrAnswer::Decided { partition_epoch: self.state.partition_epoch, members: self.state.isr.clone() }
        };
        let answer = if self.random.chance(10) { IsrAnswer::Unknown } else { answer };
        let (leader_epoch, number) = (proposal.leader_epoch, proposal.number);
        self.network.push((leader.0, Message::IsrAnswer { leader_epoch, number, answer }));
    }

    /// A broker loses what it has not flushed, and the answers that it owes.
    pub(super) fn crash(&mut self) {
        let broker = self.any_broker();
        let node = self.nodes.get_mut(&broker).expect("known");
        if !node.is_up {
            return;
        }
        let flushed = node.flushed();
        if self.random.chance(50) {
            // What was written may have reached the disk without anybody knowing.
            node.log.frames.retain(|header| header.next_offset() <= flushed);
        }
        node.kept_high_watermark = match (node.replica.role(), self.random.chance(50)) {
            (_, true) => node.kept_high_watermark,
            (Role::Leader(leader), _) => leader.high_watermark(),
            (Role::Follower(follower), _) => follower.high_watermark(),
        };
        node.kept_high_watermark = node.kept_high_watermark.min(flushed);
        node.is_up = false;
        self.count("crashed");
        // Its producers hear nothing more from it.
        self.producers.iter_mut().for_each(|producer| producer.waiting = None);
    }

    /// It registers under its next incarnation, and leads only what it is elected to from then on.
    pub(super) fn restart(&mut self) {
        let broker = self.any_broker();
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| !node.is_up) else { return };
        node.incarnation = incarnation(node.incarnation.number + 1);
        let latest = node.log.epochs().latest().map_or(0, |epoch| epoch.0);
        let high_watermark = node.kept_high_watermark.0;
        node.replica = Replica::new(broker, node.incarnation, settings(), node.log.start(latest, high_watermark));
        node.to_leader = FollowerSession::default();
        node.sessions = LeaderSessions::default();
        node.is_up = true;
        self.state.replicas.insert(broker, node.incarnation);
        if self.state.leader == Some(broker) {
            self.elect_from(&self.state.isr.clone());
        } else {
            self.state.partition_epoch.0 += 1;
            self.publish();
        }
        self.count("restarted");
    }

    /// The controller thinks that the leader is gone, rightly or not.
    pub(super) fn elect(&mut self, has_faults: bool) {
        let leader = self.state.leader.expect("there is one");
        if self.nodes[&leader].is_up && !(has_faults && self.random.chance(30)) {
            return;
        }
        self.elect_from(&self.state.isr.clone());
    }

    pub(super) fn elect_from(&mut self, isr: &BTreeSet<BrokerId>) {
        let up: Vec<_> = isr.iter().filter(|broker| self.nodes[broker].is_up).copied().collect();
        if up.is_empty() {
            return;
        }
        self.state.leader = Some(up[self.random.below(up.len())]);
        self.state.leader_epoch.0 += 1;
        self.state.partition_epoch.0 += 1;
        self.count("elected");
        self.publish();
    }
}
