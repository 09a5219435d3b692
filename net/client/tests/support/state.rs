//! What the fake broker holds, and its rules for appending.

use bytes::Bytes;
use sluice_model::frame::LeaderSeal;
use sluice_model::record_batch::{Attributes, Records};
use sluice_model::{ErrorCode, FRAME_HEADER_LEN, FrameHeader, LeaderEpoch, Offset, ProducerId, ProducerTable};
use sluice_protocol::{Durability, ShardAddress};
use std::collections::{BTreeMap, VecDeque};
use tokio::task::AbortHandle;

/// What becomes of one produce request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    /// Every partition of it is refused with this code.
    Refuse(ErrorCode, u32),
    /// The whole request is refused unread.
    RefuseRequest(ErrorCode),
    /// The connection ends before anything is appended.
    DropBefore,
    /// It is appended, then the connection ends.
    DropAfter,
    /// It is appended and answered with a code that says nothing.
    Unknown,
    /// It is appended, then the broker finds that it leads no longer.
    LeadershipLost,
    /// It is appended and answered after this many milliseconds.
    Slow(u64),
    /// It is never answered.
    Silent,
}

/// How a broker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Serving,
    /// It carries out what it is asked for and answers nothing.
    Silent,
    /// It does nothing, and takes connections all the same.
    Frozen,
    /// Of partitions that it leads it says this.
    Refusing(ErrorCode),
    /// It knows of no topic: it has just started and is behind.
    Ignorant,
    /// It reads nothing of what comes.
    Deaf,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug)]
pub struct Leadership {
    pub seat: Option<u16>,
    pub epoch: u32,
}

/// One shard of one broker.
pub struct Seat {
    pub address: ShardAddress,
    pub mode: Mode,
    /// What it knows of the cluster, when that is not what is.
    pub view: Option<BTreeMap<([u8; 16], u32), Leadership>>,
    pub listener: Option<AbortHandle>,
    pub connections: Vec<AbortHandle>,
}

pub struct State {
    pub seats: Vec<Seat>,
    pub topics: BTreeMap<String, TopicState>,
    pub faults: VecDeque<Fault>,
    pub next_producer_id: i64,
    pub next_topic_id: u8,
    pub hellos: u32,
    pub produces: u32,
    pub fetches: u32,
    pub offset_questions: u32,
    /// So many of the next fetches end their connection.
    pub fetches_to_drop: u32,
    /// Partition lengths asked for by fetches, largest.
    pub fetch_len_seen: u32,
    pub metadata_requests: u32,
    /// What happens to the next metadata requests: refused with a code, or their connection ends.
    pub metadata_faults: VecDeque<Option<ErrorCode>>,
    /// Questions for this topic are refused as by a broker that shuts down.
    pub withheld_topic: Option<String>,
    /// Bytes of the longest message it says it takes.
    pub message_len_max: u32,
}

pub struct TopicState {
    pub id: [u8; 16],
    pub frame_len_max: u32,
    pub settings: Vec<(String, String)>,
    pub partitions: Vec<PartitionState>,
}

#[derive(Default)]
pub struct PartitionState {
    pub frames: Vec<Bytes>,
    pub next_offset: u64,
    pub log_start_offset: u64,
    pub producers: ProducerTable,
    pub last_crc: u32,
    /// Offsets [from, until) answered with `Damaged`.
    pub damaged: Option<(u64, u64)>,
    /// Another seat than the usual one leads it.
    pub moved_to: Option<u16>,
    /// Nobody leads it.
    pub is_leaderless: bool,
    pub elections: u32,
    /// What the leader knows to be committed, when that is less than the log.
    pub high_watermark: Option<u64>,
    /// So many of the next questions for its end are refused, as by a leader that does not know it yet.
    pub ends_refused: u32,
    /// So many of the next fetches are told that the log ends before their offset.
    pub behind: u32,
}

impl State {
    pub fn new(topics: &[(&str, u32)]) -> Self {
        let mut state = Self {
            seats: Vec::new(),
            topics: BTreeMap::new(),
            faults: VecDeque::new(),
            next_producer_id: 100,
            next_topic_id: 1,
            hellos: 0,
            produces: 0,
            fetches: 0,
            offset_questions: 0,
            fetches_to_drop: 0,
            fetch_len_seen: 0,
            metadata_requests: 0,
            metadata_faults: VecDeque::new(),
            withheld_topic: None,
            message_len_max: 16 << 20,
        };
        topics.iter().for_each(|&(name, partitions)| state.create(name, partitions));
        state
    }

    pub fn create(&mut self, name: &str, partitions: u32) {
        let id = [self.next_topic_id; 16];
        self.next_topic_id += 1;
        let partitions = (0..partitions).map(|_| PartitionState::default()).collect();
        self.topics.insert(name.into(), TopicState { id, frame_len_max: 1024 * 1024, settings: vec![], partitions });
    }

    /// Who leads what, in truth.
    pub fn leaderships(&self) -> BTreeMap<([u8; 16], u32), Leadership> {
        let numbered =
            |topic: &TopicState| (0..).zip(&topic.partitions).map(|(n, p)| (n, self.leadership(n, p))).collect::<Vec<_>>();
        self.topics.values().flat_map(|topic| numbered(topic).into_iter().map(|(n, of)| ((topic.id, n), of))).collect()
    }

    fn leadership(&self, partition: u32, state: &PartitionState) -> Leadership {
        let usual = (partition % self.seats.len() as u32) as u16;
        let seat = (!state.is_leaderless).then(|| state.moved_to.unwrap_or(usual));
        Leadership { seat, epoch: 1 + state.elections }
    }

    /// Who leads a partition, as the broker at `seat` knows it.
    pub fn seen_from(&self, seat: u16, topic_id: &[u8; 16], partition: u32) -> Option<Leadership> {
        match &self.seats[seat as usize].view {
            Some(view) => view.get(&(*topic_id, partition)).copied(),
            None => self.leads(topic_id, partition),
        }
    }

    /// Who leads it in truth.
    pub fn leads(&self, topic_id: &[u8; 16], partition: u32) -> Option<Leadership> {
        let topic = self.topics.values().find(|t| &t.id == topic_id)?;
        topic.partitions.get(partition as usize).map(|state| self.leadership(partition, state))
    }

    /// Why the broker at `seat` cannot serve a partition, and which address it names.
    pub fn refusal(&self, seat: u16, topic_id: &[u8; 16], partition: u32) -> Option<(ErrorCode, Option<ShardAddress>)> {
        let Some(truth) = self.leads(topic_id, partition) else { return Some((ErrorCode::UnknownTopic, None)) };
        if truth.seat == Some(seat) {
            return match self.seats[seat as usize].mode {
                Mode::Refusing(code) => Some((code, None)),
                _ => None,
            };
        }
        let Some(named) = self.seen_from(seat, topic_id, partition).and_then(|seen| seen.seat) else {
            return Some((ErrorCode::NotReady, None));
        };
        // One that believes to lead has lost its lease meanwhile, and knows no more than that.
        let address = (named != seat).then(|| self.seats[named as usize].address.clone());
        Some((ErrorCode::NotLeader, address))
    }

    pub fn partition(&mut self, topic_id: &[u8; 16], partition: u32) -> Option<&mut PartitionState> {
        let topic = self.topics.values_mut().find(|t| &t.id == topic_id)?;
        topic.partitions.get_mut(partition as usize)
    }
}

impl PartitionState {
    /// Appends a producer's frame: its offset, or why not.
    pub fn append(&mut self, frame: &[u8]) -> Result<(u64, Durability), ErrorCode> {
        let header = FrameHeader::parse(frame).map_err(|_| ErrorCode::InvalidFrame)?;
        let body = header.body_of(frame).map_err(|_| ErrorCode::InvalidFrame)?;
        header.verify_body(body).map_err(|_| ErrorCode::CorruptFrame)?;
        if let Some(offset) = self.judge(header)? {
            return Ok((offset, Durability::Committed));
        }
        let sealed = header.sealed(LeaderSeal {
            base_offset: Offset(self.next_offset),
            leader_epoch: LeaderEpoch(1),
            append_time_ms: 1_000_000 + self.next_offset as i64,
            prev_header_crc: self.last_crc,
        });
        self.producers.on_append(&sealed);
        self.last_crc = sealed.header_crc.to_native();
        let base_offset = self.next_offset;
        self.next_offset = sealed.next_offset().0;
        self.frames.push([sealed.as_bytes(), body].concat().into());
        Ok((base_offset, Durability::Committed))
    }

    fn judge(&self, header: &FrameHeader) -> Result<Option<u64>, ErrorCode> {
        let (epoch, sequence) = (header.producer_epoch(), header.base_sequence());
        if header.producer_id() == ProducerId::NONE {
            return Ok(None);
        }
        let Some(entry) = self.producers.get(header.producer_id()) else {
            return if sequence.0 == 0 { Ok(None) } else { Err(ErrorCode::UnknownProducer) };
        };
        if epoch < entry.epoch {
            return Err(ErrorCode::FencedProducerEpoch);
        }
        if epoch > entry.epoch {
            return if sequence.0 == 0 { Ok(None) } else { Err(ErrorCode::OutOfOrderSequence) };
        }
        if let Some(batch) = entry.batches.iter().find(|b| b.base_sequence == sequence) {
            return Ok(Some(batch.base_offset.0));
        }
        match entry.batches.back() {
            Some(last) if last.next_sequence() == sequence => Ok(None),
            _ => Err(ErrorCode::OutOfOrderSequence),
        }
    }

    pub fn values(&self) -> Vec<String> {
        let mut values = Vec::new();
        for frame in &self.frames {
            let header = FrameHeader::parse_sealed(frame).unwrap();
            let body = frame.slice(FRAME_HEADER_LEN..);
            let compression = Attributes(header.attributes.to_native()).compression().unwrap();
            let body = sluice_client::compression::decompress(compression, &body, 1 << 26).unwrap();
            for record in Records::new(&body, header.record_count.to_native()) {
                values.push(String::from_utf8(record.unwrap().value.unwrap_or(b"null").to_vec()).unwrap());
            }
        }
        values
    }
}
