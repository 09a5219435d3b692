//! What a replica wants done, as values. `partition::run_effects` executes them, in order.

use sluice_model::{FrameHeader, Offset};

/// The durability a producer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// No answer.
    None,
    /// Answered when the leader has flushed it.
    Leader,
    /// Answered when every in-sync replica has flushed it. The default.
    All,
}

/// The durability an acknowledgement has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Flushed on the leader; a failover may lose it.
    FlushedOnLeader,
    /// Flushed on every in-sync replica.
    Committed,
}

#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Append this sealed header and the body it came with to log and journal.
    Append { header: FrameHeader },
    /// Answer the produce `token`. `base_offset` is `None` for a duplicate too old for its offset to be known.
    AckProduce { token: u64, base_offset: Option<Offset>, append_time_ms: i64, durability: Durability },
    /// Consumers may read up to here now.
    HighWatermarkMoved { high_watermark: Offset },
}

impl PartialEq for Effect {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Append { header: a }, Self::Append { header: b }) => a.as_bytes() == b.as_bytes(),
            (
                Self::AckProduce { token, base_offset, append_time_ms, durability },
                Self::AckProduce { token: t, base_offset: o, append_time_ms: m, durability: d },
            ) => (token, base_offset, append_time_ms, durability) == (t, o, m, d),
            (Self::HighWatermarkMoved { high_watermark: a }, Self::HighWatermarkMoved { high_watermark: b }) => a == b,
            _ => false,
        }
    }
}

/// Effects of one event, in the order they are to be executed.
pub type Effects = Vec<Effect>;
