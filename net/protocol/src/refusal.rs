//! Refusal: the answer to a request that cannot be answered in its own type: it could not be decoded, its body was
//! thrown away unread for want of room, its api or version is unknown, or the connection did not begin with Hello.

use crate::api::Api;
use crate::message::{Malformed, Message};
use rkyv::{Archive, Deserialize, Serialize};

/// Nothing of the request was done. `error` is never one whose outcome is unknown.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub error: u16,
    pub text: String,
    /// With `Retry::Later`: not before this many milliseconds.
    pub retry_after_ms: u32,
}

impl Message for Refusal {
    const API: Api = Api::Refusal;
    const NAME: &'static str = "Refusal";

    fn check(_: &ArchivedRefusal) -> Result<(), Malformed> {
        Ok(())
    }
}
