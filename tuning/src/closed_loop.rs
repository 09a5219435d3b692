//! One request outstanding, again and again: how the floor and the closed workloads are timed, so that both are timed alike.
//!
//! A closed loop hides queueing: a stall delays one sample and suppresses those that would have come behind it. It is used
//! only where a single outstanding request is the question asked, and its results say so. The first requests are not
//! counted: connections, caches and sleeping cores warm up in them.

use std::time::{Duration, Instant};

use crate::latency::LatencyHistogram;

/// Nanoseconds by which the kernel may delay a wake-up of this thread to join it with others; 50,000 by default.
const TIMER_SLACK_NS: libc::c_ulong = 1_000;
/// A paced loop that has taken this many times as long as it was meant to ends.
const PACED_OVERRUN_MAX: u32 = 4;
/// A paced loop that reaches less of its rate than this is saturated.
const PACED_SHARE_MIN: f64 = 0.95;
/// Part of the measuring time that goes ahead of it, uncounted.
const WARM_UP_SHARE: u32 = 10;

/// What a loop measured.
#[derive(Clone, Debug, Default)]
pub struct LoopFigures {
    pub latencies: LatencyHistogram,
    pub seconds: f64,
}

impl LoopFigures {
    /// Samples per second.
    pub fn per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.latencies.count() as f64 / self.seconds } else { 0.0 }
    }
}

/// Runs `exchange` back to back: first for a tenth of `duration` uncounted, then for `duration`, at least once.
pub fn closed_loop<E>(duration: Duration, mut exchange: impl FnMut() -> Result<(), E>) -> Result<LoopFigures, E> {
    warm_up(duration, &mut exchange)?;
    timed_loop(duration, exchange)
}

/// What goes uncounted ahead of [`timed_loop`]: at least one exchange.
pub fn warm_up<E>(duration: Duration, mut exchange: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let warm_until = Instant::now() + duration / WARM_UP_SHARE;
    loop {
        exchange()?;
        if Instant::now() >= warm_until {
            return Ok(());
        }
    }
}

/// Runs `exchange` back to back for `duration`, at least once.
pub fn timed_loop<E>(duration: Duration, mut exchange: impl FnMut() -> Result<(), E>) -> Result<LoopFigures, E> {
    let mut latencies = LatencyHistogram::new();
    let begun_at = Instant::now();
    let mut sent_at = begun_at;
    while latencies.count() == 0 || sent_at - begun_at < duration {
        exchange()?;
        let answered_at = Instant::now();
        latencies.record(answered_at - sent_at);
        sent_at = answered_at;
    }
    Ok(LoopFigures { latencies, seconds: (sent_at - begun_at).as_secs_f64() })
}

/// Runs `exchange` at `per_s`, one at a time, for a tenth of `duration` uncounted and then for `duration`. An exchange that is
/// late because the one before it was slow counts from the time at which it was due. Where each takes longer than a turn lasts
/// the queue never drains, and the latencies are those of a queue: [`saturation`] says so. It ends after four times as long.
pub fn paced_loop<E>(per_s: f64, duration: Duration, mut exchange: impl FnMut() -> Result<(), E>) -> Result<LoopFigures, E> {
    sharpen_timers();
    let begun_at = Instant::now();
    let warm_up = duration / WARM_UP_SHARE;
    let mut latencies = LatencyHistogram::new();
    for number in 0.. {
        let due_after = Duration::from_secs_f64(f64::from(number) / per_s);
        if due_after >= warm_up + duration {
            break;
        }
        let due_at = begun_at + due_after;
        std::thread::sleep(due_at.saturating_duration_since(Instant::now()));
        exchange()?;
        if due_after >= warm_up {
            latencies.record(due_at.elapsed());
        }
        if begun_at.elapsed() > PACED_OVERRUN_MAX * (warm_up + duration) {
            break;
        }
    }
    let seconds = begun_at.elapsed().saturating_sub(warm_up).max(duration).as_secs_f64();
    Ok(LoopFigures { latencies, seconds })
}

/// Makes the calling thread wake within microseconds of the time it asks for. Where that is refused it wakes a little later,
/// and the lateness of what it does says so.
pub fn sharpen_timers() {
    // SAFETY: prctl with these arguments only sets an attribute of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS) };
}

/// That a paced loop did not reach the rate it was asked for, in words; `None` when it did.
#[must_use]
pub fn saturation(figures: &LoopFigures, per_s: f64) -> Option<String> {
    let reached = figures.per_s();
    (reached < PACED_SHARE_MIN * per_s).then(|| {
        format!(
            "saturated: it answered {reached:.0} of {per_s:.0} requests a second, one at a time, so its latency is that of a \
             queue that grew to the end"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_loop_that_cannot_keep_up_says_so_and_ends() {
        let (duration, begun_at) = (Duration::from_millis(20), Instant::now());
        let mut count = 0;
        let slow = paced_loop(1000.0, duration, || {
            count += 1;
            std::thread::sleep(Duration::from_millis(50));
            Ok::<_, std::convert::Infallible>(())
        });
        let figures = slow.unwrap_or_default();
        assert!(count < 22 && begun_at.elapsed() >= Duration::from_millis(88), "{count} exchanges: it was cut short");
        let text = saturation(&figures, 1000.0).expect("it is saturated");
        assert!(text.contains("of 1000 requests"), "{text}");
        let mut on_time = LoopFigures { seconds: 1.0, ..LoopFigures::default() };
        on_time.latencies.record_n(Duration::from_micros(100), 951);
        assert_eq!(saturation(&on_time, 1000.0), None);
    }
}
