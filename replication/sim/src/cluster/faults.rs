//! What befalls a cluster while it works: processes end, devices and links turn slow or fail, clocks drift, leaders are moved.
//!
//! The expensive mistake is a fault that the promise does not cover, and an oracle that forgives it: no bit changes here, and
//! at most one folder is lost in a run, which fewer than `min_insync_replicas` have.

use super::broker::{Broker, Life};
use super::controller::Outgoing;
use super::message::Node;
use super::plan::{Fault, around, name_of};
use super::world::Cluster;
use crate::oracle::Violation;
use crate::plan::pick;
use sluice_metadata::*;
use sluice_model::BrokerId;
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};

const MS: u64 = 1000;
/// Turns of a call on a device that is not slow, at most.
pub const TURNS_MAX: u64 = 2;

impl Cluster {
    /// The next fault, and when the one after it comes.
    pub(super) fn befall(&mut self) -> Result<(), Violation> {
        self.next_fault_us = self.now_us + around(&mut self.random, self.plan.fault_every_us);
        let Some(fault) = self.plan.clone().next_fault(&mut self.random) else { return Ok(()) };
        let ids = self.broker_ids();
        let id = ids[pick(&mut self.random, ids.len())];
        self.trace.note(format_args!("{} us: {fault:?} of broker {id}", self.now_us));
        let lasts_us = [30 * MS, 300 * MS, 1_500 * MS, 3_000 * MS][pick(&mut self.random, 4)];
        let until_us = self.now_us + 1 + self.random.below(lasts_us);
        // Some find nothing to befall, and have not happened then.
        let happened = match fault {
            Fault::Crash => self.cut_power(id, until_us),
            Fault::Kill => self.kill(id, until_us),
            Fault::PowerLossOfAll => {
                let mut any = false;
                for id in ids {
                    let until_us = self.now_us + 1 + self.random.below(lasts_us);
                    any |= self.cut_power(id, until_us);
                }
                any
            }
            Fault::Isolate => self.isolate(id, until_us),
            Fault::CutOneWay => {
                let to = self.any_peer(id);
                self.network.cut(Node::Broker(id), to, until_us);
                true
            }
            Fault::CutFromController => self.cut_from_controller(id, until_us),
            Fault::LossyLinks => self.trouble(id, until_us, 2 + (lasts_us % 3), 0),
            Fault::SlowLink => self.trouble(id, until_us, 0, 20 * MS + lasts_us / 10),
            Fault::SlowDisk => self.slow_down(id, until_us),
            Fault::Freeze => self.freeze(id, until_us),
            Fault::Drift => self.drift(id),
            Fault::DeviceError => self.arm_device_error(id),
            Fault::WallClock => self.move_wall_clock(id),
            Fault::ElectPreferred => {
                let records = elect_all_preferred_leaders(self.controller.image());
                self.decide(records)?
            }
            Fault::HandOver => self.hand_over()?,
            Fault::FreshFolder => self.lose_folder(id, until_us),
            Fault::Shutdown => self.shut_down(id)?,
        };
        self.coverage.hit_if(happened, name_of(fault));
        Ok(())
    }

    fn broker(&mut self, id: BrokerId) -> &mut Broker {
        self.brokers.get_mut(&id).expect("an id of the map")
    }

    fn any_peer(&mut self, id: BrokerId) -> Node {
        let others: Vec<_> = self.broker_ids().into_iter().filter(|other| *other != id).collect();
        Node::Broker(others[pick(&mut self.random, others.len())])
    }

    fn peers(&self, id: BrokerId) -> Vec<Node> {
        let others = self.broker_ids().into_iter().filter(|other| *other != id).map(Node::Broker);
        others.chain([Node::Controller]).collect()
    }

    fn isolate(&mut self, id: BrokerId, until_us: u64) -> bool {
        for peer in self.peers(id) {
            self.network.cut(Node::Broker(id), peer, until_us);
            self.network.cut(peer, Node::Broker(id), until_us);
        }
        true
    }

    fn cut_from_controller(&mut self, id: BrokerId, until_us: u64) -> bool {
        self.network.cut(Node::Broker(id), Node::Controller, until_us);
        if self.random.coin() {
            self.network.cut(Node::Controller, Node::Broker(id), until_us);
        }
        true
    }

    fn slow_down(&mut self, id: BrokerId, until_us: u64) -> bool {
        let turns = [100, 1_000, 4_000][pick(&mut self.random, 3)];
        self.brokers[&id].disk.set_turns_max(turns);
        self.quick_again_us.insert(id, until_us);
        true
    }

    fn drift(&mut self, id: BrokerId) -> bool {
        let rate = [500_000, 900_000, 1_000_000, 1_100_000, 1_900_000][pick(&mut self.random, 5)];
        std::mem::replace(&mut self.broker(id).rate_ppm, rate) != rate
    }

    fn move_wall_clock(&mut self, id: BrokerId) -> bool {
        let by_ms = i64::try_from(self.random.below(7_200_000)).expect("small") - 3_600_000;
        self.broker(id).clock.jump_ms(by_ms);
        true
    }

    fn trouble(&mut self, id: BrokerId, until_us: u64, lost_one_in: u64, delay_us_max: u64) -> bool {
        let peer = self.any_peer(id);
        let links = if self.random.coin() { vec![peer] } else { self.peers(id) };
        for peer in links {
            self.network.trouble(Node::Broker(id), peer, until_us, lost_one_in, delay_us_max);
            self.network.trouble(peer, Node::Broker(id), until_us, lost_one_in, delay_us_max);
        }
        true
    }

    fn freeze(&mut self, id: BrokerId, until_us: u64) -> bool {
        let broker = self.broker(id);
        if broker.is_running() {
            broker.frozen_until_us = until_us;
        }
        broker.is_running()
    }

    /// The power goes now, in the middle of whatever is under way. Whether a process had it.
    pub(super) fn cut_power(&mut self, id: BrokerId, until_us: u64) -> bool {
        let seed = self.random.next_u64();
        let unflushed = match self.random.below(4) {
            0 => Unflushed::Kept,
            1 => Unflushed::Lost,
            _ => Unflushed::Torn(seed),
        };
        let broker = self.broker(id);
        let is_running = broker.is_running();
        broker.disk = broker.disk.crash(PowerCut { call: broker.disk.call_count(), unflushed });
        broker.may_fail = false;
        broker.end_process(until_us, seed);
        self.coverage.hit_if(is_running, "crash: of a process");
        self.trace.note(format_args!("broker {id} is without power, {unflushed:?}"));
        is_running
    }

    /// `kill -9`: what is on its way to the device arrives. Whether there was a process.
    pub(super) fn kill(&mut self, id: BrokerId, until_us: u64) -> bool {
        let seed = self.random.next_u64();
        let broker = self.broker(id);
        let is_running = broker.is_running();
        broker.disk.end_calls();
        broker.end_process(until_us, seed);
        is_running
    }

    fn arm_device_error(&mut self, id: BrokerId) -> bool {
        let kind = [FaultKind::Write, FaultKind::Sync, FaultKind::Any][pick(&mut self.random, 3)];
        let after = self.random.below(40);
        let broker = self.broker(id);
        broker.may_fail = true;
        broker.disk.fail(kind, after);
        true
    }

    /// A process that cannot go on ends.
    pub(super) fn end_failed(&mut self, id: BrokerId, reason: &str) -> Result<(), Violation> {
        self.coverage.hit("a process ends by itself");
        self.trace.note(format_args!("{} us: broker {id} ends: {reason}", self.now_us));
        let until_us = self.now_us + 1 + self.random.below(500 * MS);
        if self.random.coin() {
            self.cut_power(id, until_us);
        } else {
            self.kill(id, until_us);
        }
        Ok(())
    }

    /// Whether there was something to decide.
    fn decide(&mut self, records: Vec<Record>) -> Result<bool, Violation> {
        let is_any = !records.is_empty();
        self.coverage.hit_if(is_any, "controller: leaders moved");
        let mut out = Outgoing::new();
        self.controller.decide(records, &mut out)?;
        self.send_all(Node::Controller, out);
        Ok(is_any)
    }

    fn hand_over(&mut self) -> Result<bool, Violation> {
        let image = self.controller.image();
        let led: Vec<_> = image.partitions().filter_map(|(id, p)| Some((id, p.leader?, p.leader_epoch, p.isr.clone()))).collect();
        if led.is_empty() {
            return Ok(false);
        }
        let (id, leader, leader_epoch, isr) = led[pick(&mut self.random, led.len())].clone();
        let to = isr[pick(&mut self.random, isr.len())];
        let Some(incarnation) = self.controller.image().broker(leader).map(|known| known.incarnation) else { return Ok(false) };
        let hand_over = HandOver { id, leader_epoch, to };
        let request = HandOverLeaders { broker: leader, incarnation, partitions: vec![hand_over] };
        let answered = on_hand_over_leaders(self.controller.image(), &request);
        self.decide(answered.map(|answered| answered.records).unwrap_or_default())
    }

    /// A disk is gone with all that was on it; another one takes its place.
    fn lose_folder(&mut self, id: BrokerId, until_us: u64) -> bool {
        if self.fresh_folder.is_some() {
            return false;
        }
        self.fresh_folder = Some((id, self.now_us));
        let seed = self.random.next_u64();
        let broker = self.broker(id);
        broker.disk = FaultDisk::new(seed);
        broker.may_fail = false;
        broker.replaces = Some(broker.folder);
        broker.folder = FolderId([broker.folder.0[0] + 100; 16]);
        broker.view = None;
        broker.end_process(until_us, seed);
        self.coverage.hit("a folder is lost");
        true
    }

    /// `systemctl stop`: it gives away what it leads, and closes.
    fn shut_down(&mut self, id: BrokerId) -> Result<bool, Violation> {
        let broker = self.broker(id);
        if broker.life != Life::Up {
            return Ok(false);
        }
        broker.life = Life::ShuttingDown;
        let incarnation = broker.incarnation;
        broker.close_shards();
        let records = on_begin_shutdown(self.controller.image(), &BeginShutdown { broker: id, incarnation });
        self.decide(records.unwrap_or_default())?;
        Ok(true)
    }

    /// One shard of a broker that stops is closed.
    pub(super) fn on_closed(&mut self, id: BrokerId, failed: Option<String>) -> Result<(), Violation> {
        if let Some(reason) = failed {
            return if self.brokers[&id].may_fail {
                self.end_failed(id, &reason)
            } else {
                Err(Violation(format!("broker {id} does not close: {reason}")))
            };
        }
        let broker = self.broker(id);
        broker.ready_count += 1;
        if broker.ready_count == broker.shards.len() {
            let until_us = self.now_us + 1 + self.random.below(1_000 * MS);
            self.coverage.hit("a clean stop");
            self.kill(id, until_us);
        }
        Ok(())
    }

    /// Devices that were slow for long enough.
    pub(super) fn quicken_due(&mut self) {
        let now_us = self.now_us;
        for (id, _) in self.quick_again_us.extract_if(.., |_, until_us| *until_us <= now_us) {
            self.brokers[&id].disk.set_turns_max(TURNS_MAX);
        }
    }
}
