//! The seam between the one generator and whatever it measures: Sluice, its client, or a peer.
//!
//! The generator fixes intended send times in advance, hands over what is due, and counts from the intended time; a system
//! says what became of each record. The expensive mistake would be a clock, a schedule or a retry of a system's own on the
//! far side of this seam: then two systems would be measured by two generators. A system batches as its client does and
//! bounds what it has in flight; it never sleeps between records, and never offers a refused one again by itself.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measurement::StageTimes;
use crate::process::Process;
use crate::workload::OnFull;

/// Bytes at the front of every value: the intended send time, nanoseconds on the generator's own clock, little endian.
pub const STAMP_LEN: usize = 8;

/// What durability a producer asks for, in Kafka's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcksAsked {
    None,
    Leader,
    #[default]
    All,
}

impl AcksAsked {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leader => "leader",
            Self::All => "all",
        }
    }
}

/// The topic of one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Unused so far; letters, digits, `-` and `.`.
    pub name: String,
    pub partition_count: u32,
    pub acks: AcksAsked,
    /// Largest value that will be sent, bytes.
    pub value_len_max: usize,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partition_count: u32,
    pub acks: AcksAsked,
}

/// How one lane talks to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePlan {
    /// 0 … `lane_count` - 1. A lane writes to every partition whose number modulo `lane_count` is its own; one beyond the
    /// last partition shares that of its number modulo `partition_count`.
    pub lane: u32,
    pub lane_count: u32,
    pub partition_count: u32,
    /// Connections that this lane opens. At least 1.
    pub connection_count: u32,
    /// Most bytes of values in one batch of a partition.
    pub batch_len_max: usize,
    /// Most batches in flight for each partition.
    pub window: u32,
    pub on_full: OnFull,
}

/// A partition as it is written to over one connection: what a lane's records take turns in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub partition: u32,
    pub connection: u32,
}

impl LanePlan {
    /// Every flow of this lane: each of its partitions and each of its connections is in at least one.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        let own = (self.lane % self.partition_count..self.partition_count).step_by(self.lane_count.max(1) as usize);
        let partitions: Vec<u32> = own.collect();
        let partition_count = partitions.len() as u32;
        let flow = |number: u32| Flow {
            partition: partitions[(number % partition_count) as usize],
            connection: number % self.connection_count.max(1),
        };
        (0..partition_count.max(self.connection_count)).map(flow).collect()
    }
}

/// What a reader reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// This reader's partitions, from the begin of the topic on.
    pub partitions: Vec<u32>,
    /// Consumers that read the same partitions have different groups.
    pub group: u32,
}

/// One record on its way to a producer.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub partition: u32,
    /// Which of the lane's connections it goes over, below `connection_count`.
    pub connection: u32,
    /// Begins with its stamp.
    pub value: &'a [u8],
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As good as [`System::acknowledgement`] says.
    Acknowledged,
    /// Acknowledged, after the system refused it so often and its client offered it again by itself.
    AcknowledgedLater { refusal_count: u32 },
    /// Certainly not written; may be offered again after this.
    Refused { retry_after: Duration, because: RefusedBecause },
    /// Not acknowledged, for a reason that offering again does not mend.
    Failed { because: String },
    /// The system's own time for it ended.
    TimedOut,
}

/// Cheap to clone: a refused batch has one reason for all its records.
pub type RefusedBecause = std::sync::Arc<str>;

/// The fate of one handed-over record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub token: u64,
    pub outcome: Outcome,
}

/// Takes records of one lane.
pub trait Producer {
    /// Whether a record for this partition would be taken now. False while the window is full: the record stays due, and its
    /// latency goes on counting.
    fn has_room(&self, partition: u32, connection: u32) -> bool;

    /// Takes a record; its token comes back once, with its outcome. Batching is the client's own.
    ///
    /// # Errors When the connection is gone or what came back is no answer: the round is over.
    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError>;

    /// All that is due was handed over: what waits may go out now.
    ///
    /// # Errors As [`Self::send`].
    fn flush(&mut self) -> Result<(), BenchError>;

    /// Waits until there are outcomes, or until `until`, whichever is first; appends what there is. With `until` in the past
    /// it only looks.
    ///
    /// # Errors As [`Self::send`].
    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError>;
}

/// What a reader received at once.
#[derive(Clone, Debug, Default)]
pub struct ReadBatch {
    /// Bytes of values.
    pub value_len: u64,
    /// The stamp of every value.
    pub stamps: Vec<u64>,
}

impl ReadBatch {
    pub fn clear(&mut self) {
        self.value_len = 0;
        self.stamps.clear();
    }

    /// Counts one value. One too short for a stamp is none of ours and carries the stamp 0.
    pub fn add(&mut self, value: &[u8]) {
        self.value_len += value.len() as u64;
        self.stamps.push(value.first_chunk::<STAMP_LEN>().map_or(0, |stamp| u64::from_le_bytes(*stamp)));
    }
}

/// Reads partitions in order.
pub trait Reader {
    /// Waits until there are records, or until `until`; adds what there is to `seen`.
    ///
    /// # Errors When the connection is gone or what came back is no answer.
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError>;
}

/// Something records can be sent to and read from.
pub trait System {
    fn name(&self) -> &str;

    /// # Errors When the system refuses.
    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError>;

    /// # Errors When the system refuses.
    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError>;

    /// # Errors When there is no connection to be had.
    fn producer(&mut self, topic: &Topic, plan: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError>;

    /// # Errors When there is no connection to be had, or the system has no readers.
    fn reader(&mut self, topic: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError>;

    /// Of the system itself, for processor time, memory and bytes written. Empty when they are not known.
    fn processes(&self) -> Vec<Process>;

    /// Waits until the system has finished what the last load left behind, within reason.
    ///
    /// # Errors When its processes cannot be looked at.
    fn settle(&self) -> Result<(), BenchError>;

    /// The counted time of a load begins, whose [`Self::stages`] will be asked for.
    ///
    /// # Errors When the system does not answer.
    fn begin_stages(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    /// Where the time of the produces since then went, by the system's own account. Empty when it keeps none.
    ///
    /// # Errors When the system does not answer.
    fn stages(&mut self) -> Result<Vec<StageTimes>, BenchError> {
        Ok(Vec::new())
    }

    /// Processor time of this process that a client library of the system has used on threads of its own: the generator's is
    /// counted where it runs.
    fn client_cpu_time(&self) -> Duration {
        Duration::ZERO
    }

    /// The settings it runs with, as text.
    fn settings(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(lane: u32, lane_count: u32, partition_count: u32, connection_count: u32) -> Vec<(u32, u32)> {
        let plan =
            LanePlan { lane, lane_count, partition_count, connection_count, batch_len_max: 1, window: 1, on_full: OnFull::Block };
        plan.flows().into_iter().map(|flow| (flow.partition, flow.connection)).collect()
    }

    #[test]
    fn every_partition_and_every_connection_has_a_flow() {
        assert_eq!(flows(0, 1, 3, 1), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(flows(1, 2, 4, 1), [(1, 0), (3, 0)]);
        assert_eq!(flows(0, 1, 2, 4), [(0, 0), (1, 1), (0, 2), (1, 3)]);
        assert_eq!(flows(5, 8, 2, 1), [(1, 0)], "a lane too many shares a partition");
    }
}
