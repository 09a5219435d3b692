//! The controller: the metadata log on disk, and the image it gives.
//!
//! A command is decided by `metadata`'s rules against the image, its records are appended to the log as one entry and
//! made durable, then applied. Opening replays the log. The expensive mistake is to go on from a log that is not whole:
//! a gap, a checksum that fails, a record that does not apply are errors with a name, never a guess.
//!
//! It blocks on the disk and belongs on the control thread. Deliberately absent: what to do about an error that ends
//! the process (the program's), and any network.

mod backend;
mod command_error;
mod controller;
mod open_error;
mod store;

pub use command_error::CommandError;
pub use controller::{Applied, Controller, ProducerIdBlock, read_image};
pub use open_error::{Damage, OpenError};
