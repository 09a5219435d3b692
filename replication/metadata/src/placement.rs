//! Which shards of a broker its partitions go to when it has another number of them. Deterministic: equal images give
//! equal moves. Where new partitions go is decided in `assignment.rs`.

use crate::image::Image;
use sluice_model::{BrokerId, ShardIndex, TopicId, TopicPartition};
use std::collections::BTreeMap;

/// What moves, and where to, when `broker` has `shard_count` shards from now on: all that lies on a shard that is gone,
/// and as few others as make the shards even (within one partition).
pub(crate) fn moves(image: &Image, broker: BrokerId, shard_count: usize) -> BTreeMap<TopicPartition, ShardIndex> {
    let mut held = Held::of(image, broker, shard_count);
    let shares = held.shares();
    let mut moving = held.gone.clone();
    for (shard, &share) in shares.iter().enumerate() {
        moving.extend(held.take_beyond(shard, share));
    }
    moving.sort_unstable();
    let mut room: Vec<usize> = shares.iter().zip(&held.shards).map(|(share, ids)| share - ids.len()).collect();
    moving.into_iter().map(|id| (id, held.give(id, &mut room))).collect()
}

/// What a broker holds, by shard. Within a shard, each partition has its rank among those of its topic there.
struct Held {
    shards: Vec<Vec<(usize, TopicPartition)>>,
    gone: Vec<TopicPartition>,
    of_topic: BTreeMap<(TopicId, usize), usize>,
}

impl Held {
    fn of(image: &Image, broker: BrokerId, shard_count: usize) -> Self {
        let mut held = Self { shards: vec![Vec::new(); shard_count], gone: Vec::new(), of_topic: BTreeMap::new() };
        for (id, partition) in image.partitions() {
            let Some(placement) = partition.placement(broker) else { continue };
            let shard = usize::from(placement.shard.0);
            if shard < shard_count { held.put(shard, id) } else { held.gone.push(id) }
        }
        held
    }

    fn put(&mut self, shard: usize, id: TopicPartition) {
        let count = self.of_topic.entry((id.topic_id, shard)).or_default();
        self.shards[shard].push((*count, id));
        *count += 1;
    }

    /// How many each shard keeps or gets: as many as the others, and one more on those that hold the most already.
    fn shares(&self) -> Vec<usize> {
        let total = self.gone.len() + self.shards.iter().map(Vec::len).sum::<usize>();
        let (each, more) = (total / self.shards.len(), total % self.shards.len());
        let mut fullest: Vec<usize> = (0..self.shards.len()).collect();
        fullest.sort_by_key(|&shard| std::cmp::Reverse(self.shards[shard].len()));
        let mut shares = vec![each; self.shards.len()];
        fullest[..more].iter().for_each(|&shard| shares[shard] += 1);
        shares
    }

    /// Takes what `shard` has beyond its share, from the topics with the most partitions there.
    fn take_beyond(&mut self, shard: usize, share: usize) -> Vec<TopicPartition> {
        let held = &mut self.shards[shard];
        held.sort_unstable();
        let taken: Vec<_> = held.split_off(share.min(held.len())).into_iter().map(|(_, id)| id).collect();
        for id in &taken {
            *self.of_topic.entry((id.topic_id, shard)).or_default() -= 1;
        }
        taken
    }

    /// The shard with room that has the fewest partitions of this topic, and among those the most room.
    fn give(&mut self, id: TopicPartition, room: &mut [usize]) -> ShardIndex {
        let of_topic = |shard| self.of_topic.get(&(id.topic_id, shard)).copied().unwrap_or(0);
        let shard = (0..room.len()).filter(|&s| room[s] > 0).min_by_key(|&s| (of_topic(s), std::cmp::Reverse(room[s])));
        let shard = shard.expect("the shares add up to all partitions, so there is room for each that moves");
        room[shard] -= 1;
        self.put(shard, id);
        ShardIndex(u16::try_from(shard).expect("SHARDS_PER_BROKER_MAX fits"))
    }
}

#[cfg(test)]
#[path = "placement_test.rs"]
mod tests;
