//! Newtypes for every number that names something.

use std::cmp::Ordering;
use std::fmt;

/// Declares the newtype of a number that names something. The crate that uses it has rkyv among its dependencies.
#[macro_export]
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(::rkyv::Archive, ::rkyv::Serialize, ::rkyv::Deserialize)]
        pub struct $name(pub $inner);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::write!(f, ::std::concat!(::std::stringify!($name), "({})"), self.0)
            }
        }
    };
}

number! {
    /// A record's number in its partition, from 0. Not a position in a file.
    Offset(u64)
}
number! {
    /// A partition's number in its topic, from 0.
    PartitionIndex(u32)
}
number! {
    /// The reign of one leader of one partition; every new leader has a greater one. From 1; 0 is before any.
    LeaderEpoch(u32)
}
number! {
    /// How many times a partition was placed on a shard. Of two shards that hold files of one partition, the one
    /// with the greater placement epoch owns it.
    PlacementEpoch(u32)
}
number! {
    /// The version of what the controller has decided about one partition (its leader, its in-sync set); every change
    /// makes it greater, and a change that is asked for names the one it is based on. 0 is before any change.
    PartitionEpoch(u32)
}
number! {
    /// A broker, from 1.
    BrokerId(u32)
}
number! {
    /// One executor on one core of a broker, from 0.
    ShardIndex(u16)
}
number! {
    /// An idempotent producer; -1 (`NONE`) is a producer without one.
    ProducerId(i64)
}
number! {
    /// The epoch of a producer id; -1 goes with `ProducerId::NONE`.
    ProducerEpoch(i16)
}
number! {
    /// A record's number in one producer's stream to one partition; wraps from `i32::MAX` to 0. -1 is none.
    Sequence(i32)
}

impl Offset {
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on.
    #[must_use]
    pub fn advanced(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("offsets are bounded by Offset::MAX, which no log reaches"))
    }
}

impl ProducerId {
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records further on, wrapping after `i32::MAX` to 0 as Kafka's does.
    #[must_use]
    pub fn advanced(self, count: u32) -> Self {
        let next = (i64::from(self.0) + i64::from(count)) % (i64::from(i32::MAX) + 1);
        Self(i32::try_from(next).expect("a remainder of 2^31 fits"))
    }
}

/// A topic for its whole life; a topic deleted and created again under the same name has another id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct TopicId(pub [u8; 16]);

/// The order of the bytes, as one number: every produce looks partitions up by it, and a call to compare memory costs more.
impl Ord for TopicId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for TopicId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl TopicId {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

/// One partition of one topic.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct TopicPartition {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic_id, self.partition)
    }
}

/// One start of a broker on one data folder. The number grows with every start; the random part keeps bytes that
/// imitate a journal group, and a data folder restored from a copy, from being taken for this start's.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Incarnation {
    pub number: u64,
    pub random: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_after_the_largest() {
        assert_eq!(Sequence(i32::MAX).advanced(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).advanced(3), Sequence(1));
        assert_eq!(Sequence(5).advanced(0), Sequence(5));
    }

    #[test]
    fn a_topic_id_reads_back_what_it_writes() {
        let id = TopicId(*b"0123456789abcdef");
        assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        assert_eq!(TopicId::parse("+123456789abcdef0123456789abcdef"), None);
        assert_eq!(TopicId::parse("12"), None);
    }

    #[test]
    fn topics_have_the_order_of_their_bytes() {
        let mut ids: Vec<TopicId> =
            (0..64u8).map(|n| TopicId(std::array::from_fn(|at| n.wrapping_mul((at as u8).wrapping_mul(37) | 1)))).collect();
        ids.push(TopicId([0xff; 16]));
        ids.push(TopicId([0; 16]));
        ids.sort_unstable();
        assert!(ids.is_sorted_by_key(|id| id.0));
    }
}
