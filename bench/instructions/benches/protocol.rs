//! Messages: requests and answers of a produce and of a fetch, written by one side and read by the other.

use bytes::BytesMut;
use gungraun::prelude::*;
use sluice_instructions::inputs::partition;
use sluice_protocol::{
    Acks, Durability, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition, Message, PREFIX_LEN, Prefix, ProduceAnswer,
    ProducePartition, ProduceRequest, ProducedPartition, access, decode, encode,
};
use std::hint::black_box;

const FRAME_LEN: u32 = 1134;

fn produce_request(count: u32) -> ProduceRequest {
    let named = |index| ProducePartition { topic_id: partition(index).topic_id.0, partition: index, frame_len: FRAME_LEN };
    ProduceRequest { acks: Acks::All as u8, partitions: (0..count).map(named).collect() }
}

fn produce_answer(count: u32) -> ProduceAnswer {
    let produced = |index| ProducedPartition {
        topic_id: partition(index).topic_id.0,
        partition: index,
        base_offset: 1_000_000,
        append_time_ms: 1_800_000_000_000,
        durability: Durability::Committed as u8,
        ..ProducedPartition::default()
    };
    ProduceAnswer { partitions: (0..count).map(produced).collect() }
}

fn fetch_request(count: u32) -> FetchRequest {
    let asked = |index| FetchPartition {
        topic_id: partition(index).topic_id.0,
        partition: index,
        leader_epoch: 1,
        offset: 1_000_000,
        len_max: 1024 * 1024,
    };
    FetchRequest { wait_ms_max: 500, len_min: 1, len_max: 8 * 1024 * 1024, partitions: (0..count).map(asked).collect() }
}

fn fetch_answer(count: u32) -> FetchAnswer {
    let fetched = |index| FetchedPartition {
        topic_id: partition(index).topic_id.0,
        partition: index,
        high_watermark: 1_000_001,
        log_end_offset: 1_000_001,
        frames_len: FRAME_LEN,
        ..FetchedPartition::default()
    };
    FetchAnswer { partitions: (0..count).map(fetched).collect() }
}

/// Prefix and body. Encoded once before: rkyv's arena is there.
fn encoded<M: Message>(message: &M) -> BytesMut {
    encode(7, 0, message, 0).expect("it fits")
}

fn with_encoded<M: Message>(message: M) -> (M, BytesMut) {
    let bytes = encoded(&message);
    (message, bytes)
}

#[library_benchmark]
#[bench::one(with_encoded(produce_request(1)))]
#[bench::sixty_four(with_encoded(produce_request(64)))]
fn encode_produce_request((request, _warm): (ProduceRequest, BytesMut)) -> (ProduceRequest, BytesMut) {
    let bytes = encode(black_box(8), 0, black_box(&request), FRAME_LEN as usize).expect("it fits");
    (request, bytes)
}

#[library_benchmark]
#[bench::one(with_encoded(produce_answer(1)))]
#[bench::sixty_four(with_encoded(produce_answer(64)))]
fn encode_produce_answer((answer, _warm): (ProduceAnswer, BytesMut)) -> (ProduceAnswer, BytesMut) {
    let bytes = encode(black_box(8), 0, black_box(&answer), 0).expect("it fits");
    (answer, bytes)
}

#[library_benchmark]
#[bench::one(with_encoded(fetch_answer(1)))]
#[bench::sixty_four(with_encoded(fetch_answer(64)))]
fn encode_fetch_answer((answer, _warm): (FetchAnswer, BytesMut)) -> (FetchAnswer, BytesMut) {
    let bytes = encode(black_box(8), 0, black_box(&answer), FRAME_LEN as usize).expect("it fits");
    (answer, bytes)
}

// As the broker reads it: the prefix, then the body in place.
#[library_benchmark]
#[bench::one(encoded(&produce_request(1)))]
#[bench::sixty_four(encoded(&produce_request(64)))]
fn read_produce_request(bytes: BytesMut) -> BytesMut {
    let prefix = Prefix::parse(black_box(&bytes).first_chunk::<PREFIX_LEN>().expect("a prefix")).expect("a good prefix");
    let request = access::<ProduceRequest>(&bytes[PREFIX_LEN..PREFIX_LEN + prefix.body_len]).expect("a good request");
    black_box(request.partitions.len());
    bytes
}

#[library_benchmark]
#[bench::one(encoded(&fetch_request(1)))]
#[bench::sixty_four(encoded(&fetch_request(64)))]
fn decode_fetch_request(bytes: BytesMut) -> (FetchRequest, BytesMut) {
    let prefix = Prefix::parse(black_box(&bytes).first_chunk::<PREFIX_LEN>().expect("a prefix")).expect("a good prefix");
    (decode(&bytes[PREFIX_LEN..PREFIX_LEN + prefix.body_len]).expect("a good request"), bytes)
}

// As the client does.
#[library_benchmark]
#[bench::one(encoded(&produce_answer(1)))]
#[bench::sixty_four(encoded(&produce_answer(64)))]
fn decode_produce_answer(bytes: BytesMut) -> (ProduceAnswer, BytesMut) {
    (decode(black_box(&bytes[PREFIX_LEN..])).expect("a good answer"), bytes)
}

#[library_benchmark]
#[bench::one(encoded(&fetch_answer(1)))]
#[bench::sixty_four(encoded(&fetch_answer(64)))]
fn decode_fetch_answer(bytes: BytesMut) -> (FetchAnswer, BytesMut) {
    (decode(black_box(&bytes[PREFIX_LEN..])).expect("a good answer"), bytes)
}

library_benchmark_group!(
    name = protocol,
    benchmarks = [
        encode_produce_request,
        encode_produce_answer,
        encode_fetch_answer,
        read_produce_request,
        decode_fetch_request,
        decode_produce_answer,
        decode_fetch_answer
    ]
);
main!(config = sluice_instructions::counting(); library_benchmark_groups = protocol);
