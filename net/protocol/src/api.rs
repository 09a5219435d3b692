//! The list of requests with their numbers. Numbers are never reused.

use std::fmt;

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $min:literal..=$max:literal;)*) => {
        /// What a request asks for, as it stands on the wire (`u16`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Api { $($(#[$doc])* $name = $number,)* }

        impl Api {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn from_u16(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The versions this program speaks, first and last.
            #[must_use]
            pub const fn versions(self) -> (u16, u16) {
                match self { $(Self::$name => ($min, $max),)* }
            }
        }
    };
}

apis! {
    /// First request of every connection; its own version is always 0.
    Hello = 0, 0..=0;
    Metadata = 1, 0..=0;
    Produce = 2, 0..=0;
    Fetch = 3, 0..=0;
    ListOffsets = 4, 0..=0;
    InitProducer = 5, 0..=0;
    DescribePartitions = 6, 0..=0;
    DescribeShard = 7, 0..=0;
    DescribeMetrics = 8, 0..=0;
    DescribeCluster = 9, 0..=0;
    /// Version 0 named no replicas.
    CreateTopic = 10, 1..=1;
    DeleteTopic = 11, 0..=0;
    AlterTopic = 12, 0..=0;
    DeleteRecords = 13, 0..=0;
    ElectLeaders = 14, 0..=0;
    DescribeReplicas = 15, 0..=0;
    /// From here on: between brokers.
    BrokerChallenge = 20, 0..=0;
    BrokerProof = 21, 0..=0;
    ReplicaFetch = 22, 0..=0;
    ReplicaFlush = 23, 0..=0;
    ReplicaBeginning = 24, 0..=0;
    ControllerMessage = 25, 0..=0;
    /// Never a request: the answer to one that cannot be answered in its own type. Its version is always 0.
    Refusal = 65535, 0..=0;
}

impl Api {
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// True for everything a client or another broker may send.
    #[must_use]
    pub fn is_request(self) -> bool {
        self != Self::Refusal
    }

    /// True for what only a connection may send that has proved to be a broker's.
    #[must_use]
    pub fn needs_broker(self) -> bool {
        matches!(self, Self::ReplicaFetch | Self::ReplicaFlush | Self::ReplicaBeginning | Self::ControllerMessage)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_published_ones() {
        let numbers: Vec<u16> = Api::ALL.iter().map(|api| api.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25, 65535]);
        for &api in Api::ALL {
            assert_eq!(Api::from_u16(api.number()), Some(api));
            assert!(api.versions().0 <= api.versions().1);
        }
        assert_eq!(Api::from_u16(16), None);
    }
}
