//! The demo's consumer: reads as fast as its downstream takes records, and keeps account of every one.

use super::downstream::Downstream;
use super::load::Contents;
use super::proof::Consumed;
use super::tracker::Tracker;
use super::{PARTITIONS, TOPIC};
use crate::connect::client_failure;
use crate::exit_status::{ExitStatus, Failure};
use sluice_client::{Admin, Assignment, Client, ConsumeError, Consumer, ConsumerConfig, RecordBatch, StartAt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const POLL: Duration = Duration::from_millis(20);
/// The downstream takes at most this share of a second's records at once.
const BURSTS_PER_S: u64 = 100;

pub(crate) struct Drain {
    client: Client,
    task: JoinHandle<Result<Consumed, ConsumeError>>,
    ends: oneshot::Sender<Vec<u64>>,
}

impl Drain {
    pub(crate) async fn start(client: Client, tracker: Arc<Tracker>, per_s: u64) -> Result<Self, Failure> {
        let failed = |error| client_failure(&error);
        let consumer = Consumer::new(client.clone(), ConsumerConfig::default()).map_err(failed)?;
        let assignment = |partition| Assignment { topic: TOPIC.to_owned(), partition, start: StartAt::Beginning };
        consumer.assign(&(0..PARTITIONS).map(assignment).collect::<Vec<_>>()).await.map_err(failed)?;
        let (ends, receiver) = oneshot::channel();
        let began = Instant::now();
        let burst = (per_s / BURSTS_PER_S).max(1);
        let consumed = Consumed::new(tracker.plan.total());
        let draining = Draining {
            consumer,
            tracker,
            downstream: Downstream::new(per_s, burst, 0),
            began,
            contents: Contents::new(),
            consumed,
        };
        Ok(Self { client, task: tokio::spawn(draining.run(receiver)), ends })
    }

    /// Whether it is still reading.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.task.is_finished() { Err(Failure::new(ExitStatus::Failed, "the consumer has ended")) } else { Ok(()) }
    }

    /// Reads to the end of all that is committed now, and gives back what was read.
    pub(crate) async fn finish(self) -> Result<Consumed, Failure> {
        let wanted: Vec<_> = (0..PARTITIONS).map(|partition| (TOPIC, partition, StartAt::End)).collect();
        let listed = Admin::new(self.client).list_offsets(&wanted).await.map_err(|error| client_failure(&error))?;
        // When the task has ended already, its own result says why.
        let _ended = self.ends.send(listed.iter().map(|listed| listed.offset).collect());
        let read = self.task.await.map_err(|error| Failure::new(ExitStatus::Failed, error.to_string()))?;
        read.map_err(|error| Failure::new(ExitStatus::ProofFailed, format!("the consumer cannot go on: {error}")))
    }
}

struct Draining {
    consumer: Consumer,
    tracker: Arc<Tracker>,
    downstream: Downstream,
    began: Instant,
    contents: Contents,
    consumed: Consumed,
}

impl Draining {
    async fn run(mut self, mut receiver: oneshot::Receiver<Vec<u64>>) -> Result<Consumed, ConsumeError> {
        let mut ends: Option<Vec<u64>> = None;
        loop {
            if let Some(batch) = self.consumer.poll(POLL).await? {
                self.consume(&batch).await;
                continue;
            }
            match &ends {
                None => ends = receiver.try_recv().ok(),
                Some(ends) => {
                    let position = |partition| self.consumer.position(TOPIC, partition).unwrap_or(0);
                    if (0..PARTITIONS).zip(ends).all(|(partition, &end)| position(partition) >= end) {
                        return Ok(self.consumed);
                    }
                }
            }
        }
    }

    /// Hands the records to the downstream, in order, as it takes them.
    async fn consume(&mut self, batch: &RecordBatch) {
        let mut records = batch.records();
        let mut left = batch.len() as u64;
        while left > 0 {
            let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let granted = self.downstream.take(now_us, left);
            if granted == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            for record in records.by_ref().take(usize::try_from(granted).unwrap_or(usize::MAX)) {
                let content = self.contents.read(record.key.unwrap_or_default(), record.value.unwrap_or_default());
                self.consumed.note(content, || format!("partition {} offset {}", batch.partition(), record.offset));
            }
            left -= granted;
            self.tracker.consumed.fetch_add(granted, Ordering::AcqRel);
        }
    }
}
