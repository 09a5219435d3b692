//! Every setting of a broker: its name, unit, default, limits and meaning. Nothing else states any of them.

use serde::Deserialize;
use serde_json::Value;
use sluice_broker::{
    BROKER, BrokerConfig, JOURNAL_BUDGET_LEN_MIN, JOURNAL_FILE_COUNT_MIN, JOURNAL_FILE_LEN_MIN, NETWORK_BUDGET_LEN_MIN,
    SCRUB_RATE_LEN_MIN, SHARDS_MAX, TAIL_BUDGET_LEN_MIN,
};
use sluice_model::{BrokerId, limits};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::units::{Unit, format_exact};

/// What a setting's values are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// On or off.
    Switch,
    Path,
    /// An address and port to listen on.
    Address,
    /// A host name or address, with a port or without.
    Host,
    /// Several `id@host:port`.
    Voters,
    /// Any name.
    Name,
    Count {
        min: u64,
        max: u64,
    },
    /// Bytes.
    Len {
        min: u64,
        max: u64,
    },
    Millis {
        min: u64,
        max: u64,
    },
}

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    Switch(bool),
    Number(u64),
    Text(&'static str),
    /// Nothing; the text says what that means.
    Unset(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) preset: Preset,
    pub(crate) about: &'static str,
}

/// The same settings as values, in their base units (bytes, milliseconds).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) journal_dir: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) shards: Option<usize>,
    pub(crate) pin_shards: bool,
    pub(crate) busy_poll: bool,
    pub(crate) produce_delay_ms_max: u32,
    pub(crate) tail_budget_len: usize,
    pub(crate) journal_buffer_budget_len: usize,
    pub(crate) network_budget_len: usize,
    pub(crate) journal_file_len: u64,
    pub(crate) journal_file_count: u32,
    pub(crate) write_back_interval_ms: u32,
    pub(crate) checkpoint_interval_ms: u32,
    pub(crate) scrub_interval_ms: u64,
    pub(crate) scrub_rate_len: u64,
    pub(crate) connections_max: usize,
    pub(crate) connection_idle_ms_max: u64,
    pub(crate) output_stall_ms_max: u64,
    pub(crate) broker_id: Option<u32>,
    pub(crate) cluster_voters: Option<String>,
    pub(crate) cluster_secret_file: Option<PathBuf>,
    pub(crate) controller_listen: Option<SocketAddr>,
    pub(crate) controller_advertise: Option<String>,
    pub(crate) rack: Option<String>,
}

const MIB: u64 = 1024 * 1024;

/// What the broker needs at least, rounded up to a number people can read.
const fn whole_mib(len: u64) -> u64 {
    len.next_multiple_of(MIB)
}

const GIB: u64 = 1024 * MIB;

pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "data_dir",
        kind: Kind::Path,
        preset: Preset::Text("sluice-data"),
        about: "Folder of everything the broker keeps; made when missing. Not on tmpfs. One broker at a time uses it.",
    },
    Setting {
        name: "journal_dir",
        kind: Kind::Path,
        preset: Preset::Unset("`journal` in `data_dir`"),
        about: "Folder of the journals; may lie on another, quicker device than the data.",
    },
    Setting {
        name: "listen",
        kind: Kind::Address,
        preset: Preset::Text("127.0.0.1:7400"),
        about: "Address and port of shard 0; shard N listens on port + N. Whoever reaches it may read and write: there is no authentication yet.",
    },
    Setting {
        name: "advertise",
        kind: Kind::Host,
        preset: Preset::Unset("the address of `listen`, or this host's name when that is 0.0.0.0"),
        about: "Host, with a port or without, that clients are told to connect to; needed when they do not know this host by that name, or reach it through a translation.",
    },
    Setting {
        name: "shards",
        kind: Kind::Count { min: 1, max: SHARDS_MAX as u64 },
        preset: Preset::Unset("one for every core but one, at least one"),
        about: "Executors, each with its own core, port, journal and memory budgets.",
    },
    Setting {
        name: "pin_shards",
        kind: Kind::Switch,
        preset: Preset::Switch(true),
        about: "Each shard stays on a core of its own, where there are enough of them. Not where several brokers share this host's cores.",
    },
    Setting {
        name: "busy_poll",
        kind: Kind::Switch,
        preset: Preset::Switch(false),
        about: "Shards look for work all the time instead of sleeping until there is some: the lowest latency, for a whole core each even when nothing comes. Only where the cores are theirs alone.",
    },
    Setting {
        name: "produce_delay_ms_max",
        kind: Kind::Millis { min: 1, max: 60_000 },
        preset: Preset::Number(1000),
        about: "A produce whose predicted wait for durability is longer is refused at once, with the time after which to try again.",
    },
    Setting {
        name: "tail_budget_len",
        kind: Kind::Len { min: whole_mib(TAIL_BUDGET_LEN_MIN as u64), max: 64 * GIB },
        preset: Preset::Number(128 * MIB),
        about: "Memory of each shard for records that are not yet in segments, and for the newest that are (tail reads come from it).",
    },
    Setting {
        name: "journal_buffer_budget_len",
        kind: Kind::Len { min: whole_mib(JOURNAL_BUDGET_LEN_MIN as u64), max: 4 * GIB },
        preset: Preset::Number(32 * MIB),
        about: "Memory of each shard for commit groups that are being filled or written.",
    },
    Setting {
        name: "network_budget_len",
        kind: Kind::Len { min: whole_mib(NETWORK_BUDGET_LEN_MIN as u64), max: 64 * GIB },
        preset: Preset::Number(64 * MIB),
        about: "Memory of each shard for requests being received and answers not yet sent.",
    },
    Setting {
        name: "journal_file_len",
        kind: Kind::Len { min: whole_mib(JOURNAL_FILE_LEN_MIN), max: 4 * GIB },
        preset: Preset::Number(32 * MIB),
        about: "Length of one journal file, a multiple of 4KiB; written with zeros once, then recycled.",
    },
    Setting {
        name: "journal_file_count",
        kind: Kind::Count { min: JOURNAL_FILE_COUNT_MIN as u64, max: 64 },
        preset: Preset::Number(8),
        about: "Journal files of each shard; together they bound what a restart has to replay.",
    },
    Setting {
        name: "write_back_interval_ms",
        kind: Kind::Millis { min: 10, max: 60_000 },
        preset: Preset::Number(2000),
        about: "A partition's newest records are written to its segment after this long even when they are few.",
    },
    Setting {
        name: "checkpoint_interval_ms",
        kind: Kind::Millis { min: 10, max: 600_000 },
        preset: Preset::Number(5000),
        about: "Longest time between two checkpoints of a shard that has something new.",
    },
    Setting {
        name: "scrub_interval_ms",
        kind: Kind::Millis { min: 0, max: 30 * 86_400_000 },
        preset: Preset::Number(7 * 86_400_000),
        about: "Everything on disk is read again and verified, one pass after the other, no more often than this; 0 switches it off. A restart begins a new pass.",
    },
    Setting {
        name: "scrub_rate_len",
        kind: Kind::Len { min: SCRUB_RATE_LEN_MIN, max: 4 * GIB },
        preset: Preset::Number(20 * MIB),
        about: "Bytes a second that all shards together read for that at most, and only while nothing else wants the device; `broker describe` says how long a pass takes.",
    },
    Setting {
        name: "connections_max",
        kind: Kind::Count { min: 1, max: 100_000 },
        preset: Preset::Number(10_000),
        about: "Connections of each shard; one more is closed as soon as it is accepted.",
    },
    Setting {
        name: "connection_idle_ms_max",
        kind: Kind::Millis { min: 1000, max: 86_400_000 },
        preset: Preset::Number(600_000),
        about: "A connection without a request for this long is closed.",
    },
    Setting {
        name: "output_stall_ms_max",
        kind: Kind::Millis { min: 100, max: 600_000 },
        preset: Preset::Number(30_000),
        about: "A connection that takes none of its answers for this long is closed.",
    },
];

impl Settings {
    /// What a broker is started with. The broker checks its own bounds again, by the same names.
    pub(crate) fn broker_config(&self) -> Result<BrokerConfig, String> {
        if !self.journal_file_len.is_multiple_of(limits::BLOCK_LEN as u64) {
            return Err(format!(
                "`journal_file_len`: {} is not a multiple of 4KiB",
                format_exact(self.journal_file_len, Unit::Bytes)
            ));
        }
        let advertise = self.advertise.as_deref().map(|host| split_host(host, self.listen.port()));
        Ok(BrokerConfig {
            data_dir: self.data_dir.clone(),
            broker: BrokerId(self.broker_id.unwrap_or(BROKER.0)),
            cluster: self.cluster()?,
            journal_dir: self.journal_dir.clone(),
            listen: self.listen,
            advertise,
            shards: self.shards,
            pin_shards: self.pin_shards,
            busy_poll: self.busy_poll,
            tail_budget_len: self.tail_budget_len,
            network_budget_len: self.network_budget_len,
            journal_buffer_budget_len: self.journal_buffer_budget_len,
            journal_file_len: self.journal_file_len,
            journal_file_count: self.journal_file_count,
            produce_delay_ms_max: self.produce_delay_ms_max,
            write_back_interval_ms: self.write_back_interval_ms,
            checkpoint_interval_ms: self.checkpoint_interval_ms,
            scrub_interval_ms: self.scrub_interval_ms,
            scrub_rate_len: self.scrub_rate_len,
            connections_max: self.connections_max,
            connection_idle_ms_max: self.connection_idle_ms_max,
            output_stall_ms_max: self.output_stall_ms_max,
        })
    }
}

/// Host and port of a checked `advertise`; the port is that of `listen` unless it is named.
pub(super) fn split_host(text: &str, listen_port: u16) -> (String, u16) {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.ip().to_string(), address.port());
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return (text.to_owned(), listen_port);
    }
    match text.split_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.to_owned(), port),
        None => (text.to_owned(), listen_port),
    }
}

impl Setting {
    pub(crate) fn default_value(&self) -> Option<Value> {
        match self.preset {
            Preset::Switch(on) => Some(on.into()),
            Preset::Number(number) => Some(number.into()),
            Preset::Text(text) => Some(text.into()),
            Preset::Unset(_) => None,
        }
    }

    /// The default as it stands in a settings file, or what it means that there is none.
    pub(crate) fn default_toml(&self) -> Result<String, &'static str> {
        match self.preset {
            Preset::Switch(on) => Ok(on.to_string()),
            Preset::Number(number) if matches!(self.kind, Kind::Count { .. }) => Ok(number.to_string()),
            Preset::Number(number) => Ok(format!("{:?}", self.kind.format(number))),
            Preset::Text(text) => Ok(format!("{text:?}")),
            Preset::Unset(meaning) => Err(meaning),
        }
    }
}

impl Kind {
    /// Smallest and largest value, for numbers.
    pub(crate) fn limits(self) -> Option<(u64, u64)> {
        match self {
            Self::Count { min, max } | Self::Len { min, max } | Self::Millis { min, max } => Some((min, max)),
            Self::Switch | Self::Path | Self::Address | Self::Host | Self::Voters | Self::Name => None,
        }
    }

    pub(crate) fn format(self, number: u64) -> String {
        match self {
            Self::Len { .. } => format_exact(number, Unit::Bytes),
            Self::Millis { .. } => format_exact(number, Unit::Milliseconds),
            _ => number.to_string(),
        }
    }

    /// Unit and limits in words.
    pub(crate) fn describe(self) -> String {
        let (unit, (min, max)) = match self {
            Self::Switch => return "true or false".to_owned(),
            Self::Path => return "a path".to_owned(),
            Self::Address => return "an address and port".to_owned(),
            Self::Host => return "a host, or host:port".to_owned(),
            Self::Voters => return "a list of id@host:port".to_owned(),
            Self::Name => return "a name".to_owned(),
            Self::Count { min, max } => ("a number", (min, max)),
            Self::Len { min, max } => ("bytes", (min, max)),
            Self::Millis { min, max } => ("milliseconds", (min, max)),
        };
        format!("{unit}, {} to {}", self.format(min), self.format(max))
    }
}

/// An `address:port` to listen on; a name is not one, because a listener needs to know its interface.
pub(crate) fn check_listen(text: &str) -> Result<String, String> {
    let address: std::net::SocketAddr =
        text.parse().map_err(|_| format!("{text:?} is not an address and port such as 127.0.0.1:7400 or [::]:7400"))?;
    Ok(address.to_string())
}

/// A host name or address with an optional port, as clients are told it.
pub(crate) fn check_host(text: &str) -> Result<String, String> {
    if text.parse::<std::net::SocketAddr>().is_ok() || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host_ok = !host.is_empty() && host.len() <= 253 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if host_ok && port_ok {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a host such as broker-1.example or 10.0.0.5:7400"))
    }
}
