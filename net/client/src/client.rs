//! The client: addresses, links, metadata. Producers, consumers and administration share one.
//!
//! Any broker can answer most questions, and one of them may be dead, silent, starting, or behind: a question goes to the next
//! one when an answer is refused, lost or long in coming. The expensive mistake is to wait for one broker's time-out while
//! the others know the answer. What may change something is put to a second broker only when the first certainly did not do
//! it.

use crate::address::Address;
use crate::config::ClientConfig;
use crate::connection::{CallError, lock};
use crate::error::{ClientError, check};
use crate::link::{Lane, Link};
use crate::metadata_cache::{MetadataCache, TopicInfo};
use crate::rounds::Rounds;
use sluice_model::ErrorCode;
use sluice_protocol::{MetadataAnswer, MetadataRequest, Request, TopicMetadata};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// A question that changes nothing is put to the next broker as well after this long without an answer.
const NEXT_AFTER: Duration = Duration::from_millis(200);
/// So many brokers' refusals are heard before one is believed.
const REFUSALS_MAX: usize = 5;
/// A broker that has not answered for this long may lead no longer; somebody else is asked who does.
const QUIET: Duration = Duration::from_secs(1);

/// Cheap to clone; all clones share connections and metadata. Connections are opened when they are needed and opened
/// again when they end.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    bootstrap: Vec<Address>,
    links: Mutex<HashMap<(Address, Lane), Arc<Link>>>,
    metadata: MetadataCache,
    /// The address that answered last.
    last_good: Mutex<Option<Address>>,
    /// Where to begin otherwise; counted on whenever an answer has led nowhere.
    first: AtomicUsize,
    /// One refresh at a time, so that a hundred partitions that lose their leader ask once.
    refreshing: tokio::sync::Mutex<()>,
}

/// A question that no broker answered as it was wanted.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// The last refusal, or that nobody could be reached.
    pub(crate) error: ClientError,
    /// Who could not be reached.
    tried: Vec<(String, String)>,
}

impl Client {
    /// Finds a broker at any of `brokers` (`HOST:PORT`). Fails when none can be reached within `connect_timeout_ms`
    /// each.
    pub async fn connect(brokers: &[String], config: ClientConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let bootstrap = brokers.iter().map(|b| Address::parse(b)).collect::<Result<Vec<_>, _>>()?;
        if bootstrap.is_empty() {
            return Err(ClientError::InvalidAddress { address: String::new(), text: "no broker is named".into() });
        }
        let client = Self(Arc::new(Inner {
            config,
            bootstrap,
            links: Mutex::default(),
            metadata: MetadataCache::default(),
            last_good: Mutex::default(),
            first: AtomicUsize::new(0),
            refreshing: tokio::sync::Mutex::default(),
        }));
        let asked = client.request_metadata_once(MetadataRequest { topics: Some(Vec::new()), after: None }).await;
        asked.map_err(|unanswered| unanswered.error)?;
        Ok(client)
    }

    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// A topic as last described; asks the broker when it was not yet, for `request_timeout_ms` if it must. Fails with
    /// `UnknownTopic` when there is none.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicInfo>, ClientError> {
        match self.cached_topic(name) {
            Some(topic) => Ok(topic),
            None => self.refresh_topic(name, 0).await,
        }
    }

    /// A topic as last described, without asking.
    #[must_use]
    pub fn cached_topic(&self, name: &str) -> Option<Arc<TopicInfo>> {
        self.0.metadata.topic(name)
    }

    /// A description newer than generation `seen`; `u64::MAX` asks in any case. Asks again while a broker restarts or stops:
    /// whoever sends to a topic that exists waits for it up to `request_timeout_ms` instead of being told of a broker that is
    /// gone for a second.
    pub(crate) async fn refresh_topic(&self, name: &str, seen: u64) -> Result<Arc<TopicInfo>, ClientError> {
        let request = MetadataRequest { topics: Some(vec![name.into()]), after: None };
        let mut rounds = Rounds::begin(self);
        loop {
            let Unanswered { error, tried } = {
                // Not through the waits: many topics that wait for one broker wait together.
                let _one = self.0.refreshing.lock().await;
                if let Some(topic) = self.cached_topic(name).filter(|t| t.generation > seen) {
                    return Ok(topic);
                }
                match self.request_metadata_once(request.clone()).await {
                    Ok(answer) => {
                        let known = self.0.metadata.newest(name);
                        let topic = self.accept_named(answer, name)?;
                        if known.is_some_and(|known| known.is_as_new_as(&topic)) {
                            self.ask_another_first();
                        }
                        return Ok(topic);
                    }
                    Err(unanswered) => unanswered,
                }
            };
            let is_unknown = error.code() == Some(ErrorCode::UnknownTopic);
            // Those that cannot be reached may know what the others, which may be behind, do not.
            if is_unknown && (tried.is_empty() || self.0.metadata.newest(name).is_none()) {
                self.0.metadata.forget(name);
                return Err(error);
            }
            rounds.again(if is_unknown { ClientError::Unreachable { tried } } else { error }).await?;
        }
    }

    fn accept_named(&self, answer: MetadataAnswer, name: &str) -> Result<Arc<TopicInfo>, ClientError> {
        let topic = answer.topics.into_iter().find(|t| t.name == name);
        let topic = topic.ok_or_else(|| ClientError::Protocol {
            address: "the broker".into(),
            text: format!("its metadata answer leaves out topic {name}, which it was asked for"),
        })?;
        self.accept_topic(topic)
    }

    fn accept_topic(&self, topic: TopicMetadata) -> Result<Arc<TopicInfo>, ClientError> {
        if let Err(error) = check(topic.error, topic.text.clone()) {
            self.0.metadata.forget(&topic.name);
            return Err(error);
        }
        Ok(self.0.metadata.add_topic(topic))
    }

    /// Every topic, by name.
    pub(crate) async fn all_topics(&self) -> Result<(MetadataAnswer, Vec<Arc<TopicInfo>>), ClientError> {
        let mut topics = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut answer = self.next_topics(after.take()).await?;
            let page = std::mem::take(&mut answer.topics);
            after = page.last().map(|t| t.name.clone());
            for topic in page {
                topics.push(self.accept_topic(topic)?);
            }
            if !answer.more || after.is_none() {
                return Ok((answer, topics));
            }
        }
    }

    /// The topic is gone, or is about to be another one.
    pub(crate) fn forget_topic(&self, name: &str) {
        self.0.metadata.forget(name);
    }

    /// What is known of the topic has led nowhere: whoever needs it next asks a broker.
    pub(crate) fn outdate_topic(&self, name: &str) {
        self.0.metadata.outdate(name);
        self.ask_another_first();
    }

    /// The broker that answered last knows nothing new, which may be because it is cut off from the others: the next question
    /// is for another one.
    fn ask_another_first(&self) {
        *lock(&self.0.last_good) = None;
        self.0.first.fetch_add(1, Ordering::Relaxed);
    }

    /// The topics behind the one named, as many as one answer holds; asked for again as one topic is.
    async fn next_topics(&self, after: Option<String>) -> Result<MetadataAnswer, ClientError> {
        let request = MetadataRequest { topics: None, after };
        let mut rounds = Rounds::begin(self);
        loop {
            match self.request_metadata_once(request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) => rounds.again(unanswered.error).await?,
            }
        }
    }

    async fn request_metadata_once(&self, request: MetadataRequest) -> Result<MetadataAnswer, Unanswered> {
        let answer = self.ask_any(request, Self::judge_metadata).await?;
        self.0.metadata.add_shards(&answer.shards);
        Ok(answer)
    }

    /// A topic is not unknown because one broker, which may be behind, does not know it.
    fn judge_metadata(answer: &MetadataAnswer) -> Result<(), ClientError> {
        check(answer.error, answer.text.as_str())?;
        let is_unknown = |topic: &&TopicMetadata| topic.error == ErrorCode::UnknownTopic as u16;
        answer.topics.iter().find(is_unknown).map_or(Ok(()), |topic| check(topic.error, topic.text.as_str()))
    }

    pub(crate) fn link(&self, address: &Address, lane: Lane) -> Arc<Link> {
        let mut links = lock(&self.0.links);
        let link =
            links.entry((address.clone(), lane)).or_insert_with(|| Arc::new(Link::new(address.clone(), self.0.config.clone())));
        link.clone()
    }

    /// How long one answer may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.0.config.request_timeout_ms.into())
    }

    /// Sends a request to one shard.
    pub(crate) async fn call_at<R: Request>(&self, address: &Address, request: &R) -> Result<R::Answer, CallError> {
        let connection = self.link(address, Lane::Admin).connection().await.map_err(CallError::NotSent)?;
        connection.call(request, self.request_timeout()).await.map(|(answer, _)| answer)
    }

    /// How long a broker may leave a request unanswered before somebody else is asked whether it still leads.
    pub(crate) fn quiet(&self) -> Duration {
        QUIET.min(self.request_timeout() / 4)
    }

    /// Puts a question that changes nothing, and that any shard can answer, to one broker after the other until one
    /// answers as `judge` wants it. A refusal that passes, or a silence, is a reason to ask the next one; the last refusal is
    /// the answer when nobody has a better one.
    pub(crate) async fn ask_any<R>(
        &self,
        request: R,
        judge: impl Fn(&R::Answer) -> Result<(), ClientError>,
    ) -> Result<R::Answer, Unanswered>
    where
        R: Request + Send + Sync + 'static,
        R::Answer: Send + 'static,
    {
        let request = Arc::new(request);
        let mut addresses = self.addresses().into_iter();
        let mut next = addresses.next();
        let (mut asking, mut tried, mut refused, mut refusals) = (JoinSet::new(), Vec::new(), None, 0);
        loop {
            if let Some(address) = next.take() {
                let (client, request) = (self.clone(), request.clone());
                asking.spawn(async move { (client.call_at(&address, &*request).await, address) });
            }
            let answered = tokio::select! {
                joined = asking.join_next() => joined.and_then(Result::ok),
                () = tokio::time::sleep(NEXT_AFTER), if addresses.len() > 0 => {
                    next = addresses.next();
                    continue;
                }
            };
            next = addresses.next();
            let error = match answered {
                Some((Ok(answer), address)) => match judge(&answer) {
                    Ok(()) => {
                        *lock(&self.0.last_good) = Some(address);
                        return Ok(answer);
                    }
                    Err(error) => Some(error),
                },
                Some((Err(error), address)) => unheard(&mut tried, &address, error),
                None => None,
            };
            if let Some(error) = error {
                refusals += 1;
                if !error.is_transient() || refusals >= REFUSALS_MAX {
                    return Err(Unanswered { error, tried });
                }
                refused = Some(error);
            }
            if next.is_none() && asking.is_empty() {
                let error = refused.unwrap_or_else(|| ClientError::Unreachable { tried: tried.clone() });
                return Err(Unanswered { error, tried });
            }
        }
    }

    /// Sends a change that any shard can answer to the first that can be reached; to the next one only when it certainly was
    /// not made, as `judge` reads the answer.
    pub(crate) async fn change_any<R: Request>(
        &self,
        request: &R,
        judge: impl Fn(&R::Answer) -> Result<(), ClientError>,
    ) -> Result<R::Answer, ClientError> {
        let (mut tried, mut refused, mut refusals) = (Vec::new(), None, 0);
        for address in self.addresses() {
            let error = match self.call_at(&address, request).await {
                Ok(answer) => match judge(&answer) {
                    Ok(()) => {
                        *lock(&self.0.last_good) = Some(address);
                        return Ok(answer);
                    }
                    Err(error) => Some(error),
                },
                Err(CallError::Lost(error)) => return Err(error),
                Err(error) => unheard(&mut tried, &address, error),
            };
            let Some(error) = error else { continue };
            refusals += 1;
            if !error.is_transient() || !error.is_refusal() || refusals >= REFUSALS_MAX {
                return Err(error);
            }
            refused = Some(error);
        }
        Err(refused.unwrap_or(ClientError::Unreachable { tried }))
    }

    /// Where to ask, best first.
    fn addresses(&self) -> Vec<Address> {
        let last_good = lock(&self.0.last_good).clone();
        let mut addresses: Vec<Address> = Vec::new();
        for address in self.0.bootstrap.iter().cloned().chain(self.0.metadata.addresses()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let first = self.0.first.load(Ordering::Relaxed) % addresses.len().max(1);
        addresses.rotate_left(first);
        if let Some(at) = last_good.and_then(|good| addresses.iter().position(|address| *address == good)) {
            addresses[..=at].rotate_right(1);
        }
        addresses
    }
}

/// What a call that has no answer of its own type comes to: a refusal is one broker's word; a broker that did not answer joins
/// the list of those.
fn unheard(tried: &mut Vec<(String, String)>, address: &Address, error: CallError) -> Option<ClientError> {
    match error {
        CallError::NotSent(error) | CallError::Lost(error) => {
            tried.push((address.to_string(), reason(error)));
            None
        }
        CallError::Refused(_) => Some(error.into_client_error()),
    }
}

/// The part of an error that is worth a place in a list.
fn reason(error: ClientError) -> String {
    match error {
        ClientError::Lost { text, .. } | ClientError::Protocol { text, .. } => text,
        error => error.to_string(),
    }
}
