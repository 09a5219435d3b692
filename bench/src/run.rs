//! A whole run: which steps a round has, in which order, round after round.
//!
//! Steps are interleaved: every round has each yardstick and each load once, a load as near as can be to what it is compared
//! with. Measuring one system five times and then the other compares two stretches of time, not two systems. Restart comes
//! last, on a broker of its own.

use crate::broker::{Broker, OwnBrokerPlan};
use crate::error::BenchError;
use crate::floor::{WaitMode, can_spin};
use crate::loads::{
    RestartLog, RestartScene, measure_bulk, measure_flood, measure_idle, measure_partitions_64, measure_single_record,
};
use crate::measurement::Measurement;
use crate::options::{BenchOptions, Workload};
use crate::report::{Report, Series};
use crate::yardsticks::Yardsticks;
use sluice_tuning::ScratchFolder;

/// One thing measured once in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Probe,
    Floor(WaitMode),
    RawWrite,
    RawRead,
    Load(Workload),
}

/// Where a run is, told before each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done so far and steps in all.
    pub done: u64,
    pub total: u64,
    /// What comes now, as `round 2/5: floor (asleep)`.
    pub what: String,
}

/// Measures what `options` ask for. Blocks for as long as that takes; run it on a thread that lives until it returns, since
/// a broker started here dies with its thread.
///
/// # Errors When an option is out of bounds, the device cannot be measured, the broker does not start, fails or refuses.
/// Never for being slow.
pub fn run(options: &BenchOptions, progress: &mut dyn FnMut(&Progress)) -> Result<Report, BenchError> {
    options.check()?;
    let folder = ScratchFolder::create(&options.data_dir)?;
    let selected = options.selected();
    let steps = steps(&selected);
    let restart = selected.contains(&Workload::Restart);
    let step_count = steps.len() as u64 + u64::from(restart);
    let mut told = Told { progress, done: 0, total: step_count * u64::from(options.rounds), rounds: options.rounds };
    let mut series: Vec<Series> = steps.iter().map(|&step| Series::new(step)).collect();
    if !steps.is_empty() {
        run_rounds(options, &folder, &mut series, &mut told)?;
    }
    if restart {
        series.push(run_restart(options, &folder, &mut told)?);
    }
    Ok(Report::new(&series, notes(&steps)))
}

/// Every step of a round, in order.
fn steps(selected: &[Workload]) -> Vec<Step> {
    use Workload::{Bulk, Idle, Memory, Partitions64, SingleRecord, Yardsticks};
    let any = |workloads: &[Workload]| workloads.iter().any(|workload| selected.contains(workload));
    let order = [
        (Step::Probe, any(&[Yardsticks, SingleRecord, Partitions64])),
        (Step::Floor(WaitMode::Asleep), any(&[Yardsticks, SingleRecord, Partitions64])),
        (Step::Load(SingleRecord), any(&[SingleRecord])),
        (Step::Load(Partitions64), any(&[Partitions64])),
        (Step::Floor(WaitMode::Spinning), any(&[Yardsticks, SingleRecord]) && can_spin()),
        (Step::RawWrite, any(&[Yardsticks, Bulk])),
        (Step::Load(Bulk), any(&[Bulk])),
        (Step::RawRead, any(&[Yardsticks])),
        (Step::Load(Idle), any(&[Idle])),
        (Step::Load(Memory), any(&[Memory])),
    ];
    order.into_iter().filter_map(|(step, wanted)| wanted.then_some(step)).collect()
}

fn run_rounds(
    options: &BenchOptions,
    folder: &ScratchFolder,
    series: &mut [Series],
    told: &mut Told<'_>,
) -> Result<(), BenchError> {
    let mut yardsticks = Yardsticks::new(folder);
    let mut broker =
        if series.iter().any(|series| matches!(series.step, Step::Load(_))) { Some(broker_for(options, folder)?) } else { None };
    for round in 1..=options.rounds {
        for series in series.iter_mut() {
            told.next(round, &series.step.label());
            let measured = match (series.step, &mut broker) {
                (Step::Load(workload), Some(broker)) => {
                    measure_load(workload, broker, options).map_err(|error| broker.explain(error))
                }
                (step, _) => measure_yardstick(step, &mut yardsticks, options),
            };
            series.rounds.push(measured?);
        }
    }
    Ok(())
}

fn measure_yardstick(step: Step, yardsticks: &mut Yardsticks<'_>, options: &BenchOptions) -> Result<Measurement, BenchError> {
    let duration = options.duration();
    match step {
        Step::Probe => yardsticks.probe(duration),
        Step::Floor(mode) => yardsticks.floor(mode, duration),
        Step::RawWrite => yardsticks.raw_write(duration),
        Step::RawRead => yardsticks.raw_read(duration),
        Step::Load(workload) => unreachable!("{} is measured with a broker, and a round with loads has one", workload.name()),
    }
}

fn measure_load(workload: Workload, broker: &Broker, options: &BenchOptions) -> Result<Measurement, BenchError> {
    let duration = options.duration();
    match workload {
        Workload::SingleRecord => measure_single_record(broker, duration),
        Workload::Partitions64 => measure_partitions_64(broker, duration),
        Workload::Bulk => measure_bulk(broker, duration),
        Workload::Idle => measure_idle(broker, duration),
        Workload::Memory => measure_flood(broker, duration),
        Workload::Yardsticks | Workload::Restart => unreachable!("{} is no load of a round", workload.name()),
    }
}

fn run_restart(options: &BenchOptions, folder: &ScratchFolder, told: &mut Told<'_>) -> Result<Series, BenchError> {
    let mut series = Series::new(Step::Load(Workload::Restart));
    told.say(&format!("restart: writing {} GB of log over {} partitions", options.log_gb, options.log_partitions));
    let log = RestartLog { value_len: (options.log_gb * 1e9) as u64, partition_count: options.log_partitions };
    let mut scene = RestartScene::prepare(own_broker(options, folder, "restart")?, log, options.duration())?;
    for round in 1..=options.rounds {
        told.next(round, &series.step.label());
        series.rounds.push(scene.measure()?);
    }
    Ok(series)
}

fn broker_for(options: &BenchOptions, folder: &ScratchFolder) -> Result<Broker, BenchError> {
    match &options.broker {
        Some(address) => Ok(Broker::external(address, options.broker_pid)),
        None => Broker::start(&own_broker(options, folder, "broker")?),
    }
}

fn own_broker(options: &BenchOptions, folder: &ScratchFolder, name: &str) -> Result<OwnBrokerPlan, BenchError> {
    let executable = std::env::current_exe().map_err(BenchError::io("the path of this program"))?;
    let log_path = folder.join(&format!("{name}.log"));
    Ok(OwnBrokerPlan { executable, data_dir: folder.join(name), config: options.config.clone(), log_path })
}

fn notes(steps: &[Step]) -> Vec<String> {
    let mut notes = Vec::new();
    if cfg!(debug_assertions) {
        notes.push("this is a debug build: its figures say nothing about a release build".to_owned());
    }
    if steps.contains(&Step::Floor(WaitMode::Asleep)) && !can_spin() {
        notes.push("one core: the spinning floor needs two and was left out".to_owned());
    }
    notes
}

/// Counts steps and tells where the run is.
struct Told<'a> {
    progress: &'a mut dyn FnMut(&Progress),
    done: u64,
    total: u64,
    rounds: u32,
}

impl Told<'_> {
    /// Before a step.
    fn next(&mut self, round: u32, label: &str) {
        self.say(&format!("round {round}/{}: {label}", self.rounds));
        self.done += 1;
    }

    fn say(&mut self, what: &str) {
        (self.progress)(&Progress { done: self.done, total: self.total, what: what.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_comes_with_its_yardstick() {
        let all = steps(&Workload::ALL);
        assert_eq!(all.len(), if can_spin() { 10 } else { 9 });
        assert_eq!(steps(&[Workload::Bulk]), [Step::RawWrite, Step::Load(Workload::Bulk)]);
        let closed = steps(&[Workload::Partitions64]);
        assert_eq!(closed, [Step::Probe, Step::Floor(WaitMode::Asleep), Step::Load(Workload::Partitions64)]);
        assert_eq!(steps(&[Workload::Restart]), []);
    }
}
