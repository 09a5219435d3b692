//! What must be true after every step, and at rest.

use super::*;

impl Walk {
    /// What was acknowledged just now is flushed on every member of the maximal in-sync set, and on the committed one.
    pub(super) fn check_everywhere(&self, broker: BrokerId, offset: Offset) {
        let Role::Leader(leader) = self.nodes[&broker].replica.role() else { panic!("a leader acknowledges") };
        assert!(leader.isr().satisfies(MIN_INSYNC));
        let frame = self.nodes[&broker].log.from(offset)[0];
        for member in leader.isr().maximal() {
            let node = &self.nodes[&member];
            let copy = node.log.from(offset).first();
            assert!(copy.is_some_and(|copy| copy.as_bytes() == frame.as_bytes()), "{member} lacks {offset}");
            assert!(node.flushed() >= frame.next_offset(), "{member} has not flushed {offset}");
        }
    }

    /// What must be true after every step.
    pub(super) fn check(&mut self) {
        for (broker, node) in &self.nodes {
            if !node.is_up {
                continue;
            }
            let (high_watermark, end, producers) = match node.replica.role() {
                Role::Leader(leader) => {
                    let seen = self.high_watermarks.entry(leader.leader_epoch()).or_default();
                    assert!(leader.high_watermark() >= *seen, "the high watermark of {} moved back", leader.leader_epoch());
                    *seen = leader.high_watermark();
                    (leader.high_watermark(), leader.log_end_offset(), leader.producers())
                }
                Role::Follower(follower) => (follower.high_watermark(), follower.log_end_offset(), follower.producers()),
            };
            assert_eq!(node.log.end().offset, end);
            assert_eq!(*producers, node.log.producers(), "broker {broker}");
            self.check_against_others(*broker, high_watermark);
        }
        let newest = self.state.leader.expect("there is one");
        let members = self.state.isr.iter().filter(|member| self.nodes[member].is_up || **member == newest);
        for member in members {
            self.check_acknowledged(*member);
        }
    }

    /// Below both high watermarks two replicas hold the same frames.
    pub(super) fn check_against_others(&self, broker: BrokerId, high_watermark: Offset) {
        let own = &self.nodes[&broker];
        for (other, node) in self.nodes.range(..broker) {
            let common = node.high_watermark().min(high_watermark);
            let frames = |log: &TestLog| -> Vec<(Offset, u32)> {
                let below = log.frames.iter().filter(|header| header.next_offset() <= common);
                below.map(|header| (header.base_offset(), header.header_crc.to_native())).collect()
            };
            assert_eq!(frames(&own.log), frames(&node.log), "{broker} and {other} differ below {common}");
        }
    }

    /// Whoever may be elected holds what was acknowledged, on disk, and no sequence twice.
    pub(super) fn check_acknowledged(&self, member: BrokerId) {
        let node = &self.nodes[&member];
        let held: BTreeMap<Offset, (i64, i32)> = node
            .log
            .frames
            .iter()
            .filter(|header| header.next_offset() <= node.flushed())
            .map(|header| (header.base_offset(), (header.producer_id().0, header.base_sequence().0)))
            .collect();
        for (offset, what) in &self.acknowledged {
            assert_eq!(held.get(offset), Some(what), "member {member} of the in-sync set at {offset}");
        }
        let mut seen = BTreeSet::new();
        for header in &node.log.frames {
            let what = (header.producer_id(), header.base_sequence());
            assert!(what.0 == ProducerId::NONE || seen.insert(what), "{member} has {what:?} twice");
        }
    }

    /// All faults stop: everybody catches up, and everything that waits is answered.
    pub(super) fn heal(&mut self) {
        for broker in (1..=3).map(BrokerId) {
            while !self.nodes[&broker].is_up {
                self.restart();
            }
        }
        self.elect_from(&self.state.isr.clone());
        for step in 0..8000 {
            self.is_quiet = step > 300;
            self.step(false);
            if self.is_quiet && self.is_healed() {
                return;
            }
        }
        let ends: Vec<_> = self.nodes.iter().map(|(b, n)| (b, n.log.end().offset, n.flushed(), n.high_watermark())).collect();
        panic!("it does not heal: {:?} {ends:?}", self.state);
    }

    pub(super) fn is_healed(&self) -> bool {
        let end = self.nodes[&self.state.leader.expect("there is one")].log.end();
        end.offset > Offset::ZERO
            && self.state.isr.len() == 3
            && self.nodes.values().all(|node| node.log.end() == end && node.high_watermark() == end.offset)
    }
}
