//! The addresses of the shards, taken before anything is recovered.
//!
//! A taken port is refused at once. Each shard listens on its own as soon as it runs; what it says until it is open
//! stands in `opened`.

use crate::config::BrokerConfig;
use crate::start_error::StartError;
use sluice_metadata::Address;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// One bound socket per shard, shard 0 first.
pub(crate) fn bind_shards(config: &BrokerConfig, shard_count: usize) -> Result<Vec<TcpListener>, StartError> {
    (0..shard_count).map(|shard| bind(nth_address(config.listen, shard)?)).collect()
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        // Taken by another socket that listens, although the bind went well: SO_REUSEADDR allows that much.
        Ok(socket.into())
    };
    bound().map_err(|error| StartError::Listen { address, error })
}

/// Shard n is at port + n; every one at port 0 when the first is.
fn nth_address(first: SocketAddr, shard: usize) -> Result<SocketAddr, StartError> {
    let port = nth_port(first.port(), shard).ok_or_else(|| StartError::InvalidSetting {
        setting: "listen",
        problem: format!(
            "shard {shard} would be at port {}, past the last one: choose a smaller port",
            first.port() as usize + shard
        ),
    })?;
    Ok(SocketAddr::new(first.ip(), if first.port() == 0 { 0 } else { port }))
}

fn nth_port(first: u16, shard: usize) -> Option<u16> {
    first.checked_add(u16::try_from(shard).ok()?)
}

/// Where clients are told to connect to.
pub(crate) fn advertised(config: &BrokerConfig, bound: &[SocketAddr]) -> Result<Vec<Address>, StartError> {
    let one = |(shard, address): (usize, &SocketAddr)| match &config.advertise {
        Some((host, port)) => {
            let port = nth_port(*port, shard).filter(|port| *port != 0).ok_or_else(|| StartError::InvalidSetting {
                setting: "advertise",
                problem: format!(
                    "shard {shard} has no port counted from {port}: choose a port between 1 and 65535 less the shards"
                ),
            })?;
            Ok(Address { host: host.clone(), port })
        }
        None => Ok(Address { host: reachable_host(address.ip()), port: address.port() }),
    };
    bound.iter().enumerate().map(one).collect()
}

/// An address that stands for every one of this machine is no address to connect to.
fn reachable_host(ip: IpAddr) -> String {
    if !ip.is_unspecified() {
        return ip.to_string();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name == "(none)" { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, advertise: Option<(&str, u16)>) -> BrokerConfig {
        let advertise = advertise.map(|(host, port)| (host.to_owned(), port));
        BrokerConfig { advertise, ..BrokerConfig::new("x", listen.parse().expect("an address")) }
    }

    #[test]
    fn a_taken_port_is_refused_by_name_and_a_free_one_is_not_listened_on() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        let text = bind_shards(&config(&address.to_string(), None), 1).expect_err("taken").to_string();
        assert!(text.contains(&address.to_string()) && text.contains("in use"), "{text}");
        let bound = bind_shards(&config("127.0.0.1:0", None), 2).expect("free ports");
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.local_addr().expect("bound")).collect();
        assert_ne!(addresses[0], addresses[1]);
        assert!(std::net::TcpStream::connect(addresses[0]).is_err(), "nobody listens yet");
    }

    #[test]
    fn shards_are_told_at_consecutive_ports() {
        let bound = ["127.0.0.1:5".parse().expect("an address"), "127.0.0.1:6".parse().expect("an address")];
        let told = advertised(&config("127.0.0.1:5", Some(("broker.example", 9000))), &bound).expect("two ports");
        assert_eq!(told[1], Address { host: "broker.example".to_owned(), port: 9001 });
        assert!(advertised(&config("127.0.0.1:5", Some(("broker.example", u16::MAX))), &bound).is_err());
        assert_eq!(advertised(&config("127.0.0.1:5", None), &bound).expect("as bound")[1].port, 6);
        assert!(nth_address("127.0.0.1:65535".parse().expect("an address"), 1).is_err());
    }
}
