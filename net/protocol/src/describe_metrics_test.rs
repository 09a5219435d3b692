use super::*;
use crate::metric;

fn histogram(times: &[u64]) -> StageHistogram {
    let mut histogram = StageHistogram::EMPTY;
    times.iter().for_each(|&us| histogram.record(us));
    histogram
}

fn answer(shard: u16, admitted: u64, times: &[u64]) -> DescribeMetricsAnswer {
    DescribeMetricsAnswer {
        shard,
        incarnation: 3,
        at_us: 1000 * admitted,
        process_resident_len: 500,
        counters: vec![NamedValue::new(metric::ADMITTED_BATCHES, admitted)],
        gauges: vec![NamedValue::new("connections", 2)],
        histograms: vec![NamedHistogram::new(metric::ADMIT, &histogram(times))],
        ..Default::default()
    }
}

#[test]
fn a_difference_is_of_one_shard_and_one_start() {
    let (earlier, later) = (answer(1, 2, &[5, 6]), answer(1, 5, &[5, 6, 100, 7, 7]));
    let between = later.since(&earlier).expect("the same shard");
    assert_eq!(between.counter(metric::ADMITTED_BATCHES), Some(3));
    assert_eq!(between.histogram(metric::ADMIT), Some(histogram(&[100, 7, 7])));
    assert_eq!((between.gauge("connections"), between.at_us), (Some(2), 5000));
    assert_eq!((between.counter("connections"), between.histogram(metric::QUEUE)), (None, None));
    assert_eq!(earlier.since(&later), None, "what only grows has fallen");
    assert_eq!(later.since(&answer(2, 2, &[5, 6])), None, "another shard");
    assert_eq!(later.since(&DescribeMetricsAnswer { incarnation: 2, ..earlier.clone() }), None, "another start");
    // What the broker did not count yet was 0.
    let empty = DescribeMetricsAnswer { counters: vec![], histograms: vec![], ..earlier };
    assert_eq!(later.since(&empty), Some(later));
}

#[test]
fn shards_are_told_as_one() {
    let mut sum = answer(0, 2, &[5, 6]);
    sum.merge(&answer(1, 5, &[7]));
    sum.merge(&DescribeMetricsAnswer { counters: vec![NamedValue::new("other", 1)], ..Default::default() });
    assert_eq!((sum.counter(metric::ADMITTED_BATCHES), sum.counter("other")), (Some(7), Some(1)));
    assert_eq!(sum.gauge("connections"), Some(4));
    assert_eq!(sum.histogram(metric::ADMIT), Some(histogram(&[5, 6, 7])));
    assert_eq!((sum.process_resident_len, sum.at_us), (500, 5000), "of the process, not of its shards");
}
