//! Where an entry stands in a shard's journal. Deliberately absent: files and positions; an address stays true
//! when the ring is recycled or rebuilt with another geometry.

use std::fmt;

/// One entry of a shard's journal: the sequence of its group, then its index in the group. Addresses of one shard
/// grow strictly, across incarnations too. The default is before any entry: the first group has sequence 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryAddress {
    pub sequence: u64,
    pub index: u32,
}

impl EntryAddress {
    /// Before every entry.
    pub const ZERO: Self = Self { sequence: 0, index: 0 };
}

impl fmt::Display for EntryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.index)
    }
}
