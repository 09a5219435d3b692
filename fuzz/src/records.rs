//! What a producer writes and a consumer reads: frames, the records in them, and their compression.

use super::seal;
use sluice_client::compression;
use sluice_model::frame::{FrameError, FrameHeader, ProducerBatch};
use sluice_model::record_batch::{
    Attributes, Compression, HeaderRef, NewRecord, RecordRef, Records, RecordsBuilder, kafka_batch_header, validate_records,
};
use sluice_model::{ProducerEpoch, ProducerId, Sequence, TopicPartition};

/// What may come out of any compressed bytes here.
const DECOMPRESSED_LEN_MAX: usize = 256 * 1024;
/// Count, base and greatest timestamp, attributes: what [`records`] takes of a header.
pub(super) const RECORDS_HEAD_LEN: usize = 22;

/// A whole frame: as a broker takes it from a producer, and as a consumer reads it.
pub fn frame(data: &[u8]) -> bool {
    let mut sealed = data.to_vec();
    seal::frame(&mut sealed);
    read_frame(data) | read_frame(&sealed)
}

fn read_frame(bytes: &[u8]) -> bool {
    // A producer's frame is not sealed yet.
    if let Ok(header) = FrameHeader::parse(bytes) {
        let _ = kafka_batch_header(header);
        let verified: Result<(), FrameError> = header.body_of(bytes).and_then(|body| header.verify_body(body));
        assert_eq!(format!("{header:?}").is_empty(), verified.is_err_and(|error| error.to_string().is_empty()));
    }
    let (header, body) = match FrameHeader::parse_frame(bytes) {
        Ok(parsed) => parsed,
        Err(error) => return error.to_string().is_empty(),
    };
    assert_eq!((header.as_bytes().as_slice(), body), bytes[..header.frame_len()].split_at(100), "a frame is its bytes");
    let Some(codec) = Attributes(header.attributes.to_native()).compression() else { return false };
    let body = compression::decompress(codec, &body.to_vec().into(), DECOMPRESSED_LEN_MAX);
    body.is_ok_and(|body| read_records(header, &body))
}

/// A records section: a few fields of its header, then the section.
pub fn records(data: &[u8]) -> bool {
    let Some((head, body)) = data.split_first_chunk::<RECORDS_HEAD_LEN>() else { return false };
    let batch = ProducerBatch {
        topic_partition: TopicPartition::default(),
        attributes: u16::from_le_bytes([head[20], head[21]]),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: u32::from_le_bytes([head[0], head[1], head[2], head[3]]),
        base_timestamp_ms: i64_at(head, 4),
        max_timestamp_ms: i64_at(head, 12),
    };
    read_records(&FrameHeader::new(batch, body), body)
}

fn read_records(header: &FrameHeader, body: &[u8]) -> bool {
    let found: Result<Vec<RecordRef<'_>>, _> = Records::new(body, header.record_count.to_native()).collect();
    if let Err(error) = validate_records(header, body) {
        return error.to_string().is_empty();
    }
    let found = found.expect("a section that validates can be walked");
    assert_eq!(found.len(), header.record_count.to_native() as usize, "as many records as the header names");
    let base_ms = header.base_timestamp_ms.to_native();
    let times: Vec<i64> = found.iter().map(|record| base_ms + record.timestamp_delta_ms).collect();
    if times.iter().all(|&time_ms| time_ms >= 0) {
        write_again(&found, &times);
    }
    true
}

/// The same records come out of a section that our own builder makes of them.
fn write_again(found: &[RecordRef<'_>], times: &[i64]) {
    let mut builder = RecordsBuilder::new(usize::MAX);
    for (record, &timestamp_ms) in found.iter().zip(times) {
        let headers: Vec<HeaderRef<'_>> = record.headers.collect();
        assert_eq!(headers.len(), record.headers.len(), "as many headers as the record names");
        let new = NewRecord { timestamp_ms, key: record.key, value: record.value, headers: &headers };
        builder.append(&new).expect("what was read can be written");
    }
    let Some(built) = builder.take() else { return };
    let again = Records::new(&built.body, built.record_count).map(|record| record.expect("our own records are good"));
    for ((record, again), &time_ms) in found.iter().zip(again).zip(times) {
        assert_eq!((record.key, record.value, record.offset_delta), (again.key, again.value, again.offset_delta));
        assert_eq!(time_ms, built.base_timestamp_ms + again.timestamp_delta_ms);
        assert!(record.headers.eq(again.headers), "headers read back");
    }
}

/// A codec's number, then what it is to decompress.
pub fn decompress(data: &[u8]) -> bool {
    let Some((&code, body)) = data.split_first() else { return false };
    let codec = Compression::ALL[usize::from(code) % Compression::ALL.len()];
    match compression::decompress(codec, &body.to_vec().into(), DECOMPRESSED_LEN_MAX) {
        Ok(decompressed) => {
            assert!(decompressed.len() <= DECOMPRESSED_LEN_MAX, "{} bytes came out", decompressed.len());
            true
        }
        Err(error) => error.to_string().is_empty(),
    }
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
