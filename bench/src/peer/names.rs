//! Which peers there are, and how each of their systems is called.

use sluice_model::nearest::nearest;

use crate::error::BenchError;

/// In the order in which they are measured.
pub const PEERS: [&str; 4] = ["kafka", "nats", "redis", "iggy"];
/// Every peer there is.
pub const ALL: &str = "all";
/// Ends the name of a system that acknowledges before it flushes.
const UNFLUSHED: &str = "-unflushed";

/// When a peer flushes what it acknowledges. Each is run both ways, as two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before the acknowledgement, as Sluice does.
    BeforeAck,
    /// Some time later: what its defaults are.
    Later,
}

impl Flush {
    pub const BOTH: [Self; 2] = [Self::BeforeAck, Self::Later];
}

/// `redis`, or `redis-unflushed`.
#[must_use]
pub fn system_name(peer: &str, flush: Flush) -> String {
    match flush {
        Flush::BeforeAck => peer.to_owned(),
        Flush::Later => format!("{peer}{UNFLUSHED}"),
    }
}

/// The peer behind a system's name, and when it flushes.
#[must_use]
pub fn peer_of(system: &str) -> (&str, Flush) {
    match system.strip_suffix(UNFLUSHED) {
        Some(peer) => (peer, Flush::Later),
        None => (system, Flush::BeforeAck),
    }
}

/// The peers that `asked` names, in the order asked for.
///
/// # Errors An unknown name, with the nearest one; a peer that is named twice.
pub fn select(asked: &[String]) -> Result<Vec<&'static str>, BenchError> {
    let refuse = |problem: String| Err(BenchError::Option { problem });
    let mut selected: Vec<&'static str> = Vec::new();
    for name in asked {
        let named = match PEERS.iter().find(|peer| **peer == name) {
            Some(peer) => std::slice::from_ref(peer),
            None if name == ALL => &PEERS[..],
            None => {
                let nearest = nearest(name, PEERS.into_iter().chain([ALL])).map(|name| format!("; did you mean {name}?"));
                let known = PEERS.join(", ");
                return refuse(format!("--peer {name}: there is {known} and {ALL}{}", nearest.unwrap_or_default()));
            }
        };
        if let Some(twice) = named.iter().find(|peer| selected.contains(peer)) {
            return refuse(format!("--peer {name}: {twice} was named already, and each peer is measured once"));
        }
        selected.extend(named);
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(asked: &[&str]) -> Result<Vec<&'static str>, String> {
        select(&asked.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_peer_is_named_once() {
        assert_eq!(selected(&[]), Ok(vec![]));
        assert_eq!(selected(&["redis", "kafka"]), Ok(vec!["redis", "kafka"]));
        assert_eq!(selected(&["all"]), Ok(PEERS.to_vec()));
        for (asked, expected) in [
            (&["reddis"][..], "did you mean redis?"),
            (&["zookeeper"][..], "kafka, nats, redis, iggy and all"),
            (&["nats", "nats"][..], "nats was named already"),
            (&["all", "iggy"][..], "iggy was named already"),
            (&["kafka", "all"][..], "kafka was named already"),
        ] {
            let problem = selected(asked).expect_err("not as it should be");
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_system_is_a_peer_and_a_way_to_flush() {
        for peer in PEERS {
            for flush in Flush::BOTH {
                assert_eq!(peer_of(&system_name(peer, flush)), (peer, flush));
            }
        }
    }
}
