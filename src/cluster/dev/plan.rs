//! Which brokers there are, where each listens, and their settings' files: written once, and read again by later starts.
//!
//! The expensive mistake is a second start that takes other ports or another secret than the first: what stands in a
//! settings file counts, and is not written again.

use super::folder::cannot_write;
use crate::config;
use crate::exit_status::{ExitStatus, Failure};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BROKERS_DEFAULT: u32 = 3;
/// Not those that kernels hand to outgoing connections.
const PORT_END: u16 = 32_000;
/// Lines of a log that are shown when its broker has ended.
const LAST_WORDS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedBroker {
    pub(super) id: u32,
    pub(super) folder: PathBuf,
    pub(super) settings: PathBuf,
    pub(super) log: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) controller_listen: SocketAddr,
}

impl PlannedBroker {
    fn new(dir: &Path, id: u32, listen: SocketAddr, controller_listen: SocketAddr) -> Self {
        let folder = dir.join(format!("broker-{id}"));
        let (settings, log) = (folder.join("sluice.toml"), folder.join("log"));
        Self { id, folder, settings, log, listen, controller_listen }
    }

    /// The end of its log, for a person.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].iter().map(|line| format!("\n  {line}")).collect()
    }
}

/// The brokers of a folder: those it has, or new ones.
pub(super) fn plan(dir: &Path, brokers: Option<u32>, shards: Option<u16>, port: u16) -> Result<Vec<PlannedBroker>, Failure> {
    let there: Vec<u32> = (1..).take_while(|id| dir.join(format!("broker-{id}/sluice.toml")).exists()).collect();
    if there.is_empty() {
        return write_new(dir, brokers.unwrap_or(BROKERS_DEFAULT), shards.unwrap_or(1), port);
    }
    let count = there.len() as u32;
    if brokers.is_some_and(|wanted| wanted != count) {
        // Written from the last to the first: the first one is there only when all are.
        let what = format!("{} has a cluster of {count} brokers, whose number is fixed", dir.display());
        return Err(Failure::usage(what).remedy("leave --brokers out, or name another --data-dir"));
    }
    if shards.is_some() {
        let what = format!("{} has a cluster already; its shards stand in the settings of each broker", dir.display());
        return Err(Failure::usage(what).remedy(format!("change `shards` in {}/broker-N/sluice.toml", dir.display())));
    }
    there.into_iter().map(|id| read_back(dir, id)).collect()
}

fn read_back(dir: &Path, id: u32) -> Result<PlannedBroker, Failure> {
    let path = dir.join(format!("broker-{id}/sluice.toml"));
    let settings = config::load(Some(&path), &[])?;
    match (settings.broker_id, settings.controller_listen) {
        (Some(there), Some(controller_listen)) if there == id => {
            Ok(PlannedBroker::new(dir, id, settings.listen, controller_listen))
        }
        _ => Err(Failure::usage(format!("{} is not the settings of broker {id} of a cluster", path.display()))),
    }
}

fn write_new(dir: &Path, count: u32, shards: u16, port: u16) -> Result<Vec<PlannedBroker>, Failure> {
    let brokers = place(dir, count, shards, port)?;
    let secret = dir.join("cluster-secret");
    write_secret(&secret)?;
    // From the last to the first, so that a folder with a broker 1 has them all.
    for broker in brokers.iter().rev() {
        let text = settings_text(broker, &brokers, &secret, shards);
        std::fs::create_dir_all(&broker.folder).map_err(|error| cannot_write(&broker.folder, &error))?;
        let unfinished = broker.folder.join("sluice.toml.new");
        std::fs::write(&unfinished, text).map_err(|error| cannot_write(&unfinished, &error))?;
        std::fs::rename(&unfinished, &broker.settings).map_err(|error| cannot_write(&broker.settings, &error))?;
    }
    Ok(brokers)
}

/// Free ports from `port` on: the shards of each broker in a row, then the controllers.
fn place(dir: &Path, count: u32, shards: u16, port: u16) -> Result<Vec<PlannedBroker>, Failure> {
    let width = count as u16 * (shards + 1);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let end = PORT_END.max(port.saturating_add(1000)).saturating_sub(width);
    let base = (port..end).step_by(usize::from(width)).find(|base| (*base..base + width).all(is_free));
    let base = base.ok_or_else(|| {
        Failure::new(ExitStatus::CannotListen, format!("no {width} free ports in a row from {port} to {end}"))
            .remedy("another --port")
    })?;
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let broker = |number: u16| {
        let controller = base + count as u16 * shards + number;
        PlannedBroker::new(dir, u32::from(number) + 1, address(base + number * shards), address(controller))
    };
    Ok((0..count as u16).map(broker).collect())
}

/// An odd number of the first ones elects.
fn voters(brokers: &[PlannedBroker]) -> String {
    let count = if brokers.len().is_multiple_of(2) { brokers.len() - 1 } else { brokers.len() };
    let voters: Vec<_> =
        brokers.iter().take(count).map(|broker| format!("\"{}@{}\"", broker.id, broker.controller_listen)).collect();
    voters.join(", ")
}

fn settings_text(broker: &PlannedBroker, brokers: &[PlannedBroker], secret: &Path, shards: u16) -> String {
    let text = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
    let PlannedBroker { id, listen, controller_listen, .. } = broker;
    let (voters, secret, data_dir) = (voters(brokers), text(secret), text(&broker.folder.join("data")));
    format!(
        "# Broker {id} of a cluster on one machine, written by `sluice cluster dev`; `sluice serve --config` with this file starts
# it alone. `sluice serve --print-config` explains every setting.

broker_id = {id}
cluster_voters = [{voters}]
cluster_secret_file = {secret}
controller_listen = \"{controller_listen}\"
listen = \"{listen}\"
data_dir = {data_dir}

# All brokers share this machine's cores and memory.
shards = {shards}
pin_shards = false
tail_budget_len = \"32MiB\"
journal_buffer_budget_len = \"24MiB\"
network_budget_len = \"48MiB\"
journal_file_len = \"16MiB\"
journal_file_count = 4
"
    )
}

/// One that is there stays: some broker may have started with it.
fn write_secret(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let mut random = [0_u8; 32];
    let mut source = std::fs::File::open("/dev/urandom").map_err(|error| Failure::io("/dev/urandom", &error))?;
    source.read_exact(&mut random).map_err(|error| Failure::io("/dev/urandom", &error))?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let written = file.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.and_then(|()| std::fs::rename(&unfinished, path)).map_err(|error| cannot_write(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_second_start_takes_up_what_the_first_has_chosen() {
        let folder = folder();
        let first = plan(folder.path(), Some(4), Some(2), 21_000).expect("a plan");
        assert_eq!(first.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let taken = TcpListener::bind(first[0].listen).expect("it was free");
        assert_eq!(plan(folder.path(), None, None, 7400).expect("the same"), first, "whoever listens there now");
        drop(taken);
        let secret = std::fs::metadata(folder.path().join("cluster-secret")).expect("a secret");
        assert_eq!(secret.mode() & 0o777, 0o600);
        assert!(plan(folder.path(), Some(3), None, 7400).expect_err("four are there").to_string().contains("4 brokers"));
        assert!(
            plan(folder.path(), None, Some(2), 7400).expect_err("shards stand in the settings").to_string().contains("shards")
        );
    }

    #[test]
    fn the_settings_are_those_of_one_cluster() {
        let folder = folder();
        let brokers = plan(folder.path(), Some(4), Some(2), 22_000).expect("a plan");
        let mut ports: Vec<u16> = Vec::new();
        for broker in &brokers {
            let settings = config::load(Some(&broker.settings), &[]).expect("settings that are read");
            assert_eq!((settings.broker_id, settings.shards, settings.pin_shards), (Some(broker.id), Some(2), false));
            let voters = settings.cluster_voters.clone().expect("voters");
            assert_eq!(voters.split(',').count(), 3, "an odd number elects: {voters}");
            let cluster = settings.cluster().expect("it is one of several").expect("with voters");
            assert_eq!(cluster.controller_listen, broker.controller_listen);
            ports.extend([broker.listen.port(), broker.listen.port() + 1, broker.controller_listen.port()]);
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12, "every shard and every controller has a port of its own");
    }

    #[test]
    fn a_folder_that_was_begun_and_has_no_first_broker_is_written_again() {
        let folder = folder();
        let first = plan(folder.path(), None, None, 23_000).expect("a plan");
        std::fs::remove_file(&first[0].settings).expect("it was there");
        assert_eq!(plan(folder.path(), None, None, 23_000).expect("a plan").len(), 3);
        assert!(first[0].settings.exists());
    }
}
