//! `sluice probe`: measures what the device under a folder can do at most, and keeps that beside the folder; or shows what was kept.
//!
//! Composition only: measuring, the file and what a device is known by are `sluice-tuning`'s. The expensive mistakes here are to
//! measure under a running broker, which would suffer and spoil the figures, and to find out after two minutes that the file
//! cannot be written: both are looked at first.

mod show;

use crate::exit_status::{ExitStatus, Failure};
use crate::log::files::lock_shared;
use crate::signals::ask_at_signal;
use crate::table::print_line;
use crate::units::format_len;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sluice_bench::run::other_load;
use sluice_tuning::host::{Root, identity};
use sluice_tuning::probe::{self, Steps};
use sluice_tuning::properties::{LoadError, Properties, default_path, may_store};
use sluice_tuning::{ProbeError, ScratchFolder, Stop};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STOPPING: &str =
    "stopping: scratch files are removed, nothing is kept; another signal ends it at once and leaves them to the next run";
/// Shortest and longest time that may be asked for, in seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=600.0;

#[derive(Args)]
#[command(after_help = "Examples:
  sluice probe --data-dir /var/lib/sluice              every size and depth, in less than two minutes
  sluice probe --data-dir data --quick                 the ends of each range, in less than twenty seconds
  sluice probe --data-dir /nvme/journal                the device of the journals, where that is another one
  sluice probe --data-dir data --show                  what was measured, and whether it is of this device
  sluice probe --show /var/lib/sluice.probe.toml

Measured are: direct writes, durable writes (O_DSYNC), reads, flushes while others write, durable writes while others read,
loopback, memory and checksums, with plain threads and no broker, on scratch files in DIR (in what will hold it, while it is
not there): 4.1 GiB of them, 1.8 with --quick, less with few --seconds. They are removed at the end, after ^C as well; those of
a probe that was killed go with the next one. A broker must not use DIR meanwhile. A folder on tmpfs is refused.

The figures are kept in a text file beside DIR: DIR.probe.toml (/var/lib/sluice.probe.toml for /var/lib/sluice), unless --out
names another. It is bound to the device and the machine; where either differs, or the file is not whole, it is refused.
`sluice check` tells when there is none, or it is stale.")]
pub(crate) struct ProbeArgs {
    /// Folder on the device, the one that `sluice serve` is given; need not exist yet
    #[arg(long, value_name = "DIR", default_value = "sluice-data")]
    data_dir: PathBuf,
    /// Measure only the ends of each range, in less than twenty seconds
    #[arg(long)]
    quick: bool,
    /// Measure for so many seconds altogether, 0.1 to 600 [default: 95, with --quick 14]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// File to keep the figures in [default: DIR.probe.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Measure nothing: print what FILE says, and whether it is of the device under DIR [default: DIR.probe.toml]
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["quick", "seconds", "out"])]
    show: Option<Option<PathBuf>>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| SECONDS.contains(seconds));
    let wrong = || format!("{text:?} is not a number of seconds from {} to {}", SECONDS.start(), SECONDS.end());
    seconds.map(Duration::from_secs_f64).ok_or_else(wrong)
}

pub(crate) fn run(args: ProbeArgs) -> Result<(), Failure> {
    match &args.show {
        Some(file) => show(&args, file.clone().unwrap_or_else(|| default_path(&args.data_dir))),
        None => measure(&args),
    }
}

fn show(args: &ProbeArgs, path: PathBuf) -> Result<(), Failure> {
    let properties = Properties::read(&path).map_err(|error| refused(&error, &args.data_dir))?;
    let here = identity::read(&Root::of_this_host(), &args.data_dir)
        .map_err(|unread| Failure::new(ExitStatus::Failed, format!("the device under {}: {unread}", args.data_dir.display())))?;
    let differences = properties.device.differences(&here);
    let shown = show::Shown { properties: &properties, path: &path, differences: &differences };
    print_line(&if args.json { shown.to_json() } else { shown.to_text() })?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(refused(&LoadError::OtherDevice { path, here: Box::new(here), differences }, &args.data_dir))
}

fn refused(error: &LoadError, data_dir: &Path) -> Failure {
    Failure::new(ExitStatus::Failed, error.to_string()).remedy(format!("sluice probe --data-dir {}", data_dir.display()))
}

fn measure(args: &ProbeArgs) -> Result<(), Failure> {
    let steps = if args.quick { Steps::quick(args.seconds) } else { Steps::full(args.seconds) };
    let folder = existing(&args.data_dir)?;
    // Held to the end: no broker starts on the folder meanwhile.
    let _lock = lock_shared(&args.data_dir, "it would suffer, and the figures would be of what it leaves")?;
    let path = args.out.clone().unwrap_or_else(|| default_path(&args.data_dir));
    may_store(&path).map_err(|problem| {
        Failure::new(ExitStatus::Failed, format!("the figures cannot be kept in {}: {problem}", path.display()))
            .remedy("--out FILE, a file that you may write")
    })?;
    let stop = Stop::default();
    // Kept until the end: with it ends the task that listens for signals.
    let _listening = ask_at_signal(&stop, STOPPING)?;
    let scratch = ScratchFolder::create(&folder).map_err(|error| failure(error.into()))?;
    let device = identity::read(&Root::of_this_host(), scratch.path())
        .map_err(|unread| Failure::new(ExitStatus::Failed, format!("the device under {}: {unread}", folder.display())))?;
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build: its figures are too small (cargo run --release)");
    }
    if let Some(warning) = other_load() {
        eprintln!("warning: {warning}");
    }
    eprintln!(
        "measuring {device}, in {}, for about {:.0} s; it takes {} of space, which is free again then",
        folder.display(),
        steps.duration.as_secs_f64().ceil(),
        format_len(steps.space_needed()),
    );
    let begun_at = Instant::now();
    let bar = ProgressBar::new(steps.steps.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})").expect("the template is a constant that parses"),
    );
    bar.enable_steady_tick(Duration::from_secs(1));
    let measured = probe::run(&scratch, &steps, &stop, &mut |progress| {
        bar.set_position(progress.done as u64);
        bar.set_message(progress.what.clone());
    });
    bar.finish_and_clear();
    drop(scratch);
    let properties = Properties {
        measured_at: whole_seconds(SystemTime::now()),
        measured_for: Duration::from_millis(u64::try_from(begun_at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        build: build(),
        kernel: Root::of_this_host().text("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned()),
        device,
        figures: measured.map_err(failure)?,
    };
    properties.store(&path).map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))?;
    let shown = show::Shown { properties: &properties, path: &path, differences: &[] };
    print_line(&if args.json { shown.to_json() } else { shown.to_text() })
}

/// The folder itself, or the nearest one above it: the probe makes no data folder.
fn existing(data_dir: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(data_dir).map_err(|error| Failure::io(data_dir.display(), &error))?;
    let found = absolute.ancestors().find(|above| above.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    if found.is_dir() {
        return Ok(found.to_path_buf());
    }
    Err(Failure::new(ExitStatus::DataFolder, format!("{} is no folder", found.display()))
        .remedy("--data-dir DIR, a folder on a disk"))
}

fn build() -> String {
    let commit = sluice_bench::COMMIT.map(|commit| format!("{commit}, ")).unwrap_or_default();
    format!("sluice {} ({commit}{})", env!("CARGO_PKG_VERSION"), sluice_bench::PROFILE)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn failure(error: ProbeError) -> Failure {
    let status = match &error {
        ProbeError::Folder(_) | ProbeError::DirectUnsupported { .. } => ExitStatus::DataFolder,
        ProbeError::Interrupted => ExitStatus::Interrupted,
        ProbeError::NoSpace { .. } | ProbeError::Io { .. } | ProbeError::Host { .. } => ExitStatus::Failed,
    };
    Failure::new(status, error.to_string())
}
