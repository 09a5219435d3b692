//! Which peers there are, and how each of their systems is called.

use std::fmt;

use sluice_model::nearest::nearest;

use crate::error::BenchError;

/// In the order in which they are measured.
pub const PEERS: [&str; 4] = ["kafka", "nats", "redis", "iggy"];
/// Those of which a server that runs already can be measured.
const GIVEN: [&str; 1] = ["kafka"];
/// Every peer there is.
pub const ALL: &str = "all";
/// Behind an address: what its user knows of the server.
const FLUSHED: &str = ",flushed";
const NOT_FLUSHED: &str = ",unflushed";
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

/// A server that runs already: nothing here starts it, ends it or looks at its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenServer {
    /// `HOST:PORT`
    pub address: String,
    /// What its user says of it; nobody else here can know.
    pub flush: Option<Flush>,
}

/// A peer to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPeer {
    /// One of [`PEERS`].
    pub name: &'static str,
    /// `None` for a server that is installed and started for the purpose, both ways it can flush.
    pub given: Option<GivenServer>,
}

/// As it was asked for.
impl fmt::Display for AskedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(given) = &self.given else { return f.write_str(self.name) };
        write!(f, "{}={}", self.name, given.address)?;
        match given.flush {
            None => Ok(()),
            Some(Flush::BeforeAck) => f.write_str(FLUSHED),
            Some(Flush::Later) => f.write_str(NOT_FLUSHED),
        }
    }
}

impl AskedPeer {
    /// The system's name of a given server; another system may be on one that is started here.
    #[must_use]
    pub fn given_name(&self) -> Option<String> {
        self.given.as_ref().map(|given| format!("{}@{}", self.name, given.address))
    }
}

/// The peers that `asked` names, in the order asked for: `redis`, `all`, or `kafka=HOST:PORT`.
///
/// # Errors An unknown name, with the nearest one; a peer that is named twice; what is no address.
pub fn select(asked: &[String]) -> Result<Vec<AskedPeer>, BenchError> {
    let mut selected: Vec<AskedPeer> = Vec::new();
    for text in asked {
        let named = match text.split_once('=') {
            Some((name, at)) => vec![AskedPeer { name: given(name, text)?, given: Some(given_server(at, text)?) }],
            None if text == ALL => PEERS.map(own).to_vec(),
            None => vec![own(known(text, text)?)],
        };
        let is_same = |one: &AskedPeer, other: &AskedPeer| one.name == other.name && one.given_name() == other.given_name();
        if let Some(twice) = named.iter().find(|peer| selected.iter().any(|other| is_same(peer, other))) {
            let twice = twice.given_name().unwrap_or_else(|| twice.name.to_owned());
            return refuse(text, format!("{twice} was named already, and each peer is measured once"));
        }
        selected.extend(named);
    }
    Ok(selected)
}

fn own(name: &'static str) -> AskedPeer {
    AskedPeer { name, given: None }
}

fn refuse<T>(text: &str, problem: impl fmt::Display) -> Result<T, BenchError> {
    Err(BenchError::Option { problem: format!("--peer {text}: {problem}") })
}

fn known(name: &str, text: &str) -> Result<&'static str, BenchError> {
    if let Some(peer) = PEERS.into_iter().find(|peer| *peer == name) {
        return Ok(peer);
    }
    let nearest = nearest(name, PEERS.into_iter().chain([ALL])).map(|name| format!("; did you mean {name}?"));
    refuse(text, format!("there is {} and {ALL}{}", PEERS.join(", "), nearest.unwrap_or_default()))
}

/// Only of these a server that runs already can be measured: others want a user, or are set up for the purpose.
fn given(name: &str, text: &str) -> Result<&'static str, BenchError> {
    match known(name, text)? {
        peer if GIVEN.contains(&peer) => Ok(peer),
        peer => refuse(text, format!("only {} can be given by address; --peer {peer} starts one", GIVEN.join(", "))),
    }
}

/// `HOST:PORT`, with `,flushed` or `,unflushed` behind it where its user knows that.
fn given_server(at: &str, text: &str) -> Result<GivenServer, BenchError> {
    let (address, said) = at.split_at(at.find(',').unwrap_or(at.len()));
    let flush = match said {
        "" => None,
        FLUSHED => Some(Flush::BeforeAck),
        NOT_FLUSHED => Some(Flush::Later),
        other => return refuse(text, format!("{other:?} behind the address: it is {FLUSHED}, {NOT_FLUSHED} or nothing")),
    };
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_bracketed || !host.contains(':')) && !host.contains(['/', ' ', '@']);
    if !is_host || port.parse::<std::num::NonZeroU16>().is_err() {
        return refuse(text, format!("{address:?} is no address: it is HOST:PORT, as 127.0.0.1:9092 or [::1]:9092"));
    }
    Ok(GivenServer { address: address.to_owned(), flush })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(asked: &[&str]) -> Result<Vec<AskedPeer>, String> {
        select(&asked.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_peer_is_named_once() {
        assert_eq!(selected(&[]), Ok(vec![]));
        assert_eq!(selected(&["redis", "kafka"]), Ok(vec![own("redis"), own("kafka")]));
        assert_eq!(selected(&["all"]), Ok(PEERS.map(own).to_vec()));
        for (asked, expected) in [
            (&["reddis"][..], "did you mean redis?"),
            (&["zookeeper"][..], "kafka, nats, redis, iggy and all"),
            (&["nats", "nats"][..], "nats was named already"),
            (&["all", "iggy"][..], "iggy was named already"),
            (&["kafka", "all"][..], "kafka was named already"),
            (&["kafka=a:1", "kafka=a:1,flushed"][..], "kafka@a:1 was named already"),
        ] {
            let problem = selected(asked).expect_err("not as it should be");
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_server_that_runs_is_given_by_its_address_and_what_is_known_of_it() {
        let kafka =
            |address: &str, flush| AskedPeer { name: "kafka", given: Some(GivenServer { address: address.to_owned(), flush }) };
        let asked = ["kafka", "kafka=10.0.0.7:9092", "kafka=[::1]:9092,flushed", "kafka=red.panda:1,unflushed"];
        let expected = [
            own("kafka"),
            kafka("10.0.0.7:9092", None),
            kafka("[::1]:9092", Some(Flush::BeforeAck)),
            kafka("red.panda:1", Some(Flush::Later)),
        ];
        assert_eq!(selected(&asked), Ok(expected.to_vec()));
        assert_eq!(expected.each_ref().map(ToString::to_string), asked);
        assert_eq!(expected[1].given_name().as_deref(), Some("kafka@10.0.0.7:9092"));
        assert_eq!(peer_of("kafka@10.0.0.7:9092").1, Flush::BeforeAck, "its name says nothing of that");
        for (asked, expected) in [
            ("kafka=", "HOST:PORT"),
            ("kafka=broker", "HOST:PORT"),
            ("kafka=:9092", "HOST:PORT"),
            ("kafka=broker:0", "HOST:PORT"),
            ("kafka=broker:70000", "HOST:PORT"),
            ("kafka=::1:9092", "HOST:PORT"),
            ("kafka=http://broker:9092", "HOST:PORT"),
            ("kafka=a:1,sometimes", ",flushed, ,unflushed or nothing"),
            ("kafak=a:1", "did you mean kafka?"),
            ("redis=a:1", "only kafka can be given by address"),
        ] {
            let problem = selected(&[asked]).expect_err("not as it should be");
            assert!(problem.starts_with(&format!("--peer {asked}: ")) && problem.contains(expected), "{problem}");
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
