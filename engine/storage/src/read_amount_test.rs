//! How much of the device a log costs that is read from its begin to its end, answer by answer.

use super::*;
use crate::log::tests::Bench;
use crate::read_turns::{ReadTurns, Turn};
use crate::testing::executor::block_on;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

/// Adds up what is asked of the device.
#[derive(Default)]
struct Counter(Cell<usize>);

impl ReadTurns for Counter {
    fn turn(&self, len: usize) -> Pin<Box<dyn Future<Output = Turn>>> {
        self.0.set(self.0.get() + len);
        Box::pin(std::future::ready(Box::new(()) as Turn))
    }
}

/// Bytes of frames, and bytes asked of the device for them, `len_max` at a time with a first frame of up to `first_len_max`.
fn read_through(bench: &Bench, len_max: usize, first_len_max: usize) -> (usize, usize) {
    let counter = Rc::new(Counter::default());
    let turns = Turns::of(counter.clone());
    let (mut offset, mut given) = (Offset::ZERO, 0);
    let end = bench.log.log_end_offset();
    while offset < end {
        let ReadPlan::Disk(plan) = bench.log.read(offset, len_max, end).unwrap() else { panic!("{offset} is not in memory") };
        let frames = block_on(plan.with_first_of(first_len_max).run_in_turns(&turns)).unwrap();
        assert!(frames.next_offset > offset, "an answer at {offset} gives something");
        given += frames.slices.iter().map(Bytes::len).sum::<usize>();
        offset = frames.next_offset;
    }
    (given, counter.0.get())
}

#[test]
fn a_log_is_read_about_once_whatever_its_frames_and_the_answers_are_like() {
    let mut seen = Vec::new();
    for body_len in [100, 1_000, 20_000, 70_000, 265_000] {
        let mut bench = Bench::new(7, 8 << 20);
        for _ in 0..(4 << 20) / body_len {
            bench.append(1, body_len);
        }
        bench.write_all_and_evict();
        for len_max in [128 << 10, 256 << 10, 1 << 20, 2 << 20] {
            let (given, asked) = read_through(&bench, len_max, 2 << 20);
            let ratio = asked as f64 / given as f64;
            seen.push((body_len, len_max, ratio));
        }
    }
    // The rest of a step of the index, once an answer; no frame is brought only to find that it has no room.
    let worst = |len_max: usize| 1.1 + INDEX_INTERVAL_LEN as f64 / len_max as f64;
    let bad: Vec<_> = seen.iter().filter(|(_, len_max, ratio)| *ratio > worst(*len_max)).collect();
    assert!(bad.is_empty(), "body, answer, bytes asked for each given: {bad:?}");
}

#[test]
fn a_frame_larger_than_an_answer_comes_alone_where_it_is_let() {
    let mut bench = Bench::new(8, 8 << 20);
    (0..4).for_each(|_| {
        bench.append(1, 300_000);
    });
    bench.write_all_and_evict();
    let end = bench.log.log_end_offset();
    let plan = || match bench.log.read(Offset::ZERO, 100_000, end).unwrap() {
        ReadPlan::Disk(plan) => plan,
        _ => panic!("not in memory"),
    };
    let refused = block_on(plan().run());
    assert!(matches!(refused, Err(DiskReadError::TooSmall { needed }) if needed > 300_000), "{refused:?}");
    assert!(matches!(block_on(plan().with_first_of(200_000).run()), Err(DiskReadError::TooSmall { .. })));
    let alone = block_on(plan().with_first_of(400_000).run()).unwrap();
    assert_eq!((alone.next_offset, alone.last_frame_len), (Offset(1), alone.slices.concat().len()));
}
