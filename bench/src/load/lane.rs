//! One thread that hands over what is due and waits for outcomes.
//!
//! Latency counts from the intended time, so a stall of the system shows in every record that was due while it lasted: the
//! records go on falling due, by the schedule, while the system has no room or the thread waits. A refused record is offered
//! again when the system said, and counts in a row of its own. What the generator itself is late by is kept apart: hand-over
//! minus the later of the intended time and the moment there was room. The expensive mistake is to sleep in any way the
//! schedule does not know of.
//!
//! What falls due while its flow has no room waits for it, or is refused for that, as the workload says (`OnFull`).
//!
//! A flow that was refused takes nothing before the time it was told, new records neither: a crowd that goes on sending what
//! is refused would measure its own sends. They are due all the while.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::figures::LaneFigures;
use super::in_flight::{Handed, InFlight};
use super::schedule::Schedule;
use super::thread_time::{CountedTime, sharpen_timers, take_turns_at_once, wait_for};
use super::timeline::Event;
use super::{Shared, Stop};
use crate::error::BenchError;
use crate::system::{Flow, LanePlan, Outcome, Producer, Record, STAMP_LEN, Settled};
use crate::workload::OnFull;

/// The stop wish is looked at at least this often.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Records handed over between two looks at the clock and at what has come back.
const HAND_OVER_MAX: u32 = 2_000;
/// After the last moment for offers, outcomes are awaited this much longer: what is still out then has timed out.
pub(super) const OUTCOME_PATIENCE: Duration = Duration::from_secs(20);

/// What every lane of a round has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneJob<'a> {
    pub schedule: &'a Schedule,
    pub begin: Instant,
    /// Records that fall due within this are handed over together.
    pub tick: Duration,
    /// After the schedule's end what is due is still offered for this long.
    pub drain: Duration,
    pub value_len: usize,
    /// Whether values carry their intended time; those written ahead of a round do not.
    pub is_stamped: bool,
    pub shared: &'a Shared,
    pub stop: &'a Stop,
}

struct FlowState {
    flow: Flow,
    /// Due and not handed over.
    due: u64,
    /// The number, within this flow, of the next record to hand over.
    next: u64,
    /// Since when there has been room, as far as is known.
    room_since_ns: u64,
    had_room: bool,
    /// The system has refused a record, and takes nothing before this.
    closed_until_ns: u64,
    /// To be offered again, now.
    again: VecDeque<Handed>,
    is_active: bool,
}

struct Lane<'a> {
    producer: Box<dyn Producer + Send>,
    plan: LanePlan,
    job: LaneJob<'a>,
    flows: Vec<FlowState>,
    /// Flows with something to hand over.
    active: Vec<u32>,
    in_flight: InFlight,
    /// (When to offer again, order of arrival) of `waiting`.
    later: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: std::collections::HashMap<u64, Handed>,
    refusal_count: u64,
    /// Records of this lane that the schedule has let fall due so far, and in all.
    fallen_due: u64,
    count: u64,
    value: Vec<u8>,
    time: CountedTime,
    figures: LaneFigures,
}

/// Runs a lane to its end: until every record has an outcome, or the patience of `job` is over, or the connection breaks.
pub(super) fn run_lane(producer: Box<dyn Producer + Send>, plan: LanePlan, job: LaneJob<'_>) -> LaneFigures {
    sharpen_timers();
    take_turns_at_once();
    wait_for(job.begin);
    let mut lane = Lane::new(producer, plan, job);
    if let Err(error) = lane.run() {
        lane.figures.error = Some(error.to_string());
        job.shared.fail();
    }
    lane.figures.timed_out_count += lane.in_flight.len() as u64;
    let again: usize = lane.flows.iter().map(|flow| flow.again.len()).sum();
    lane.figures.refused_to_the_end_count = (lane.waiting.len() + again) as u64;
    lane.figures.unoffered_count = lane.count - lane.flows.iter().map(|flow| flow.next).sum::<u64>();
    lane.figures.time = lane.time.used();
    lane.figures
}

impl<'a> Lane<'a> {
    fn new(producer: Box<dyn Producer + Send>, plan: LanePlan, job: LaneJob<'a>) -> Self {
        let state = |flow| FlowState {
            flow,
            due: 0,
            next: 0,
            room_since_ns: 0,
            had_room: true,
            closed_until_ns: 0,
            again: VecDeque::new(),
            is_active: false,
        };
        Self {
            producer,
            plan,
            job,
            flows: plan.flows().into_iter().map(state).collect(),
            active: Vec::new(),
            in_flight: InFlight::default(),
            later: BinaryHeap::new(),
            waiting: std::collections::HashMap::new(),
            refusal_count: 0,
            fallen_due: 0,
            count: job.schedule.lane_count(plan.lane, plan.lane_count),
            value: incompressible(job.value_len, plan.lane),
            time: CountedTime::new(job.schedule.counted_ns()),
            figures: LaneFigures::new(job.schedule.seconds()),
        }
    }

    fn run(&mut self) -> Result<(), BenchError> {
        let mut settled = Vec::new();
        let mut handed_at_ns = 0;
        let offers_end_ns = to_ns(self.job.schedule.seconds()) + self.job.drain.as_nanos() as u64;
        let end_ns = offers_end_ns + OUTCOME_PATIENCE.as_nanos() as u64;
        loop {
            let now_ns = self.now_ns();
            self.time.look(now_ns);
            let may_offer = now_ns < offers_end_ns;
            let mut handed = 0;
            if may_offer {
                self.take_due(now_ns);
                handed = self.hand_over(now_ns)?;
            }
            if handed > 0 {
                self.producer.flush()?;
                handed_at_ns = now_ns;
            }
            let is_over = !may_offer && self.in_flight.is_empty();
            if is_over || self.is_settled() || now_ns > end_ns || self.is_ended_early() {
                return Ok(());
            }
            // After a hand-over it only looks: more may have fallen due meanwhile, and room may have come back.
            let until_ns = if handed > 0 { now_ns } else { self.wake_at(now_ns, handed_at_ns) };
            self.producer.poll(self.at(until_ns), &mut settled)?;
            if !settled.is_empty() {
                self.settle(&mut settled);
                self.producer.flush()?;
            }
        }
    }

    /// Lets fall due what the schedule says, flow by flow in turns.
    fn take_due(&mut self, now_ns: u64) {
        let due = self.job.schedule.lane_due(now_ns, self.plan.lane, self.plan.lane_count);
        let flow_count = self.flows.len() as u64;
        let turns = due.saturating_sub(self.fallen_due) / flow_count;
        if turns > 0 {
            self.flows.iter_mut().for_each(|flow| flow.due += turns);
            (0..flow_count as u32).for_each(|index| self.activate(index));
            self.fallen_due += turns * flow_count;
        }
        while self.fallen_due < due {
            let index = (self.fallen_due % flow_count) as u32;
            self.flows[index as usize].due += 1;
            self.activate(index);
            self.fallen_due += 1;
        }
        while let Some(&Reverse((at_ns, number))) = self.later.peek() {
            if at_ns > now_ns {
                break;
            }
            self.later.pop();
            if let Some(handed) = self.waiting.remove(&number) {
                self.flows[handed.flow as usize].again.push_back(handed);
                self.activate(handed.flow);
            }
        }
    }

    fn activate(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        if !flow.is_active {
            flow.is_active = true;
            self.active.push(index);
        }
    }

    /// Hands over what is due while there is room, refused ones first; how many that were.
    fn hand_over(&mut self, now_ns: u64) -> Result<u32, BenchError> {
        let (mut handed, mut index) = (0, 0);
        while index < self.active.len() && handed < HAND_OVER_MAX {
            let number = self.active[index];
            let state = &mut self.flows[number as usize];
            let is_closed = now_ns < state.closed_until_ns;
            if is_closed || !self.producer.has_room(state.flow.partition, state.flow.connection) {
                state.had_room = false;
                index += 1;
                continue;
            }
            if !state.had_room {
                (state.had_room, state.room_since_ns) = (true, now_ns);
            }
            self.hand_over_one(number, now_ns)?;
            handed += 1;
            let state = &mut self.flows[number as usize];
            if state.due == 0 && state.again.is_empty() {
                state.is_active = false;
                self.active.swap_remove(index);
            }
        }
        Ok(handed)
    }

    fn hand_over_one(&mut self, number: u32, now_ns: u64) -> Result<(), BenchError> {
        let (flow_count, state) = (self.flows.len() as u64, &mut self.flows[number as usize]);
        let handed = match state.again.pop_front() {
            Some(handed) => Handed { handed_ns: now_ns, ..handed },
            None => {
                let of_lane = u64::from(number) + state.next * flow_count;
                let of_all = u64::from(self.plan.lane) + of_lane * u64::from(self.plan.lane_count);
                let intended_ns = self.job.schedule.intended_ns(of_all);
                state.next += 1;
                state.due -= 1;
                let due_ns = intended_ns.max(state.room_since_ns);
                self.figures.offered(self.job.schedule, now_ns, due_ns);
                let late_ns = now_ns.saturating_sub(due_ns);
                let was_refused = self.plan.on_full == OnFull::Fail && intended_ns < state.room_since_ns;
                self.figures.turned_away_count += u64::from(was_refused);
                Handed { intended_ns, handed_ns: now_ns, late_ns, flow: number, was_refused }
            }
        };
        let flow = state.flow;
        let stamp = if self.job.is_stamped { handed.intended_ns + 1 } else { 0 };
        self.value[..STAMP_LEN].copy_from_slice(&stamp.to_le_bytes());
        let token = self.in_flight.insert(handed);
        let record = Record { partition: flow.partition, connection: flow.connection, value: &self.value };
        self.producer.send(&record, token)
    }

    fn settle(&mut self, settled: &mut Vec<Settled>) {
        let now_ns = self.now_ns();
        let mut acknowledged = 0;
        for Settled { token, outcome } in settled.drain(..) {
            let Some(handed) = self.in_flight.remove(token) else { continue };
            match outcome {
                Outcome::Acknowledged => {
                    acknowledged += 1;
                    self.figures.acknowledged(self.job.schedule, &handed, now_ns, self.job.value_len as u64);
                }
                Outcome::AcknowledgedLater { refusal_count } => {
                    acknowledged += 1;
                    let handed = Handed { was_refused: true, ..handed };
                    self.figures.refused_count += u64::from(refusal_count);
                    self.figures.timeline.add(now_ns, Event::Refused);
                    self.figures.acknowledged(self.job.schedule, &handed, now_ns, self.job.value_len as u64);
                }
                Outcome::Refused { retry_after, because } => {
                    self.figures.refused_count += 1;
                    self.figures.refused_because = Some(because.to_string());
                    self.figures.timeline.add(now_ns, Event::Refused);
                    let again_at_ns = now_ns + retry_after.as_nanos() as u64;
                    let flow = &mut self.flows[handed.flow as usize];
                    flow.closed_until_ns = flow.closed_until_ns.max(again_at_ns);
                    self.later.push(Reverse((again_at_ns, self.refusal_count)));
                    self.waiting.insert(self.refusal_count, Handed { was_refused: true, ..handed });
                    self.refusal_count += 1;
                }
                Outcome::Failed { because } => {
                    self.figures.failed_count += 1;
                    self.figures.failed_because = Some(because);
                    self.figures.timeline.add(now_ns, Event::Failed);
                }
                Outcome::TimedOut => {
                    self.figures.timed_out_count += 1;
                    self.figures.timeline.add(now_ns, Event::Failed);
                }
            }
        }
        self.job.shared.add_acknowledged(acknowledged);
    }

    fn is_ended_early(&self) -> bool {
        self.job.stop.is_asked() || self.job.shared.has_failed()
    }

    /// Everything was offered and has its outcome.
    fn is_settled(&self) -> bool {
        self.fallen_due == self.count && self.active.is_empty() && self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// The next moment at which there is something to hand over that there may be room for.
    fn wake_at(&self, now_ns: u64, handed_at_ns: u64) -> u64 {
        let mut wake_ns = now_ns + WAIT_MAX.as_nanos() as u64;
        if self.fallen_due < self.count {
            let of_all = u64::from(self.plan.lane) + self.fallen_due * u64::from(self.plan.lane_count);
            let due_ns = self.job.schedule.intended_ns(of_all);
            // What waits for room is woken by outcomes; looking at every record that falls due behind it would be spinning.
            let tick_begin_ns = if self.active.is_empty() { handed_at_ns } else { now_ns };
            wake_ns = wake_ns.min(due_ns.max(tick_begin_ns + self.job.tick.as_nanos() as u64));
        }
        if let Some(&Reverse((at_ns, _))) = self.later.peek() {
            wake_ns = wake_ns.min(at_ns);
        }
        wake_ns
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.job.begin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn at(&self, ns: u64) -> Instant {
        self.job.begin + Duration::from_nanos(ns)
    }
}

/// Bytes that no compression shortens; a lane's own.
fn incompressible(len: usize, lane: u32) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (u64::from(lane) << 32);
    let mut bytes = Vec::with_capacity(len.max(STAMP_LEN) + 8);
    while bytes.len() < len.max(STAMP_LEN) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len.max(STAMP_LEN));
    bytes
}

fn to_ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
#[path = "lane_test.rs"]
mod tests;
