//! The records of a batch: built by a client, checked by a broker, read by a client.

use gungraun::prelude::*;
use sluice_instructions::inputs::{
    BULK, Frame, HUNDRED_OF_100, HUNDRED_RICH, ONE_OF_1K, Shape, build_into, partition, produced, value,
};
use sluice_model::limits::FRAME_LEN_MAX_DEFAULT;
use sluice_model::record_batch::{BuiltRecords, Records, RecordsBuilder, validate_records};
use std::hint::black_box;

/// A builder with room, which has made a batch before.
fn builder(shape: Shape) -> (RecordsBuilder, Shape, Vec<u8>) {
    let mut builder = RecordsBuilder::new(FRAME_LEN_MAX_DEFAULT);
    let value = value(shape.value_len);
    build_into(&mut builder, shape, &value);
    builder.take();
    builder.reserve(256 * 1024);
    (builder, shape, value)
}

fn batch_of(shape: Shape) -> Frame {
    produced(partition(0), shape, 1).remove(0)
}

#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = builder)]
#[bench::hundred_of_100(args = (HUNDRED_OF_100), setup = builder)]
#[bench::hundred_with_key_and_headers(args = (HUNDRED_RICH), setup = builder)]
#[bench::bulk_64k(args = (BULK), setup = builder)]
fn build((mut builder, shape, value): (RecordsBuilder, Shape, Vec<u8>)) -> (RecordsBuilder, Option<BuiltRecords>, Vec<u8>) {
    build_into(black_box(&mut builder), shape, black_box(&value));
    let built = builder.take();
    (builder, built, value)
}

// What a broker checks of an uncompressed batch, and a consumer before it hands one out.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = batch_of)]
#[bench::hundred_of_100(args = (HUNDRED_OF_100), setup = batch_of)]
#[bench::hundred_with_key_and_headers(args = (HUNDRED_RICH), setup = batch_of)]
#[bench::bulk_64k(args = (BULK), setup = batch_of)]
fn validate(frame: Frame) -> Frame {
    assert!(black_box(validate_records(black_box(&frame.header), black_box(&frame.body))).is_ok());
    frame
}

// Every record with its value, as a consumer goes through them.
#[library_benchmark]
#[bench::one_of_1k(args = (ONE_OF_1K), setup = batch_of)]
#[bench::hundred_of_100(args = (HUNDRED_OF_100), setup = batch_of)]
#[bench::hundred_with_key_and_headers(args = (HUNDRED_RICH), setup = batch_of)]
#[bench::bulk_64k(args = (BULK), setup = batch_of)]
fn read(frame: Frame) -> Frame {
    for record in Records::new(black_box(&frame.body), frame.header.record_count.to_native()) {
        black_box(record.expect("a good record").value);
    }
    frame
}

library_benchmark_group!(name = records, benchmarks = [build, validate, read]);
main!(config = sluice_instructions::counting(); library_benchmark_groups = records);
