//! What the control thread tells the shards of a broker in a cluster: views, newest first, and answers.
//!
//! The expensive mistake is to wait for a shard, so what is for one goes into a queue of its own, which a task carries
//! over; what may be in it is bounded by the questions that a shard may have open. One view is on its way to a shard at a
//! time: what comes meanwhile is told as one when that is acted on. What follows from a view (the answer to whoever asked
//! for it, an in-sync set) is held back until the shards that it concerns have acted on one as new.

use crate::control_message::ToShard;
use crate::view::View;
use async_channel::Sender;
use sluice_controller::AppliedImage;
use sluice_model::{BrokerId, ShardIndex};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Whose views have to be as new before something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    All,
    Own,
}

pub(super) struct ShardLinks {
    broker: BrokerId,
    links: Vec<Link>,
    newest: AppliedImage,
    version: u64,
    held_back: Vec<HeldBack>,
}

struct Link {
    queue: mpsc::UnboundedSender<ToShard>,
    /// On its way: version, and the number of its batch.
    told: Option<(u64, u64)>,
    /// The number of the last batch in the view that the shard serves by.
    applied: u64,
}

struct HeldBack {
    shard: ShardIndex,
    after: After,
    index: u64,
    message: ToShard,
}

impl ShardLinks {
    /// Shards that have been started with `image`; to be called on the runtime.
    pub(super) fn new(broker: BrokerId, shards: Vec<Sender<ToShard>>, image: AppliedImage) -> Self {
        let applied = image.index;
        let link = |shard| Link { queue: forwarded(shard), told: None, applied };
        Self { broker, links: shards.into_iter().map(link).collect(), newest: image, version: 0, held_back: Vec::new() }
    }

    pub(super) fn image(&self) -> &AppliedImage {
        &self.newest
    }

    pub(super) fn on_image(&mut self, image: AppliedImage) {
        if image.index > self.newest.index {
            self.newest = image;
            self.tell_views();
        }
    }

    /// A shard acts on the view of this version.
    pub(super) fn on_applied(&mut self, shard: ShardIndex, version: u64) {
        let Some(link) = self.links.get_mut(usize::from(shard.0)) else { return };
        let Some((_, index)) = link.told.take_if(|(told, _)| *told == version) else {
            tracing::warn!(shard = shard.0, version, "a shard acted on a view that it was not told");
            return;
        };
        link.applied = index;
        self.tell_views();
        self.tell_held_back();
    }

    pub(super) fn tell(&self, shard: ShardIndex, message: ToShard) {
        if let Some(link) = self.links.get(usize::from(shard.0)) {
            // An error means that the shard is stopping.
            let _stopping = link.queue.send(message);
        }
    }

    pub(super) fn tell_all(&self, message: impl Fn() -> ToShard) {
        (0..).map(ShardIndex).take(self.links.len()).for_each(|shard| self.tell(shard, message()));
    }

    /// Tells `shard` once `after` have acted on batch `index`.
    pub(super) fn tell_after(&mut self, after: After, index: u64, shard: ShardIndex, message: ToShard) {
        self.held_back.push(HeldBack { shard, after, index, message });
        self.tell_held_back();
    }

    fn tell_views(&mut self) {
        let mut view = None;
        for link in self.links.iter_mut().filter(|link| link.told.is_none() && link.applied < self.newest.index) {
            let view = view.get_or_insert_with(|| {
                self.version += 1;
                Arc::new(View { broker: self.broker, image: Arc::clone(&self.newest.image) })
            });
            link.told = Some((self.version, self.newest.index));
            let _stopping = link.queue.send(ToShard::View { version: self.version, view: Arc::clone(view) });
        }
    }

    fn tell_held_back(&mut self) {
        let applied_by_all = self.links.iter().map(|link| link.applied).min().unwrap_or(u64::MAX);
        let links = &self.links;
        let is_due = |held: &mut HeldBack| {
            let own = links.get(usize::from(held.shard.0)).map_or(u64::MAX, |link| link.applied);
            held.index <= if held.after == After::All { applied_by_all } else { own }
        };
        let due: Vec<HeldBack> = self.held_back.extract_if(.., is_due).collect();
        for HeldBack { shard, message, .. } in due {
            self.tell(shard, message);
        }
    }
}

/// A queue whose end is the shard's mailbox.
fn forwarded(shard: Sender<ToShard>) -> mpsc::UnboundedSender<ToShard> {
    let (sender, mut queue) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if shard.send(message).await.is_err() {
                return;
            }
        }
    });
    sender
}

#[cfg(test)]
#[path = "shard_links_test.rs"]
mod tests;
