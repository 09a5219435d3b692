//! How long to wait before trying again, and the randomness for it.

pub(crate) use sluice_model::Backoff;

/// Sixty-four bits nobody else has, from the keys the standard library seeds its hash maps with.
#[must_use]
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
