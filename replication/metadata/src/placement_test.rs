use super::*;
use crate::testing::{loads, with_topics};
use crate::{Record, on_register_broker};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn placed_evenly_whatever_is_created(shard_count in 1u16..9, partitions in prop::collection::vec(1u32..20, 1..8)) {
        let image = with_topics(shard_count, &partitions);
        let loads = loads(&image);
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        for (number, &count) in (1u8..).zip(&partitions) {
            let shards = crate::testing::shards_of(&image, number);
            let each = count as usize / usize::from(shard_count);
            for shard in 0..shard_count {
                let here = shards.iter().filter(|&&s| s == shard).count();
                prop_assert!(here == each || here == each + 1, "{} of {} on shard {}", here, count, shard);
            }
        }
    }

    /// No fewer moves make the shards even: what must leave does, and nothing that leaves is replaced by another.
    #[test]
    fn moves_are_as_few_as_can_be(before in 1u16..9, after in 1u16..9, partitions in prop::collection::vec(1u32..20, 1..8)) {
        let mut image = with_topics(before, &partitions);
        let old = loads(&image);
        let moved = moves(&image, BrokerId(1), usize::from(after)).len();
        let records = crate::testing::decide(&mut image, |i| on_register_broker(i, &crate::testing::register(2, after))).unwrap();
        prop_assert_eq!(records.iter().filter(|r| matches!(r, Record::PartitionChanged(_))).count(), image.partition_count());
        let new = loads(&image);
        prop_assert!(new.iter().max().unwrap() - new.iter().min().unwrap() <= 1, "{:?}", new);
        let left: usize = old.iter().enumerate().map(|(s, &n)| n.saturating_sub(new.get(s).copied().unwrap_or(0))).sum();
        if before == after {
            prop_assert_eq!(left, 0);
        } else {
            prop_assert_eq!(moved, left);
        }
    }
}
