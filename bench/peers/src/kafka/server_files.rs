//! The files a broker is started from, and the JVM's options.
//!
//! Kafka's defaults, but for what makes it one broker on loopback, what keeps a deleted topic from lying around while the
//! next is measured, and what lets the broker be held between rounds. The expensive mistake would be a setting that makes it
//! slower than its users have it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use sluice_bench::BenchError;
use sluice_bench::error::at;

pub(super) const SERVER_PROPERTIES: &str = "server.properties";
const LOG4J_PROPERTIES: &str = "log4j2.properties";
/// Within the data folder.
pub(super) const LOG_DIR: &str = "log";

/// Of 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub broker: u16,
    pub controller: u16,
}

/// Of the JVM, mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heap {
    pub mib: u64,
}

impl Heap {
    /// What the broker is given where there is room.
    const FULL_MIB: u64 = 4096;
    /// Kafka's own start script gives it this much.
    const LEAST_MIB: u64 = 1024;

    /// As much as a quarter of the memory that is to be had now: the page cache is where a broker keeps its records.
    pub(super) fn for_this_machine() -> Self {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self::of(available_kib(&text).unwrap_or(0))
    }

    fn of(available_kib: u64) -> Self {
        Self { mib: (available_kib / 1024 / 4).clamp(Self::LEAST_MIB, Self::FULL_MIB) }
    }
}

fn available_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Server VM, one heap size from the start, short pauses: what Kafka's start script asks for, with a larger heap.
pub(super) fn jvm_options(heap: Heap) -> Vec<String> {
    vec![
        "-server".to_owned(),
        format!("-Xms{}m", heap.mib),
        format!("-Xmx{}m", heap.mib),
        "-XX:+UseG1GC".to_owned(),
        "-XX:MaxGCPauseMillis=20".to_owned(),
    ]
}

/// What starts `class` of the jars in `installed`, with the data folder as working folder.
pub(super) fn java_arguments(installed: &Path, class: &str) -> Vec<OsString> {
    let log4j = format!("-Dlog4j2.configurationFile=file:{LOG4J_PROPERTIES}");
    vec![log4j.into(), "-cp".into(), installed.join("libs/*").into(), class.into()]
}

/// Puts the files into the data folder.
pub(super) fn write(data_dir: &Path, ports: Ports) -> Result<(), BenchError> {
    for (name, text) in [(SERVER_PROPERTIES, server_properties(ports)), (LOG4J_PROPERTIES, log4j_properties())] {
        let path = data_dir.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    Ok(())
}

pub(super) fn server_properties(ports: Ports) -> String {
    let Ports { broker, controller } = ports;
    let listeners = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let one_broker = "process.roles=broker,controller\nnode.id=1\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         auto.create.topics.enable=false\n";
    // A deleted topic is a minute later gone from the disk by default; the look for such logs begins after half a minute.
    let tidy = "log.segment.delete.delay.ms=100\nlog.initial.task.delay.ms=500\n";
    // Consumers of one group at a time need no fifty partitions to remember offsets that nobody commits.
    let groups = "offsets.topic.num.partitions=1\n";
    // A broker that was held for as long as another system is measured is not one that has died.
    let held = "broker.session.timeout.ms=3600000\n";
    format!(
        "{one_broker}listeners={listeners}\nadvertised.listeners={listeners}\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\nlog.dirs={LOG_DIR}\n{tidy}{groups}{held}"
    )
}

fn log4j_properties() -> String {
    "rootLogger.level=WARN\nrootLogger.appenderRef.console.ref=console\n\
     appender.console.type=Console\nappender.console.name=console\nappender.console.layout.type=PatternLayout\n\
     appender.console.layout.pattern=%d %p %m (%c)%n%throwable\n"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_its_own_controller_on_loopback() {
        let text = server_properties(Ports { broker: 11_000, controller: 11_001 });
        let lines: Vec<&str> = text.lines().collect();
        for expected in [
            "process.roles=broker,controller",
            "listeners=PLAINTEXT://127.0.0.1:11000,CONTROLLER://127.0.0.1:11001",
            "advertised.listeners=PLAINTEXT://127.0.0.1:11000,CONTROLLER://127.0.0.1:11001",
            "controller.quorum.bootstrap.servers=127.0.0.1:11001",
            "log.dirs=log",
            "offsets.topic.replication.factor=1",
        ] {
            assert!(lines.contains(&expected), "{expected} in {text}");
        }
        let keys: std::collections::BTreeSet<_> =
            lines.iter().filter_map(|line| line.split_once('=')).map(|pair| pair.0).collect();
        assert_eq!(keys.len(), lines.len(), "each line is a key of its own: {text}");
    }

    #[test]
    fn the_heap_is_smaller_where_memory_is() {
        assert_eq!(Heap::of(64 << 20).mib, 4096);
        assert_eq!(Heap::of(8 << 20).mib, 2048);
        assert_eq!(Heap::of(0).mib, 1024);
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   4096 kB\n"), Some(4096));
        assert_eq!(jvm_options(Heap { mib: 2048 })[1..3], ["-Xms2048m", "-Xmx2048m"]);
    }

    #[test]
    fn the_files_lie_in_the_data_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), Ports { broker: 1, controller: 2 }).expect("written");
        for name in [SERVER_PROPERTIES, LOG4J_PROPERTIES] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
        let arguments = java_arguments(Path::new("/peers/kafka"), "kafka.Kafka");
        assert_eq!(arguments[2], "/peers/kafka/libs/*");
    }
}
