//! The client: addresses, links, metadata. Producers, consumers and administration share one.

use crate::address::Address;
use crate::config::ClientConfig;
use crate::connection::{CallError, lock};
use crate::error::{ClientError, check};
use crate::link::{Lane, Link};
use crate::metadata_cache::{MetadataCache, TopicInfo};
use crate::rounds::Rounds;
use sluice_protocol::{MetadataAnswer, MetadataRequest, Request, TopicMetadata};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// One refresh at a time, so that a hundred partitions that lose their leader ask once.
    refreshing: tokio::sync::Mutex<()>,
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
            refreshing: tokio::sync::Mutex::default(),
        }));
        client.request_metadata_once(&MetadataRequest { topics: Some(Vec::new()), after: None }).await?;
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
            let error = {
                // Not through the waits: many topics that wait for one broker wait together.
                let _one = self.0.refreshing.lock().await;
                if let Some(topic) = self.cached_topic(name).filter(|t| t.generation > seen) {
                    return Ok(topic);
                }
                match self.request_metadata_once(&request).await {
                    Ok(answer) => return self.accept_named(answer, name),
                    Err(error) => error,
                }
            };
            rounds.again(error).await?;
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

    pub(crate) fn forget_topic(&self, name: &str) {
        self.0.metadata.forget(name);
    }

    /// The topics behind the one named, as many as one answer holds; asked for again as one topic is.
    async fn next_topics(&self, after: Option<String>) -> Result<MetadataAnswer, ClientError> {
        let request = MetadataRequest { topics: None, after };
        let mut rounds = Rounds::begin(self);
        loop {
            match self.request_metadata_once(&request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => rounds.again(error).await?,
            }
        }
    }

    async fn request_metadata_once(&self, request: &MetadataRequest) -> Result<MetadataAnswer, ClientError> {
        let answer = self.call_any(request, true).await?;
        check(answer.error, answer.text.clone())?;
        self.0.metadata.add_shards(&answer.shards);
        Ok(answer)
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

    /// Sends a request that any shard can answer to the first that can be reached; an `idempotent` one also when the
    /// connection to an earlier one was lost on the way.
    pub(crate) async fn call_any<R: Request>(&self, request: &R, idempotent: bool) -> Result<R::Answer, ClientError> {
        let mut tried = Vec::new();
        for address in self.addresses() {
            match self.call_at(&address, request).await {
                Ok(answer) => {
                    *lock(&self.0.last_good) = Some(address);
                    return Ok(answer);
                }
                Err(CallError::NotSent(error)) => tried.push((address.to_string(), reason(error))),
                Err(CallError::Lost(error)) if idempotent => tried.push((address.to_string(), reason(error))),
                Err(error) => return Err(error.into_client_error()),
            }
        }
        Err(ClientError::Unreachable { tried })
    }

    /// Where to ask, best first.
    fn addresses(&self) -> Vec<Address> {
        let last_good = lock(&self.0.last_good).clone();
        let mut addresses: Vec<Address> = Vec::new();
        for address in last_good.into_iter().chain(self.0.bootstrap.iter().cloned()).chain(self.0.metadata.addresses()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }
}

/// The part of an error that is worth a place in a list.
fn reason(error: ClientError) -> String {
    match error {
        ClientError::Lost { text, .. } | ClientError::Protocol { text, .. } => text,
        error => error.to_string(),
    }
}
