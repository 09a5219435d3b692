//! The durability a producer asks for, and the one an acknowledgement says was reached.

/// What has to be true before a produce is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Acks {
    /// Nothing: there is no answer at all.
    None = 0,
    /// Flushed on the leader.
    Leader = 1,
    /// Flushed on every in-sync replica.
    #[default]
    All = 2,
}

impl Acks {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            2 => Some(Self::All),
            _ => None,
        }
    }
}

/// How safe an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Durability {
    /// Sent; nothing is known.
    #[default]
    None = 0,
    /// Flushed on the leader, device cache included.
    Flushed = 1,
    /// Flushed on the whole in-sync set.
    Committed = 2,
}

impl Durability {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Flushed),
            2 => Some(Self::Committed),
            _ => None,
        }
    }
}
