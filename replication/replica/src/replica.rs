//! One replica of one partition: a leader or a follower, as the leader epochs say.
//!
//! What the controller has decided comes as a [`PartitionState`], in any order and as often as it likes: an older leader
//! epoch or partition epoch changes nothing, and neither does a state that means another incarnation of this broker. The
//! expensive mistake is two leaders of one epoch, so a broker leads only an epoch that is greater than any in its log,
//! and only in the incarnation that was chosen.

use crate::effect::Effects;
use crate::follower::{Follower, FollowerStart, Phase};
use crate::in_sync_set::InSyncSet;
use crate::leader::on_truncate::TruncatedLog;
use crate::leader::timing::IsrTimes;
use crate::leader::{Leader, LeaderStart};
use crate::log_position::{LogFacts, LogState};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch, ProducerTable};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the controller has decided about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    pub leader_epoch: LeaderEpoch,
    /// Grows with every decision about this partition.
    pub partition_epoch: PartitionEpoch,
    pub leader: Option<BrokerId>,
    /// Holds the leader, when there is one.
    pub isr: BTreeSet<BrokerId>,
    /// Every replica, in the incarnation that was registered when this was decided; the leader in the one that was elected.
    pub replicas: BTreeMap<BrokerId, Incarnation>,
}

impl PartitionState {
    /// Of a partition that has one replica: it leads.
    #[must_use]
    pub fn alone(broker: BrokerId, incarnation: Incarnation, leader_epoch: LeaderEpoch) -> Self {
        Self {
            leader_epoch,
            partition_epoch: PartitionEpoch(0),
            leader: Some(broker),
            isr: BTreeSet::from([broker]),
            replicas: BTreeMap::from([(broker, incarnation)]),
        }
    }

    /// The later of two states is the one to go by.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        (self.leader_epoch, self.partition_epoch) > (other.leader_epoch, other.partition_epoch)
    }
}

/// What leaders need to know of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSettings {
    pub isr_times: IsrTimes,
    pub min_insync_replicas: u32,
    /// Longest frame to be appended, header included, bytes.
    pub frame_len_max: usize,
}

/// Why a state changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRefusal {
    /// It is as old as what is known, or older.
    Stale { leader_epoch: LeaderEpoch, partition_epoch: PartitionEpoch },
    /// It names another incarnation of this broker.
    OtherIncarnation { got: Incarnation, own: Incarnation },
    /// This broker has no replica.
    NotAReplica,
    /// The leader is not in the in-sync set, or leads an epoch that has frames in this log already.
    Impossible,
    /// Its log is not whole, or in dispute: this broker must not lead with it.
    CannotLead { phase: Phase, log_state: LogState },
    /// The log is being cut off or replaced: the state is to be given again after that.
    LogInWork,
}

impl fmt::Display for StateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { leader_epoch, partition_epoch } => {
                write!(f, "leader epoch {leader_epoch} and partition epoch {partition_epoch} are known already")
            }
            Self::OtherIncarnation { got, own } => write!(f, "it means incarnation {got} of this broker, which is {own}"),
            Self::NotAReplica => write!(f, "this broker has no replica of the partition"),
            Self::Impossible => write!(f, "its leader is not in sync, or its leader epoch is not new"),
            Self::CannotLead { phase, log_state } => write!(f, "this replica cannot lead: its log is {log_state:?}, {phase:?}"),
            Self::LogInWork => write!(f, "the log is being cut off or replaced"),
        }
    }
}

/// What a state has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// A leader epoch begins here; its log ends where it is. Pending produces go on waiting when this broker led before.
    Leads,
    /// A leader epoch begins elsewhere, or nowhere. Nobody can say what becomes of these produces.
    Follows { unknown: Vec<u64> },
    /// The leader epoch goes on with another in-sync set.
    Continues,
}

#[derive(Clone, Debug)]
pub enum Role {
    // A replica is one of the two for long; boxing the larger would cost a pointer on every produce.
    Leader(Box<Leader>),
    Follower(Box<Follower>),
}

#[derive(Clone, Debug)]
pub struct Replica {
    broker: BrokerId,
    incarnation: Incarnation,
    leader_epoch: LeaderEpoch,
    /// Of the last decision that was taken; `None` before any.
    partition_epoch: Option<PartitionEpoch>,
    has_lease: bool,
    settings: LeaderSettings,
    role: Role,
}

impl Replica {
    /// A replica as recovery has found it, that nobody has told yet what it is.
    #[must_use]
    pub fn new(broker: BrokerId, incarnation: Incarnation, settings: LeaderSettings, log: FollowerStart) -> Self {
        let leader_epoch = log.leader_epoch;
        let role = Role::Follower(Box::new(Follower::new(log)));
        Self { broker, incarnation, leader_epoch, partition_epoch: None, has_lease: true, settings, role }
    }

    /// The controller has decided; `facts` are of this replica's log as it is now. Nothing has changed when this refuses.
    pub fn on_partition_state(
        &mut self,
        state: &PartitionState,
        facts: LogFacts,
        effects: &mut Effects,
    ) -> Result<RoleChange, StateRefusal> {
        self.check(state)?;
        let begins = state.leader_epoch > self.leader_epoch || self.partition_epoch.is_none();
        let change = if state.leader != Some(self.broker) {
            self.follow(state, facts)?
        } else if begins {
            self.lead(state, effects)?
        } else {
            self.continue_leading(state, effects)?
        };
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = Some(state.partition_epoch);
        Ok(change)
    }

    fn check(&self, state: &PartitionState) -> Result<(), StateRefusal> {
        let got = *state.replicas.get(&self.broker).ok_or(StateRefusal::NotAReplica)?;
        if got != self.incarnation {
            return Err(StateRefusal::OtherIncarnation { got, own: self.incarnation });
        }
        let PartitionState { leader_epoch, partition_epoch, .. } = *state;
        if leader_epoch < self.leader_epoch || self.partition_epoch.is_some_and(|known| partition_epoch <= known) {
            return Err(StateRefusal::Stale { leader_epoch, partition_epoch });
        }
        if state.leader.is_some_and(|leader| !state.isr.contains(&leader)) {
            return Err(StateRefusal::Impossible);
        }
        Ok(())
    }

    fn lead(&mut self, state: &PartitionState, effects: &mut Effects) -> Result<RoleChange, StateRefusal> {
        match &mut self.role {
            Role::Leader(leader) => {
                let isr = InSyncSet::decided(state.partition_epoch, state.isr.clone());
                leader.on_next_epoch(state.leader_epoch, isr, &state.replicas, effects);
            }
            Role::Follower(follower) => {
                if follower.log_is_in_work() {
                    return Err(StateRefusal::LogInWork);
                }
                let (phase, log_state) = (follower.phase(), follower.log_state());
                // Alone in sync it is the only replica, or the one that an operator has chosen: what it has is all there is.
                let is_sole = state.isr.len() == 1;
                if !is_sole && (matches!(phase, Phase::Stopped(_)) || log_state == LogState::Damaged) {
                    return Err(StateRefusal::CannotLead { phase, log_state });
                }
                if follower.epochs().latest().is_some_and(|latest| latest >= state.leader_epoch) {
                    return Err(StateRefusal::Impossible);
                }
                let log = follower.take_start();
                self.role = Role::Leader(Box::new(self.promoted(state, log)));
            }
        }
        Ok(RoleChange::Leads)
    }

    fn promoted(&self, state: &PartitionState, log: FollowerStart) -> Leader {
        let mut leader = Leader::new(LeaderStart {
            id: log.id,
            broker: self.broker,
            leader_epoch: state.leader_epoch,
            isr: InSyncSet::decided(state.partition_epoch, state.isr.clone()),
            followers: state.replicas.clone(),
            isr_times: self.settings.isr_times,
            min_insync_replicas: self.settings.min_insync_replicas,
            frame_len_max: self.settings.frame_len_max,
            log_end_offset: log.log_end_offset,
            local_flushed: log.local_flushed,
            high_watermark: log.high_watermark,
            last_header_crc: log.last_header_crc,
            epochs: log.epochs,
            producers: log.producers,
        });
        if !self.has_lease {
            let unknown = leader.on_lease_lost();
            assert!(unknown.is_empty(), "nobody waits for a leader that has not begun");
        }
        leader
    }

    fn continue_leading(&mut self, state: &PartitionState, effects: &mut Effects) -> Result<RoleChange, StateRefusal> {
        let Role::Leader(leader) = &mut self.role else { return Err(StateRefusal::Impossible) };
        leader.on_replicas(&state.replicas);
        leader.on_isr_decided(state.partition_epoch, state.isr.clone(), effects);
        Ok(RoleChange::Continues)
    }

    fn follow(&mut self, state: &PartitionState, facts: LogFacts) -> Result<RoleChange, StateRefusal> {
        let unknown = match &mut self.role {
            Role::Follower(follower) => {
                follower.on_leader(state.leader_epoch, state.leader).map_err(|_| StateRefusal::Impossible)?;
                Vec::new()
            }
            Role::Leader(leader) if state.leader_epoch <= leader.leader_epoch() => return Err(StateRefusal::Impossible),
            Role::Leader(leader) => {
                let (log, unknown) = leader.abdicate(state.leader_epoch, facts);
                let mut follower = Follower::new(log);
                follower.on_leader(state.leader_epoch, state.leader).map_err(|_| StateRefusal::Impossible)?;
                self.role = Role::Follower(Box::new(follower));
                unknown
            }
        };
        Ok(RoleChange::Follows { unknown })
    }

    /// Settings of its topic have changed.
    pub fn on_settings(&mut self, settings: LeaderSettings, effects: &mut Effects) {
        self.settings = settings;
        if let Role::Leader(leader) = &mut self.role {
            leader.on_settings(settings.frame_len_max, settings.min_insync_replicas, effects);
        }
    }

    /// The log of this leader is cut off, or nothing of it had to be (`None`), and goes on under `leader_epoch`, greater than
    /// any so far. Gives back the tokens of produces of which nobody can say whether they were ever durable.
    #[must_use = "whoever waits has to be told"]
    pub fn on_leader_truncated(&mut self, leader_epoch: LeaderEpoch, log: Option<TruncatedLog>) -> Vec<u64> {
        let Role::Leader(leader) = &mut self.role else { panic!("a follower is cut off by `Follower::on_truncated`") };
        self.leader_epoch = leader_epoch;
        match log {
            Some(log) => leader.on_truncate(leader_epoch, log),
            None => {
                leader.on_leader_epoch(leader_epoch);
                Vec::new()
            }
        }
    }

    /// The broker has lost its lease with the controller, and leads nothing until it has it again.
    #[must_use = "whoever waits has to be told"]
    pub fn on_lease_lost(&mut self) -> Vec<u64> {
        self.has_lease = false;
        match &mut self.role {
            Role::Leader(leader) => leader.on_lease_lost(),
            Role::Follower(_) => Vec::new(),
        }
    }

    pub fn on_lease_regained(&mut self, effects: &mut Effects) {
        self.has_lease = true;
        if let Role::Leader(leader) = &mut self.role {
            leader.on_lease_regained(effects);
        }
    }

    /// Forgets producers that have not appended since `before_ms`; gives back how many.
    pub fn on_expire_producers(&mut self, before_ms: i64) -> usize {
        match &mut self.role {
            Role::Leader(leader) => leader.on_expire_producers(before_ms),
            Role::Follower(follower) => follower.on_expire_producers(before_ms),
        }
    }

    /// What is known to be committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
        }
    }

    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.log_end_offset(),
            Role::Follower(follower) => follower.log_end_offset(),
        }
    }

    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        match &self.role {
            Role::Leader(leader) => leader.producers(),
            Role::Follower(follower) => follower.producers(),
        }
    }

    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    pub fn role_mut(&mut self) -> &mut Role {
        &mut self.role
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    #[must_use]
    pub fn partition_epoch(&self) -> Option<PartitionEpoch> {
        self.partition_epoch
    }
}

#[cfg(test)]
#[path = "replica_test.rs"]
mod tests;
