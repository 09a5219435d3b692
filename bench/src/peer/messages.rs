//! The conversation between `sluice bench run` and the program that measures a peer: JSON, one message a line.
//!
//! The child says [`Hello`] first, before it has started its server; of a server that runs already and cannot be reached it says
//! [`Answer::Unstarted`] instead. Then each [`Command::Measure`] has one answer. The server is started for the first of them and
//! stays; the end of the child's standard input is the end of it and its server. The
//! expensive mistake would be two programs of different versions that half understand each other: [`Hello::version`] rules it
//! out.

use serde::{Deserialize, Serialize};

use crate::measurement::Measurement;
use crate::result::RESULT_VERSION;
use crate::system::AcksAsked;
use crate::workload::Workload;

/// Of the conversation, and of what a round's figures mean.
pub const CONVERSATION_VERSION: (u32, u32) = (2, RESULT_VERSION);

/// What the child is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// One round.
    Measure(Box<Workload>),
    /// The round under way shall end early; it is still answered.
    Stop,
}

/// What the child says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Hello(Hello),
    /// A round is over. A server that died is an outcome of it; the next round begins with a new one.
    Measured(Box<Measurement>),
    /// The server does not start, or is not there: no other round will do better.
    Unstarted {
        because: String,
    },
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`CONVERSATION_VERSION`] of the child.
    pub version: (u32, u32),
    /// `redis-unflushed`
    pub system: String,
    /// What each kind of acknowledgement means; one that is not in it cannot be asked for.
    pub acknowledgements: Vec<Acknowledgement>,
    /// Version and settings of the server, as text.
    pub settings: String,
}

/// What an acknowledgement means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub acks: AcksAsked,
    /// In one line.
    pub text: String,
    /// Whether it comes after a flush of the device; `None` when that cannot be known here.
    pub flushed: Option<bool>,
}
