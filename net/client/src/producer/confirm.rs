//! The outcome of a record, for whoever waits for it. All records of a batch share one cell, so a confirm costs a
//! reference count and no allocation.

use super::delivery::{Acknowledgement, Delivery, Failure, Settlement};
use super::interceptor::guarded;
use crate::connection::lock;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Resolves to the outcome of one record. Dropping it changes nothing for the record.
pub struct Confirm {
    batch: Arc<BatchCell>,
    index: u32,
    /// Where this confirm's waker stands in the cell.
    place: Option<usize>,
}

type Callback = Box<dyn FnOnce(Delivery) + Send>;

/// The outcome of a batch, once it has one.
pub(crate) struct BatchCell {
    partition: u32,
    refusal_count: AtomicU32,
    state: Mutex<CellState>,
}

enum CellState {
    Waiting { wakers: Vec<Option<Waker>>, callbacks: Vec<(u32, Callback)> },
    Settled(BatchDelivery),
}

/// A settlement whose text all records share.
#[derive(Clone)]
pub(crate) enum BatchDelivery {
    Acknowledged { base_offset: Option<u64>, template: Acknowledgement },
    Refused(Failure),
    Unknown(Failure),
}

impl Confirm {
    pub(crate) fn new(batch: Arc<BatchCell>, index: u32) -> Self {
        Self { batch, index, place: None }
    }

    /// The outcome, if there is one yet.
    #[must_use]
    pub fn now(&self) -> Option<Delivery> {
        match &*lock(&self.batch.state) {
            CellState::Waiting { .. } => None,
            CellState::Settled(shared) => Some(shared.delivery(self.index)),
        }
    }

    /// Calls `callback` with the outcome: from the producer's tasks when it comes, or from here when it is there. It
    /// must not block. From the producer's tasks, callbacks of a partition are called in the order of its records; a panic
    /// in one is caught and logged.
    pub fn on_outcome(self, callback: impl FnOnce(Delivery) + Send + 'static) {
        let mut state = lock(&self.batch.state);
        match &mut *state {
            CellState::Waiting { callbacks, .. } => callbacks.push((self.index, Box::new(callback))),
            CellState::Settled(shared) => {
                let delivery = shared.delivery(self.index);
                drop(state);
                callback(delivery);
            }
        }
    }

    /// The partition the record went to.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.batch.partition
    }
}

impl Future for Confirm {
    type Output = Delivery;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Delivery> {
        let confirm = &mut *self;
        match &mut *lock(&confirm.batch.state) {
            CellState::Settled(shared) => Poll::Ready(shared.delivery(confirm.index)),
            CellState::Waiting { wakers, .. } => {
                match confirm.place.and_then(|place| wakers.get_mut(place)) {
                    Some(Some(waker)) => waker.clone_from(context.waker()),
                    Some(place) => *place = Some(context.waker().clone()),
                    None => {
                        confirm.place = Some(wakers.len());
                        wakers.push(Some(context.waker().clone()));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Confirm {
    fn drop(&mut self) {
        // Most never waited, and need not ask for the lock that all records of a batch share.
        let Some(place) = self.place else { return };
        if let CellState::Waiting { wakers, .. } = &mut *lock(&self.batch.state) {
            wakers[place] = None;
        }
    }
}

impl BatchCell {
    pub(crate) fn new(partition: u32) -> Arc<Self> {
        Arc::new(Self {
            partition,
            refusal_count: AtomicU32::new(0),
            state: Mutex::new(CellState::Waiting { wakers: Vec::new(), callbacks: Vec::new() }),
        })
    }

    pub(crate) fn partition(&self) -> u32 {
        self.partition
    }

    /// The broker refused the batch; it may be sent again.
    pub(crate) fn note_refusal(&self) {
        self.refusal_count.fetch_add(1, Ordering::Relaxed);
    }

    /// What the records of the batch will be told.
    pub(crate) fn delivery_of(&self, settlement: Settlement) -> BatchDelivery {
        let failure = |reason, text: String, retry_after_ms| {
            let text = text.into();
            Failure { partition: self.partition, reason, text, retry_after_ms }
        };
        match settlement {
            Settlement::Acknowledged { base_offset, append_time_ms, durability } => {
                let template = Acknowledgement {
                    partition: self.partition,
                    offset: None,
                    durability,
                    refusal_count: self.refusal_count.load(Ordering::Relaxed),
                    append_time_ms,
                };
                BatchDelivery::Acknowledged { base_offset, template }
            }
            Settlement::Refused { reason, text, retry_after_ms } => BatchDelivery::Refused(failure(reason, text, retry_after_ms)),
            Settlement::Unknown { reason, text } => BatchDelivery::Unknown(failure(reason, text, 0)),
        }
    }

    /// Gives every record of the batch its outcome. Not to be called under a lock that a callback may want.
    pub(crate) fn settle(&self, shared: BatchDelivery) {
        let waiting = std::mem::replace(&mut *lock(&self.state), CellState::Settled(shared.clone()));
        let CellState::Waiting { wakers, callbacks } = waiting else { panic!("a batch is settled once") };
        wakers.into_iter().flatten().for_each(Waker::wake);
        for (index, callback) in callbacks {
            guarded("a callback", || callback(shared.delivery(index)));
        }
    }
}

impl BatchDelivery {
    pub(crate) fn delivery(&self, index: u32) -> Delivery {
        match self {
            Self::Acknowledged { base_offset, template } => {
                let offset = base_offset.map(|base| base.saturating_add(index.into()));
                Delivery::Acknowledged(Acknowledgement { offset, ..*template })
            }
            Self::Refused(failure) => Delivery::Refused(failure.clone()),
            Self::Unknown(failure) => Delivery::Unknown(failure.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::Reason;
    use super::*;
    use sluice_protocol::Durability;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn every_record_of_a_batch_gets_its_own_offset() {
        let cell = BatchCell::new(3);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let (mut first, mut second) = (Confirm::new(cell.clone(), 0), Confirm::new(cell.clone(), 1));
        let (abandoned, called) = (Confirm::new(cell.clone(), 2), Confirm::new(cell.clone(), 3));
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(Pin::new(&mut second).poll(&mut context).is_pending());
        drop(abandoned);
        let (sender, receiver) = std::sync::mpsc::channel();
        called.on_outcome(move |delivery| sender.send(delivery).unwrap());
        let settlement = Settlement::Acknowledged { base_offset: Some(40), append_time_ms: 5, durability: Durability::Committed };
        cell.settle(cell.delivery_of(settlement));
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        let expected = |offset| {
            Delivery::Acknowledged(Acknowledgement {
                partition: 3,
                offset: Some(offset),
                durability: Durability::Committed,
                refusal_count: 0,
                append_time_ms: 5,
            })
        };
        assert_eq!(Pin::new(&mut first).poll(&mut context), Poll::Ready(expected(40)));
        assert_eq!(second.now(), Some(expected(41)));
        assert_eq!(receiver.recv().unwrap(), expected(43));
    }

    #[test]
    fn a_callback_that_panics_keeps_no_other_from_its_outcome() {
        let cell = BatchCell::new(0);
        Confirm::new(cell.clone(), 0).on_outcome(|_| panic!("an application's bug, on purpose"));
        let (sender, receiver) = std::sync::mpsc::channel();
        Confirm::new(cell.clone(), 1).on_outcome(move |delivery| sender.send(delivery).unwrap());
        cell.settle(cell.delivery_of(Settlement::Refused { reason: Reason::Closed, text: "why".into(), retry_after_ms: 0 }));
        assert!(matches!(receiver.recv(), Ok(Delivery::Refused(_))));
    }

    #[test]
    fn a_failure_is_shared() {
        let cell = BatchCell::new(0);
        cell.settle(cell.delivery_of(Settlement::Refused { reason: Reason::Closed, text: "why".into(), retry_after_ms: 0 }));
        let Some(Delivery::Refused(failure)) = Confirm::new(cell, 7).now() else { panic!() };
        assert_eq!(failure.to_string(), "partition 0: producer closed: why");
    }
}
