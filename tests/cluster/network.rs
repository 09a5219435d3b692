//! A network of its own for each broker, which can be cut in one direction or in both: needs root, and says so aloud where
//! there is none.
//!
//! Each broker lives in a network namespace with one address, joined to the others by a bridge here. A cut is a neighbour's
//! entry with a hardware address that nobody has: what one sends to the other vanishes, as on a broken wire, and no connection
//! is told.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// A hardware address of one's own making, which no device has.
const NOBODY: &str = "02:00:00:00:00:01";

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    /// Of this process; names of bridges are short.
    tag: String,
    subnet: u8,
    brokers: u32,
}

impl Network {
    /// `None`, said aloud, where it cannot be had.
    pub(crate) fn new(brokers: u32) -> Option<Self> {
        match Self::try_new(brokers) {
            Ok(network) => Some(network),
            Err(why) => {
                eprintln!("NOT TESTED: brokers that are cut off from each other, because {why}");
                None
            }
        }
    }

    fn try_new(brokers: u32) -> Result<Self, String> {
        let owner = std::fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
        if owner != 0 {
            return Err("only root may make network namespaces".to_owned());
        }
        let number = std::process::id();
        let network = Self { tag: format!("sl{:x}", number % 0xf_ffff), subnet: (number % 250) as u8, brokers };
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", self.address(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for broker in 1..=self.brokers {
            let (namespace, here, there) = (self.namespace(broker), format!("{}h{broker}", self.tag), self.device(broker));
            ip(&["netns", "add", &namespace])?;
            ip(&["link", "add", &here, "type", "veth", "peer", "name", &there])?;
            ip(&["link", "set", &here, "master", &bridge, "up"])?;
            ip(&["link", "set", &there, "netns", &namespace])?;
            let inside = ["-n", &namespace];
            ip(&[&inside[..], &["address", "add", &format!("{}/24", self.address(broker)), "dev", &there]].concat())?;
            ip(&[&inside[..], &["link", "set", &there, "up"]].concat())?;
            ip(&[&inside[..], &["link", "set", "lo", "up"]].concat())?;
        }
        Ok(())
    }

    fn bridge(&self) -> String {
        format!("{}br", self.tag)
    }

    fn namespace(&self, broker: u32) -> String {
        format!("{}-{broker}", self.tag)
    }

    /// In a broker's namespace.
    fn device(&self, broker: u32) -> String {
        format!("{}n{broker}", self.tag)
    }

    /// Of broker N, reached from here and from the others.
    pub(crate) fn address(&self, broker: u32) -> String {
        format!("10.213.{}.{broker}", self.subnet)
    }

    /// What runs a program in the network of a broker.
    pub(crate) fn command(&self, broker: u32, program: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(broker)]).arg(program.get_program());
        command.args(program.get_args());
        command
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub(crate) fn cut(&self, from: u32, to: u32) {
        self.neighbour(from, to, &["lladdr", NOBODY, "nud", "permanent"], "replace");
    }

    pub(crate) fn heal(&self, from: u32, to: u32) {
        self.neighbour(from, to, &[], "del");
    }

    fn neighbour(&self, from: u32, to: u32, how: &[&str], what: &str) {
        let (namespace, to, device) = (self.namespace(from), self.address(to), self.device(from));
        let args = [&["-n", &namespace, "neighbour", what, &to, "dev", &device], how].concat();
        ip(&args).unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for broker in 1..=self.brokers {
            let _not_made = ip(&["netns", "del", &self.namespace(broker)]);
            let _gone_with_it = ip(&["link", "del", &format!("{}h{broker}", self.tag)]);
        }
        let _not_made = ip(&["link", "del", &self.bridge()]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let said = Command::new("ip").args(args).output().map_err(|error| format!("ip cannot be run: {error}"))?;
    match said.status.success() {
        true => Ok(()),
        false => Err(format!("ip {} failed: {}", args.join(" "), String::from_utf8_lossy(&said.stderr).trim())),
    }
}
