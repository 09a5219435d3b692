//! The coordinator: an image, the topics, and when its members' times run out.
//!
//! Events are decided one after the other, each in its file; what becomes of a decision once it is in the log is in
//! `on_appended.rs`. A coordinator that does not lead any more is dropped with all that waits for it, and made again from
//! the log by whoever leads next. Deliberately absent: what is committed. The caller knows, and answers wait for it.

use crate::group::{Group, Member};
use crate::ids::{BatchNumber, GroupId, MemberEpoch, MemberId};
use crate::image::Image;
use crate::refusal::Refusal;
use crate::sessions::Sessions;
use crate::topics::Topics;
use sluice_model::{Now, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What an operator may set, the same for all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of members that ask for none, milliseconds.
    pub session_timeout_ms: u32,
    pub poll_timeout_ms: u32,
    /// Offsets of an empty group are kept for so long after its last member went and after they were committed.
    pub offsets_retention_ms: i64,
    /// How often expiry is looked for, milliseconds.
    pub expiry_interval_ms: u32,
    /// A snapshot is due after so many batches.
    pub snapshot_interval: u64,
}

impl Default for Settings {
    /// 10 s, 5 min, 7 days, 10 min, 100,000 batches.
    fn default() -> Self {
        Self {
            session_timeout_ms: 10_000,
            poll_timeout_ms: 300_000,
            offsets_retention_ms: 7 * 24 * 3600 * 1000,
            expiry_interval_ms: 600_000,
            snapshot_interval: 100_000,
        }
    }
}

#[derive(Debug)]
pub struct Coordinator {
    pub(crate) image: Image,
    pub(crate) settings: Settings,
    pub(crate) topics: Arc<Topics>,
    pub(crate) sessions: Sessions,
    /// Groups that the present topics may concern.
    pub(crate) to_look_at: BTreeSet<GroupId>,
    /// Deleted topics, until no group has offsets of them.
    pub(crate) deleted_topics: BTreeSet<TopicId>,
    pub(crate) expiry_us: u64,
    /// The last group that this round of expiry has looked at.
    pub(crate) expired_to: Option<GroupId>,
    pub(crate) appended: BatchNumber,
    /// Where the snapshot began that the last batch is a piece of.
    pub(crate) snapshot_from: Option<BatchNumber>,
    /// Where the last snapshot ended.
    pub(crate) snapshot_at: BatchNumber,
}

impl Coordinator {
    /// `image` is what `Replay` made of the log. Every member gets its whole time from now on. The caller takes the
    /// append clock's time for `wall_ms`, here and in every event: offsets expire by it.
    #[must_use]
    pub fn new(now: Now, settings: Settings, topics: Arc<Topics>, image: Image) -> Self {
        let to_look_at = image.groups().map(|(group_id, _)| group_id.clone()).collect();
        Self {
            sessions: Sessions::new(now.mono_us, &image),
            image,
            settings,
            topics,
            to_look_at,
            deleted_topics: BTreeSet::new(),
            expiry_us: now.mono_us + u64::from(settings.expiry_interval_ms) * 1000,
            expired_to: None,
            appended: BatchNumber(0),
            snapshot_from: None,
            snapshot_at: BatchNumber(0),
        }
    }

    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The last batch that was appended.
    #[must_use]
    pub fn appended(&self) -> BatchNumber {
        self.appended
    }

    /// Whether the log would better begin anew (`on_snapshot`).
    #[must_use]
    pub fn is_snapshot_due(&self) -> bool {
        self.appended.0 - self.snapshot_at.0 >= self.settings.snapshot_interval
    }

    pub(crate) fn known_group(&self, group_id: &GroupId) -> Result<&Group, Refusal> {
        self.image.group(group_id).ok_or_else(|| Refusal::UnknownGroup { group_id: group_id.clone() })
    }

    pub(crate) fn known_member(&self, group_id: &GroupId, member_id: MemberId) -> Result<(&Group, &Member), Refusal> {
        let group = self.known_group(group_id)?;
        let member = group.member(member_id).ok_or_else(|| match successor(group, member_id) {
            Some(by) => Refusal::FencedInstance { by },
            None => Refusal::UnknownMember { member_id },
        })?;
        Ok((group, member))
    }

    /// The member, if it may say something under this epoch: one that it was told, and none older than it has named.
    pub(crate) fn heard(
        &self,
        group_id: &GroupId,
        member_id: MemberId,
        epoch: MemberEpoch,
    ) -> Result<(&Group, &Member), Refusal> {
        let (group, member) = self.known_member(group_id, member_id)?;
        let heard = self.sessions.session(group_id, member_id).map_or(MemberEpoch(0), |session| session.heard);
        if epoch == MemberEpoch(0) || epoch < heard || epoch > member.epoch {
            return Err(Refusal::FencedMemberEpoch { got: epoch, current: member.epoch });
        }
        Ok((group, member))
    }
}

/// Who has taken the place of a static member.
pub(crate) fn successor(group: &Group, member_id: MemberId) -> Option<MemberId> {
    group.members().find(|(_, member)| member.state.predecessor == Some(member_id)).map(|(id, _)| id)
}
