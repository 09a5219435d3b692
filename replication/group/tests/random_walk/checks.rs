//! What must be true after every step, and in the end.

use crate::client::Said;
use crate::world::{World, group_id};
use sluice_group::invariants::{check, check_settled, check_succession};
use sluice_group::*;
use sluice_model::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    pub(crate) fn check(&mut self) {
        let image = self.coordinator.image();
        check(image).unwrap_or_else(|broken| panic!("{broken}"));
        check_succession(&self.before, image).unwrap_or_else(|broken| panic!("{broken}"));
        self.check_owners();
        self.check_offsets();
        self.before = self.coordinator.image().clone();
    }

    /// No two clients have one partition; and of an exclusive or failover group only one client has any.
    fn check_owners(&self) {
        let mut owners: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        let mut active = BTreeSet::new();
        for (number, client) in self.clients.iter().enumerate() {
            for &id in client.held.keys().filter(|&&id| client.has(self.now_us, id)) {
                if let Some(other) = owners.insert(id, number) {
                    panic!("{id} is delivered by {other} and {number} at {} us", self.now_us);
                }
                active.insert(number);
            }
        }
        assert!(self.mode == Mode::Partitioned || active.len() <= 1, "{active:?} are active in the mode {:?}", self.mode);
    }

    /// Nothing that was acknowledged is lost, and nothing goes back, but by a reset.
    fn check_offsets(&self) {
        let (group_id, image) = (group_id(), self.coordinator.image());
        let offset = |image: &Image, id| image.offset(&group_id, id).map(|committed| committed.offset);
        let is_reset =
            |id: TopicPartition| self.resets.iter().any(|&(_, reset)| reset == id) || self.deleted.contains(&id.topic_id);
        for (&id, &acknowledged) in self.acknowledged.iter().filter(|&(&id, _)| !is_reset(id)) {
            let now = offset(image, id);
            assert!(now >= acknowledged, "{acknowledged:?} of {id} was acknowledged, and now it is {now:?}");
        }
    }

    /// A commit that is taken was decided by a member that has the partition as it had it then; and it goes on.
    pub(crate) fn check_commits(&mut self, said: &Said, decision: &Decision) {
        let (Said::Commit(request, since), Some(Answer::Committed(outcomes))) = (said, &decision.answer) else { return };
        for (_, outcome) in outcomes {
            match outcome {
                Ok(()) => {}
                Err(CommitRefusal::Behind { .. }) => self.count("commits behind"),
                Err(CommitRefusal::NotOwned) => self.count("commits of what is another's"),
                Err(_) => self.count("commits fenced"),
            }
        }
        let image = self.coordinator.image();
        for (id, _) in outcomes.iter().filter(|(_, outcome)| outcome.is_ok()) {
            let group = image.group(&group_id()).expect("it was there");
            let hold = group.member(request.member_id).and_then(|member| member.held.get(id)).copied();
            let hold = hold.unwrap_or_else(|| panic!("{id} is committed by one that has it not"));
            assert_eq!(hold.since, since[id], "a commit of {id} from before it was taken away counts");
            let committed = image.offset(&group_id(), *id).map(|committed| committed.offset);
            let offset = request.offsets.iter().find(|commit| commit.id == *id).map(|commit| commit.offset);
            assert!(offset >= committed, "{id} goes back from {committed:?} to {offset:?}");
        }
    }

    pub(crate) fn check_settled(&mut self) {
        let image = self.coordinator.image();
        let group = image.group(&group_id()).expect("everybody is here");
        let everybody = if self.mode == Mode::Exclusive { 1 } else { self.clients.len() };
        assert_eq!(group.member_count(), everybody, "everybody is a member again");
        check_settled(group, self.coordinator.topics()).unwrap_or_else(|broken| panic!("{broken}"));
        for client in &self.clients {
            let Some(member) = client.member().and_then(|member_id| group.member(member_id)) else { continue };
            assert_eq!(client.epoch, member.epoch, "what it was told last is what is so");
            assert!(client.held.keys().eq(member.held.keys()), "{:?} {:?}", client.held, member.held);
            assert!(client.held.keys().all(|&id| client.has(self.now_us, id)), "it delivers what it has");
        }
    }

    /// The log gives the same image again.
    pub(crate) fn check_replay(&self) {
        assert_eq!(&self.replayed(self.log.len()), self.coordinator.image());
    }
}
