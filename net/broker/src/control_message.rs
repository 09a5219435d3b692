//! The values that a shard and the control thread exchange.
//!
//! Bounded both ways without a cycle of waiting: a shard never waits to ask (it refuses instead), and it has no more
//! questions open than its mailbox has room for answers, so the control thread never waits to answer.

use crate::cluster::AnsweredProposal;
use crate::error_table::WireError;
use crate::view::View;
use async_channel::Sender;
use sluice_controller::Command;
use sluice_metadata::{FolderSurvey, Recovered};
use sluice_model::{BrokerId, LeaderEpoch, ProducerId, ShardIndex, TopicId, TopicPartition};
use sluice_replica::IsrProposal;
use sluice_shard::Wake;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Questions of one shard that may be open at once.
pub(crate) const OPEN_QUESTIONS_MAX: usize = 256;
/// Room in a shard's mailbox: an answer to each open question, and what the control thread says by itself.
pub(crate) const MAILBOX_LEN: usize = OPEN_QUESTIONS_MAX + 64;
/// Room in the control thread's mailbox.
pub(crate) const CONTROL_MAILBOX_LEN: usize = 1024;

#[derive(Debug)]
pub(crate) enum Question {
    CreateTopic {
        name: String,
        partitions: u32,
        /// `None`: as many as is the default of the cluster.
        replicas: Option<u32>,
        settings: Vec<(String, String)>,
    },
    DeleteTopic {
        name: String,
    },
    AlterTopic {
        name: String,
        settings: Vec<(String, String)>,
        partitions: Option<u32>,
    },
    /// One of the commands that elect leaders.
    ElectLeaders(Command),
    /// A block of producer ids.
    ProducerIds,
}

/// Who leads a partition after an election, or why it stays as it is.
pub(crate) type Elected = Result<(Option<BrokerId>, LeaderEpoch), String>;

#[derive(Debug)]
pub(crate) enum Answer {
    TopicCreated(TopicId),
    Done,
    Elected {
        /// Some partition is another one than before.
        has_changed: bool,
        /// What is said of each one that was named.
        partitions: Vec<Elected>,
    },
    ProducerIds(Range<i64>),
    Refused(WireError),
}

#[derive(Debug)]
pub(crate) enum ToControl {
    Question {
        shard: ShardIndex,
        token: u64,
        question: Question,
    },
    /// Every shard has recovered, and with that dropped what was left of deleted topics.
    Recovered {
        survey: FolderSurvey,
        /// The greatest producer id in any partition.
        producer_id_max: Option<ProducerId>,
        orphans: BTreeSet<TopicPartition>,
        /// What was found of every replica.
        replicas: Vec<(TopicPartition, Recovered)>,
    },
    /// Changes of in-sync sets that the leaders of a shard ask for; each is answered.
    IsrProposals {
        shard: ShardIndex,
        proposals: Vec<IsrProposal>,
    },
    /// Replicas here that the metadata calls damaged, and that follow with a whole log, each under this leader epoch.
    Repaired {
        replicas: Vec<(TopicPartition, LeaderEpoch)>,
    },
    /// The broker is to leave its cluster: others lead what it leads, as far as they can. `left` is closed then.
    Leave {
        left: Sender<()>,
    },
    /// The shard serves by the view of this version, its partitions opened and removed.
    Applied {
        shard: ShardIndex,
        version: u64,
    },
    Stop,
}

#[derive(Debug)]
pub(crate) enum ToShard {
    View {
        version: u64,
        view: Arc<View>,
    },
    Answer {
        token: u64,
        answer: Answer,
    },
    /// What has become of changes of in-sync sets. It comes behind a view that has them.
    IsrAnswers(Vec<AnsweredProposal>),
    /// The broker has got its lease, or lost it.
    Lease,
    Stop,
}

/// What the mailbox task hands to the data task.
#[derive(Debug)]
pub(crate) struct ToDataTask {
    pub(crate) token: u64,
    pub(crate) answer: Answer,
}

/// A shard's end of it, shared by its mailbox task and its data task.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    shard: ShardIndex,
    to_control: Sender<ToControl>,
    for_data_task: Rc<RefCell<Vec<ToDataTask>>>,
    wake: Wake,
}

impl ControlHandle {
    pub(crate) fn new(shard: ShardIndex, to_control: Sender<ToControl>, wake: Wake) -> Self {
        Self { shard, to_control, for_data_task: Rc::default(), wake }
    }

    /// `false`: the control thread has too much to do, or has ended.
    pub(crate) fn ask(&self, token: u64, question: Question) -> bool {
        self.to_control.try_send(ToControl::Question { shard: self.shard, token, question }).is_ok()
    }

    /// Said again as long as it is so.
    pub(crate) fn repaired(&self, replicas: Vec<(TopicPartition, LeaderEpoch)>) {
        let _later = self.to_control.try_send(ToControl::Repaired { replicas });
    }

    /// What cannot be taken is given back.
    pub(crate) fn propose_isr(&self, proposals: Vec<IsrProposal>) -> Vec<IsrProposal> {
        match self.to_control.try_send(ToControl::IsrProposals { shard: self.shard, proposals }) {
            Ok(()) => Vec::new(),
            Err(error) => match error.into_inner() {
                ToControl::IsrProposals { proposals, .. } => proposals,
                _ => Vec::new(),
            },
        }
    }

    pub(crate) fn hand_to_data_task(&self, token: u64, answer: Answer) {
        self.for_data_task.borrow_mut().push(ToDataTask { token, answer });
        self.wake.notify();
    }

    pub(crate) fn take_for_data_task(&self, into: &mut Vec<ToDataTask>) {
        into.append(&mut self.for_data_task.borrow_mut());
    }

    pub(crate) async fn applied(&self, version: u64) {
        // An error means that the control thread has ended, and with it the wish to know.
        let _nobody_asks = self.to_control.send(ToControl::Applied { shard: self.shard, version }).await;
    }
}
