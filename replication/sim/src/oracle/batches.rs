//! Every batch that was ever sent, byte for byte. No two have the same body.

use crate::plan::{Plan, pick};
use sluice_model::frame::ProducerBatch;
use sluice_model::record_batch::{NewRecord, RecordsBuilder};
use sluice_model::{FRAME_HEADER_LEN, FrameHeader, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use sluice_storage::testing::random::Random;

/// A batch's number in the order in which batches were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub usize);

#[derive(Clone, Debug)]
pub struct Batch {
    pub id: TopicPartition,
    /// As it is sent: the leader's fields are zero.
    pub frame: Vec<u8>,
    pub record_count: u32,
    pub producer: Producer,
}

/// Who sends, and where in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub sequence: Sequence,
}

impl Producer {
    pub const NONE: Self = Self { id: ProducerId::NONE, epoch: ProducerEpoch::NONE, sequence: Sequence::NONE };
}

#[derive(Default)]
pub struct Batches(Vec<Batch>);

impl Batches {
    #[must_use]
    pub fn get(&self, batch: BatchId) -> &Batch {
        &self.0[batch.0]
    }

    /// A new batch; client timestamps are anything at all, as clients' clocks are.
    pub fn make(&mut self, random: &mut Random, plan: &Plan, id: TopicPartition, producer: Producer) -> BatchId {
        let number = self.0.len();
        let body_len = body_len(random, plan);
        let timestamp_ms = i64::try_from(random.below(4_000_000_000_000)).expect("small");
        let is_plain = random.below(3) == 0;
        let (body, record_count, times) = if is_plain {
            records(random, number, body_len, timestamp_ms)
        } else {
            let count = 1 + u32::try_from(random.below(9)).expect("small");
            (opaque(random, number, body_len), count, (timestamp_ms, timestamp_ms))
        };
        let batch = ProducerBatch {
            topic_partition: id,
            // The codec of an opaque body: a broker does not look into it.
            attributes: if is_plain { 0 } else { 4 },
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.sequence,
            record_count,
            base_timestamp_ms: times.0,
            max_timestamp_ms: times.1,
        };
        let header = FrameHeader::new(batch, &body);
        let frame = [header.as_bytes().as_slice(), &body].concat();
        self.0.push(Batch { id, frame, record_count, producer });
        BatchId(number)
    }

    /// A new batch whose body the broker does not look into, of at least 8 bytes.
    pub fn make_opaque(
        &mut self,
        random: &mut Random,
        id: TopicPartition,
        producer: Producer,
        body_len: usize,
        record_count: u32,
    ) -> BatchId {
        let number = self.0.len();
        let body = opaque(random, number, body_len);
        let batch = ProducerBatch {
            topic_partition: id,
            attributes: 4,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.sequence,
            record_count,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        };
        let frame = [FrameHeader::new(batch, &body).as_bytes().as_slice(), &body].concat();
        self.0.push(Batch { id, frame, record_count, producer });
        BatchId(number)
    }

    /// The batch that an opaque body names; `None` when none was made that could be it.
    #[must_use]
    pub fn sent_as(&self, body: &[u8]) -> Option<BatchId> {
        let number = usize::try_from(u64::from_le_bytes(*body.first_chunk()?)).ok()?;
        (number < self.0.len()).then_some(BatchId(number))
    }

    /// Whether a sealed frame is this batch, every byte of the producer's.
    #[must_use]
    pub fn is(&self, batch: BatchId, header: &FrameHeader, body: &[u8]) -> bool {
        let sent = &self.get(batch).frame;
        let Ok(expected) = FrameHeader::parse(sent) else { return false };
        expected.topic_partition() == header.topic_partition()
            && expected.batch_crc.to_native() == header.batch_crc.to_native()
            && expected.attributes.to_native() == header.attributes.to_native()
            && expected.producer_id() == header.producer_id()
            && expected.producer_epoch() == header.producer_epoch()
            && expected.base_sequence() == header.base_sequence()
            && expected.record_count.to_native() == header.record_count.to_native()
            && expected.base_timestamp_ms.to_native() == header.base_timestamp_ms.to_native()
            && expected.max_timestamp_ms.to_native() == header.max_timestamp_ms.to_native()
            && sent[FRAME_HEADER_LEN..] == *body
    }
}

fn body_len(random: &mut Random, plan: &Plan) -> usize {
    let bound = if plan.few_large && random.below(10) > 0 { plan.body_len_max / 16 } else { plan.body_len_max };
    20 + pick(random, bound.max(1)).min(plan.body_len_max.saturating_sub(20))
}

/// The number first, so that bodies differ however short they are.
fn opaque(random: &mut Random, number: usize, len: usize) -> Vec<u8> {
    let mut body = vec![0; len.max(8)];
    random.fill(&mut body);
    body[..8].copy_from_slice(&(number as u64).to_le_bytes());
    body
}

fn records(random: &mut Random, number: usize, len: usize, timestamp_ms: i64) -> (Vec<u8>, u32, (i64, i64)) {
    let mut builder = RecordsBuilder::new(1 << 20);
    let count = 1 + u32::try_from(random.below(4)).expect("small");
    for _ in 0..count {
        let value = opaque(random, number, len / count as usize);
        let record = NewRecord { key: None, value: Some(&value), headers: &[], timestamp_ms };
        builder.append(&record).unwrap_or_else(|refusal| panic!("a small record is taken: {refusal:?}"));
    }
    let built = builder.take().expect("records were appended");
    (built.body.to_vec(), count, (built.base_timestamp_ms, built.max_timestamp_ms))
}
