//! Frames: what a broker checks of each, what a leader seals, what a client makes.

use gungraun::prelude::*;
use sluice_instructions::inputs::{BULK, Frame, ONE_OF_1K, Shape, batch, partition, produced, records, seal, sealed};
use sluice_model::frame::{LeaderSeal, ProducerBatch};
use sluice_model::record_batch::BuiltRecords;
use sluice_model::{FrameHeader, Offset};
use std::hint::black_box;

fn sealed_bytes(shape: Shape) -> Vec<u8> {
    sealed(partition(0), shape, 2)[1].bytes().to_vec()
}

fn produced_bytes(shape: Shape) -> Vec<u8> {
    produced(partition(0), shape, 2)[1].bytes().to_vec()
}

fn to_seal() -> (Frame, LeaderSeal) {
    (produced(partition(0), ONE_OF_1K, 1).remove(0), seal(Offset(1000), 0x1234_5678))
}

fn to_make(shape: Shape) -> (ProducerBatch, BuiltRecords) {
    let built = records(shape);
    (batch(partition(0), &built, Some(0)), built)
}

// A frame from a journal or a segment.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = sealed_bytes)]
#[bench::bulk_64k(args = (BULK), setup = sealed_bytes)]
fn validate_sealed(frame: Vec<u8>) -> Vec<u8> {
    assert!(black_box(FrameHeader::parse_frame(black_box(&frame))).is_ok());
    frame
}

// A frame from a producer, without its records.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = produced_bytes)]
#[bench::bulk_64k(args = (BULK), setup = produced_bytes)]
fn validate_produced(frame: Vec<u8>) -> Vec<u8> {
    let header = FrameHeader::parse(black_box(&frame)).expect("a good header");
    let body = header.body_of(&frame).expect("a whole frame");
    assert!(black_box(header.verify_body(body)).is_ok());
    frame
}

#[library_benchmark]
#[bench::header(setup = to_seal)]
fn seal_header((frame, seal): (Frame, LeaderSeal)) -> (Frame, FrameHeader) {
    let header = black_box(&frame).header.sealed(black_box(seal));
    (frame, header)
}

#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = to_make)]
#[bench::bulk_64k(args = (BULK), setup = to_make)]
fn make_header((batch, built): (ProducerBatch, BuiltRecords)) -> (FrameHeader, BuiltRecords) {
    (FrameHeader::new(black_box(batch), black_box(&built.body)), built)
}

library_benchmark_group!(name = frame, benchmarks = [validate_sealed, validate_produced, seal_header, make_header]);
main!(config = sluice_instructions::counting(); library_benchmark_groups = frame);
