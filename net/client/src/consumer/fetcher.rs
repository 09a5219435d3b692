//! The consumer's one task: keeps a fetch on the wire for every partition that has room, all partitions of a shard in
//! one request, and puts what comes where `poll` finds it.
//!
//! Prefetch is bounded per shard, by an equal share of what `prefetch` allows, so that a busy shard never starves a quiet
//! one.

use super::cursor::{Arrival, Asked, Next};
use super::error::{ConsumeCause, ConsumeError};
use super::state::State;
use crate::address::Address;
use crate::client::Client;
use crate::config::ConsumerConfig;
use crate::connection::{Answer, CallError, Connection, decode_answer, lock};
use crate::error::ClientError;
use crate::link::Lane;
use bytes::Bytes;
use sluice_model::ErrorCode;
use sluice_model::limits::{FETCH_LEN_MAX, MESSAGE_BODY_LEN_MAX, PARTITIONS_PER_REQUEST_MAX};
use sluice_protocol::{FetchPartition, FetchRequest, FetchedPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Room in an answer for everything but frames, bytes per partition and in all.
const ENTRY_LEN: u32 = 512;
const ANSWER_LEN: u32 = 256;
/// Least room worth a fetch, bytes.
const FETCH_LEN_LEAST: u32 = 64 * 1024;

pub(super) struct ConsumerShared {
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
    pub(super) state: Mutex<State>,
    /// Wakes the fetcher.
    pub(super) wake: Notify,
    /// Wakes `poll`.
    pub(super) arrived: Notify,
    started: Instant,
}

/// A fetch on the wire: which cursors it is for, in their generations.
struct InFlight {
    cursors: Vec<(usize, u64)>,
    reserved: usize,
    address: Address,
}

impl ConsumerShared {
    pub(super) fn new(client: Client, config: ConsumerConfig) -> Self {
        let state = Mutex::new(State::new(&config));
        Self { client, config, state, wake: Notify::new(), arrived: Notify::new(), started: Instant::now() }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes one shard may hold of the prefetch.
    fn share(&self, state: &State) -> usize {
        let shards: BTreeSet<&Address> = state.cursors.iter().filter_map(|c| c.leader.address()).collect();
        let (count, least) = (shards.len().max(1), FETCH_LEN_LEAST as usize);
        (state.prefetch.len() / count).max(least.min(self.config.prefetch_len_max / count))
    }
}

/// Runs until the consumer is closed.
pub(super) async fn run(shared: Arc<ConsumerShared>) {
    loop {
        let next_ms = pump(&shared);
        let now_ms = shared.now_ms();
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(next_ms.unwrap_or(0).saturating_sub(now_ms))), if next_ms.is_some() => {}
        }
        if lock(&shared.state).closed {
            return;
        }
    }
}

/// Sends every fetch that can be sent; when to look again although nothing happens.
fn pump(shared: &Arc<ConsumerShared>) -> Option<u64> {
    let now_ms = shared.now_ms();
    let mut state = lock(&shared.state);
    let (mut wanted, mut next_ms) = leave_quiet_leaders(shared, &state, now_ms);
    let share = shared.share(&state);
    let mut by_address: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (index, cursor) in state.cursors.iter().enumerate().filter(|(_, c)| c.asked.is_none() && !c.stopped && !c.paused) {
        if cursor.not_before_ms > now_ms {
            next_ms = earliest(next_ms, cursor.not_before_ms);
            continue;
        }
        match cursor.leader.address() {
            Some(address) => by_address.entry(address.clone()).or_default().push(index),
            None => wanted.push(cursor.topic.clone()),
        }
    }
    let mut fetches = Vec::new();
    for (address, cursors) in by_address {
        let Some(connection) = shared.client.link(&address, Lane::Fetch).open() else {
            if state.connecting.insert(address.clone()) {
                connect(shared.clone(), address);
            }
            continue;
        };
        let asked = Asked { address, connection: connection.id(), since_ms: now_ms };
        let fetch = prepare(shared, &mut state, asked, cursors, share);
        fetches.extend(fetch.map(|fetch| (connection, fetch)));
    }
    drop(state);
    wanted.into_iter().for_each(|topic| refresh(shared, topic));
    for (connection, (request, in_flight)) in fetches {
        submit(shared, &connection, &request, in_flight);
    }
    next_ms
}

fn earliest(next_ms: Option<u64>, at_ms: u64) -> Option<u64> {
    Some(next_ms.map_or(at_ms, |next_ms| next_ms.min(at_ms)))
}

/// A leader that does not answer may not be one any more. Once another one is known, its answer is not waited for: the
/// connection ends. The topics to ask about, and when to look again.
fn leave_quiet_leaders(shared: &ConsumerShared, state: &State, now_ms: u64) -> (Vec<Arc<str>>, Option<u64>) {
    let quiet_ms = u64::try_from(shared.client.quiet().as_millis()).unwrap_or(u64::MAX);
    let patience_ms = u64::from(shared.config.fetch_wait_ms_max) + quiet_ms;
    let (mut topics, mut next_ms) = (Vec::new(), None);
    for cursor in &state.cursors {
        let Some(asked) = &cursor.asked else { continue };
        if now_ms < asked.since_ms + patience_ms {
            next_ms = earliest(next_ms, asked.since_ms + patience_ms);
            continue;
        }
        if !topics.contains(&cursor.topic) {
            topics.push(cursor.topic.clone());
        }
        if cursor.leader.address().is_some_and(|leader| *leader != asked.address) {
            shared.client.link(&asked.address, Lane::Fetch).leave(asked.connection);
        }
    }
    (topics, next_ms)
}

/// One fetch for partitions of one shard, if its share has room.
fn prepare(
    shared: &ConsumerShared,
    state: &mut State,
    asked: Asked,
    mut cursors: Vec<usize>,
    share: usize,
) -> Option<(FetchRequest, InFlight)> {
    let least = FETCH_LEN_LEAST.min(u32::try_from(share).unwrap_or(u32::MAX)) as usize;
    let address = &asked.address;
    let mut used = state.used.get(address).copied().unwrap_or_default();
    if share.saturating_sub(used) < least {
        state.discard_paused(address);
        used = state.used.get(address).copied().unwrap_or_default();
    }
    let room = u32::try_from(share.saturating_sub(used)).unwrap_or(u32::MAX);
    let len_max = shared.config.fetch_len_max.min(room);
    // Answers are filled from the front: who got something last comes last, so that nobody waits for ever.
    cursors.sort_by_key(|&c| state.cursors[c].served);
    // A frame that is longer than usual is fetched alone, and may exceed the share once everything before is polled.
    let large = cursors.iter().copied().find(|&c| state.cursors[c].needed_len.is_some_and(|needed| needed > len_max));
    let len_max = match large {
        Some(cursor) if used == 0 => {
            cursors = vec![cursor];
            state.cursors[cursor].needed_len.unwrap_or_default().max(len_max)
        }
        _ if (len_max as usize) < least => return None,
        _ => len_max,
    };
    cursors.truncate(PARTITIONS_PER_REQUEST_MAX);
    let partitions = cursors.iter().map(|&c| {
        let cursor = &state.cursors[c];
        FetchPartition {
            topic_id: cursor.topic_id.0,
            partition: cursor.partition,
            leader_epoch: 0,
            offset: cursor.fetch_offset,
            len_max: cursor.needed_len.unwrap_or(0).max(shared.config.partition_len_max.min(len_max)),
        }
    });
    let partitions: Vec<FetchPartition> = partitions.collect();
    // The answer's own body comes on top of the frames.
    let body_len = (ANSWER_LEN + ENTRY_LEN * partitions.len() as u32).min(MESSAGE_BODY_LEN_MAX as u32);
    let request = FetchRequest {
        wait_ms_max: shared.config.fetch_wait_ms_max,
        len_min: shared.config.fetch_len_min,
        len_max: (len_max + body_len).min(FETCH_LEN_MAX),
        partitions,
    };
    let in_flight = InFlight {
        cursors: cursors.iter().map(|&c| (c, state.cursors[c].generation)).collect(),
        reserved: len_max as usize,
        address: address.clone(),
    };
    *state.used.entry(address.clone()).or_default() += in_flight.reserved;
    cursors.iter().for_each(|&c| state.cursors[c].asked = Some(asked.clone()));
    Some((request, in_flight))
}

fn submit(shared: &Arc<ConsumerShared>, connection: &Connection, request: &FetchRequest, in_flight: InFlight) {
    let timeout = shared.client.request_timeout() + Duration::from_millis(request.wait_ms_max.into());
    let then = shared.clone();
    connection.submit(request, Vec::new(), timeout, Box::new(move |result| on_fetched(&then, in_flight, result)));
}

fn on_fetched(shared: &Arc<ConsumerShared>, in_flight: InFlight, result: Result<Answer, CallError>) {
    let now_ms = shared.now_ms();
    let answered = result.and_then(|answer| cut(&answer, &in_flight));
    let mut refreshes: Vec<Arc<str>> = Vec::new();
    let mut state = lock(&shared.state);
    if let Some(used) = state.used.get_mut(&in_flight.address) {
        *used -= in_flight.reserved;
    }
    state.servings += 1;
    let serving = state.servings;
    let (mut filled, mut more) = (false, false);
    for (index, &(cursor_index, generation)) in in_flight.cursors.iter().enumerate() {
        let Some(cursor) = state.cursors.get_mut(cursor_index).filter(|c| c.generation == generation) else { continue };
        let next = match &answered {
            Ok(entries) => {
                let (entry, frames) = &entries[index];
                let mut arrivals = Vec::new();
                if !frames.is_empty() {
                    cursor.served = serving;
                    filled = true;
                }
                let next = cursor.on_fetched(now_ms, entry, frames.clone(), shared.config.reset, &mut arrivals);
                more |= cursor.high_watermark.is_some_and(|end| end > cursor.fetch_offset);
                arrivals.into_iter().for_each(|arrival| state.push(now_ms, cursor_index, arrival, Some(&in_flight.address)));
                next
            }
            Err(error) => {
                tracing::debug!(address = %in_flight.address, %error, "a fetch has no answer");
                cursor.on_no_answer(now_ms);
                Next::Refresh
            }
        };
        let topic = &state.cursors[cursor_index].topic;
        if next == Next::Refresh && !refreshes.contains(topic) {
            refreshes.push(topic.clone());
        }
    }
    if filled {
        state.prefetch.on_filled(more);
    }
    drop(state);
    refreshes.into_iter().for_each(|topic| refresh(shared, topic));
    shared.arrived.notify_one();
    shared.wake.notify_one();
}

/// The entries of an answer with their frames; exactly those asked for, in order.
fn cut(answer: &Answer, in_flight: &InFlight) -> Result<Vec<(FetchedPartition, Bytes)>, CallError> {
    let unusable = |text: String| {
        CallError::Lost(ClientError::Protocol {
            address: in_flight.address.to_string(),
            text: format!("unusable fetch answer: {text}"),
        })
    };
    let fetched = decode_answer::<FetchRequest>(answer).map_err(|e| unusable(e.to_string()))?;
    let ranges = fetched.frame_ranges(answer.frames.len()).map_err(|e| unusable(e.to_string()))?;
    if fetched.partitions.len() != in_flight.cursors.len() {
        return Err(unusable(format!("{} partitions instead of {}", fetched.partitions.len(), in_flight.cursors.len())));
    }
    Ok(fetched.partitions.into_iter().zip(ranges.into_iter().map(|range| answer.frames.slice(range))).collect())
}

fn connect(shared: Arc<ConsumerShared>, address: Address) {
    tokio::spawn(async move {
        shared.client.link(&address, Lane::Fetch).connection_or(|| look_elsewhere(&shared, &address)).await;
        lock(&shared.state).connecting.remove(&address);
        shared.wake.notify_one();
    });
}

/// Asks who leads what is believed to be led there, where nobody answers.
fn look_elsewhere(shared: &Arc<ConsumerShared>, address: &Address) {
    let mut topics = BTreeSet::new();
    for cursor in lock(&shared.state).cursors.iter_mut().filter(|c| c.leader.address() == Some(address)) {
        cursor.leader.on_failure();
        topics.insert(cursor.topic.clone());
    }
    topics.into_iter().for_each(|topic| refresh(shared, topic));
}

/// Asks where the partitions of a topic are, and again for as long as somebody wants to know.
fn refresh(shared: &Arc<ConsumerShared>, topic: Arc<str>) {
    if !lock(&shared.state).refreshing.entry(topic.clone()).or_default().begin() {
        return;
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        loop {
            refresh_once(&shared, &topic).await;
            let wait = lock(&shared.state).refreshing.entry(topic.clone()).or_default().wait();
            tokio::time::sleep(wait).await;
            let mut state = lock(&shared.state);
            if !state.refreshing.entry(topic.clone()).or_default().end() || state.closed {
                return;
            }
        }
    });
}

async fn refresh_once(shared: &ConsumerShared, topic: &Arc<str>) {
    let seen = shared.client.cached_topic(topic).map_or(0, |info| info.generation);
    let refreshed = shared.client.refresh_topic(topic, seen).await;
    let now_ms = shared.now_ms();
    let mut state = lock(&shared.state);
    for index in 0..state.cursors.len() {
        let cursor = &mut state.cursors[index];
        if cursor.topic != *topic || cursor.stopped {
            continue;
        }
        let stopped = match &refreshed {
            Ok(info) if info.topic_id == cursor.topic_id => {
                if let Some(described) = info.partitions.get(cursor.partition as usize) {
                    cursor.on_described(now_ms, described);
                }
                None
            }
            Ok(_) => Some(replaced()),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => Some(error.clone()),
            Err(_) => None,
        };
        if let Some(error) = stopped {
            let error: ConsumeError = cursor.stop(ConsumeCause::Client(error));
            state.push(now_ms, index, Arrival::Stopped(error), None);
        }
    }
    drop(state);
    shared.arrived.notify_one();
    // Also when nothing is new: a partition that still has no leader asks again.
    shared.wake.notify_one();
}

fn replaced() -> ClientError {
    let text = "the topic was deleted and created again, its offsets begin anew; seek or assign again to read the new one";
    ClientError::Broker { code: ErrorCode::UnknownTopic, text: text.into() }
}
