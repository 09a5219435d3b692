//! Several pieces of I/O at once, never more than a fixed number.
//!
//! A flush waits for the device, not for this thread, and flushes that wait together cost little more than one. The
//! expensive mistake is to drop a future whose I/O is under way, so what was begun is always awaited, errors or not.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::Poll;

/// Runs `futures`, at most `limit` at a time, begun in their order, and gives each result to `on_done` as it comes. After a
/// break no further one is begun; the result is that of the first break.
pub async fn run_bounded<F: Future, B>(
    limit: usize,
    futures: impl Iterator<Item = F>,
    mut on_done: impl FnMut(F::Output) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut waiting = futures.fuse();
    let mut under_way: Vec<Pin<Box<F>>> = Vec::with_capacity(limit);
    let mut result = ControlFlow::Continue(());
    poll_fn(|context| {
        loop {
            while result.is_continue() && under_way.len() < limit {
                let Some(next) = waiting.next() else { break };
                under_way.push(Box::pin(next));
            }
            let before = under_way.len();
            under_way.retain_mut(|future| match future.as_mut().poll(context) {
                Poll::Ready(output) => {
                    let flow = on_done(output);
                    if result.is_continue() {
                        result = flow;
                    }
                    false
                }
                Poll::Pending => true,
            });
            if under_way.is_empty() && (before == 0 || result.is_break()) {
                return Poll::Ready(());
            }
            // Places that have become free are taken at once: nobody wakes this task for them.
            if under_way.len() == before || result.is_break() {
                return Poll::Pending;
            }
        }
    })
    .await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::executor::block_on;
    use std::cell::Cell;

    /// Ready at its `turns`th poll; notes how many of its kind run at once.
    async fn counted(running: &Cell<usize>, most: &Cell<usize>, turns: u32, value: u32) -> u32 {
        running.set(running.get() + 1);
        most.set(most.get().max(running.get()));
        let mut left = turns;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        running.set(running.get() - 1);
        value
    }

    #[test]
    fn all_run_and_never_more_than_the_limit_at_once() {
        for limit in [1, 3, 16] {
            let (running, most) = (Cell::new(0), Cell::new(0));
            let mut sum = 0;
            let futures = (0..10).map(|n| counted(&running, &most, 1 + n % 4, n));
            let result = block_on(run_bounded(limit, futures, |n| {
                sum += n;
                ControlFlow::<()>::Continue(())
            }));
            assert_eq!((result, sum, running.get(), most.get()), (ControlFlow::Continue(()), 45, 0, limit.min(10)));
        }
    }

    #[test]
    fn after_a_break_nothing_begins_and_what_was_begun_ends() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let mut done = Vec::new();
        let futures = (0..10).map(|n| counted(&running, &most, if n == 1 { 0 } else { 5 }, n));
        let result = block_on(run_bounded(3, futures, |n| {
            done.push(n);
            if n == 1 { ControlFlow::Break(n) } else { ControlFlow::Continue(()) }
        }));
        assert_eq!((result, running.get()), (ControlFlow::Break(1), 0));
        assert_eq!(done, [1, 0, 2]);
    }
}
