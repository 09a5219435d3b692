//! Every error code of the native protocol and, in one table, what a client may conclude from each.
//!
//! The expensive mistake is to call a produce "refused" that may have been written: a code given after the
//! append is never `Outcome::Refused`.

/// What a client knows about the records of a produce that was answered with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written, as durable as the answer says.
    Acknowledged,
    /// Certainly not written.
    Refused,
    /// May or may not be written; only a retry with the same producer, epoch and sequence can tell.
    Unknown,
}

/// What a client should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request can never succeed.
    Never,
    /// After the answer's `retry_after_ms`, at the same address.
    Later,
    /// After asking for metadata again, perhaps elsewhere.
    Refreshed,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $outcome:ident, $retry:ident;)*) => {
        /// A result as it stands on the wire (`u16`). Codes are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[$doc])* $name = $code,)* }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn from_u16(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            #[must_use]
            pub fn outcome(self) -> Outcome {
                match self { $(Self::$name => Outcome::$outcome,)* }
            }

            #[must_use]
            pub fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }
        }
    };
}

codes! {
    None = 0, Acknowledged, Never;
    /// A bug or damage in the broker that it survived; the answer's text says more.
    Internal = 1, Unknown, Later;

    // The request itself.
    /// The message could not be decoded; the connection is closed after the answer.
    MalformedRequest = 10, Refused, Never;
    UnsupportedApi = 11, Refused, Never;
    UnsupportedVersion = 12, Refused, Never;
    RequestTooLarge = 13, Refused, Never;
    /// A field has a value outside its bounds.
    InvalidArgument = 14, Refused, Never;

    // Where it was sent.
    UnknownTopic = 20, Refused, Refreshed;
    UnknownPartition = 21, Refused, Refreshed;
    /// Another shard or broker leads the partition; the answer carries its address.
    NotLeader = 22, Refused, Refreshed;
    FencedLeaderEpoch = 23, Refused, Refreshed;
    UnknownLeaderEpoch = 24, Refused, Refreshed;

    // The frame.
    /// Wrong magic, version, length or record count.
    InvalidFrame = 30, Refused, Never;
    CorruptFrame = 31, Refused, Never;
    /// The body of an uncompressed batch disagrees with its header.
    InvalidRecords = 32, Refused, Never;
    FrameTooLarge = 33, Refused, Never;

    // The producer.
    OutOfOrderSequence = 40, Refused, Never;
    FencedProducerEpoch = 41, Refused, Never;
    /// The partition does not know this producer, and its batch does not begin at sequence 0.
    UnknownProducer = 42, Refused, Never;
    TooManyProducers = 43, Refused, Later;
    /// Known to have been written before, too long ago to say at which offset.
    DuplicateSequence = 44, Acknowledged, Never;

    // Overload and state of the broker. All are given before anything is appended.
    /// The predicted wait or a byte budget is exceeded.
    Overloaded = 50, Refused, Later;
    DiskFull = 51, Refused, Later;
    NotEnoughReplicas = 52, Refused, Later;
    ShuttingDown = 53, Refused, Later;
    /// The partition is being opened or recovered.
    NotReady = 54, Refused, Later;

    // After the append: never `Refused`.
    RequestTimedOut = 60, Unknown, Later;
    LeadershipLost = 61, Unknown, Refreshed;
    NotEnoughReplicasAfterAppend = 62, Unknown, Later;

    // Fetch.
    /// The answer carries the valid range.
    OffsetOutOfRange = 70, Refused, Never;
    /// The range is damaged and not served; the answer carries where it ends.
    Damaged = 71, Refused, Never;
    /// The next frame is larger than the request allows; the answer carries its length.
    FetchTooSmall = 72, Refused, Never;

    // Administration.
    TopicExists = 80, Refused, Never;
    InvalidTopicName = 81, Refused, Never;
    InvalidPartitionCount = 82, Refused, Never;
    /// A topic setting is unknown or outside its bounds.
    InvalidSetting = 83, Refused, Never;

    // Between brokers.
    /// A request of one broker to another, on a connection that has not proved to be a broker's.
    AuthenticationRequired = 90, Refused, Never;
    /// The proof does not hold, or this broker belongs to no cluster: the secrets differ, another broker was meant, or
    /// somebody repeats what a broker once said. The connection is closed after the answer.
    AuthenticationFailed = 91, Refused, Never;
    /// The fetch session is not open, or a request of it was lost, repeated or overtaken: it is closed. A full request
    /// opens another.
    FetchSessionFullAgain = 92, Refused, Never;
    /// An earlier fetch session, or one of an earlier incarnation; nothing has changed.
    StaleFetchSession = 93, Refused, Never;
    /// As far as the leader knows, this broker has no replica of the partition.
    UnknownReplica = 94, Refused, Refreshed;
    /// The follower speaks in another incarnation than the leader knows of it: an earlier one, which will never be taken
    /// again, or one that the leader has not heard of yet.
    OtherIncarnation = 95, Refused, Later;
    /// A follower says that more is flushed than it has, or than is proved to be the leader's.
    FlushedBeyondEnd = 96, Refused, Never;
    /// A follower has reported to have been further than this: an old message.
    StaleOffset = 97, Refused, Never;
    /// The frames of leader and follower differ under the same leader epochs: one of the two logs is damaged.
    ChainMismatch = 98, Refused, Never;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_u16(code as u16), Some(code));
        }
        assert_eq!(ErrorCode::from_u16(9999), None);
    }

    #[test]
    fn nothing_after_the_append_is_called_refused() {
        for code in
            [ErrorCode::RequestTimedOut, ErrorCode::LeadershipLost, ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::Internal]
        {
            assert_eq!(code.outcome(), Outcome::Unknown, "{code:?}");
        }
    }
}
