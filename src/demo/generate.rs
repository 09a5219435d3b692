//! The generator: offers each record at its intended time, whatever became of those before it.
//!
//! A thread of its own sends everything that is due, four times a millisecond; when the producer's memory is full it waits, and
//! the wait counts, because intended times never move. How late it was at worst is part of the report.

use super::TOPIC;
use super::load::Contents;
use super::proof::{Outcomes, Told};
use super::report::Latencies;
use super::tracker::{BothLatencies, Produced, Tracker};
use crate::connect::client_failure;
use crate::exit_status::{ExitStatus, Failure};
use sluice_client::{Client, Delivery, Producer, ProducerConfig, ProducerRecord, SendError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Long enough that a record is never given up while the machine is merely slow.
const DELIVERY_TIMEOUT_MS: u64 = 10 * 60 * 1000;
const TICK: Duration = Duration::from_micros(250);

pub(crate) struct Generator {
    tracker: Arc<Tracker>,
    told: Arc<Mutex<ToldSoFar>>,
    producer: Producer,
    stop: Arc<AtomicBool>,
    problem: Arc<Mutex<Option<String>>>,
}

struct ToldSoFar {
    outcomes: Outcomes,
    latencies: BothLatencies,
}

impl Generator {
    pub(crate) async fn start(client: Client, tracker: Arc<Tracker>) -> Result<Self, Failure> {
        let config = ProducerConfig { delivery_timeout_ms: DELIVERY_TIMEOUT_MS, ..ProducerConfig::default() };
        let producer = Producer::new(client, config).await.map_err(|error| client_failure(&error))?;
        producer.prepare(TOPIC).await.map_err(|error| Failure::new(ExitStatus::Failed, error.to_string()))?;
        let latencies = BothLatencies { admitted_at_first: Latencies::new(), refused_at_first: Latencies::new() };
        let told = Arc::new(Mutex::new(ToldSoFar { outcomes: Outcomes::new(tracker.plan.total()), latencies }));
        let generator = Self { tracker, told, producer, stop: Arc::default(), problem: Arc::default() };
        let offering = Offering {
            tracker: generator.tracker.clone(),
            told: generator.told.clone(),
            producer: generator.producer.clone(),
            stop: generator.stop.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let problem = generator.problem.clone();
        std::thread::spawn(move || {
            if let Err(error) = offering.offer_all() {
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        });
        Ok(generator)
    }

    /// Whether the generator is still able to offer; and takes in what the producer counts.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.tracker.refusals.store(self.producer.refused_record_count(), Ordering::Release);
        match &*self.problem.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(problem) => Err(Failure::new(ExitStatus::Failed, format!("the generator cannot go on: {problem}"))),
            None => Ok(()),
        }
    }

    /// Everything the producer was told. Called when every record offered has its outcome.
    pub(crate) async fn finish(self) -> Result<Produced, Failure> {
        self.producer.flush().await;
        let mut told = lock(&self.told);
        let outcomes = std::mem::replace(&mut told.outcomes, Outcomes::new(0));
        let latencies = &told.latencies;
        Ok(Produced {
            outcomes,
            admitted_at_first: latencies.admitted_at_first.figures(),
            refused_at_first: latencies.refused_at_first.figures(),
        })
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock(told: &Mutex<ToldSoFar>) -> MutexGuard<'_, ToldSoFar> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Offering {
    tracker: Arc<Tracker>,
    told: Arc<Mutex<ToldSoFar>>,
    producer: Producer,
    stop: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
}

impl Offering {
    fn offer_all(&self) -> Result<(), SendError> {
        let contents = Contents::new();
        let mut value = Vec::new();
        let mut next = 0;
        self.tracker.start();
        while next < self.tracker.offered_end.load(Ordering::Acquire) && !self.stop.load(Ordering::Relaxed) {
            let now_us = self.tracker.now_us();
            let due = self.tracker.plan.due(now_us).min(self.tracker.offered_end.load(Ordering::Acquire));
            if next >= due {
                std::thread::sleep(TICK);
                continue;
            }
            let late_us = now_us.saturating_sub(self.tracker.plan.intended_us(next));
            self.tracker.late_us_max.fetch_max(late_us, Ordering::AcqRel);
            for id in next..due {
                contents.write_value(id, &mut value);
                self.offer(id, &value)?;
            }
            next = due;
        }
        // What the load was shortened by was never offered.
        self.tracker.offered_end.fetch_min(next, Ordering::AcqRel);
        Ok(())
    }

    fn offer(&self, id: u64, value: &[u8]) -> Result<(), SendError> {
        let key = Contents::key(id);
        let record = ProducerRecord::new(TOPIC, value).with_key(&key);
        let confirm = match self.producer.try_send(record) {
            Err(SendError::BufferFull) => self.runtime.block_on(self.producer.send(record))?,
            taken => taken?,
        };
        self.tracker.offered.fetch_add(1, Ordering::AcqRel);
        let (tracker, told) = (self.tracker.clone(), self.told.clone());
        confirm.on_outcome(move |delivery| note(&tracker, &told, id, &delivery));
        Ok(())
    }
}

fn note(tracker: &Tracker, told: &Mutex<ToldSoFar>, id: u64, delivery: &Delivery) {
    let latency_us = tracker.now_us().saturating_sub(tracker.plan.intended_us(id));
    let mut told = lock(told);
    match delivery {
        Delivery::Acknowledged(ack) => {
            told.outcomes.tell(id, Told::Acknowledged);
            let latencies = &mut told.latencies;
            let row = if ack.refusal_count == 0 { &mut latencies.admitted_at_first } else { &mut latencies.refused_at_first };
            row.record(latency_us);
            tracker.acknowledged.fetch_add(1, Ordering::AcqRel);
        }
        Delivery::Refused(_) => told.outcomes.tell(id, Told::Refused),
        Delivery::Unknown(_) => told.outcomes.tell(id, Told::Unknown),
    }
    drop(told);
    tracker.settled.fetch_add(1, Ordering::AcqRel);
}
