//! Records of one Rust type, written with rkyv and read in place.
//!
//! Each typed record says in its headers what it is: `sluice-type` holds the type's name, `sluice-layout` a fingerprint
//! of how its bytes are laid out, sixteen hexadecimal digits. A reader of another type, or of the same type as it was
//! before a field was added, gets a [`TypeError`] that names both, never a value; and what has the right headers is
//! validated before it is handed out, so no bytes whatever lead to an invalid value.
//!
//! The expensive mistake is two layouts that agree by accident, which is why the fingerprint is of names, types and
//! places of all fields, down to the last nested one, and why [`record_type!`](crate::record_type) is what declares the
//! type: there is no second list of fields that could fall behind. Deliberately absent: conversion between layouts. A
//! type that has changed is another type; give it another topic, or read the old records with the old declaration.

mod consumer;
mod error;
mod fingerprint;
mod macros;
mod producer;
mod record_type;

pub use consumer::{TypedBatch, TypedConsumer, TypedOwnedRecord, TypedRecordRef, TypedStream};
pub use error::{TypeError, TypeErrorCause, TypedConsumeError, TypedSendError};
pub use fingerprint::Fingerprint;
pub use producer::{TypedProducer, TypedRecord};
pub use record_type::{ReadRecord, RecordType, WriteRecord};

/// Header key of the type's name.
pub const TYPE_HEADER: &str = "sluice-type";
/// Header key of the fingerprint.
pub const LAYOUT_HEADER: &str = "sluice-layout";

#[cfg(test)]
mod tests;
