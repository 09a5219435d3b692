//! One seed from its first start to its last, many of them, and what a failing one is told as.

use crate::coverage::Coverage;
use crate::oracle::Violation;
use crate::plan::{Mask, OPERATIONS};
use crate::sweep::{Range, note_seed, sweep};
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub mask: Mask,
    pub steps_max: Option<u64>,
    pub is_printed: bool,
    /// Whether every call that changes something on the disk is printed too.
    pub prints_calls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace_hash: u64,
    pub events: u64,
    pub steps: u64,
    pub coverage: Coverage,
    pub violation: Option<String>,
}

/// Runs one seed. A panic of the code under test is a violation like any other.
#[must_use]
pub fn run_seed(seed: u64, settings: Settings) -> Outcome {
    note_seed(seed);
    let mut world = World::new(seed, settings);
    let mut steps = 0;
    let result = catch_unwind(AssertUnwindSafe(|| live(&mut world, &mut steps)));
    let violation = match result {
        Ok(Ok(())) => None,
        Ok(Err(Violation(message))) => Some(message),
        Err(panic) => Some(format!("panic: {}", panic_message(&*panic))),
    };
    Outcome { trace_hash: world.trace.hash(), events: world.trace.events(), steps, coverage: world.coverage.clone(), violation }
}

fn live(world: &mut World, steps: &mut u64) -> Result<(), Violation> {
    world.start(false)?;
    world.create_topic()?;
    world.advance_ms(20)?;
    while *steps < world.plan.steps {
        world.step(*steps)?;
        *steps += 1;
    }
    world.heal()?;
    world.trace.note(format_args!("the disk is {:016x}", world.disk.fingerprint()));
    Ok(())
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// A seed that fails, and the shortest way found to see it fail.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub message: String,
    pub settings: Settings,
}

impl Failure {
    /// The command that plays it again.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = format!("cargo run --release -p sluice-sim -- replay {}", self.seed);
        if let Some(steps) = self.settings.steps_max {
            command += &format!(" --steps {steps}");
        }
        command + &self.settings.mask.options()
    }
}

/// Leaves out every kind of operation that the failure does without, and every step after it.
#[must_use]
pub fn minimised(seed: u64, mask: Mask, outcome: &Outcome) -> Failure {
    let mut best = Failure {
        seed,
        message: outcome.violation.clone().unwrap_or_default(),
        settings: Settings { steps_max: Some(outcome.steps + 1), mask, ..Settings::default() },
    };
    for (operation, ..) in OPERATIONS {
        let settings = Settings { mask: best.settings.mask.with(*operation), ..Settings::default() };
        let outcome = run_seed(seed, settings);
        if let Some(message) = outcome.violation.filter(|message| kind_of(message) == kind_of(&best.message)) {
            best = Failure { seed, message, settings: Settings { steps_max: Some(outcome.steps + 1), ..settings } };
        }
    }
    best
}

/// A message without its numbers, and not to its end: failures of one kind begin alike.
fn kind_of(message: &str) -> String {
    message.chars().filter(|letter| !letter.is_ascii_hexdigit()).take(40).collect()
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub steps: u64,
    pub events: u64,
    pub coverage: Coverage,
    /// Of the lowest seed that failed among those that ran.
    pub failure: Option<(u64, Outcome)>,
    pub failures: u64,
}

/// What is heard while seeds run.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Every thousandth.
    Ran(u64),
    Failed(u64, &'a Outcome),
}

/// Runs seeds on several threads, until one fails or all of them.
pub fn run_seeds(range: Range, mask: Mask, on_progress: &(dyn Fn(Progress<'_>) + Sync)) -> Summary {
    let mut summary = Summary::default();
    let run = |seed| run_seed(seed, Settings { mask, ..Settings::default() });
    sweep(range, run, |seed, outcome| {
        summary.seeds += 1;
        summary.steps += outcome.steps;
        summary.events += outcome.events;
        summary.coverage.add(&outcome.coverage);
        if summary.seeds.is_multiple_of(1000) {
            on_progress(Progress::Ran(summary.seeds));
        }
        let fails = outcome.violation.is_some();
        if fails {
            on_progress(Progress::Failed(seed, &outcome));
            summary.failures += 1;
            if summary.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                summary.failure = Some((seed, outcome));
            }
        }
        fails
    });
    summary
}
