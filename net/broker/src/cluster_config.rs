//! What makes a broker one of several: the voters, the secret they share, and where its controller listens.
//!
//! The expensive mistake is a secret that others can read, or one so short that it can be guessed: both end the start.

use crate::start_error::StartError;
use sluice_metadata::FolderId;
use sluice_model::BrokerId;
use sluice_model::limits::{CLUSTER_SECRET_LEN_MAX, CLUSTER_VOTERS_MAX, HOST_LEN_MAX, RACK_LEN_MAX};
use sluice_protocol::ClusterSecret;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How one broker belongs to a cluster of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The brokers that elect the controller.
    pub voters: Vec<ClusterVoter>,
    pub secret: ClusterSecret,
    /// Where this broker's controller listens to those of the others.
    pub controller_listen: SocketAddr,
    /// Host and port told to the others instead.
    pub controller_advertise: Option<(String, u16)>,
    /// Replicas of a partition are spread over racks.
    pub rack: Option<String>,
    /// The folder that the cluster knows this broker with, when it is lost and this start is on another one: nothing that was
    /// on it counts any more.
    pub replaces_folder: Option<FolderId>,
}

/// A broker that votes, and where its controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterVoter {
    pub broker: BrokerId,
    pub host: String,
    pub port: u16,
}

impl ClusterVoter {
    /// Reads `ID@HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a voter such as 1@broker-1.example:7500");
        let (id, address) = text.trim().split_once('@').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let broker = id.parse::<u32>().ok().filter(|id| *id > 0).ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_ip = host.parse::<std::net::IpAddr>().is_ok();
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if host.is_empty() || host.len() > HOST_LEN_MAX || !(is_ip || is_name) {
            return Err(wrong());
        }
        Ok(Self { broker: BrokerId(broker), host: host.to_owned(), port })
    }
}

impl ClusterConfig {
    /// Every value within its bounds, or the first that is not, by name.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let voters = |problem| Err(StartError::InvalidSetting { setting: "cluster_voters", problem });
        if self.voters.len() > CLUSTER_VOTERS_MAX || self.voters.len().is_multiple_of(2) {
            let problem = format!("{} voters: an odd number of them elects, at most {CLUSTER_VOTERS_MAX}", self.voters.len());
            return voters(problem);
        }
        let ids: BTreeSet<BrokerId> = self.voters.iter().map(|voter| voter.broker).collect();
        if ids.len() != self.voters.len() {
            return voters("a broker is named more than once".to_owned());
        }
        match &self.rack {
            Some(rack) if rack.is_empty() || rack.len() > RACK_LEN_MAX => Err(StartError::InvalidSetting {
                setting: "rack",
                problem: format!("a rack's name has between 1 and {RACK_LEN_MAX} bytes"),
            }),
            _ => Ok(()),
        }
    }
}

/// The secret in a file that nobody but its owner may read. A line break at its end is not part of it.
///
/// # Errors
/// A file that cannot be read, that others may read or write, or that is too short or too long.
pub fn read_cluster_secret(path: &Path) -> Result<ClusterSecret, StartError> {
    let invalid = |problem: String| StartError::InvalidSetting {
        setting: "cluster_secret_file",
        problem: format!("{}: {problem}", path.display()),
    };
    let unreadable = |error: io::Error| invalid(format!("cannot be read: {error}; make it readable by this user"));
    // A pipe that nobody writes to is refused, not waited for.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(invalid("is not a file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let problem = format!("others than its owner may use it (mode {:03o}): chmod 600", metadata.mode() & 0o777);
        return Err(invalid(problem));
    }
    let mut bytes = Vec::new();
    file.take(CLUSTER_SECRET_LEN_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    ClusterSecret::new(secret).map_err(|error| invalid(format!("{error}; `openssl rand -hex 32` prints a good one")))
}

#[cfg(test)]
#[path = "cluster_config_test.rs"]
mod tests;
