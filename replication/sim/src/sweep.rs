//! Many seeds on several threads, and which of them runs on this thread, for whoever has to report a panic.
//!
//! The expensive mistake is a seed that runs twice or not at all: a sweep would say more than it looked at.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from: u64,
    pub count: u64,
    pub threads: usize,
    /// Goes on after a seed that fails.
    pub keeps_going: bool,
}

/// Runs seeds until one fails or all of them. `take` is given what each came to, one after the other, in the order in which
/// they end; it says whether that is a failure.
pub fn sweep<T>(range: Range, run: impl Fn(u64) -> T + Sync, take: impl FnMut(u64, T) -> bool + Send) {
    let (next, stop) = (AtomicU64::new(range.from), AtomicBool::new(false));
    let take = Mutex::new(take);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.from + range.count {
                break;
            }
            let outcome = run(seed);
            let mut take = take.lock().unwrap_or_else(PoisonError::into_inner);
            if take(seed, outcome) {
                stop.fetch_or(!range.keeps_going, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..range.threads.max(1) {
            scope.spawn(work);
        }
    });
}

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A seed begins on this thread.
pub(crate) fn note_seed(seed: u64) {
    SEED.set(Some(seed));
}

/// A release build ends at a panic, before anybody can catch it: whoever runs it is told how to play the seed again.
pub fn tell_the_seed_of_a_panic(command: impl Fn(u64) -> String + Send + Sync + 'static) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if let Some(seed) = SEED.get() {
            eprintln!("seed {seed}: panic; replay it with: {}", command(seed));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds that ran, with what each came to; seed 12 fails.
    fn swept(range: Range) -> Vec<(u64, u64)> {
        let mut ran = Vec::new();
        sweep(
            range,
            |seed| seed * 2,
            |seed, outcome| {
                ran.push((seed, outcome));
                seed == 12
            },
        );
        ran.sort_unstable();
        ran
    }

    #[test]
    fn every_seed_runs_once_and_a_failure_stops_the_rest() {
        for threads in [1, 3] {
            let all = swept(Range { from: 10, count: 50, threads, keeps_going: true });
            assert_eq!(all, (10..60).map(|seed| (seed, seed * 2)).collect::<Vec<_>>());
        }
        assert_eq!(swept(Range { from: 10, count: 50, threads: 1, keeps_going: false }), [(10, 20), (11, 22), (12, 24)]);
    }
}
