use super::*;

fn of(times: impl IntoIterator<Item = u64>) -> StageHistogram {
    let mut histogram = StageHistogram::EMPTY;
    times.into_iter().for_each(|us| histogram.record(us));
    histogram
}

/// The buckets as they stand on the wire: a change here is another format.
#[test]
fn every_time_lies_in_the_published_bucket() {
    let table = [
        (0, 0, 0),
        (1, 1, 1),
        (7, 7, 7),
        (8, 8, 8),
        (15, 15, 15),
        (16, 16, 17),
        (17, 16, 17),
        (18, 17, 19),
        (31, 23, 31),
        (32, 24, 35),
        (100, 36, 103),
        (1_000, 63, 1_023),
        (1_024, 64, 1_151),
        (1_000_000, 143, 1_048_575),
        (60_000_000, 190, 62_914_559),
        ((1 << 26) - 1, 191, (1 << 26) - 1),
        (1 << 26, 191, (1 << 26) - 1),
        (u64::MAX, 191, (1 << 26) - 1),
    ];
    assert_eq!(StageHistogram::BUCKETS, 192);
    for (us, bucket, upper) in table {
        assert_eq!((bucket_of(us), upper_us(bucket)), (bucket, upper), "{us} us");
    }
}

#[test]
fn buckets_lie_edge_to_edge() {
    assert_eq!(bucket_of(0), 0);
    for bucket in 0..StageHistogram::BUCKETS - 1 {
        assert_eq!(bucket_of(upper_us(bucket)), bucket);
        assert_eq!(bucket_of(upper_us(bucket) + 1), bucket + 1, "what follows bucket {bucket}");
    }
}

#[test]
fn a_quantile_is_the_sorted_sample_and_at_most_an_eighth_too_much() {
    // Every length of time up to seconds, more of the short ones: no two buckets are filled alike.
    let mut times: Vec<u64> = (0..4000u64).map(|n| (n * n * n / 2000).wrapping_mul(2_654_435_761) % (n * n / 4 + 1)).collect();
    let histogram = of(times.iter().copied());
    times.sort_unstable();
    assert_eq!((histogram.count(), histogram.sum_us()), (4000, times.iter().sum()));
    for per_mille in 0..=1000 {
        let quantile = f64::from(per_mille) / 1000.0;
        let rank = ((quantile * 4000.0).ceil() as usize).max(1);
        let (exact, told) = (times[rank - 1], histogram.quantile_us(quantile).expect("there are samples"));
        assert!(exact <= told && told <= exact + exact / 8, "{quantile}: {told} us for {exact} us");
    }
}

#[test]
fn no_samples_have_no_quantile() {
    assert_eq!((StageHistogram::EMPTY.quantile_us(0.5), StageHistogram::EMPTY.counts()), (None, [].as_slice()));
    assert!(StageHistogram::EMPTY.mean_us() == 0.0);
    let one = of([5]);
    assert_eq!([0.0, 0.5, 1.0, -1.0, 2.0, f64::NAN].map(|quantile| one.quantile_us(quantile)), [Some(5); 6]);
}

#[test]
fn a_difference_has_what_came_in_between_and_a_sum_has_both() {
    let (first, second) = (of([1, 2, 300, 70_000_000]), of([2, 4000]));
    let mut both = first.clone();
    both.merge(&second);
    assert_eq!(both, of([1, 2, 300, 70_000_000, 2, 4000]));
    assert_eq!((both.since(&first), both.since(&second)), (Some(second.clone()), Some(first.clone())));
    assert_eq!(both.since(&both), Some(StageHistogram::EMPTY));
    // Another broker's, or one of before its restart.
    assert_eq!(first.since(&both), None);
    assert_eq!(of([9]).since(&of([2])), None, "more in sum, and yet one sample less");
}

#[test]
fn counts_read_back_and_hostile_ones_are_survived() {
    let histogram = of([0, 9, 9, 1000]);
    let counts = histogram.counts().to_vec();
    assert_eq!(counts.len(), bucket_of(1000) + 1);
    assert_eq!(StageHistogram::from_counts(counts.into_iter(), histogram.sum_us()), Some(histogram));
    assert_eq!(StageHistogram::from_counts([0; StageHistogram::BUCKETS + 1].into_iter(), 0), None);
    let mut full = StageHistogram::from_counts([u64::MAX; StageHistogram::BUCKETS].into_iter(), u64::MAX).expect("all of them");
    full.merge(&full.clone());
    full.record(u64::MAX);
    assert_eq!((full.sum_us(), full.quantile_us(0.5)), (u64::MAX, Some(0)));
}
