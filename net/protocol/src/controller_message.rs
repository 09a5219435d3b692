//! ControllerMessage: bytes that the controllers of two brokers exchange, and what is asked of the controller.
//!
//! What they mean is the controller's own matter (raft's messages, commands that are passed on); they follow the body as
//! frames do, and their length is checked before they are read. What is longer than one part comes in several, in order and
//! under one correlation id; so does its answer.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::CONTROLLER_PART_LEN_MAX;

/// Who reads the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ControllerMessageKind {
    /// The consensus of the controllers.
    Raft = 0,
    /// The controller, of which something is wanted.
    Command = 1,
}

impl ControllerMessageKind {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Raft),
            1 => Some(Self::Command),
            _ => None,
        }
    }
}

/// Followed by `payload_len` bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ControllerMessageRequest {
    /// [`ControllerMessageKind`].
    pub kind: u8,
    pub payload_len: u32,
    /// Another part of it follows.
    pub more: bool,
}

/// Followed by `payload_len` bytes; none with an error.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerMessageAnswer {
    pub error: u16,
    pub text: String,
    pub payload_len: u32,
    /// Another part of it follows; never with an error.
    pub more: bool,
}

impl ArchivedControllerMessageRequest {
    /// What the bytes are; [`Message::check`] has seen that they are something.
    #[must_use]
    pub fn kind(&self) -> Option<ControllerMessageKind> {
        ControllerMessageKind::from_u8(self.kind)
    }

    /// The bytes after the body are those that it names.
    pub fn check_payload(&self, len: usize) -> Result<(), Malformed> {
        check_payload(self.payload_len.to_native(), len)
    }
}

impl ControllerMessageAnswer {
    /// The bytes after the body are those that it names.
    pub fn check_payload(&self, len: usize) -> Result<(), Malformed> {
        check_payload(self.payload_len, len)
    }
}

fn check_payload(named: u32, got: usize) -> Result<(), Malformed> {
    if named as usize == got { Ok(()) } else { Err(Malformed::Frames { named: u64::from(named), got }) }
}

impl Message for ControllerMessageRequest {
    const API: Api = Api::ControllerMessage;
    const NAME: &'static str = "ControllerMessage request";

    fn check(archived: &ArchivedControllerMessageRequest) -> Result<(), Malformed> {
        if archived.kind().is_none() {
            return Err(Malformed::Value { what: "kind (0 raft, 1 command)", got: u64::from(archived.kind) });
        }
        at_most("bytes for the controller", archived.payload_len.to_native() as usize, CONTROLLER_PART_LEN_MAX)
    }
}

impl Request for ControllerMessageRequest {
    type Answer = ControllerMessageAnswer;
}

impl Message for ControllerMessageAnswer {
    const API: Api = Api::ControllerMessage;
    const NAME: &'static str = "ControllerMessage answer";

    fn check(archived: &ArchivedControllerMessageAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("bytes of the controller", archived.payload_len.to_native() as usize, CONTROLLER_PART_LEN_MAX)
    }
}
