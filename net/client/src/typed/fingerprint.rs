//! Sixty-four bits that stand for a layout.
//!
//! FNV-1a over everything that makes the layout, each text with its length before it, so that no two sequences of parts
//! are the same bytes. It guards against mistakes, not against an adversary: two layouts that differ agree by accident
//! once in 2^64.

use rkyv::Archive;

/// Whose rules lay out an archived form. A build that follows others writes other fingerprints.
const FORMAT: &str = "rkyv 0.8, little endian, unaligned, 32-bit";
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Gathers what makes a layout, in order. For those who implement [`crate::RecordType`] by hand.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Begins with what the type is called, and size and alignment of its archived form.
    #[must_use]
    pub fn of<T: Archive>(name: &str) -> Self {
        Self(OFFSET_BASIS).text(FORMAT).text(name).number(size_of::<T::Archived>()).number(align_of::<T::Archived>())
    }

    /// A field: its name, where it lies in the archived form, and the fingerprint of its type.
    #[must_use]
    pub fn field(self, name: &str, offset: usize, fingerprint: u64) -> Self {
        self.text(name).number(offset).bytes(&fingerprint.to_le_bytes())
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.number(text.len()).bytes(text.as_bytes())
    }

    #[must_use]
    pub fn number(self, number: usize) -> Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    #[must_use]
    pub fn finish(self) -> u64 {
        self.0
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }
}
