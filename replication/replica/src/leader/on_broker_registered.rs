//! A broker with a replica has started again, or replicas have come and gone: what an earlier incarnation said counts no
//! more.

use super::Leader;
use super::progress::FollowerProgress;
use sluice_model::{BrokerId, Incarnation};
use std::collections::BTreeMap;

impl Leader {
    /// `incarnation` is registered with the controller. An earlier one than is known here is old news.
    pub fn on_broker_registered(&mut self, broker: BrokerId, incarnation: Incarnation) {
        if let Some(follower) = self.followers.get_mut(&broker)
            && follower.incarnation.number < incarnation.number
        {
            *follower = FollowerProgress::new(incarnation);
        }
        self.assert_invariants();
    }

    /// These brokers have a replica. One that has gone holds the high watermark until it has left the in-sync set too.
    pub(crate) fn on_replicas(&mut self, replicas: &BTreeMap<BrokerId, Incarnation>) {
        self.followers.retain(|broker, _| replicas.contains_key(broker));
        let own = self.broker;
        for (&broker, &incarnation) in replicas.iter().filter(|&(&broker, _)| broker != own) {
            self.followers.entry(broker).or_insert_with(|| FollowerProgress::new(incarnation));
            self.on_broker_registered(broker, incarnation);
        }
    }
}
