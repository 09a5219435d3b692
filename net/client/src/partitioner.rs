//! Which partition a record goes to: by its key as Kafka's clients do it, so that every client puts a key into the
//! same partition; without a key, all to one partition until its batch is full, then to another.

use crate::backoff::random_u64;

/// The partition of `key` among `partition_count` (at least 1): `toPositive(murmur2(key)) % n`.
#[must_use]
pub fn partition_for_key(key: &[u8], partition_count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}

/// Kafka's murmur2: 32 bits, seed 0x9747b28c, little endian.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    // The length enters as a 32-bit number; keys are shorter than that by far.
    let mut h = 0x9747_b28c_u32 ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        h = h.wrapping_mul(M) ^ mix(k);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
        h = (h ^ last).wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition that records without a key go to now.
#[derive(Debug)]
pub(crate) struct Sticky {
    current: u32,
    random: u64,
}

impl Sticky {
    pub(crate) fn new() -> Self {
        let random = random_u64() | 1;
        Self { current: (random >> 33) as u32, random }
    }

    pub(crate) fn current(&self, partition_count: u32) -> u32 {
        self.current % partition_count.max(1)
    }

    /// The batch of `partition` is full or sent: go on elsewhere, if that is where records went. Of two others drawn
    /// at random, to the one with fewer batches without outcome, as `load` counts them; `None` is a partition that has
    /// no leader, which is taken only when all that were drawn are so. (KIP-794's aim, by the power of two choices.)
    pub(crate) fn on_batch_end(&mut self, partition: u32, partition_count: u32, load: impl Fn(u32) -> Option<usize>) {
        if partition_count > 1 && self.current(partition_count) == partition {
            let mut draw = || {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let step = 1 + ((self.random >> 33) as u32) % (partition_count - 1);
                (partition + step) % partition_count
            };
            let (one, other) = (draw(), draw());
            self.current = if load(other).unwrap_or(usize::MAX) < load(one).unwrap_or(usize::MAX) { other } else { one };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values Kafka's own tests expect.
    #[test]
    fn murmur2_is_kafkas() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn keys_spread_and_stay() {
        let mut counts = [0; 7];
        for n in 0..7000 {
            let key = format!("key-{n}");
            counts[partition_for_key(key.as_bytes(), 7) as usize] += 1;
            assert_eq!(partition_for_key(key.as_bytes(), 7), partition_for_key(key.as_bytes(), 7));
        }
        assert!(counts.iter().all(|&c| c > 800), "{counts:?}");
        assert_eq!(partition_for_key(b"x", 1), 0);
    }

    #[test]
    fn it_stays_until_the_batch_ends_and_then_moves() {
        let mut sticky = Sticky::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let now = sticky.current(5);
            seen.insert(now);
            sticky.on_batch_end((now + 1) % 5, 5, |_| Some(0));
            assert_eq!(sticky.current(5), now, "another partition's batch is no reason");
            sticky.on_batch_end(now, 5, |_| Some(0));
            assert_ne!(sticky.current(5), now);
        }
        assert_eq!(seen.len(), 5);
        sticky.on_batch_end(0, 1, |_| Some(0));
        assert_eq!(sticky.current(1), 0);
    }

    #[test]
    fn the_busy_get_less_and_those_without_a_leader_least() {
        let mut sticky = Sticky::new();
        let mut counts = [0; 4];
        for _ in 0..4000 {
            let now = sticky.current(4);
            counts[now as usize] += 1;
            sticky.on_batch_end(now, 4, |partition| match partition {
                0 => None,
                1 => Some(5),
                _ => Some(0),
            });
        }
        // In the long run 400, 933, 1333 and 1333 of them.
        assert!(counts[0] < 700 && counts[0] < counts[1], "{counts:?}");
        assert!(counts[1] < counts[2].min(counts[3]), "{counts:?}");
    }
}
