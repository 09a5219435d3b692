//! Why frames were refused, counted. A wire code names what a client has to do; a reason names what an operator has.

use crate::metrics::Counter;
use sluice_model::ErrorCode;
use sluice_partition::{Overload, ProduceRefusal};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum RefusalReason { $($(#[$doc])* $name,)* }

        impl RefusalReason {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What its counter is called, after `metric::REFUSED_PREFIX`.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The predicted wait is over `produce_delay_ms_max`.
    Delay = "delay";
    JournalBuffer = "journal_buffer";
    JournalRing = "journal_ring";
    Tail = "tail";
    /// No room for the answer. One per request, whatever it holds.
    NetworkBudget = "network_budget";
    DiskFull = "disk_full";
    /// Being opened, recovered, truncated or removed.
    NotReady = "not_ready";
    /// Elsewhere, or nowhere.
    NotHere = "not_here";
    NotEnoughReplicas = "not_enough_replicas";
    /// Its producer's epoch or sequence.
    Producer = "producer";
    /// The frame or its records are not well-formed.
    Invalid = "invalid";
    ShuttingDown = "shutting_down";
    Other = "other";
}

impl RefusalReason {
    pub(crate) fn of_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::DiskFull => Self::DiskFull,
            ErrorCode::NotReady => Self::NotReady,
            ErrorCode::NotLeader | ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => Self::NotHere,
            ErrorCode::NotEnoughReplicas => Self::NotEnoughReplicas,
            ErrorCode::OutOfOrderSequence
            | ErrorCode::FencedProducerEpoch
            | ErrorCode::UnknownProducer
            | ErrorCode::TooManyProducers => Self::Producer,
            ErrorCode::InvalidFrame | ErrorCode::CorruptFrame | ErrorCode::InvalidRecords | ErrorCode::FrameTooLarge => {
                Self::Invalid
            }
            ErrorCode::ShuttingDown => Self::ShuttingDown,
            _ => Self::Other,
        }
    }

    /// What the code alone does not say.
    pub(crate) fn of_overload(refusal: &ProduceRefusal) -> Option<Self> {
        let ProduceRefusal::Overloaded { reason, .. } = refusal else { return None };
        Some(match reason {
            Overload::Delay { .. } => Self::Delay,
            Overload::JournalBuffer => Self::JournalBuffer,
            Overload::JournalRing => Self::JournalRing,
            Overload::Tail => Self::Tail,
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct RefusalCounters([Counter; RefusalReason::ALL.len()]);

impl RefusalCounters {
    pub(crate) fn add(&self, reason: RefusalReason) {
        self.0[reason as usize].add(1);
    }

    pub(crate) fn of(&self, reason: RefusalReason) -> u64 {
        self.0[reason as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        let counters = RefusalCounters::default();
        for (count, &reason) in (1..).zip(RefusalReason::ALL) {
            (0..count).for_each(|_| counters.add(reason));
        }
        for (count, &reason) in (1..).zip(RefusalReason::ALL) {
            assert_eq!(counters.of(reason), count, "{}", reason.name());
            assert_eq!(RefusalReason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }
}
