//! One thread that reads: as fast as records come, or no faster than a slow consumer would.

use std::time::{Duration, Instant};

use sluice_tuning::LatencyHistogram;

use super::schedule::Schedule;
use super::thread_time::{CountedTime, sharpen_timers, wait_for};
use super::timeline::{Event, Timeline};
use super::{Shared, Stop};
use crate::system::{ReadBatch, Reader};

const WAIT_MAX: Duration = Duration::from_millis(50);

/// What every reader of a round has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadJob<'a> {
    pub schedule: &'a Schedule,
    pub begin: Instant,
    /// Records a second that this reader takes at most until the schedule ends; then as many as it can.
    pub per_s_max: Option<f64>,
    /// After the schedule's end it reads on for this long at most.
    pub drain: Duration,
    pub group: u32,
    pub shared: &'a Shared,
    pub stop: &'a Stop,
}

/// What one reader saw.
#[derive(Clone, Debug)]
pub(super) struct ReadFigures {
    pub group: u32,
    pub end_to_end: LatencyHistogram,
    pub timeline: Timeline,
    /// Within the counted time.
    pub count: u64,
    pub value_len: u64,
    /// From the begin until nothing was left to read, or it was given up.
    pub seconds: f64,
    pub total_count: u64,
    pub total_value_len: u64,
    pub cpu_time: Duration,
    pub error: Option<String>,
}

/// Reads until this reader's group has all that was acknowledged and no more is coming, or its patience is over.
pub(super) fn run_reader(mut reader: Box<dyn Reader + Send>, job: ReadJob<'_>) -> ReadFigures {
    sharpen_timers();
    wait_for(job.begin);
    let mut cpu = CountedTime::new(job.schedule.counted_ns());
    let mut figures = ReadFigures {
        group: job.group,
        end_to_end: LatencyHistogram::new(),
        timeline: Timeline::new(job.schedule.seconds()),
        count: 0,
        value_len: 0,
        seconds: 0.0,
        total_count: 0,
        total_value_len: 0,
        cpu_time: Duration::ZERO,
        error: None,
    };
    let mut batch = ReadBatch::default();
    let end_s = job.schedule.seconds();
    loop {
        let now = Instant::now();
        let since_begin = now.saturating_duration_since(job.begin);
        let now_s = since_begin.as_secs_f64();
        cpu.look(u64::try_from(since_begin.as_nanos()).unwrap_or(u64::MAX));
        let is_late = now_s > end_s + job.drain.as_secs_f64();
        if job.shared.is_all_read(job.group) || is_late || job.stop.is_asked() || job.shared.has_failed() {
            break;
        }
        if let Some(wait) = pause(&job, figures.total_count, now_s) {
            std::thread::sleep(wait.min(WAIT_MAX));
            continue;
        }
        batch.clear();
        if let Err(error) = reader.poll(now + WAIT_MAX, &mut batch) {
            figures.error = Some(error.to_string());
            job.shared.fail();
            break;
        }
        if !batch.stamps.is_empty() {
            figures.add(&batch, &job);
            job.shared.add_consumed(job.group, batch.stamps.len() as u64);
        }
    }
    figures.cpu_time = cpu.used().cpu;
    figures
}

/// How long a slow consumer has to wait before it takes more.
fn pause(job: &ReadJob<'_>, taken: u64, now_s: f64) -> Option<Duration> {
    let per_s_max = job.per_s_max?;
    let due_s = taken as f64 / per_s_max;
    (now_s < due_s.min(job.schedule.seconds())).then(|| Duration::from_secs_f64(due_s - now_s))
}

impl ReadFigures {
    fn add(&mut self, batch: &ReadBatch, job: &ReadJob<'_>) {
        let elapsed = Instant::now().saturating_duration_since(job.begin);
        let now_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let counted_ns = job.schedule.counted_ns();
        let count = batch.stamps.len() as u64;
        self.timeline.add(now_ns, Event::Consumed { count, value_len: batch.value_len });
        self.seconds = elapsed.as_secs_f64();
        self.total_count += count;
        self.total_value_len += batch.value_len;
        if counted_ns.contains(&now_ns) {
            self.count += count;
            self.value_len += batch.value_len;
        }
        for &stamp in &batch.stamps {
            // Without a stamp: written ahead of the round.
            let Some(intended_ns) = stamp.checked_sub(1) else { continue };
            if counted_ns.contains(&intended_ns) {
                self.end_to_end.record(Duration::from_nanos(now_ns.saturating_sub(intended_ns)));
            }
        }
    }
}
