//! Carries out what `Member` says, on the runtime of the control thread.

use super::on_renewed::Renewal;
use super::{Effect, LeaseState, Member, MembershipError};
use crate::command::Command;
use crate::command_error::CommandError;
use crate::node::{ControllerNode, Renewed};
use sluice_metadata::Recovered;
use sluice_model::{BrokerId, Incarnation, TopicPartition};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A registered broker's place in its cluster. Clones are the same one.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    node: ControllerNode,
    broker: BrokerId,
    incarnation: Incarnation,
    lease: watch::Sender<LeaseState>,
    orders: mpsc::UnboundedSender<Order>,
    /// Until it runs.
    ordered: Mutex<Option<mpsc::UnboundedReceiver<Order>>>,
}

enum Order {
    Report(Vec<(TopicPartition, Recovered)>),
    Shutdown(Duration),
}

impl Membership {
    /// Of what [`super::register`] has registered. There is no lease yet.
    #[must_use]
    pub fn new(node: ControllerNode, incarnation: Incarnation) -> Self {
        let broker = node.shared.config.broker;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (lease, ordered) = (watch::Sender::new(LeaseState::Lost), Mutex::new(Some(ordered)));
        Self { shared: Arc::new(Shared { node, broker, incarnation, lease, orders, ordered }) }
    }

    /// Whether there is a lease, and each change of that. It is lost when [`Self::run`] has ended or is dropped.
    #[must_use]
    pub fn lease(&self) -> watch::Receiver<LeaseState> {
        self.shared.lease.subscribe()
    }

    /// All shards have recovered: every replica that is placed here, and what was found of it. As many as there are;
    /// only the first call counts.
    pub fn report(&self, replicas: Vec<(TopicPartition, Recovered)>) {
        // Whoever has ended has no use for it.
        let _ended = self.shared.orders.send(Order::Report(replicas));
    }

    /// A clean stop: others lead what this broker leads, for which it is waited no longer than `wait`; the lease is told
    /// lost and then given up; [`Self::run`] returns. Shards are closed after that. It takes up to 10 s longer when no
    /// controller answers.
    pub fn begin_shutdown(&self, wait: Duration) {
        let _ended = self.shared.orders.send(Order::Shutdown(wait));
    }

    /// Until the broker has left the cluster by [`Self::begin_shutdown`]. To be called once.
    ///
    /// # Errors
    /// The broker is no member any more: end the process.
    ///
    /// # Panics
    /// When it is called again.
    pub async fn run(&self) -> Result<(), MembershipError> {
        let ordered = self.shared.ordered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ordered = ordered.expect("a membership runs once");
        let _lost_at_the_end = LostAtTheEnd(&self.shared.lease);
        let member = Member::new(self.shared.broker, self.shared.incarnation);
        let driver = Driver {
            shared: &self.shared,
            started: Instant::now(),
            member,
            has_report: false,
            submission: Box::pin(pending()),
            renewal: Box::pin(pending()),
        };
        driver.run(ordered).await
    }
}

/// However it ends, nobody goes on believing in a lease.
struct LostAtTheEnd<'a>(&'a watch::Sender<LeaseState>);

impl Drop for LostAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| std::mem::replace(state, LeaseState::Lost) != LeaseState::Lost);
    }
}

struct Driver<'a> {
    shared: &'a Shared,
    started: Instant,
    member: Member,
    has_report: bool,
    /// Pending while there is none.
    submission: Task<Result<(), CommandError>>,
    renewal: Task<Result<Renewed, CommandError>>,
}

enum Event {
    Order(Option<Order>),
    Submitted(Result<(), CommandError>),
    Renewed(Result<Renewed, CommandError>),
    ImageOrTime,
}

impl Driver<'_> {
    async fn run(mut self, mut ordered: mpsc::UnboundedReceiver<Order>) -> Result<(), MembershipError> {
        let mut images = self.shared.node.images();
        let mut effects = Vec::new();
        loop {
            let newest = images.borrow_and_update().clone();
            let now = self.started.elapsed();
            self.member.on_image(now, &newest.image, newest.index, &mut effects);
            self.member.on_time(now, &mut effects);
            if let Some(end) = self.carry_out(&mut effects) {
                return end;
            }
            let next = self.member.next_time().map_or_else(|| Instant::now() + Duration::from_secs(3600), |at| self.started + at);
            let event = tokio::select! {
                biased;
                order = ordered.recv() => Event::Order(order),
                renewed = &mut self.renewal => Event::Renewed(renewed),
                submitted = &mut self.submission => Event::Submitted(submitted),
                changed = images.changed() => match changed {
                    Ok(()) => Event::ImageOrTime,
                    Err(_) => return Err(stopped()),
                },
                () = sleep_until(next) => Event::ImageOrTime,
            };
            let newest = images.borrow().clone();
            let now = self.started.elapsed();
            self.member.on_image(now, &newest.image, newest.index, &mut effects);
            self.on_event(now, event, &mut effects);
        }
    }

    fn on_event(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Order(Some(Order::Report(replicas))) if !self.has_report => {
                self.has_report = true;
                self.member.on_recovered(now, &replicas, effects);
            }
            Event::Order(Some(Order::Shutdown(wait))) => self.member.on_shutdown(now, wait, effects),
            // This holds a sender itself.
            Event::Order(_) | Event::ImageOrTime => {}
            Event::Submitted(answer) => {
                self.submission = Box::pin(pending());
                if let Err(error) = &answer {
                    tracing::warn!(%error, "a step of this broker's membership is tried again");
                }
                self.member.on_submitted(now, answer, effects);
            }
            Event::Renewed(answer) => {
                self.renewal = Box::pin(pending());
                if let Err(error) = &answer {
                    tracing::warn!(%error, "the lease was not renewed");
                }
                self.member.on_renewed(now, answer.map(|renewed| self.renewal_of(&renewed)), effects);
            }
        }
    }

    fn renewal_of(&self, renewed: &Renewed) -> Renewal {
        let sent = renewed.sent.saturating_duration_since(self.started);
        Renewal { state: renewed.state, index: renewed.index, sent, lease: renewed.lease }
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) -> Option<Result<(), MembershipError>> {
        for effect in effects.drain(..) {
            match effect {
                Effect::Submit(command) => self.submission = submitted(self.shared.node.clone(), command),
                Effect::Renew => {
                    let (node, incarnation) = (self.shared.node.clone(), self.shared.incarnation);
                    self.renewal = Box::pin(async move { node.renew_lease(incarnation).await });
                }
                Effect::Lease(until) => self.tell_lease(until),
                Effect::End(result) => return Some(result),
            }
        }
        None
    }

    fn tell_lease(&self, until: Option<Duration>) {
        let state = until.map_or(LeaseState::Lost, |until| LeaseState::Held { until: self.started + until });
        let before = self.shared.lease.send_replace(state);
        match (before, state) {
            (LeaseState::Lost, LeaseState::Held { .. }) => tracing::info!("this broker has a lease"),
            (LeaseState::Held { .. }, LeaseState::Lost) => tracing::warn!("this broker has no lease; nothing is acknowledged"),
            _ => {}
        }
    }
}

fn submitted(node: ControllerNode, command: Command) -> Task<Result<(), CommandError>> {
    Box::pin(async move { node.submit(command).await.map(drop) })
}

fn stopped() -> MembershipError {
    MembershipError::Store(std::io::Error::other("the controller has been stopped"))
}
