//! Ports for servers started here.
//!
//! Below the range that kernels hand out to outgoing connections, so that none of them sits on a server's port, and apart from
//! those of Sluice's own brokers.

use std::net::{Ipv4Addr, TcpListener};

use sluice_bench::BenchError;

const FIRST: u16 = 10_400;
const LAST: u16 = 17_300;

/// `count` ports of 127.0.0.1 that nobody listens on now.
///
/// # Errors When there are none.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, BenchError> {
    // Different processes begin at different places, so that two of them seldom try the same ports.
    let range = u32::from(LAST - FIRST);
    let begin = std::process::id().wrapping_mul(16) % range;
    let candidates = (0..range).map(|step| FIRST + u16::try_from((begin + step) % range).unwrap_or(0));
    let free: Vec<u16> = candidates.filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()).take(count).collect();
    if free.len() < count {
        return Err(BenchError::Option { problem: format!("no {count} free ports between {FIRST} and {LAST}") });
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_given() {
        let first = free_ports(1).expect("a port")[0];
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("it is free");
        let next = free_ports(2).expect("two ports");
        assert!(!next.contains(&first) && next[0] != next[1], "{first}, then {next:?}");
    }
}
