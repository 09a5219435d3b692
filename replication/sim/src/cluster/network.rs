//! When a message arrives, if it does: delay, loss, doubling, overtaking, links that are cut or slow.
//!
//! Every message goes its own way, as datagrams do, so any two of them may change places. The expensive mistake is a network
//! that is kinder than the real one. What is under way when a link is cut still arrives.

use super::message::{Message, Node};
use super::plan::ClusterPlan;
use crate::coverage::Coverage;
use sluice_storage::testing::random::Random;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: Node,
    pub to: Node,
    pub message: Message,
}

/// What a link does beside what every link does.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    until_us: u64,
    lost_one_in: u64,
    delay_us_max: u64,
}

#[derive(Default)]
pub struct Network {
    /// Messages under way, by when they arrive, and in the order in which they were sent.
    under_way: BTreeMap<(u64, u64), Envelope>,
    sent: u64,
    /// From one node to another: nothing arrives until then.
    cuts: BTreeMap<(Node, Node), u64>,
    troubles: BTreeMap<(Node, Node), Trouble>,
    is_calm: bool,
}

/// A late message comes this much later, at most, microseconds.
const LATE_US: u64 = 2_000_000;

impl Network {
    pub fn send(&mut self, plan: &ClusterPlan, random: &mut Random, coverage: &mut Coverage, now_us: u64, envelope: Envelope) {
        let link = (envelope.from, envelope.to);
        let from_controller = envelope.from == Node::Controller;
        if self.cuts.get(&link).is_some_and(|until_us| *until_us > now_us) {
            return coverage.hit("network: cut");
        }
        let one_in = |random: &mut Random, count: u64| count > 0 && random.below(count) == 0;
        let trouble = self.troubles.get(&link).copied().filter(|trouble| trouble.until_us > now_us).unwrap_or_default();
        if !self.is_calm && one_in(random, plan.lost_one_in) || one_in(random, trouble.lost_one_in) {
            return coverage.hit("network: lost");
        }
        // A batch without a sequence is sent over one connection, which doubles nothing.
        let may_double = !matches!(&envelope.message, Message::Produce(produce) if !produce.all_replicas);
        let copies = if may_double && !self.is_calm && one_in(random, plan.doubled_one_in) { 2 } else { 1 };
        coverage.hit_if(copies > 1, "network: doubled");
        for _ in 0..copies {
            let (least, most) = plan.delay_us;
            let mut delay_us = least + random.below(most - least + 1);
            if !self.is_calm && one_in(random, plan.late_one_in) {
                coverage.hit("network: late");
                delay_us += random.below(LATE_US);
            }
            if from_controller && plan.controller_late_us_max > 0 && !self.is_calm {
                delay_us += random.below(plan.controller_late_us_max);
            }
            if trouble.delay_us_max > 0 {
                delay_us += random.below(trouble.delay_us_max);
            }
            self.sent += 1;
            self.under_way.insert((now_us + delay_us, self.sent), envelope.clone());
        }
    }

    /// The next message that has arrived.
    pub fn arrived(&mut self, now_us: u64) -> Option<Envelope> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now_us).then(|| first.remove())
    }

    /// Whoever it is for does not listen now, and the message waits there.
    pub fn put_off(&mut self, until_us: u64, envelope: Envelope) {
        self.sent += 1;
        self.under_way.insert((until_us, self.sent), envelope);
    }

    #[must_use]
    pub fn next_us(&self) -> Option<u64> {
        self.under_way.keys().next().map(|(due_us, _)| *due_us)
    }

    pub fn cut(&mut self, from: Node, to: Node, until_us: u64) {
        let known = self.cuts.entry((from, to)).or_default();
        *known = until_us.max(*known);
    }

    pub fn trouble(&mut self, from: Node, to: Node, until_us: u64, lost_one_in: u64, delay_us_max: u64) {
        self.troubles.insert((from, to), Trouble { until_us, lost_one_in, delay_us_max });
    }

    /// Nothing is lost, doubled or late from now on.
    pub fn calm(&mut self) {
        self.is_calm = true;
        self.cuts.clear();
        self.troubles.clear();
    }

    #[must_use]
    pub fn cut_links(&self, now_us: u64) -> BTreeSet<(Node, Node)> {
        self.cuts.iter().filter(|(_, until_us)| **until_us > now_us).map(|(link, _)| *link).collect()
    }
}
