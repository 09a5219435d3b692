//! A cluster of one run: brokers, controller, network, clients, and how they move on together.
//!
//! True time jumps from one thing that is due to the next; while some task is awake, each broker gives one turn to one of its
//! tasks and a moment passes. After every single event the invariants are looked at. The expensive mistake is anything here
//! whose order depends on more than the seed.

use super::broker::{Broker, Life, Surroundings};
use super::clients::{ClientWorld, Clients};
use super::controller::{Controller, Outgoing};
use super::message::{Message, Node};
use super::network::{Envelope, Network};
use super::plan::ClusterPlan;
use super::shard::{Done, Fact};
use super::start::Opened;
use super::truth::Truth;
use crate::coverage::Coverage;
use crate::oracle::Violation;
use crate::plan::pick;
use crate::trace::Trace;
use sluice_model::{BrokerId, TopicPartition};
use sluice_storage::testing::random::Random;
use std::collections::BTreeMap;
use std::rc::Rc;

pub struct Cluster {
    pub plan: ClusterPlan,
    pub random: Random,
    pub now_us: u64,
    pub brokers: BTreeMap<BrokerId, Broker>,
    pub controller: Controller,
    pub network: Network,
    pub clients: Clients,
    pub truth: Truth,
    pub trace: Trace,
    pub coverage: Coverage,
    pub ids: Vec<TopicPartition>,
    /// When the next fault comes; never once they have stopped.
    pub next_fault_us: u64,
    /// When what was done to each device is undone.
    pub quick_again_us: BTreeMap<BrokerId, u64>,
    /// Whose folder was lost, and when.
    pub fresh_folder: Option<(BrokerId, u64)>,
    pub(super) acknowledged: u64,
    /// Until then nothing but tasks has to be looked at; 0 when that has to be found out anew.
    due_us: u64,
}

impl Cluster {
    #[must_use]
    pub fn new(seed: u64, is_printed: bool) -> Self {
        let plan = ClusterPlan::new(seed);
        let mut trace = Trace::new(is_printed);
        trace.note(format_args!("{plan:?}"));
        let mut random = Random::new(seed);
        let ids = (1..).map(BrokerId);
        let brokers = ids.zip(&plan.shards).map(|(id, &count)| (id, Broker::new(id, random.next_u64(), count))).collect();
        let controller = Controller::new();
        let clients = Clients::new(&plan, &controller.view);
        Self {
            random,
            now_us: 0,
            brokers,
            controller,
            network: Network::default(),
            clients,
            truth: Truth::default(),
            trace,
            coverage: Coverage::default(),
            ids: Vec::new(),
            next_fault_us: u64::MAX,
            quick_again_us: BTreeMap::new(),
            fresh_folder: None,
            acknowledged: 0,
            due_us: 0,
            plan,
        }
    }

    /// Runs until then, or until `is_done` says so; gives back whether it did.
    pub fn run_until(&mut self, until_us: u64, is_done: impl Fn(&Self) -> bool) -> Result<bool, Violation> {
        while self.now_us < until_us {
            self.step(until_us)?;
            if is_done(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything that is due, one turn of each broker, and the time until the next thing.
    fn step(&mut self, until_us: u64) -> Result<(), Violation> {
        if self.now_us >= self.due_us {
            while let Some(envelope) = self.network.arrived(self.now_us) {
                self.deliver(envelope)?;
            }
            self.run_due()?;
            self.due_us = self.next_due_us();
        }
        let mut any_ran = false;
        for at in 0..u32::try_from(self.brokers.len()).expect("few brokers") {
            any_ran |= self.turn(BrokerId(at + 1))?;
        }
        let next_us = if any_ran { self.now_us + self.plan.turn_us } else { self.due_us.max(self.now_us + 1) };
        self.pass_until(next_us.min(until_us));
        Ok(())
    }

    #[must_use]
    pub fn broker_ids(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    fn pass_until(&mut self, us: u64) {
        let passed = us.saturating_sub(self.now_us);
        self.now_us += passed;
        self.brokers.values_mut().for_each(|broker| broker.pass_us(passed));
    }

    fn next_due_us(&self) -> u64 {
        let brokers = self.brokers.values().map(|broker| match broker.life {
            Life::Down { until_us } => until_us,
            _ if broker.frozen_until_us > self.now_us => broker.frozen_until_us,
            _ => self.now_us + broker.due_in_us(),
        });
        let others = [
            self.network.next_us().unwrap_or(u64::MAX),
            self.controller.next_us(),
            if self.ids.is_empty() { u64::MAX } else { self.clients.next_us() },
            self.next_fault_us,
            self.quick_again_us.values().copied().min().unwrap_or(u64::MAX),
        ];
        brokers.chain(others).min().unwrap_or(u64::MAX)
    }

    fn run_due(&mut self) -> Result<(), Violation> {
        if self.next_fault_us <= self.now_us {
            self.befall()?;
        }
        self.quicken_due();
        if self.controller.next_us() <= self.now_us {
            let mut out = Outgoing::new();
            self.controller.on_tick(self.now_us, &mut self.coverage, &mut out)?;
            self.send_all(Node::Controller, out);
        }
        for id in self.broker_ids() {
            let broker = self.brokers.get_mut(&id).expect("an id of the map");
            match broker.life {
                Life::Down { until_us } if until_us <= self.now_us => {
                    broker.begin_process(&mut self.random);
                    self.trace.note(format_args!("{} us: broker {id} starts as {}", self.now_us, broker.incarnation));
                }
                Life::Down { .. } => {}
                _ if broker.frozen_until_us > self.now_us => {}
                _ if broker.due_in_us() <= 1 => self.with_broker(id, Broker::tick)?,
                _ => {}
            }
        }
        if !self.ids.is_empty() && self.clients.next_us() <= self.now_us {
            let ids = self.ids.clone();
            self.with_clients(|clients, world| {
                clients.run_due(&ids, world);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// One turn of one task of a broker; `false` when all of them wait.
    fn turn(&mut self, id: BrokerId) -> Result<bool, Violation> {
        let now_us = self.now_us;
        let broker = self.brokers.get_mut(&id).expect("an id of the map");
        if !broker.is_running() || broker.frozen_until_us > now_us || !broker.tasks.runner.poll_one() {
            return Ok(false);
        }
        let done = std::mem::take(&mut *broker.tasks.done.borrow_mut());
        // Whatever a task changes for anybody else comes with a wake.
        if done.is_empty() && broker.shards.values().all(|shard| !shard.woken.get()) {
            return Ok(true);
        }
        for done in done {
            self.on_done(id, done)?;
        }
        self.with_broker(id, |_, _| ())?;
        Ok(true)
    }

    /// Runs `event` on a broker, sends what comes of it, and looks at what must be true.
    pub fn with_broker(&mut self, id: BrokerId, event: impl FnOnce(&mut Broker, &mut Surroundings<'_>)) -> Result<(), Violation> {
        self.due_us = 0;
        let (mut out, mut facts) = (Outgoing::new(), Vec::new());
        let broker = self.brokers.get_mut(&id).expect("an id of the map");
        let mut around = Surroundings { plan: &self.plan, out: &mut out, facts: &mut facts };
        event(broker, &mut around);
        broker.pump_woken(&mut around);
        self.look_at(id)?;
        for fact in facts {
            self.on_fact(id, fact)?;
        }
        self.send_all(Node::Broker(id), out);
        Ok(())
    }

    pub(super) fn send_all(&mut self, from: Node, out: Outgoing) {
        for (to, message) in out {
            self.send(from, to, message);
        }
    }

    fn send(&mut self, from: Node, to: Node, message: Message) {
        let Self { plan, random, coverage, network, now_us, .. } = self;
        network.send(plan, random, coverage, *now_us, Envelope { from, to, message });
    }

    fn deliver(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let Envelope { from, to, message } = envelope;
        if let Node::Broker(id) = to {
            let broker = &self.brokers[&id];
            if broker.frozen_until_us > self.now_us {
                self.network.put_off(broker.frozen_until_us, Envelope { from, to, message });
                return Ok(());
            }
            if !broker.is_running() {
                return Ok(());
            }
        }
        self.trace.note(format_args!("{} us: {from} to {to}: {message}", self.now_us));
        match to {
            Node::Controller => {
                let mut out = Outgoing::new();
                self.controller.on_message(self.now_us, message, &mut out)?;
                self.send_all(Node::Controller, out);
                Ok(())
            }
            Node::Broker(id) => self.with_broker(id, |broker, around| broker.on_message(message, around)),
            Node::Client(_) => self.with_clients(|clients, world| match message {
                Message::ProduceAnswer(answer) => clients.on_produce_answer(&answer, world),
                Message::ReadAnswer { id, number, frames, .. } => clients.on_read_answer(id, number, frames.as_ref(), world),
                message => Err(Violation(format!("a client is told: {message}"))),
            }),
        }
    }

    fn with_clients(
        &mut self,
        event: impl FnOnce(&mut Clients, &mut ClientWorld<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut out = Vec::new();
        let views: Vec<_> =
            self.brokers.values().filter(|broker| broker.life == Life::Up).filter_map(|broker| broker.view.clone()).collect();
        let newest = move |random: &mut Random| (!views.is_empty()).then(|| Rc::clone(&views[pick(random, views.len())]));
        let Self { plan, random, now_us, truth, coverage, clients, .. } = self;
        let mut world = ClientWorld { plan, random, now_us: *now_us, truth, coverage, newest: &newest, out: &mut out };
        let outcome = event(clients, &mut world);
        out.into_iter().for_each(|(from, to, message)| self.send(from, to, message));
        outcome
    }

    fn on_done(&mut self, id: BrokerId, done: Done) -> Result<(), Violation> {
        self.due_us = 0;
        match done {
            Done::Opened(index, opened) => {
                let broker = self.brokers.get_mut(&id).expect("an id of the map");
                match broker.on_opened(index, opened)? {
                    Opened::Waits(report) | Opened::All(report) => {
                        self.coverage.hit_if(report.torn_group_cut, "recovery: torn group cut");
                        self.coverage.hit_if(report.entries_replayed > 0, "recovery: entries replayed");
                        self.trace.note(format_args!("{} us: broker {id}: {report}", self.now_us));
                    }
                    Opened::Failed => self.end_failed(id, "it does not open")?,
                }
                Ok(())
            }
            Done::Failed(failure) => self.on_failure(id, &format!("{failure}")),
            Done::Created(_, result) => {
                let failed = result.err().map(|error| error.to_string());
                self.with_broker(id, |broker, _| broker.give_known_states())?;
                failed.map_or(Ok(()), |error| self.on_failure(id, &error))
            }
            Done::Closed(result) => self.on_closed(id, result.err().map(|failure| failure.to_string())),
            done => self.with_broker(id, |broker, around| broker.on_done(done, around)),
        }
    }

    /// A process cannot go on: that is so only where its device was to fail.
    fn on_failure(&mut self, id: BrokerId, reason: &str) -> Result<(), Violation> {
        if !self.brokers[&id].may_fail {
            return Err(Violation(format!("broker {id} fails on a device that does not: {reason}")));
        }
        self.end_failed(id, reason)
    }

    fn on_fact(&mut self, id: BrokerId, fact: Fact) -> Result<(), Violation> {
        match fact {
            Fact::Met(name) => {
                self.coverage.hit(name);
                Ok(())
            }
            Fact::Refused(name, reason) => {
                self.coverage.hit(name);
                self.trace.note(format_args!("  broker {id} refuses {reason}"));
                Ok(())
            }
            Fact::Committed { id: partition, frame, base_offset } => {
                self.on_acknowledged(id, partition, &frame, base_offset.map(|offset| offset.0))
            }
            Fact::Trouble(partition, trouble) => {
                Err(Violation(format!("{partition}: no log is damaged, and broker {id} stops following: {trouble}")))
            }
            Fact::BadCopy(partition, refusal) => {
                Err(Violation(format!("{partition}: broker {id} cannot copy what its leader sends: {refusal}")))
            }
        }
    }
}
