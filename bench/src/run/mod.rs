//! A whole run: which steps a round has, in which order, round after round.
//!
//! Steps are interleaved: every round has each yardstick and each workload on each system once, a load as near as can be to
//! what it is compared with. Measuring one system five times and then the other compares two stretches of time, not two
//! systems. A run that is asked to stop ends after what is under way and keeps what is whole.

mod machine;
mod output;
mod preflight;
mod target;

use std::path::Path;
use std::time::{Duration, SystemTime};

use sluice_tuning::ScratchFolder;

pub use machine::describe_machine;
pub use output::output_folder;
pub use preflight::{other_load, preflight};
pub use target::{SluiceTarget, Target};

use crate::error::BenchError;
use crate::floor::{WaitMode, can_spin};
use crate::load::Stop;
use crate::measurement::Measurement;
use crate::options::BenchOptions;
use crate::report::folder::{self, Written};
use crate::result::{RESULT_VERSION, Run};
use crate::summary::{Series, SeriesOf, summarize};
use crate::workload::{Workload, YardstickName};
use crate::yardsticks::Yardsticks;

/// A yardstick takes no longer than this in each round.
const YARDSTICK_DURATION_MAX: Duration = Duration::from_millis(700);
/// Measured in every run, whatever the workloads are.
const ALWAYS: [YardstickName; 8] = [
    YardstickName::Probe,
    YardstickName::FloorAsleep,
    YardstickName::FloorSpinning,
    YardstickName::Loopback,
    YardstickName::Memcpy,
    YardstickName::Crc32c,
    YardstickName::RawWrite,
    YardstickName::RawRead,
];

/// Where a run is, told before each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done so far and steps in all.
    pub done: u64,
    pub total: u64,
    /// What comes now, as `round 2/5: spike on sluice`.
    pub what: String,
}

/// What a run has left behind, whole or not.
#[derive(Debug)]
pub struct Finished {
    pub run: Run,
    pub written: Written,
    /// Peers that were asked for and cannot be had; why is among the run's warnings.
    pub missing: Vec<String>,
    /// What ended it before its time; the rounds before that are in `run`.
    pub failure: Option<BenchError>,
}

/// One thing measured once in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Yardstick(YardstickName),
    /// Index of the workload, and of the target.
    Load(usize, usize),
}

/// Measures what `options` ask for, on Sluice and on `peers`, and leaves it in a folder. Blocks for as long as that takes; run it
/// on a thread that lives until it returns, since a broker started here dies with its thread.
///
/// # Errors When an option is out of bounds, the folder is in memory, or the results cannot be written. What goes wrong later
/// is in [`Finished::failure`]; a broker that dies in the middle is an outcome of its round.
pub fn run(
    options: &BenchOptions,
    peers: Vec<Box<dyn Target>>,
    stop: &Stop,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Finished, BenchError> {
    let workloads = options.check()?;
    let systems = options.systems()?;
    let machine = describe_machine(existing(&options.data_dir));
    let warnings = preflight(&options.data_dir, &machine)?;
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let out = output_folder(options.out.as_deref(), &started_at, &options.workloads);
    folder::check(&out, &started_at)?;
    let scratch = ScratchFolder::create(&options.data_dir)?;
    let mut targets = SluiceTarget::all(&systems, options, &scratch)?;
    let mut run = Run {
        version: RESULT_VERSION,
        started_at,
        machine,
        commit: crate::COMMIT.map(str::to_owned),
        build: crate::PROFILE.to_owned(),
        settings: targets.first().map(|sluice| sluice.settings()).unwrap_or_default(),
        warnings,
        interrupted: false,
        results: Vec::new(),
    };
    let (missing, peers): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.missing().is_some());
    let why = |peer: &dyn Target| format!("{} is not measured: {}", peer.name(), peer.missing().unwrap_or_default());
    run.warnings.extend(missing.iter().map(|peer| why(peer.as_ref())));
    let missing = missing.iter().map(|peer| peer.name().to_owned()).collect();
    targets.extend(peers.into_iter().map(|peer| -> Box<dyn Target + '_> { peer }));
    let mut rounds =
        Rounds { options, workloads, targets, yardsticks: Yardsticks::new(&scratch), series: Vec::new(), problems: Vec::new() };
    run.warnings.extend(rounds.left_out());
    let steps = rounds.steps();
    rounds.series = steps.iter().map(|&step| rounds.series_of(step)).collect();
    let mut told = Told { progress, done: 0, total: steps.len() as u64 * u64::from(options.rounds) };
    let mut failure = None;
    let mut written = folder::write(&out, &run)?;
    for round in 1..=options.rounds {
        let measured = rounds.measure_round(&steps, round, &mut told, stop);
        run.interrupted = stop.is_asked();
        failure = measured.err();
        for problem in rounds.problems.drain(..) {
            if !run.warnings.contains(&problem) {
                run.warnings.push(problem);
            }
        }
        run.warnings.extend(failure.as_ref().map(|error| format!("the run ended in round {round}: {error}")));
        run.results = summarize(&rounds.series, &run);
        written = folder::write(&out, &run)?;
        if run.interrupted || failure.is_some() {
            break;
        }
    }
    Ok(Finished { run, written, missing, failure })
}

/// Counts steps and tells where the run is.
struct Told<'a> {
    progress: &'a mut dyn FnMut(&Progress),
    done: u64,
    total: u64,
}

/// The folder, or the nearest above it that exists.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

struct Rounds<'a> {
    options: &'a BenchOptions,
    workloads: Vec<Workload>,
    targets: Vec<Box<dyn Target + 'a>>,
    yardsticks: Yardsticks<'a>,
    series: Vec<Series>,
    /// Yardsticks that could not be taken.
    problems: Vec<String>,
}

impl Rounds<'_> {
    /// Every step of a round, in order: before a workload what it is held against, at the end the other limits.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut add = |step: Step| {
            if !steps.contains(&step) {
                steps.push(step);
            }
        };
        for (index, workload) in self.workloads.iter().enumerate() {
            workload.read_yardstick.into_iter().for_each(|name| add(Step::Yardstick(name)));
            for (number, target) in self.targets.iter().enumerate() {
                if target.can_run(workload) {
                    let yardstick = workload.yardstick.map(|name| name.in_mode(target.mode()));
                    yardstick.into_iter().for_each(|name| add(Step::Yardstick(name)));
                    add(Step::Load(index, number));
                }
            }
        }
        ALWAYS.into_iter().for_each(|name| add(Step::Yardstick(name)));
        steps.retain(|step| *step != Step::Yardstick(YardstickName::FloorSpinning) || can_spin());
        steps
    }

    fn left_out(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !can_spin() {
            notes.push("one core: the spinning floor needs two and was left out".to_owned());
        }
        for target in &self.targets {
            for workload in self.workloads.iter().filter(|workload| !target.can_run(workload)) {
                let spinning = if target.mode() == WaitMode::Spinning { ", spinning," } else { "" };
                notes.push(format!("{}{spinning} has no part in {}: it cannot do that", target.name(), workload.name));
            }
        }
        notes
    }

    fn series_of(&self, step: Step) -> Series {
        let of = match step {
            Step::Yardstick(name) => SeriesOf::Yardstick(name),
            Step::Load(workload, target) => {
                let (workload, target) = (&self.workloads[workload], &self.targets[target]);
                SeriesOf::Load {
                    workload: Box::new(workload.clone()),
                    system: target.name().to_owned(),
                    mode: target.mode(),
                    acknowledgement: target.acknowledgement(workload.acks),
                    settings: target.settings(),
                }
            }
        };
        Series { of, rounds: Vec::new() }
    }

    /// Every step once, or those up to a wish to stop or a failure.
    fn measure_round(&mut self, steps: &[Step], round: u32, told: &mut Told<'_>, stop: &Stop) -> Result<(), BenchError> {
        for (index, &step) in steps.iter().enumerate() {
            if stop.is_asked() {
                break;
            }
            let what = format!("round {round}/{}: {}", self.options.rounds, self.series[index].label());
            (told.progress)(&Progress { done: told.done, total: told.total, what });
            match (step, self.measure(step, stop)) {
                (_, Ok(measured)) => self.series[index].rounds.extend(measured),
                // A disk that is too small for a yardstick's file has room for a load: its results lack a ratio, and say why.
                (Step::Yardstick(name), Err(error)) => self.problems.push(format!("{} was not measured: {error}", name.name())),
                (Step::Load(..), Err(error)) => return Err(error),
            }
            told.done += 1;
        }
        Ok(())
    }

    fn measure(&mut self, step: Step, stop: &Stop) -> Result<Option<Measurement>, BenchError> {
        match step {
            Step::Yardstick(name) => {
                let asked = self.options.seconds.map_or(YARDSTICK_DURATION_MAX, Duration::from_secs_f64);
                self.yardsticks.measure(name, asked.min(YARDSTICK_DURATION_MAX))
            }
            Step::Load(workload, target) => self.targets[target].measure(&self.workloads[workload], stop).map(Some),
        }
    }
}
