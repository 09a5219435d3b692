//! The settings of a broker that is one of several: their table, and what they are together.

use super::settings::{Kind, Preset, Setting, Settings, split_host};
use sluice_broker::{ClusterConfig, ClusterVoter, read_cluster_secret};

/// Settings of a broker that is one of several.
pub(crate) const CLUSTER_SETTINGS: &[Setting] = &[
    Setting {
        name: "broker_id",
        kind: Kind::Count { min: 1, max: u32::MAX as u64 },
        preset: Preset::Unset("none; needed with `cluster_voters`"),
        about: "The broker's number in its cluster. It belongs to its data folder and never changes.",
    },
    Setting {
        name: "cluster_voters",
        kind: Kind::Voters,
        preset: Preset::Unset("the broker stands alone"),
        about: "The brokers that elect the controller, an odd number of them, each with the address of its `controller_listen`; the same on every broker.",
    },
    Setting {
        name: "cluster_secret_file",
        kind: Kind::Path,
        preset: Preset::Unset("none; needed with `cluster_voters`"),
        about: "File with the secret that all brokers of a cluster share, 32 to 1024 bytes, readable by its owner alone. Brokers prove to each other that they know it, and never send it.",
    },
    Setting {
        name: "controller_listen",
        kind: Kind::Address,
        preset: Preset::Unset("none; needed with `cluster_voters`"),
        about: "Address and port at which this broker's controller listens to those of the other brokers.",
    },
    Setting {
        name: "controller_advertise",
        kind: Kind::Host,
        preset: Preset::Unset("the address of `controller_listen`"),
        about: "Host, with a port or without, at which the other brokers reach this broker's controller.",
    },
    Setting {
        name: "rack",
        kind: Kind::Name,
        preset: Preset::Unset("none"),
        about: "Where the broker stands; the replicas of a partition are spread over racks.",
    },
];

impl Settings {
    /// The settings that are only for a cluster, and given.
    pub(super) fn cluster_settings(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            self.broker_id.is_some(),
            self.cluster_voters.is_some(),
            self.cluster_secret_file.is_some(),
            self.controller_listen.is_some(),
            self.controller_advertise.is_some(),
            self.rack.is_some(),
        ];
        CLUSTER_SETTINGS.iter().zip(given).filter(|(_, given)| *given).map(|(setting, _)| setting.name)
    }

    /// What makes the broker one of several; `None` when it stands alone.
    pub(crate) fn cluster(&self) -> Result<Option<ClusterConfig>, String> {
        let Some(voters) = &self.cluster_voters else {
            return match self.cluster_settings().next() {
                Some(name) => Err(format!("`{name}`: only a broker with `cluster_voters` needs it")),
                None => Ok(None),
            };
        };
        let needed = |name: &str| format!("`{name}`: needed with `cluster_voters`");
        let secret_file = self.cluster_secret_file.as_deref().ok_or_else(|| needed("cluster_secret_file"))?;
        self.broker_id.ok_or_else(|| needed("broker_id"))?;
        let controller_listen = self.controller_listen.ok_or_else(|| needed("controller_listen"))?;
        let voters: Result<_, String> = voters.split(',').map(ClusterVoter::parse).collect();
        Ok(Some(ClusterConfig {
            voters: voters.map_err(|wrong| format!("`cluster_voters`: {wrong}"))?,
            secret: read_cluster_secret(secret_file).map_err(|wrong| wrong.to_string())?,
            controller_listen,
            controller_advertise: self.controller_advertise.as_deref().map(|host| split_host(host, controller_listen.port())),
            rack: self.rack.clone(),
            // Said by a flag, for one start.
            replaces_folder: None,
        }))
    }
}

/// Voters, separated by commas, each as the broker reads it.
pub(crate) fn check_voters(text: &str) -> Result<String, String> {
    let voters: Vec<&str> = text.split(',').map(str::trim).collect();
    voters.iter().try_for_each(|voter| ClusterVoter::parse(voter).map(drop))?;
    Ok(voters.join(","))
}
