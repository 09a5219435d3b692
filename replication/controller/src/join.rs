//! A broker that does not vote asks for the log until the controller sends it.

use crate::messages::{AnswerBody, RequestBody};
use crate::node::Shared;
use openraft::{BasicNode, ChangeMembers};
use sluice_model::BrokerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(300);
/// How often one that has joined looks whether it still has.
const PAUSE_JOINED: Duration = Duration::from_secs(5);
/// Nobody is waited for longer.
const WAIT_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn join(shared: Arc<Shared>) {
    let own = u64::from(shared.config.broker.0);
    let voters: Vec<BrokerId> = shared.config.voters.keys().copied().collect();
    let mut next = voters.iter().copied().cycle();
    let mut leader = None;
    loop {
        let has_joined = {
            let metrics = shared.raft().metrics();
            let metrics = metrics.borrow();
            let known = metrics.membership_config.membership().get_node(&own).cloned();
            known.is_some_and(|node| node.addr == shared.config.address) && metrics.current_leader.is_some()
        };
        if has_joined {
            tokio::time::sleep(PAUSE_JOINED).await;
            continue;
        }
        let Some(to) = leader.take().or_else(|| next.next()) else { return };
        let request = RequestBody::Join { address: shared.config.address.clone() };
        match tokio::time::timeout(WAIT_MAX, shared.peers.call(to, "", request)).await {
            Ok(Ok(AnswerBody::NotController { leader: Some(known) })) => {
                leader = Some(BrokerId(known)).filter(|known| shared.config.voters.contains_key(known) && *known != to);
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%to, %error, "a controller was not reached"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A learner is let in, or is at another address now. Voters are where the settings say.
pub(crate) async fn on_join(shared: &Shared, broker: u32, address: String) -> AnswerBody {
    let raft = shared.raft();
    let id = u64::from(broker);
    let (leader, known, votes) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        (metrics.current_leader, membership.get_node(&id).cloned(), membership.voter_ids().any(|voter| voter == id))
    };
    if leader != Some(u64::from(shared.config.broker.0)) {
        return AnswerBody::NotController { leader: leader.and_then(|leader| u32::try_from(leader).ok()) };
    }
    let node = BasicNode { addr: address };
    if votes || known.as_ref() == Some(&node) {
        return AnswerBody::Joined;
    }
    let joined = async {
        match known {
            None => raft.add_learner(id, node, false).await.is_ok(),
            Some(_) => {
                let change = ChangeMembers::SetNodes(BTreeMap::from([(id, node)]));
                raft.change_membership(change, true).await.is_ok()
            }
        }
    };
    match tokio::time::timeout(WAIT_MAX, joined).await {
        Ok(true) => AnswerBody::Joined,
        Ok(false) | Err(_) => AnswerBody::Unavailable,
    }
}
