//! How far a start has come: which shards listen, which are open, and what their recovery said.
//!
//! "Listening" means that every shard answers connections; "ready" that every partition of every shard is served. In
//! between, a shard that is open serves, whatever the others still have to replay. Deliberately absent: a limit on how
//! long that may take, because a rebuild takes as long as its segments are.

use crate::control_message::ToControl;
use crate::orphans::Orphans;
use crate::shard_main::ShardProgress;
use crate::start_error::StartError;
use crate::view::View;
use async_channel::{Receiver, Sender};
use sluice_metadata::{FolderSurvey, Recovered};
use sluice_model::{ProducerId, ShardIndex, TopicPartition};
use sluice_partition::Survey;
use sluice_storage::layout::Layout;
use sluice_storage::recovery_report::RecoveryReport;
use std::net::SocketAddr;
use std::sync::Arc;

/// Waits for the shards of one broker. Clones wait for the same: what one is told, the others are not.
#[derive(Clone)]
pub struct Readiness {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) progress: Receiver<(ShardIndex, ShardProgress)>,
    pub(crate) to_control: Sender<ToControl>,
    /// Of the shards that are open.
    pub(crate) reports: Vec<RecoveryReport>,
    /// The greatest that a partition of them knows.
    pub(crate) producer_id_max: Option<ProducerId>,
    /// What was found of each replica of them.
    pub(crate) replicas: Vec<(TopicPartition, Recovered)>,
    pub(crate) found: Arc<RecoveredFolder>,
}

/// What was known of the data folder before its shards were recovered.
pub(crate) struct RecoveredFolder {
    pub(crate) survey: Survey,
    /// Of folders that partitions were moved away from.
    pub(crate) moved: Vec<RecoveryReport>,
    pub(crate) view: Arc<View>,
    pub(crate) layout: Layout,
}

impl Readiness {
    /// Shards whose partitions are not served yet, as far as it has waited.
    #[must_use]
    pub fn recovering(&self) -> Vec<ShardIndex> {
        let is_open = |shard: &ShardIndex| self.reports.iter().any(|report| report.shard == *shard);
        (0..).map(ShardIndex).take(self.addresses.len()).filter(|shard| !is_open(shard)).collect()
    }

    /// Waits until every shard is open, and logs each one that is open before the others. Blocks.
    ///
    /// # Errors
    /// A shard that cannot be recovered; the others have nothing to do without it, so the broker is to be dropped then.
    pub fn wait(mut self) -> Result<Vec<RecoveryReport>, StartError> {
        while !self.recovering().is_empty() {
            let Some(report) = self.next()? else { continue };
            let shard = report.shard.0;
            self.reports.push(report);
            let recovering = self.recovering();
            if !recovering.is_empty() {
                tracing::info!(shard, not_ready = %numbers(&recovering), "the partitions of this shard are served");
            }
        }
        self.reports.sort_by_key(|report| report.shard);
        self.tell_control();
        Ok(self.reports)
    }

    /// Tells an operator, and the control thread, what the folder holds besides the partitions that are served.
    fn tell_control(&self) {
        let RecoveredFolder { survey, moved, view, layout } = &*self.found;
        let reports: Vec<&RecoveryReport> = self.reports.iter().chain(moved).collect();
        let orphans = Orphans::find(&view.image, survey, &reports, layout);
        orphans.warn(&view.image);
        let rings = self.reports.iter().filter_map(|report| report.ring_incarnation_number);
        let rings_from = rings.min().unwrap_or(u64::MAX);
        let survey = FolderSurvey { broker: view.broker, rings_from, out_of_use_until: survey.out_of_use_until };
        let (producer_id_max, replicas) = (self.producer_id_max, self.replicas.clone());
        let recovered = ToControl::Recovered { survey, producer_id_max, orphans: orphans.held, replicas };
        let _ended = self.to_control.send_blocking(recovered);
    }

    pub(crate) fn await_listening(&mut self) -> Result<(), StartError> {
        let mut left = self.addresses.len();
        while left > 0 {
            match self.next()? {
                Some(report) => self.reports.push(report),
                None => left -= 1,
            }
        }
        Ok(())
    }

    /// `None`: a shard listens.
    fn next(&mut self) -> Result<Option<RecoveryReport>, StartError> {
        let progress = self.progress.recv_blocking();
        match progress.map_err(|_| StartError::Thread { problem: "every shard ended while starting".to_owned() })? {
            (_, ShardProgress::Listening) => Ok(None),
            (_, ShardProgress::Opened(opened)) => {
                self.producer_id_max = self.producer_id_max.max(opened.producer_id_max);
                self.replicas.extend(opened.replicas);
                Ok(Some(opened.report))
            }
            (shard, ShardProgress::Deaf(error)) => {
                Err(StartError::Listen { address: self.addresses[usize::from(shard.0)], error })
            }
            (shard, ShardProgress::Failed(problem)) => Err(StartError::Recovery { shard: shard.0, problem }),
        }
    }
}

/// `1, 2`, for a person.
fn numbers(shards: &[ShardIndex]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
