//! From an address to a connection: TCP, then Hello.

use super::incoming::Incoming;
use super::{Answer, Connection};
use crate::address::Address;
use crate::config::ClientConfig;
use crate::error::{ClientError, check};
use crate::producer::partition_queue::Peer;
use sluice_protocol::{Api, HelloAnswer, HelloRequest, Negotiated, Refusal, decode, encode, negotiate, supported_versions};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(super) struct Parts {
    pub(super) address: Address,
    pub(super) peer: Peer,
    pub(super) versions: Negotiated,
    pub(super) message_len_max: usize,
    pub(super) reader: OwnedReadHalf,
    pub(super) writer: OwnedWriteHalf,
    pub(super) incoming: Incoming,
}

/// What Hello says about the connections before this one (see `HelloRequest`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) id: [u8; 16],
    pub(crate) attempt: u32,
}

/// Connects and exchanges Hello within `connect_timeout_ms`.
pub(crate) async fn connect(address: &Address, config: &ClientConfig, session: Session) -> Result<Connection, ClientError> {
    let timeout = Duration::from_millis(config.connect_timeout_ms.into());
    let lost = |text: String| ClientError::Lost { address: address.to_string(), text };
    match tokio::time::timeout(timeout, handshake(address, config, session)).await {
        Ok(parts) => parts.map(Connection::start),
        Err(_) => Err(lost(format!("no connection and Hello within {} ms", config.connect_timeout_ms))),
    }
}

async fn handshake(address: &Address, config: &ClientConfig, session: Session) -> Result<Parts, ClientError> {
    let lost = |e: std::io::Error| ClientError::Lost { address: address.to_string(), text: e.to_string() };
    let stream = TcpStream::connect((&*address.host, address.port)).await.map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;
    let (mut reader, mut writer) = stream.into_split();
    let request = HelloRequest {
        client_id: config.client_id.clone(),
        session_id: session.id,
        session_attempt: session.attempt,
        versions: supported_versions(),
    };
    let protocol = |text: String| ClientError::Protocol { address: address.to_string(), text };
    let message = encode(0, 0, &request, 0).map_err(|e| protocol(e.to_string()))?;
    writer.write_all(&message).await.map_err(lost)?;
    let mut incoming = Incoming::default();
    let answer = loop {
        if incoming.read_from(&mut reader).await.map_err(lost)? == 0 {
            // A broker that is killed, or stops, does this too: whoever asks again may be answered.
            let text = "it closed the connection instead of answering Hello; is it a sluice broker?".into();
            return Err(ClientError::Lost { address: address.to_string(), text });
        }
        if let Some(answer) = incoming.take_message().map_err(|e| protocol(e.to_string()))? {
            break answer;
        }
    };
    let hello = read_hello(&answer).map_err(|error| match error {
        ClientError::Protocol { text, .. } => protocol(text),
        error => error,
    })?;
    let message_len_max = hello.message_len_max as usize;
    Ok(Parts {
        address: address.clone(),
        peer: Peer { session_id: session.id, broker_id: hello.broker_id },
        versions: negotiate(&supported_versions(), &hello.versions),
        message_len_max,
        reader,
        writer,
        incoming,
    })
}

fn read_hello(answer: &Answer) -> Result<HelloAnswer, ClientError> {
    let protocol = |text: String| ClientError::Protocol { address: String::new(), text };
    match answer.prefix.api() {
        Some(Api::Hello) => {
            let hello = decode::<HelloAnswer>(&answer.body).map_err(|e| protocol(e.to_string()))?;
            check(hello.error, hello.text.clone())?;
            Ok(hello)
        }
        Some(Api::Refusal) => {
            let refusal = decode::<Refusal>(&answer.body).map_err(|e| protocol(e.to_string()))?;
            Err(ClientError::Broker { code: crate::error::code_of(refusal.error), text: refusal.text })
        }
        _ => Err(protocol("it answered Hello with something else; is it a sluice broker?".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// As a broker does that is killed before it has answered: whoever asks again may be answered.
    #[tokio::test]
    async fn a_connection_that_ends_before_hello_is_answered_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection with unread bytes in it is reset, and not ended.
                let mut request = [0; 4096];
                stream.readable().await.expect("Hello comes");
                drop(stream.try_read(&mut request));
                drop(stream);
            }
        });
        let address = Address::parse(&address).expect("an address");
        let session = Session { id: [7; 16], attempt: 0 };
        let error = connect(&address, &ClientConfig::default(), session).await.err().expect("nobody answers");
        assert!(matches!(error, ClientError::Lost { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains("is it a sluice broker?"), "{error}");
    }
}
