//! Retention by age while clocks jump: neither held up nor hastened by a wall clock that is wrong for a while, before,
//! during or after a restart, nor by what producers call the time of their records.

mod support;

use sluice_model::Offset;
use sluice_storage::testing::fault_disk::FaultDisk;
use support::{Setup, TestProducer, TestShard, id};

const WALL_MS: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 24 * 3_600_000;
const RETENTION_S: u64 = 900;
/// Until a steady wall clock is believed, and a little more.
const SETTLING_S: u64 = 620;

struct Test {
    shard: TestShard,
    producer: TestProducer,
    disk: FaultDisk,
    start: u64,
}

impl Test {
    fn new() -> Self {
        let disk = FaultDisk::new(11);
        let shard = TestShard::open(&disk, setup(1, WALL_MS));
        Self { shard, producer: TestProducer::new(0, 1), disk, start: 1 }
    }

    /// Records enough for several segments; the log end after them.
    fn append(&mut self) -> Offset {
        for _ in 0..24 {
            let frame = self.producer.frame_of(20_000);
            self.shard.append(&frame, 1).expect("taken");
            self.shard.advance_ms(50);
        }
        self.shard.partitions.status(id(0)).expect("here").log_end_offset
    }

    fn advance_s(&mut self, seconds: u64) {
        self.shard.advance_ms(seconds * 1000);
    }

    fn log_start(&self) -> Offset {
        self.shard.partitions.status(id(0)).expect("here").log_start_offset
    }

    /// Stops cleanly and starts where the wall clock says so much more than it did.
    fn restart(&mut self, by_ms: i64) {
        let wall_ms = self.shard.partitions.now().wall_ms;
        let partitions = self.shard.partitions.clone();
        self.shard.run(async move { partitions.close().await.expect("a clean stop") });
        self.start += 1;
        self.shard = TestShard::open(&self.disk, setup(self.start, wall_ms + by_ms));
    }
}

fn setup(start: u64, wall_ms: i64) -> Setup {
    let mut setup = Setup::new(1, start);
    setup.wall_ms = wall_ms;
    setup.assigned[0].settings.retention_ms = Some(i64::try_from(RETENTION_S).unwrap() * 1000);
    setup
}

#[test]
fn records_go_when_they_are_old_and_not_before() {
    let mut test = Test::new();
    let end = test.append();
    test.advance_s(RETENTION_S - 60);
    assert_eq!(test.log_start(), Offset(0));
    test.append();
    test.advance_s(120);
    assert!(test.log_start() > Offset(0) && test.log_start() <= end, "{:?}", test.log_start());
}

#[test]
fn a_clock_that_jumps_by_days_and_back_deletes_nothing_and_holds_nothing_up() {
    for by_ms in [5 * DAY_MS, -5 * DAY_MS] {
        let mut test = Test::new();
        let end = test.append();
        test.shard.jump_ms(by_ms);
        test.advance_s(60);
        assert_eq!(test.shard.partitions.take_clock_jump(), Some(by_ms));
        assert_eq!(test.log_start(), Offset(0), "{by_ms} ms");
        test.append();
        test.shard.jump_ms(-by_ms);
        test.advance_s(60);
        assert!(test.shard.partitions.take_clock_settled());
        assert_eq!(test.log_start(), Offset(0), "{by_ms} ms");
        test.advance_s(RETENTION_S - 100);
        assert!(test.log_start() > Offset(0) && test.log_start() <= end, "{by_ms} ms: {:?}", test.log_start());
    }
}

#[test]
fn a_clock_set_back_for_long_and_then_right_deletes_nothing_that_is_young() {
    let mut test = Test::new();
    test.append();
    test.shard.jump_ms(-3 * DAY_MS);
    test.advance_s(SETTLING_S);
    let young = test.append();
    test.shard.jump_ms(3 * DAY_MS);
    test.append();
    test.advance_s(SETTLING_S / 4);
    assert_eq!(test.log_start(), Offset(0), "the oldest record is {} s old", SETTLING_S + SETTLING_S / 4);
    test.advance_s(RETENTION_S - SETTLING_S);
    assert!(test.log_start() > Offset(0) && test.log_start() < young, "{:?}", test.log_start());
}

#[test]
fn a_start_while_the_clock_is_set_back_stamps_nothing_in_the_past() {
    let mut test = Test::new();
    test.append();
    test.restart(-3 * DAY_MS);
    assert_eq!(test.shard.partitions.take_clock_jump().map(|by_ms| by_ms < -2 * DAY_MS), Some(true));
    test.append();
    test.advance_s(SETTLING_S);
    test.append();
    test.restart(3 * DAY_MS);
    test.append();
    test.advance_s(60);
    assert_eq!(test.log_start(), Offset(0), "nothing is {RETENTION_S} s old");
    test.advance_s(RETENTION_S);
    assert!(test.log_start() > Offset(0), "it is not held up either");
}

#[test]
fn a_start_while_the_clock_is_ahead_deletes_nothing_and_its_stamps_do_no_harm() {
    let mut test = Test::new();
    test.append();
    test.restart(30 * DAY_MS);
    test.append();
    test.advance_s(SETTLING_S / 2);
    assert_eq!(test.log_start(), Offset(0), "a wrong clock deletes nothing at once");
    test.shard.jump_ms(-30 * DAY_MS);
    let end = test.append();
    test.advance_s(60);
    test.restart(0);
    test.append();
    test.advance_s(RETENTION_S + 60);
    assert!(test.log_start() >= end.min(Offset(48)), "stamps of the future hold nothing up: {:?}", test.log_start());
}

#[test]
fn a_start_after_a_long_stop_deletes_what_is_old_once_the_clock_is_believed() {
    let mut test = Test::new();
    let end = test.append();
    test.restart(30 * DAY_MS);
    let young = test.append();
    test.advance_s(SETTLING_S);
    assert!(test.log_start() > Offset(0) && test.log_start() <= end, "{:?}", test.log_start());
    assert!(test.log_start() < young, "what was appended since is young");
}

#[test]
fn what_producers_call_the_time_never_counts() {
    for timestamp_ms in [0, WALL_MS + 3_650 * DAY_MS] {
        let mut test = Test::new();
        test.producer.timestamp_ms = timestamp_ms;
        let end = test.append();
        test.advance_s(RETENTION_S - 60);
        assert_eq!(test.log_start(), Offset(0), "{timestamp_ms}");
        test.advance_s(120);
        assert!(test.log_start() > Offset(0) && test.log_start() <= end, "{timestamp_ms}: {:?}", test.log_start());
    }
}
