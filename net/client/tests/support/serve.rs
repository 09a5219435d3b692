//! One connection of the fake broker.

use super::Shared;
use super::state::{Fault, Mode, PartitionState, State};
use bytes::{Bytes, BytesMut};
use sluice_model::{ErrorCode, FrameHeader};
use sluice_protocol::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

struct Incoming {
    prefix: Prefix,
    body: Vec<u8>,
    frames: Vec<u8>,
}

pub(super) async fn connection(shared: Arc<Shared>, shard: u16, stream: TcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let (sender, mut receiver) = unbounded_channel::<Vec<u8>>();
    let reading = async {
        loop {
            while shared.state.lock().unwrap().seats[shard as usize].mode == Mode::Deaf {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let Some(incoming) = read(&mut reader).await else { return };
            if !handle(&shared, shard, incoming, &sender) {
                return;
            }
        }
    };
    let writing = async {
        while let Some(message) = receiver.recv().await {
            if writer.write_all(&message).await.is_err() {
                return;
            }
        }
    };
    // Whichever ends, and whoever aborts this task: both halves of the socket go.
    tokio::select! { () = reading => {} () = writing => {} }
}

async fn read(reader: &mut OwnedReadHalf) -> Option<Incoming> {
    let mut prefix = [0; PREFIX_LEN];
    reader.read_exact(&mut prefix).await.ok()?;
    let prefix = Prefix::parse(&prefix).unwrap();
    let (mut body, mut frames) = (vec![0; prefix.body_len], vec![0; prefix.frames_len]);
    reader.read_exact(&mut body).await.ok()?;
    reader.read_exact(&mut frames).await.ok()?;
    Some(Incoming { prefix, body, frames })
}

fn message<M: Message>(prefix: &Prefix, message: &M, frames: &[Bytes]) -> Vec<u8> {
    let frames_len = frames.iter().map(Bytes::len).sum();
    let mut bytes: BytesMut = encode(prefix.correlation_id, prefix.version, message, frames_len).unwrap();
    frames.iter().for_each(|f| bytes.extend_from_slice(f));
    bytes.to_vec()
}

/// False ends the connection.
fn handle(shared: &Arc<Shared>, shard: u16, incoming: Incoming, sender: &UnboundedSender<Vec<u8>>) -> bool {
    let Incoming { prefix, body, frames } = incoming;
    let mut state = shared.state.lock().unwrap();
    let mute = unbounded_channel().0;
    let sender = match state.seats[shard as usize].mode {
        Mode::Frozen => return true,
        Mode::Silent => &mute,
        _ => sender,
    };
    let send = |bytes: Vec<u8>| drop(sender.send(bytes));
    match prefix.api().unwrap() {
        Api::Hello => {
            state.hellos += 1;
            let (versions, message_len_max) = (supported_versions(), state.message_len_max);
            let ShardAddress { broker_id, shard, .. } = state.seats[shard as usize].address;
            send(message(&prefix, &HelloAnswer { broker_id, shard, versions, message_len_max, ..Default::default() }, &[]));
        }
        Api::Metadata => {
            state.metadata_requests += 1;
            let request = decode::<MetadataRequest>(&body).unwrap();
            let withheld = state.withheld_topic.clone().filter(|topic| request.topics.iter().flatten().any(|name| name == topic));
            let fault = withheld.map(|_| Some(ErrorCode::ShuttingDown)).or_else(|| state.metadata_faults.pop_front());
            let answer = match fault {
                None => metadata(&state, shard, &request),
                Some(Some(code)) => MetadataAnswer { error: code as u16, text: "not now".into(), ..Default::default() },
                Some(None) => return false,
            };
            send(message(&prefix, &answer, &[]));
        }
        Api::InitProducer => {
            state.next_producer_id += 1;
            let producer_id = state.next_producer_id;
            send(message(&prefix, &InitProducerAnswer { producer_id, ..Default::default() }, &[]));
        }
        Api::Produce => return produce(shared, shard, &mut state, (prefix, body, frames), sender),
        Api::Fetch => {
            state.fetches += 1;
            if state.fetches_to_drop > 0 {
                state.fetches_to_drop -= 1;
                return false;
            }
            let request = decode::<FetchRequest>(&body).unwrap();
            let (shared, sender) = (shared.clone(), sender.clone());
            tokio::spawn(async move {
                let (answer, frames) = fetch_waiting(&shared, shard, &request).await;
                let mode = shared.state.lock().unwrap().seats[shard as usize].mode;
                if !matches!(mode, Mode::Silent | Mode::Frozen) {
                    drop(sender.send(message(&prefix, &answer, &frames)));
                }
            });
        }
        Api::ListOffsets => {
            state.offset_questions += 1;
            let request = decode::<ListOffsetsRequest>(&body).unwrap();
            let partitions = request.partitions.iter().map(|p| list_offset(&mut state, shard, p)).collect();
            send(message(&prefix, &ListOffsetsAnswer { partitions }, &[]));
        }
        Api::DescribePartitions => {
            let request = decode::<DescribePartitionsRequest>(&body).unwrap();
            let describe = |p: &PartitionRef| {
                let partition = state.partition(&p.topic_id, p.partition).unwrap();
                DescribedPartition { log_end_offset: partition.next_offset, segment_count: 1, ..Default::default() }
            };
            let partitions = request.partitions.iter().map(describe).collect();
            send(message(&prefix, &DescribePartitionsAnswer { partitions }, &[]));
        }
        Api::DescribeShard => send(message(&prefix, &DescribeShardAnswer::default(), &[])),
        _ => admin(&mut state, &prefix, &body, &send),
    }
    true
}

fn admin(state: &mut State, prefix: &Prefix, body: &[u8], send: &dyn Fn(Vec<u8>)) {
    match prefix.api().unwrap() {
        Api::CreateTopic => {
            let request = decode::<CreateTopicRequest>(body).unwrap();
            let mut answer = CreateTopicAnswer::default();
            if state.topics.contains_key(&request.name) {
                (answer.error, answer.text) = (ErrorCode::TopicExists as u16, "there is one".into());
            } else {
                state.create(&request.name, request.partitions);
                answer.topic_id = state.topics[&request.name].id;
            }
            send(message(prefix, &answer, &[]));
        }
        Api::DeleteTopic => {
            let request = decode::<DeleteTopicRequest>(body).unwrap();
            let known = state.topics.remove(&request.name).is_some();
            let error = if known { 0 } else { ErrorCode::UnknownTopic as u16 };
            send(message(prefix, &DeleteTopicAnswer { error, text: String::new() }, &[]));
        }
        Api::AlterTopic => {
            let request = decode::<AlterTopicRequest>(body).unwrap();
            let topic = state.topics.get_mut(&request.name).unwrap();
            topic.settings = request.settings;
            topic.partitions.resize_with(request.partitions.unwrap_or(1) as usize, PartitionState::default);
            send(message(prefix, &AlterTopicAnswer::default(), &[]));
        }
        Api::DeleteRecords => {
            let request = decode::<DeleteRecordsRequest>(body).unwrap();
            let partition = state.partition(&request.topic_id, request.partition).unwrap();
            partition.log_start_offset = request.offset.min(partition.next_offset);
            let log_start_offset = partition.log_start_offset;
            send(message(prefix, &DeleteRecordsAnswer { log_start_offset, ..Default::default() }, &[]));
        }
        api => panic!("not expected: {api}"),
    }
}

fn metadata(state: &State, seat: u16, request: &MetadataRequest) -> MetadataAnswer {
    let is_ignorant = state.seats[seat as usize].mode == Mode::Ignorant;
    let describe = |name: &String| {
        let Some(topic) = state.topics.get(name).filter(|_| !is_ignorant) else {
            let error = ErrorCode::UnknownTopic as u16;
            return TopicMetadata { error, name: name.clone(), text: format!("there is no topic {name}"), ..Default::default() };
        };
        // Partitions that it has not heard of are left out.
        let seen = (0..topic.partitions.len() as u32).map_while(|n| Some((n, state.seen_from(seat, &topic.id, n)?)));
        let partitions = seen.map(|(partition, seen)| {
            let leader = seen.seat.map(|leader| &state.seats[leader as usize].address);
            PartitionMetadata {
                partition,
                leader: leader.map(|leader| leader.broker_id),
                leader_epoch: seen.epoch,
                shard: leader.map_or(0, |leader| leader.shard),
                isr: vec![1],
            }
        });
        TopicMetadata {
            name: name.clone(),
            topic_id: topic.id,
            settings: topic.settings.clone(),
            frame_len_max: topic.frame_len_max,
            partitions: partitions.collect(),
            ..Default::default()
        }
    };
    let (mut topics, mut more) = (Vec::new(), false);
    match &request.topics {
        Some(names) => topics.extend(names.iter().map(describe)),
        None => {
            // Two at a time, so that clients have to turn pages.
            let after = request.after.clone().unwrap_or_default();
            let rest: Vec<&String> = state.topics.keys().filter(|name| **name > after).collect();
            more = rest.len() > 2;
            topics.extend(rest.into_iter().take(2).map(describe));
        }
    }
    let shards = state.seats.iter().map(|seat| seat.address.clone()).collect();
    MetadataAnswer { shards, topics, more, cluster_id: [5; 16], ..Default::default() }
}

fn produce(
    shared: &Arc<Shared>,
    shard: u16,
    state: &mut State,
    (prefix, body, frames): (Prefix, Vec<u8>, Vec<u8>),
    sender: &UnboundedSender<Vec<u8>>,
) -> bool {
    state.produces += 1;
    let fault = state.faults.pop_front().unwrap_or(Fault::None);
    let request = access::<ProduceRequest>(&body).unwrap();
    let ranges = request.frame_ranges(frames.len()).unwrap();
    if let Fault::RefuseRequest(code) = fault {
        let refusal = Refusal { error: code as u16, text: "thrown away".into(), retry_after_ms: 1 };
        drop(sender.send(message(&Prefix { version: 0, ..prefix }, &refusal, &[])));
        return true;
    }
    if let Fault::DropBefore = fault {
        return false;
    }
    let mut answer = ProduceAnswer::default();
    for (wanted, range) in request.partitions.iter().zip(ranges) {
        let (topic_id, number) = (wanted.topic_id, wanted.partition.to_native());
        let mut entry = ProducedPartition { topic_id, partition: number, ..Default::default() };
        let refusal = state.refusal(shard, &topic_id, number);
        let result = match (fault, refusal, state.partition(&topic_id, number)) {
            (Fault::Refuse(code, _), refusal, _) => Err((code, refusal.and_then(|refusal| refusal.1))),
            (_, Some(refusal), _) => Err(refusal),
            (_, None, None) => Err((ErrorCode::UnknownTopic, None)),
            (_, None, Some(partition)) => partition.append(&frames[range]).map_err(|code| (code, None)),
        };
        match (result, fault) {
            (Ok(_), Fault::Unknown) => entry.error = ErrorCode::RequestTimedOut as u16,
            (Ok(_), Fault::LeadershipLost) => entry.error = ErrorCode::LeadershipLost as u16,
            (Ok((base_offset, durability)), _) => {
                (entry.base_offset, entry.durability, entry.append_time_ms) = (base_offset, durability as u8, 77);
            }
            (Err((code, address)), _) => {
                (entry.error, entry.text) = (code as u16, format!("{code:?} by the fake broker"));
                entry.address = address;
                entry.retry_after_ms = if let Fault::Refuse(_, after_ms) = fault { after_ms } else { 0 };
            }
        }
        answer.partitions.push(entry);
    }
    shared.appended.notify_waiters();
    match fault {
        Fault::DropAfter => return false,
        Fault::Silent => {}
        _ if request.acks() == Acks::None => {}
        Fault::Slow(ms) => {
            let (bytes, sender) = (message(&prefix, &answer, &[]), sender.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                drop(sender.send(bytes));
            });
        }
        _ => drop(sender.send(message(&prefix, &answer, &[]))),
    }
    true
}

fn list_offset(state: &mut State, seat: u16, wanted: &ListOffsetsPartition) -> ListedOffset {
    if let Some((code, address)) = state.refusal(seat, &wanted.topic_id, wanted.partition) {
        return ListedOffset { error: code as u16, text: format!("{code:?} by the fake broker"), address, ..Default::default() };
    }
    let partition = state.partition(&wanted.topic_id, wanted.partition).unwrap();
    if wanted.timestamp_ms == TIMESTAMP_END && partition.ends_refused > 0 {
        partition.ends_refused -= 1;
        let text = "the new leader does not know yet what is committed".into();
        return ListedOffset { error: ErrorCode::NotReady as u16, text, ..Default::default() };
    }
    let (offset, timestamp_ms) = match wanted.timestamp_ms {
        TIMESTAMP_BEGINNING => (partition.log_start_offset, -1),
        TIMESTAMP_END => (partition.next_offset, -1),
        at_ms => {
            let headers = partition.frames.iter().map(|f| *FrameHeader::parse_sealed(f).unwrap());
            let found = headers.into_iter().find(|h| h.max_timestamp_ms.to_native() >= at_ms);
            found.map_or((partition.next_offset, -1), |h| {
                (h.base_offset().0.max(partition.log_start_offset), h.max_timestamp_ms.to_native())
            })
        }
    };
    ListedOffset { offset, timestamp_ms, ..Default::default() }
}

async fn fetch_waiting(shared: &Arc<Shared>, shard: u16, request: &FetchRequest) -> (FetchAnswer, Vec<Bytes>) {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms_max.into());
    loop {
        let appended = shared.appended.notified();
        let (answer, frames) = fetch(shared, shard, request);
        let done = !frames.is_empty() || answer.partitions.iter().any(|p| p.error != 0);
        if done || tokio::time::timeout_at(deadline, appended).await.is_err() {
            return (answer, frames);
        }
    }
}

fn fetch(shared: &Shared, shard: u16, request: &FetchRequest) -> (FetchAnswer, Vec<Bytes>) {
    let mut state = shared.state.lock().unwrap();
    let (mut answer, mut frames) = (FetchAnswer::default(), Vec::new());
    let mut left = request.len_max as usize - 256 - 128 * request.partitions.len();
    for wanted in &request.partitions {
        state.fetch_len_seen = state.fetch_len_seen.max(wanted.len_max);
        let mut entry = FetchedPartition { topic_id: wanted.topic_id, partition: wanted.partition, ..Default::default() };
        let refusal = state.refusal(shard, &wanted.topic_id, wanted.partition);
        match (refusal, state.partition(&wanted.topic_id, wanted.partition)) {
            (Some((code, address)), _) => (entry.error, entry.address) = (code as u16, address),
            (None, Some(partition)) => fetch_partition(partition, wanted, &mut left, &mut entry, &mut frames),
            (None, None) => entry.error = ErrorCode::UnknownTopic as u16,
        }
        answer.partitions.push(entry);
    }
    (answer, frames)
}

fn fetch_partition(
    partition: &mut PartitionState,
    wanted: &FetchPartition,
    left: &mut usize,
    entry: &mut FetchedPartition,
    frames: &mut Vec<Bytes>,
) {
    let high_watermark = partition.high_watermark.unwrap_or(partition.next_offset);
    (entry.high_watermark, entry.log_end_offset) = (high_watermark, partition.next_offset);
    entry.log_start_offset = partition.log_start_offset;
    if partition.behind > 0 && wanted.offset > 0 {
        partition.behind -= 1;
        entry.error = ErrorCode::OffsetOutOfRange as u16;
        (entry.high_watermark, entry.log_end_offset) = (wanted.offset - 1, wanted.offset - 1);
        return;
    }
    if wanted.offset < partition.log_start_offset || wanted.offset > partition.next_offset {
        entry.error = ErrorCode::OffsetOutOfRange as u16;
        return;
    }
    if let Some((_, until)) = partition.damaged.filter(|&(from, until)| wanted.offset >= from && wanted.offset < until) {
        (entry.error, entry.damaged_until) = (ErrorCode::Damaged as u16, until);
        return;
    }
    let mut room = (*left).min(wanted.len_max as usize);
    for frame in &partition.frames {
        let next_offset = frame_next_offset(frame);
        if next_offset <= wanted.offset {
            continue;
        }
        if next_offset > high_watermark {
            break;
        }
        if partition.damaged.is_some_and(|(from, _)| next_offset > from && wanted.offset < from) {
            break;
        }
        if frame.len() > room {
            if entry.frames_len == 0 && frame.len() > wanted.len_max as usize {
                (entry.error, entry.needed_len) = (ErrorCode::FetchTooSmall as u16, frame.len() as u32);
            }
            break;
        }
        room -= frame.len();
        *left -= frame.len();
        entry.frames_len += frame.len() as u32;
        frames.push(frame.clone());
    }
}

fn frame_next_offset(frame: &[u8]) -> u64 {
    FrameHeader::parse(frame).map_or(u64::MAX, |header| header.next_offset().0)
}
