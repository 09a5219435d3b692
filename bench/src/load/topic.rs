//! The topic of one round: made before it, deleted after it.

use crate::error::BenchError;
use crate::measurement::Measurement;
use crate::result::RoundOutcome;
use crate::system::{System, Topic, TopicPlan};
use crate::workload::{Load, Workload};

/// Measures on a fresh topic, which is gone afterwards. After a failed round the system may be gone: the failure is what matters
/// then, and not that the topic could not be deleted.
///
/// # Errors Those of `measure`; when the system refuses to make the topic, or to delete it after a round in which it lived on.
pub(crate) fn on_fresh_topic<S: System + ?Sized>(
    system: &mut S,
    workload: &Workload,
    measure: impl FnOnce(&mut S, &Topic) -> Result<Measurement, BenchError>,
) -> Result<Measurement, BenchError> {
    let (partition_count, value_len_max) = match &workload.load {
        Load::Open(load) => (load.partition_count, load.value_len),
        Load::Closed(load) => (load.partition_count, load.value_len),
        Load::Read(load) => (load.partition_count, load.value_len),
        Load::Idle { .. } | Load::Restart(_) => (1, 0),
    };
    let plan = TopicPlan { name: unused_name(&workload.name), partition_count, acks: workload.acks, value_len_max };
    let topic = system.create_topic(&plan)?;
    let measured = measure(system, &topic);
    let deleted = system.delete_topic(&topic);
    let measured = measured?;
    if measured.outcome != RoundOutcome::BrokerDied {
        deleted?;
    }
    Ok(measured)
}

/// A topic name that no other benchmark on the same system uses.
pub(crate) fn unused_name(workload: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("bench-{workload}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
