//! DescribeMetrics against what a client saw itself: every stage of every produce, refusals by reason, bytes by purpose.

mod support;

use sluice_model::StageHistogram;
use sluice_protocol::{DescribeMetricsAnswer, DescribeMetricsRequest, ProduceAnswer, ProducePartition, ProduceRequest, metric};
use std::time::Instant;
use support::frames::frame;
use support::raw_client::{fetch_request, produce_request};
use support::{FrameSpec, RawClient, broker, start_in, temp_dir};

fn describe(client: &mut RawClient) -> DescribeMetricsAnswer {
    let answer = client.call(&DescribeMetricsRequest {});
    assert_eq!((answer.error, &*answer.text), (0, ""));
    answer
}

fn counter(answer: &DescribeMetricsAnswer, name: &str) -> u64 {
    answer.counter(name).unwrap_or_else(|| panic!("{name} is counted"))
}

fn times(answer: &DescribeMetricsAnswer, name: &str) -> StageHistogram {
    answer.histogram(name).unwrap_or_else(|| panic!("{name} is timed"))
}

/// Samples of each stage of a produce, and of the whole.
fn sample_counts(answer: &DescribeMetricsAnswer) -> [u64; 6] {
    let [admit, queue, write_flush, replicate, answered] = metric::PRODUCE_STAGES;
    [admit, queue, write_flush, replicate, answered, metric::PRODUCE].map(|name| times(answer, name).count())
}

#[test]
fn every_produce_is_one_sample_of_each_stage_and_the_stages_are_the_whole() {
    const COUNT: u64 = 200;
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let spec = FrameSpec::new(topic, &[b"value", b"another"]);
    let begun = Instant::now();
    let before = describe(&mut client);
    for _ in 0..COUNT {
        assert_eq!(client.produce(&spec).error, 0);
    }
    let after = describe(&mut client);
    let waited_us = begun.elapsed().as_micros() as u64;
    let between = after.since(&before).expect("the same start");
    assert_eq!(sample_counts(&between), [COUNT; 6]);
    let sums = metric::PRODUCE_STAGES.map(|name| times(&between, name).sum_us());
    let whole_us = times(&between, metric::PRODUCE).sum_us();
    assert_eq!(sums.iter().sum::<u64>(), whole_us, "{sums:?}");
    assert!(whole_us <= waited_us && waited_us <= after.at_us, "one after the other, {whole_us} us of {waited_us} us");
    assert!(sums[2] > 0, "nothing is durable in no time: {sums:?}");
    assert_eq!(sums[3], 0, "there is nobody to replicate to: {sums:?}");
    let frame_len = frame(&spec).len() as u64;
    let of = |name| counter(&between, name);
    assert_eq!((of(metric::ADMITTED_BATCHES), of(metric::ADMITTED_RECORDS)), (COUNT, 2 * COUNT));
    assert_eq!(of(metric::ADMITTED_LEN), COUNT * frame_len);
    assert_eq!((of(metric::GROUPS), of(metric::GROUP_ENTRIES)), (COUNT, COUNT), "the client waits for each");
    assert!(of(metric::JOURNAL_WRITTEN_LEN) >= COUNT * 4096, "a block for each group");
    assert!(of(metric::DEVICE_WRITTEN_LEN) >= of(metric::JOURNAL_WRITTEN_LEN));
    assert!(0 < after.process_resident_len && after.process_resident_len <= after.process_resident_len_max);
    assert_eq!(after.gauge("connections"), Some(1));
    drop(client);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_request_is_one_sample_whatever_it_holds_and_none_when_nobody_waits_or_nothing_is_taken() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 3);
    let spec = |partition| FrameSpec { partition, ..FrameSpec::new(topic, &[b"v"]) };
    let before = describe(&mut client);

    let frames = [0, 1, 2].map(|partition| frame(&spec(partition)));
    let named = |(partition, frame): (u32, &Vec<u8>)| ProducePartition {
        topic_id: topic,
        partition,
        frame_len: u32::try_from(frame.len()).expect("a small frame"),
    };
    let request = ProduceRequest { acks: 2, partitions: (0..).zip(&frames).map(named).collect() };
    let answer: ProduceAnswer = client.ask(&request, &frames.concat()).decode();
    assert!(answer.partitions.iter().all(|partition| partition.error == 0));
    let between = describe(&mut client).since(&before).expect("the same start");
    assert_eq!((sample_counts(&between), counter(&between, metric::ADMITTED_BATCHES)), ([1; 6], 3));

    // Two of three are refused: the one that was taken is timed.
    let mut bad = frames.clone();
    bad[0][60] ^= 1;
    let answer: ProduceAnswer = client.ask(&request, &bad.concat()).decode();
    assert_ne!(answer.partitions[0].error, 0);
    let nowhere = client.produce_bytes([9; 16], 0, &frames[0]);
    assert_ne!(nowhere.error, 0);
    let all_bad = client.produce_bytes(topic, 0, &bad[0]);
    assert_ne!(all_bad.error, 0);
    let unanswered = ProduceRequest { acks: 0, ..produce_request(topic, 0, frames[0].len()) };
    client.send(&unanswered, &frames[0]);
    let between = describe(&mut client).since(&before).expect("the same start");
    assert_eq!((sample_counts(&between), counter(&between, metric::ADMITTED_BATCHES)), ([2; 6], 6));
    let refused = |name| counter(&between, &format!("{}{name}", metric::REFUSED_PREFIX));
    assert_eq!((counter(&between, metric::REFUSED_BATCHES), refused("invalid"), refused("not_here")), (3, 2, 1));
    let by_reason = |named: &&sluice_protocol::NamedValue| named.name.starts_with(metric::REFUSED_PREFIX);
    assert_eq!(between.counters.iter().filter(by_reason).map(|named| named.value).sum::<u64>(), 3);
    drop(client);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn fetches_are_told_apart_by_where_their_frames_were() {
    let dir = temp_dir();
    let broker = start_in(dir.path());
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.create_topic("t", 1);
    let spec = FrameSpec::new(topic, &[&[7; 1000]]);
    (0..20).for_each(|_| assert_eq!(client.produce(&spec).error, 0));
    let frames_len = 20 * frame(&spec).len() as u64;
    let before = describe(&mut client);
    assert_eq!(client.consume(topic, 0, 0).len(), 20);
    assert_eq!(client.call(&fetch_request(topic, 0, 20)).partitions[0].error, 0, "nothing is there, and that is no sample");
    let between = describe(&mut client).since(&before).expect("the same start");
    let fetched = |of: &DescribeMetricsAnswer| {
        let counts = [metric::READ_MEMORY, metric::READ_DISK].map(|name| times(of, name).count());
        (counts, counter(of, metric::FETCHED_MEMORY_LEN), counter(of, metric::FETCHED_DISK_LEN))
    };
    assert_eq!(fetched(&between), ([1, 0], frames_len, 0));
    drop(client);
    broker.shutdown().expect("a clean stop");

    let broker = start_in(dir.path());
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let restarted = describe(&mut client);
    assert_eq!(restarted.since(&before), None, "no difference across a restart");
    assert_eq!(fetched(&restarted), ([0, 0], 0, 0));
    assert_eq!(client.consume(topic, 0, 0).len(), 20);
    let after = describe(&mut client);
    let (counts, memory_len, disk_len) = fetched(&after);
    assert!(counts[0] == 0 && counts[1] > 0 && memory_len == 0, "{counts:?}, {memory_len}");
    assert_eq!(disk_len, frames_len);
    assert!(counter(&after, metric::DEVICE_READ_LEN) >= disk_len);
    drop(client);
    broker.shutdown().expect("a clean stop");
}
