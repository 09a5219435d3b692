use super::*;
use crate::frame::{FrameHeader, LeaderSeal, ProducerBatch};
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};
use crate::limits::{FRAME_BODY_LEN_MAX, HEADERS_PER_RECORD_MAX};
use bytes::BytesMut;

const BASE_MS: i64 = 1_700_000_000_000;

fn header_for(built: &BuiltRecords, attributes: Attributes) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(3) },
        attributes: attributes.0,
        producer_id: ProducerId(11),
        producer_epoch: ProducerEpoch(2),
        base_sequence: Sequence(40),
        record_count: built.record_count,
        base_timestamp_ms: built.base_timestamp_ms,
        max_timestamp_ms: built.max_timestamp_ms,
    };
    FrameHeader::new(batch, &built.body)
}

fn three_records() -> BuiltRecords {
    let mut builder = RecordsBuilder::new(1 << 20);
    let headers = [HeaderRef { key: b"trace", value: Some(b"abc") }, HeaderRef { key: b"none", value: None }];
    for record in [
        NewRecord { timestamp_ms: BASE_MS, key: Some(b"k"), value: Some(b"v"), headers: &[] },
        NewRecord { timestamp_ms: BASE_MS + 70_000, key: None, value: Some(&[9; 300]), headers: &headers },
        NewRecord { timestamp_ms: BASE_MS - 5, key: Some(b""), value: None, headers: &[] },
    ] {
        let (before, predicted) = (builder.len(), builder.record_len(&record));
        builder.append(&record).unwrap();
        assert_eq!(builder.len() - before, predicted);
    }
    builder.take().unwrap()
}

/// The checksum as its definition has it, bit by bit.
fn crc32c_by_definition(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

/// A small generator with a fixed seed: the same bytes in every run.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[test]
fn golden_bytes_of_one_record() {
    let mut builder = RecordsBuilder::new(1024);
    builder.append(&NewRecord { timestamp_ms: 5, key: Some(b"k"), value: Some(b"v"), headers: &[] }).unwrap();
    let headers = [HeaderRef { key: b"h", value: None }];
    builder.append(&NewRecord { timestamp_ms: 4, key: None, value: None, headers: &headers }).unwrap();
    let first = [0x10, 0, 0x00, 0x00, 0x02, b'k', 0x02, b'v', 0x00];
    let second = [0x12, 0, 0x01, 0x02, 0x01, 0x01, 0x02, 0x02, b'h', 0x01];
    assert_eq!(&builder.take().unwrap().body[..], [&first[..], &second[..]].concat());
}

#[test]
fn records_read_back() {
    let built = three_records();
    assert_eq!((built.record_count, built.base_timestamp_ms, built.max_timestamp_ms), (3, BASE_MS, BASE_MS + 70_000));
    let records: Vec<_> = Records::new(&built.body, 3).map(Result::unwrap).collect();
    assert_eq!(records.iter().map(|r| r.offset_delta).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records.iter().map(|r| r.timestamp_delta_ms).collect::<Vec<_>>(), [0, 70_000, -5]);
    assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((records[1].key, records[1].value), (None, Some(&[9u8; 300][..])));
    assert_eq!((records[2].key, records[2].value), (Some(&b""[..]), None));
    let headers: Vec<_> = records[1].headers.collect();
    assert_eq!(headers, [HeaderRef { key: b"trace", value: Some(b"abc") }, HeaderRef { key: b"none", value: None }]);
    assert_eq!(records[1].headers.len(), 2);
    validate_records(&header_for(&built, Attributes::default()), &built.body).unwrap();
}

#[test]
fn a_body_that_disagrees_with_its_header_is_found() {
    let built = three_records();
    let good = header_for(&built, Attributes::default());
    let with = |change: &dyn Fn(&mut FrameHeader)| {
        let mut header = good;
        change(&mut header);
        validate_records(&header, &built.body)
    };
    assert!(matches!(with(&|h| h.record_count = 2.into()), Err(RecordsError::TrailingBytes { .. })));
    assert_eq!(with(&|h| h.record_count = 4.into()), Err(RecordsError::Truncated { record: 3 }));
    let off_by_one = RecordsError::MaxTimestamp { header_ms: BASE_MS + 70_001, records_ms: BASE_MS + 70_000 };
    assert_eq!(with(&|h| h.max_timestamp_ms = (BASE_MS + 70_001).into()), Err(off_by_one));
    let overflow = RecordsError::TimestampDelta { record: 1, got: 70_000 };
    assert_eq!(with(&|h| h.base_timestamp_ms = i64::MAX.into()), Err(overflow));
    let broker_time = |h: &mut FrameHeader| {
        h.attributes = 8.into();
        h.max_timestamp_ms = 1.into();
    };
    assert_eq!(with(&broker_time), Ok(()), "the broker's time is nobody's delta");
    let trailing = [&built.body[..], &[0]].concat();
    assert_eq!(validate_records(&good, &trailing), Err(RecordsError::TrailingBytes { len: 1 }));
}

#[test]
fn every_malformed_field_is_named() {
    let malformed = |field| RecordsError::Malformed { record: 0, field };
    let table: &[(&[u8], RecordsError)] = &[
        (&[], RecordsError::Truncated { record: 0 }),
        (&[0x80], malformed("length")),
        (&[0x01], malformed("length")),
        (&[0x0e, 0, 0], RecordsError::Truncated { record: 0 }),
        (&[0x00], malformed("attributes")),
        (&[0x02, 0], malformed("timestamp delta")),
        (&[0x06, 0, 0, 0x01], malformed("offset delta")),
        (&[0x08, 0, 0, 0, 0x03], malformed("key")),
        (&[0x0a, 0, 0, 0, 0x01, 0x0a], malformed("value")),
        (&[0x0c, 0, 0, 0, 0x01, 0x01, 0x01], malformed("header count")),
        (&[0x0e, 0, 0, 0, 0x01, 0x01, 0x02, 0x01], malformed("header")),
        (&[0x0e, 0, 0, 0, 0x01, 0x01, 0x00, 0x00], malformed("length")),
        (
            &[0x0e, 0, 0, 0, 0x01, 0x01, 0x82, 0x10],
            RecordsError::TooManyHeaders { record: 0, got: HEADERS_PER_RECORD_MAX as i32 + 1, max: HEADERS_PER_RECORD_MAX },
        ),
        (&[0x0e, 0, 0, 0, 0x01, 0xfe, 0xff, 0xff, 0xff, 0x0f], malformed("value")),
    ];
    for (bytes, expected) in table {
        let errors: Vec<_> = Records::new(bytes, 1).collect();
        assert_eq!(errors, [Err(*expected)], "{bytes:02x?}");
    }
}

#[test]
fn offset_deltas_must_be_dense() {
    let built = three_records();
    let header = header_for(&built, Attributes::default());
    let mut body = built.body.clone();
    assert_eq!(body[3], 0, "offset delta of the first record");
    body[3] = 0x02;
    assert_eq!(validate_records(&header, &body), Err(RecordsError::OffsetDelta { record: 0, got: 1 }));
}

#[test]
fn the_builder_refuses_what_does_not_fit_and_stays_as_it_was() {
    let mut builder = RecordsBuilder::new(20);
    let record = NewRecord { timestamp_ms: 1, key: None, value: Some(&[0; 8]), headers: &[] };
    assert_eq!(builder.append(&record), Ok(0));
    assert_eq!(builder.append(&record), Err(RecordRefusal::Full { len: 30, len_max: 20 }));
    assert_eq!(builder.append(&NewRecord { timestamp_ms: -1, ..record }), Err(RecordRefusal::NegativeTimestamp { got: -1 }));
    let headers = vec![HeaderRef { key: b"", value: None }; HEADERS_PER_RECORD_MAX + 1];
    let too_many = RecordRefusal::TooManyHeaders { got: HEADERS_PER_RECORD_MAX + 1, max: HEADERS_PER_RECORD_MAX };
    assert_eq!(builder.append(&NewRecord { headers: &headers, ..record }), Err(too_many));
    assert_eq!((builder.len(), builder.record_count()), (15, 1));
    assert_eq!(builder.take().unwrap().record_count, 1);
    assert!(builder.take().is_none());
    assert_eq!(builder.append(&record), Ok(0), "an emptied builder begins again");
    let huge = vec![0; FRAME_BODY_LEN_MAX];
    let refused = RecordsBuilder::new(usize::MAX).append(&NewRecord { value: Some(&huge), ..record });
    assert!(matches!(refused, Err(RecordRefusal::Full { len_max: FRAME_BODY_LEN_MAX, .. })));
}

#[test]
fn kafkas_header_comes_back_with_its_checksum() {
    for attributes in [Attributes::default(), Attributes::new(Compression::Zstd), Attributes(0xffff)] {
        let built = three_records();
        let seal = LeaderSeal { base_offset: Offset(100), leader_epoch: LeaderEpoch(4), append_time_ms: 9, prev_header_crc: 77 };
        let header = header_for(&built, attributes).sealed(seal);
        let kafka = kafka_batch_header(&header);
        let batch = [&kafka[..], &built.body[..]].concat();
        assert_eq!(batch[0..8], 100u64.to_be_bytes(), "base offset");
        assert_eq!(batch[8..12], (batch.len() as u32 - 12).to_be_bytes(), "batch length");
        assert_eq!(batch[12..17], [0, 0, 0, 4, 2], "leader epoch and magic");
        assert_eq!(batch[17..21], crc32c_by_definition(&batch[21..]).to_be_bytes(), "checksum");
        assert_eq!(batch[21..23], attributes.0.to_be_bytes(), "attributes");
        assert_eq!(batch[23..27], [0, 0, 0, 2], "last offset delta");
        assert_eq!(batch[27..43], [BASE_MS.to_be_bytes(), (BASE_MS + 70_000).to_be_bytes()].concat(), "timestamps");
        assert_eq!(batch[43..57], [0, 0, 0, 0, 0, 0, 0, 11, 0, 2, 0, 0, 0, 40], "producer");
        assert_eq!(batch[57..61], [0, 0, 0, 3], "record count");
    }
    assert_eq!(crc32c_by_definition(b"123456789"), 0xe306_9283, "the check value of the definition");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Bytes(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let len = random.below(64);
        let body: Vec<u8> =
            (0..len).map(|_| if random.below(3) == 0 { random.below(16) as u8 } else { random.next() as u8 }).collect();
        let count = random.next() as u32 >> random.below(32);
        assert!(Records::new(&body, count).take(100).count() <= 100);
    }
}

#[test]
fn mutated_bodies_never_panic_and_never_leave_the_section() {
    let good = three_records();
    let header = header_for(&good, Attributes::default());
    let mut random = Bytes(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let mut body = BytesMut::from(&good.body[..]);
        for _ in 0..=random.below(3) {
            let at = random.below(body.len());
            match random.below(3) {
                0 => body[at] = random.next() as u8,
                1 => body[at] ^= 1 << random.below(8),
                _ => body.truncate(at.max(1)),
            }
        }
        let _ = validate_records(&header, &body);
        for record in Records::new(&body, 3).flatten() {
            let len: usize = record.headers.map(|h| h.key.len() + h.value.map_or(0, <[u8]>::len)).sum();
            assert!(record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + len < body.len());
            assert_eq!(record.headers.count(), record.headers.len());
        }
    }
}
