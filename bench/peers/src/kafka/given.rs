//! A broker of Kafka's protocol that runs already: whether it is one, and how little can be known of it.
//!
//! Nothing in the protocol says whether a broker flushes before it answers (Apache Kafka does not by default, others do), so
//! nothing is claimed: what its user says of it is repeated as such. The expensive mistake is a wait of minutes for what was
//! never a broker: each step has its own short patience, and its own words.

use rdkafka::consumer::Consumer;
use sluice_bench::BenchError;
use sluice_bench::peer::messages::Acknowledgement;
use sluice_bench::peer::names::Flush;
use sluice_bench::system::AcksAsked;

use super::client::{METADATA_PATIENCE, connect, metadata_client};

/// Whether a broker answers there, and those that it names can be reached.
///
/// # Errors Nobody listens, it is no broker of this protocol, or it names addresses that do not lead to it from here.
pub(super) fn check(address: &str) -> Result<(), BenchError> {
    connect(address).map_err(|error| no_broker(&error))?;
    let metadata = metadata_client(address)?.fetch_metadata(None, METADATA_PATIENCE).map_err(|error| {
        no_broker(&format!(
            "somebody listens there, but does not answer in Kafka's protocol, unencrypted and without a login ({error})"
        ))
    })?;
    if metadata.brokers().is_empty() {
        return Err(no_broker("it answers, and names no broker"));
    }
    for broker in metadata.brokers() {
        let named = match broker.host() {
            host if host.contains(':') => format!("[{host}]:{}", broker.port()),
            host => format!("{host}:{}", broker.port()),
        };
        let unreachable = |error| no_broker(&format!("it sends its clients to {named} (advertised.listeners): {error}"));
        connect(&named).map_err(unreachable)?;
    }
    Ok(())
}

fn no_broker(problem: &str) -> BenchError {
    BenchError::Option { problem: problem.to_owned() }
}

/// What an acknowledgement of such a broker means, as far as that is known.
pub(super) fn acknowledgements(flush: Option<Flush>) -> Vec<Acknowledgement> {
    [AcksAsked::None, AcksAsked::Leader, AcksAsked::All].map(|acks| acknowledgement(flush, acks)).to_vec()
}

fn acknowledgement(flush: Option<Flush>, acks: AcksAsked) -> Acknowledgement {
    let who = match acks {
        AcksAsked::None => {
            let text = "none: the socket has taken it, nothing more is known".to_owned();
            return Acknowledgement { acks, text, flushed: Some(false) };
        }
        AcksAsked::Leader => "the leader has it",
        AcksAsked::All => "every in-sync replica has it",
    };
    let how = match flush {
        None => "whether flushed is the broker's own setting, and not known here",
        Some(Flush::BeforeAck) => "flushed before that, says whoever gave the address",
        Some(Flush::Later) => "flushed some time later, says whoever gave the address",
    };
    Acknowledgement { acks, text: format!("{who}; {how}"), flushed: flush.map(|flush| flush == Flush::BeforeAck) }
}

pub(super) fn settings() -> String {
    format!(
        "a broker given by its address, with settings of its own\neach topic: the broker's defaults\n{}",
        super::client_settings()
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_no_broker_is_said_within_seconds() {
        let nobody = check("127.0.0.1:1").expect_err("nobody listens").to_string();
        assert!(nobody.contains("nobody listens on 127.0.0.1:1"), "{nobody}");
        let nameless = check("no-such-host.invalid:9092").expect_err("no such name").to_string();
        assert!(nameless.contains("the name is not known"), "{nameless}");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        let other = check(&address).expect_err("it speaks HTTP").to_string();
        assert!(other.contains("does not answer in Kafka's protocol"), "{other}");
    }

    #[test]
    fn nothing_is_claimed_that_nobody_has_said() {
        for acks in [AcksAsked::Leader, AcksAsked::All] {
            assert_eq!(acknowledgement(None, acks).flushed, None);
            assert!(acknowledgement(None, acks).text.contains("not known here"));
            assert_eq!(acknowledgement(Some(Flush::BeforeAck), acks).flushed, Some(true));
            assert_eq!(acknowledgement(Some(Flush::Later), acks).flushed, Some(false));
            assert!(acknowledgement(Some(Flush::Later), acks).text.contains("says whoever gave the address"));
        }
        assert_eq!(acknowledgement(Some(Flush::BeforeAck), AcksAsked::None).flushed, Some(false), "nothing is acknowledged");
    }
}
