//! Hello: who speaks, and in which versions. The first request of a connection, always in version 0.
//!
//! It also fences: a client that lost a connection and opens the next one names the same session and a greater
//! attempt. Before the shard answers, it closes every connection of that session with a smaller attempt, and nothing
//! that they sent and that is not appended by then is appended later. So an answer on the new connection is the last
//! word about a batch that was first sent on an old one; without this a copy left unread in the old one's receive
//! buffer could be written after its sender was told that it is not.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::version::ApiVersions;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{APIS_PER_HELLO_MAX, CLIENT_ID_LEN_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HelloRequest {
    /// What the broker calls this client in its logs.
    pub client_id: String,
    /// Random; one per client and shard it speaks to. All zero: no session, nothing is fenced.
    pub session_id: [u8; 16],
    /// Greater with every connection of the session.
    pub session_attempt: u32,
    pub versions: Vec<ApiVersions>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloAnswer {
    pub error: u16,
    pub text: String,
    pub broker_id: u32,
    pub incarnation_number: u64,
    pub incarnation_random: u64,
    /// The shard this connection ends at.
    pub shard: u16,
    pub versions: Vec<ApiVersions>,
    /// Largest message the broker accepts, prefix included, bytes.
    pub message_len_max: u32,
}

impl Message for HelloRequest {
    const API: Api = Api::Hello;
    const NAME: &'static str = "Hello request";

    fn check(archived: &ArchivedHelloRequest) -> Result<(), Malformed> {
        at_most("bytes of client id", archived.client_id.len(), CLIENT_ID_LEN_MAX)?;
        at_most("apis", archived.versions.len(), APIS_PER_HELLO_MAX)
    }
}

impl Request for HelloRequest {
    type Answer = HelloAnswer;
}

impl Message for HelloAnswer {
    const API: Api = Api::Hello;
    const NAME: &'static str = "Hello answer";

    fn check(archived: &ArchivedHelloAnswer) -> Result<(), Malformed> {
        at_most("apis", archived.versions.len(), APIS_PER_HELLO_MAX)
    }
}
