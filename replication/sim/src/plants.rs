//! Planted bugs: each patch breaks one thing that the simulator has to notice.
//!
//! A patch is applied in a copy of the sources, the simulator is built there, and some seed has to fail. One that no
//! longer applies is an error: it would prove nothing. The expensive mistake is a bug that is caught for a reason of
//! its own, a copy that does not build or a seed that fails anyway; so the copy without any patch has to pass first.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Patches, and the simulator that has to catch them.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Where the patches are, in the workspace.
    pub dir: &'static str,
    /// What the program is called with before its options.
    command: &'static [&'static str],
    /// Seeds that the copy without a patch has to pass.
    sound_seeds: u64,
}

/// Bugs of one broker's storage.
pub const STORAGE: Suite = Suite { dir: "replication/sim/plants", command: &["run"], sound_seeds: 300 };
/// Bugs of the protocol between brokers and with the controller.
pub const CLUSTER: Suite = Suite { dir: "replication/sim/plants-cluster", command: &["cluster", "run"], sound_seeds: 150 };
/// The first seed.
pub const FROM: u64 = 0;

/// A patch and what it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plant {
    pub name: String,
    pub path: PathBuf,
    /// The first line of the patch; the next ones say how that shows, and by which seed.
    pub breaks: String,
}

/// Every patch, by name.
pub fn plants(suite: Suite, workspace: &Path) -> Result<Vec<Plant>, String> {
    let dir = workspace.join(suite.dir);
    let named = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut plants = Vec::new();
    for entry in fs::read_dir(&dir).map_err(named)? {
        let path = entry.map_err(named)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".patch")) else {
            continue;
        };
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let breaks = text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        plants.push(Plant { name: name.to_owned(), path: path.clone(), breaks });
    }
    plants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plants)
}

/// Whether a patch applies to the sources as they are.
pub fn check_applies(workspace: &Path, plant: &Plant) -> Result<(), String> {
    let output = git_apply(workspace, &plant.path, true)?;
    if output.status.success() { Ok(()) } else { Err(format!("{} does not apply: {}", plant.name, last_lines(&output))) }
}

/// Plants one bug after the other, and says of each as it goes by which seed it was caught, and how long that took.
pub fn run_all(suite: Suite, workspace: &Path, only: &str, seeds: u64) -> Result<(), String> {
    let started = Instant::now();
    let workspace = fs::canonicalize(workspace).map_err(|error| format!("{}: {error}", workspace.display()))?;
    // As they are now: whoever works on meanwhile changes nothing here.
    let (sources, copy) = (workspace.join("target/plants/sources"), workspace.join("target/plants/copy"));
    let all = plants(suite, &workspace)?;
    let chosen: Vec<&Plant> = all.iter().filter(|plant| only.split(',').any(|part| plant.name.contains(part))).collect();
    if chosen.is_empty() {
        return Err(format!("no patch in {} has a name with {only} in it", suite.dir));
    }
    copy_sources(&workspace, &sources)?;
    // Told before hours may have been spent on the others.
    let stale: Vec<String> = chosen.iter().filter_map(|plant| check_applies(&sources, plant).err()).collect();
    if !stale.is_empty() {
        return Err(stale.join("\n"));
    }
    copy_sources(&sources, &copy)?;
    println!("{} bugs; first the sources without any, built in {}", chosen.len(), copy.display());
    let sound = simulate(suite, &copy, suite.sound_seeds)?;
    match &sound.caught {
        None => println!("    {} seeds pass ({})", suite.sound_seeds, sound.times),
        Some(message) => return Err(format!("without a bug: {message}")),
    }
    let mut missed = Vec::new();
    for plant in &chosen {
        println!("{}: {}", plant.name, plant.breaks);
        match plant_one(suite, (&sources, &copy), plant, seeds)? {
            Simulated { caught: Some(message), times } => println!("    caught: {message} ({times})"),
            Simulated { caught: None, times } => {
                println!("    NOT CAUGHT by {seeds} seeds ({times})");
                missed.push(plant.name.clone());
            }
        }
    }
    let caught = chosen.len() - missed.len();
    println!("{caught} of {} bugs caught, {:.0} s", chosen.len(), started.elapsed().as_secs_f64());
    if missed.is_empty() { Ok(()) } else { Err(format!("not caught: {}", missed.join(", "))) }
}

fn plant_one(suite: Suite, (sources, copy): (&Path, &Path), plant: &Plant, seeds: u64) -> Result<Simulated, String> {
    copy_sources(sources, copy)?;
    let output = git_apply(copy, &plant.path, false)?;
    if !output.status.success() {
        return Err(format!("{} does not apply: {}", plant.name, last_lines(&output)));
    }
    simulate(suite, copy, seeds)
}

/// What the simulator of a copy has said.
struct Simulated {
    /// The message of the seed that failed.
    caught: Option<String>,
    times: Times,
}

struct Times {
    build: Duration,
    run: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "built in {:.0} s, ran {:.1} s", self.build.as_secs_f64(), self.run.as_secs_f64())
    }
}

/// Builds the simulator of a copy and runs seeds with it. Built for development: a panic has to be caught there. Not
/// incrementally: what is kept for that grows with every patch, to gigabytes.
fn simulate(suite: Suite, copy: &Path, seeds: u64) -> Result<Simulated, String> {
    let target = copy.with_file_name("target");
    let started = Instant::now();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(copy).env("CARGO_TARGET_DIR", &target).env("CARGO_INCREMENTAL", "0");
    build.args(["build", "--quiet", "--package", "sluice-sim"]);
    let built = build.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !built.status.success() {
        return Err(format!("the copy does not build: {}", last_lines(&built)));
    }
    let build = started.elapsed();
    let seeds = seeds.to_string();
    let ran = Command::new(target.join("debug/sluice-sim"))
        .args(suite.command)
        .args(["--from", &FROM.to_string(), "--seeds", &seeds])
        .output()
        .map_err(|error| format!("the simulator of the copy does not start: {error}"))?;
    let times = Times { build, run: started.elapsed() - build };
    match ran.status.code() {
        Some(0) => Ok(Simulated { caught: None, times }),
        Some(1) => {
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            let line = text.lines().rev().find(|line| line.contains(" fails at step ")).unwrap_or("without a message");
            Ok(Simulated { caught: Some(line.to_owned()), times })
        }
        _ => Err(format!("the simulator of the copy ended with {}: {}", ran.status, last_lines(&ran))),
    }
}

/// The copy has exactly the sources of the workspace; what did not change keeps its time, so that little is built anew.
fn copy_sources(workspace: &Path, copy: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for part in ["Cargo.toml", "Cargo.lock", "src", "engine", "replication", "net", "bench", "tuning"] {
        copy_changed(&workspace.join(part), &copy.join(part)).map_err(|error| failed(&workspace.join(part), error))?;
    }
    Ok(())
}

fn copy_changed(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_changed(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
    fs::write(to, bytes)
}

/// Outside of any repository, so that paths mean the folder and nothing above it.
fn git_apply(folder: &Path, patch: &Path, only_check: bool) -> Result<Output, String> {
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder)).env("GIT_DIR", "/dev/null");
    command.arg("apply");
    if only_check {
        command.arg("--check");
    }
    let patch = fs::canonicalize(patch).map_err(|error| format!("{}: {error}", patch.display()))?;
    command.arg(patch).output().map_err(|error| format!("git is needed to apply patches and does not start: {error}"))
}

fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
