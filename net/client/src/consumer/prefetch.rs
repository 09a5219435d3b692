//! How many bytes a consumer fetches ahead: more while the application drains quicker than fetches fill, less while
//! what was fetched waits long.
//!
//! It begins with one fetch's worth. The application coming to an empty buffer although there was more to fetch doubles
//! it, at most once an answer; a batch that has waited a second or longer halves it, at most once a second. So a quick
//! reader is soon bounded by the wire alone, and a slow one holds about as much as it reads in a second or two.
//! Deliberately absent: clocks and rates; two events are enough.

use crate::config::ConsumerConfig;

/// A batch that waited this long for the application was fetched too early, milliseconds.
const LONG_WAIT_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Prefetch {
    len: usize,
    len_min: usize,
    len_max: usize,
    /// The application came to an empty buffer since the last answer.
    starved: bool,
    shrunk_ms: Option<u64>,
}

impl Prefetch {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        let (fetch, partition) = (config.fetch_len_max as usize, config.partition_len_max as usize);
        Self { len: fetch, len_min: partition, len_max: config.prefetch_len_max, starved: false, shrunk_ms: None }
    }

    /// Bytes on the wire and waiting, at most, over all shards.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The application asked and nothing was there.
    pub(super) fn on_empty(&mut self) {
        self.starved = true;
    }

    /// A fetch brought records, and there are `more` behind them.
    pub(super) fn on_filled(&mut self, more: bool) {
        if std::mem::take(&mut self.starved) && more {
            self.len = (self.len * 2).min(self.len_max);
        }
    }

    /// The application took a batch that had waited `waited_ms`.
    pub(super) fn on_taken(&mut self, now_ms: u64, waited_ms: u64) {
        let recently = self.shrunk_ms.is_some_and(|at_ms| now_ms < at_ms + LONG_WAIT_MS);
        if waited_ms >= LONG_WAIT_MS && !recently {
            self.len = (self.len / 2).max(self.len_min);
            self.shrunk_ms = Some(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch() -> Prefetch {
        let config = ConsumerConfig {
            partition_len_max: 1 << 16,
            fetch_len_max: 1 << 20,
            prefetch_len_max: 5 << 20,
            ..ConsumerConfig::default()
        };
        Prefetch::new(&config)
    }

    #[test]
    fn it_grows_while_a_quick_reader_finds_it_empty() {
        let mut prefetch = prefetch();
        assert_eq!(prefetch.len(), 1 << 20);
        prefetch.on_filled(true);
        assert_eq!(prefetch.len(), 1 << 20, "the reader had enough");
        for expected in [2 << 20, 4 << 20, 5 << 20, 5 << 20] {
            prefetch.on_empty();
            prefetch.on_empty();
            prefetch.on_filled(true);
            prefetch.on_filled(true);
            assert_eq!(prefetch.len(), expected);
        }
    }

    #[test]
    fn a_reader_at_the_end_of_the_log_needs_no_more() {
        let mut prefetch = prefetch();
        prefetch.on_empty();
        prefetch.on_filled(false);
        prefetch.on_filled(true);
        assert_eq!(prefetch.len(), 1 << 20);
    }

    #[test]
    fn it_shrinks_while_batches_wait_and_grows_again() {
        let mut prefetch = prefetch();
        prefetch.on_taken(10_000, 999);
        assert_eq!(prefetch.len(), 1 << 20);
        for (now_ms, expected) in [(10_000, 1 << 19), (10_900, 1 << 19), (11_000, 1 << 18), (12_000, 1 << 17), (13_000, 1 << 16)]
        {
            prefetch.on_taken(now_ms, 1_000);
            assert_eq!(prefetch.len(), expected, "at {now_ms}");
        }
        prefetch.on_taken(20_000, 60_000);
        assert_eq!(prefetch.len(), 1 << 16, "never below what one partition may bring");
        prefetch.on_empty();
        prefetch.on_filled(true);
        assert_eq!(prefetch.len(), 1 << 17);
    }
}
