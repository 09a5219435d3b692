//! Reads partitions over one connection to each shard, one fetch outstanding on each, checksums verified as a client would.

use std::collections::BTreeMap;
use std::time::Instant;

use sluice_model::ids::TopicPartition;
use sluice_model::record_batch::Records;
use sluice_model::{ErrorCode, FrameHeader};
use sluice_protocol::{Api, FetchAnswer, FetchPartition, FetchRequest, Prefix, access, encode};

use super::wire::Wire;
use crate::broker::BenchTopic;
use crate::connection::{may_come_later, refusal_of};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::poller::Poller;
use crate::system::{ReadBatch, ReadPlan, Reader};

/// The broker answers an empty fetch after this long.
const WAIT_MS: u32 = 200;
/// Largest answer, and most of it from one partition.
const FETCH_LEN: u32 = 8 << 20;
const PARTITION_LEN: u32 = 2 << 20;

/// A reader's sockets, one for each shard that owns some of its partitions.
pub(super) struct SluiceReader {
    shards: Vec<Shard>,
    poller: Poller,
    ready: Vec<usize>,
}

struct Shard {
    wire: Wire,
    positions: Vec<Position>,
    is_waiting: bool,
}

struct Position {
    id: TopicPartition,
    next_offset: u64,
}

impl SluiceReader {
    pub(super) fn open(topic: &BenchTopic, plan: &ReadPlan, mode: WaitMode) -> Result<Self, BenchError> {
        let poller = Poller::new(mode).map_err(BenchError::io("an epoll descriptor"))?;
        let mut by_address: BTreeMap<&str, Vec<Position>> = BTreeMap::new();
        for &partition in &plan.partitions {
            let Some((id, address)) = topic.partitions.get(partition as usize) else {
                return Err(BenchError::protocol(format!("the topic {} has no partition {partition}", topic.name)));
            };
            by_address.entry(address).or_default().push(Position { id: *id, next_offset: 0 });
        }
        let mut shards = Vec::new();
        for (address, positions) in by_address {
            let wire = Wire::open(address, Api::Fetch)?;
            poller.add(wire.fd(), shards.len()).map_err(|source| wire.failed(source))?;
            shards.push(Shard { wire, positions, is_waiting: false });
        }
        Ok(Self { shards, poller, ready: Vec::new() })
    }
}

impl Reader for SluiceReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        for shard in &mut self.shards {
            if !shard.is_waiting {
                shard.ask()?;
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.poller.wait(until, &mut ready).map_err(BenchError::io("waiting for records"))?;
        for &number in &ready {
            self.shards[number].receive(seen)?;
        }
        self.ready = ready;
        Ok(())
    }
}

impl Shard {
    fn ask(&mut self) -> Result<(), BenchError> {
        let partition = |position: &Position| FetchPartition {
            topic_id: position.id.topic_id.0,
            partition: position.id.partition.0,
            leader_epoch: 0,
            offset: position.next_offset,
            len_max: PARTITION_LEN,
        };
        let partitions = self.positions.iter().map(partition).collect();
        let request = FetchRequest { wait_ms_max: WAIT_MS, len_min: 1, len_max: FETCH_LEN, partitions };
        let id = self.wire.take_correlation_id();
        let message = encode(id, self.wire.version, &request, 0).map_err(BenchError::protocol)?;
        self.wire.queue(&message);
        // A fetch is a few kilobytes: a socket that does not take it at once has a broker behind it that does not read.
        if !self.wire.send()? {
            return Err(self.wire.failed(std::io::ErrorKind::WouldBlock.into()));
        }
        self.is_waiting = true;
        Ok(())
    }

    fn receive(&mut self, seen: &mut ReadBatch) -> Result<(), BenchError> {
        while self.is_waiting && self.wire.receive()? {
            if let Some(prefix) = self.wire.received.whole_message()? {
                self.take_answer(&prefix, seen)?;
                self.wire.received.consume(&prefix);
                self.is_waiting = false;
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, prefix: &Prefix, seen: &mut ReadBatch) -> Result<(), BenchError> {
        let body = self.wire.received.body(prefix);
        if prefix.api() != Some(Api::Fetch) {
            return match refusal_of(prefix, body, "Fetch") {
                // For want of room: asked again at once, which is what a reader in a hurry does.
                BenchError::Refused { code, .. } if may_come_later(code) => Ok(()),
                error => Err(error),
            };
        }
        let answer = access::<FetchAnswer>(body).map_err(BenchError::protocol)?;
        let frames = self.wire.received.frames(prefix);
        let ranges = answer.frame_ranges(prefix.frames_len).map_err(BenchError::protocol)?;
        for (partition, range) in answer.partitions.iter().zip(ranges) {
            let code = partition.error.to_native();
            if code != ErrorCode::None as u16 && !may_come_later(code) {
                let text = partition.text.to_string();
                return Err(BenchError::Refused { what: "a fetch".to_owned(), code, text });
            }
            let number = partition.partition.to_native();
            let position = self.positions.iter_mut().find(|position| position.id.partition.0 == number);
            let Some(position) = position else {
                return Err(BenchError::protocol(format!("a fetch answers partition {number}, which was not asked for")));
            };
            position.take_frames(&frames[range], seen)?;
        }
        Ok(())
    }
}

impl Position {
    fn take_frames(&mut self, mut frames: &[u8], seen: &mut ReadBatch) -> Result<(), BenchError> {
        while !frames.is_empty() {
            let (header, body) = FrameHeader::parse_frame(frames).map_err(BenchError::protocol)?;
            let base_offset = header.base_offset().0;
            for (index, record) in Records::new(body, header.record_count.to_native()).enumerate() {
                let record = record.map_err(BenchError::protocol)?;
                // The first frame is the one that holds the offset: what lies before it in there was read already.
                if base_offset + index as u64 >= self.next_offset {
                    seen.add(record.value.unwrap_or_default());
                }
            }
            self.next_offset = self.next_offset.max(header.next_offset().0);
            frames = &frames[header.frame_len()..];
        }
        Ok(())
    }
}
