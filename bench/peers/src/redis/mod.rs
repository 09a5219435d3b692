//! Redis Streams: a partition is a stream of its own, a record one XADD with one field.
//!
//! `appendfsync always` flushes once for each turn of the server's event loop, before it answers; `everysec` flushes once a
//! second. Everything is kept in memory as well. Redis has no batch of its own: a client pipelines.

mod producer;
mod reader;
mod system;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluice_bench::BenchError;
use sluice_bench::error::at;
use sluice_bench::peer::names::Flush;
use sluice_bench::system::AcksAsked;

use crate::peer::{Peer, Say, StartPlan, Started};
use crate::port::free_ports;
use crate::server::Server;
use crate::tools;
use system::RedisSystem;

const START_PATIENCE: Duration = Duration::from_secs(30);
const PROGRAM: &str = "redis-server";
/// Where its libraries are, beside it.
const LIBRARIES: &str = "lib";
/// What Debian and its children put the server and the libraries into that are seldom there.
const PACKAGES: [&str; 4] = ["redis-tools", "libatomic1", "libjemalloc2", "liblzf1"];
const GET_IT: &str = "install Redis from your system's packages (Debian: apt-get update && apt-get install redis-server)";

pub(crate) struct Redis;

impl Peer for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn version(&self) -> &'static str {
        // Whatever the system's packages have; the settings say which that is.
        "packaged"
    }

    fn install(&self, into: &Path, say: Say<'_>) -> Result<(), BenchError> {
        let program = into.join(PROGRAM);
        match on_path() {
            Some(found) => {
                say(&format!("copying {}", found.display()));
                copy(&found, &program)?;
            }
            None => unpack(into, say)?,
        }
        version(into).map(|version| say(&format!("it is {version}")))
    }

    fn acknowledgement(&self, flush: Flush, acks: AcksAsked) -> Option<(String, bool)> {
        if acks == AcksAsked::None {
            return None;
        }
        Some(match flush {
            Flush::BeforeAck => ("in memory, and the append-only file flushed (appendfsync always)".to_owned(), true),
            Flush::Later => ("in memory, written to the append-only file, flushed once a second (everysec)".to_owned(), false),
        })
    }

    fn settings(&self, installed: &Path, flush: Flush) -> String {
        let version = version(installed).unwrap_or_default();
        format!("{version}\n{}", arguments(flush).map(|(name, value)| format!("{name} {value}\n")).concat())
    }

    fn start(&self, plan: &StartPlan<'_>) -> Result<Started, BenchError> {
        let port = free_ports(1)?[0];
        let mut command = program(plan.installed);
        command.args(["--port", &port.to_string(), "--dir"]).arg(plan.data_dir);
        for (name, value) in arguments(plan.flush) {
            command.args([format!("--{name}"), value.to_owned()]);
        }
        let mut server = Server::start(command, plan.data_dir)?;
        let process = server.process();
        let system = server.wait_until(START_PATIENCE, || RedisSystem::connect(port, plan.flush, process))?;
        Ok(Started { server, system: Box::new(system) })
    }
}

fn arguments(flush: Flush) -> [(&'static str, &'static str); 6] {
    let appendfsync = match flush {
        Flush::BeforeAck => "always",
        Flush::Later => "everysec",
    };
    [
        ("bind", "127.0.0.1"),
        ("maxclients", "4096"),
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", appendfsync),
        // The file is rewritten between rounds, when the topic is gone.
        ("auto-aof-rewrite-percentage", "0"),
    ]
}

fn program(installed: &Path) -> Command {
    let mut command = Command::new(installed.join(PROGRAM));
    command.env("LD_LIBRARY_PATH", installed.join(LIBRARIES));
    command
}

fn version(installed: &Path) -> Result<String, BenchError> {
    let mut command = program(installed);
    command.arg("--version");
    Ok(tools::run(command, GET_IT)?.trim().to_owned())
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// Debian's packages, unpacked into the folder, with nothing on the system changed.
fn unpack(into: &Path, say: Say<'_>) -> Result<(), BenchError> {
    say("there is no redis-server on the PATH: downloading Debian's packages, to be used from this folder alone");
    let packages = into.join("packages");
    fs::create_dir(&packages).map_err(at(&packages))?;
    let mut download = Command::new("apt-get");
    download.arg("download").args(PACKAGES).current_dir(&packages);
    tools::run(download, GET_IT)?;
    for package in list(&packages)? {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(&package).arg(packages.join("root"));
        tools::run(unpack, GET_IT)?;
    }
    let root = packages.join("root/usr");
    // In some releases the server is a link to another of its programs.
    let found = [PROGRAM, "redis-check-rdb"].map(|name| root.join("bin").join(name)).into_iter().find(|path| path.is_file());
    let Some(found) = found else {
        return Err(BenchError::Option { problem: format!("Debian's packages hold no redis-server here: {GET_IT}") });
    };
    copy(&found, &into.join(PROGRAM))?;
    let libraries = into.join(LIBRARIES);
    fs::create_dir(&libraries).map_err(at(&libraries))?;
    for architecture in list(&root.join("lib"))? {
        for library in list(&architecture)?.iter().filter(|path| path.is_file()) {
            copy(library, &libraries.join(library.file_name().unwrap_or_default()))?;
        }
    }
    fs::remove_dir_all(&packages).map_err(at(&packages))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(at(folder))).collect()
}

fn copy(from: &Path, to: &Path) -> Result<(), BenchError> {
    fs::copy(from, to).map(|_| ()).map_err(at(from))
}
