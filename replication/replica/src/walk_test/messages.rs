//! What the network brings, and what a driver makes of it.

use super::*;

impl Walk {
    pub(super) fn deliver(&mut self, has_faults: bool) {
        // Parked fetches are looked through as well: there may be something to send by now.
        self.answer_parked();
        if self.network.is_empty() {
            return;
        }
        let at = if self.random.chance(70) { 0 } else { self.random.below(self.network.len()) };
        if has_faults && self.random.chance(5) {
            self.network.remove(at);
            self.count("lost");
            return;
        }
        let is_doubled = has_faults && self.random.chance(5);
        let (to, message) = if is_doubled { self.network[at].clone() } else { self.network.remove(at) };
        let is_to_controller = matches!(message, Message::Isr { .. });
        if !is_to_controller && !self.nodes[&to].is_up {
            // The metadata log is read again after a start.
            return;
        }
        if matches!(message, Message::Fetch { .. } | Message::Answer { .. }) {
            self.past.push((to, message.clone()));
        }
        match message {
            Message::Fetch { from, incarnation, request } => self.on_fetch(to, from, incarnation, request),
            Message::Flush { from, incarnation, request } => self.on_flush(to, from, incarnation, &request),
            Message::Answer { at, fetch, outcome } => {
                if self.nodes.get_mut(&to).expect("known").to_leader.on_answer(at) {
                    self.on_answer(to, fetch, outcome);
                }
            }
            Message::FullAgain { session } => {
                self.nodes.get_mut(&to).expect("known").to_leader.on_lost(session);
            }
            Message::Isr { proposal, leader } => self.on_isr(&proposal, leader),
            Message::IsrAnswer { leader_epoch, number, answer } => {
                let now_us = self.now_us;
                let mut effects = Effects::new();
                if let Role::Leader(leader) = self.nodes.get_mut(&to).expect("known").replica.role_mut() {
                    leader.on_isr_answer(now_us, leader_epoch, number, answer, &mut effects);
                }
                self.run(to, &effects);
            }
            Message::State(state) => self.on_state(to, &state),
        }
    }

    pub(super) fn on_fetch(&mut self, to: BrokerId, from: BrokerId, incarnation: Incarnation, request: FetchRequest) {
        let at = request.at;
        let node = self.nodes.get_mut(&to).expect("known");
        match node.sessions.on_fetch((shard(from), incarnation), request) {
            Ok(named) => {
                for fetch in named.into_values() {
                    self.judge(to, from, incarnation, at, fetch);
                }
            }
            Err(SessionRefusal::FullAgain) => {
                self.count("full again");
                self.network.push((from, Message::FullAgain { session: at.session }));
            }
            Err(SessionRefusal::Stale) => self.count("stale session"),
        }
    }

    /// The partition's leader looks at one fetch, and what is wrong with it is said at once.
    pub(super) fn judge(
        &mut self,
        to: BrokerId,
        from: BrokerId,
        incarnation: Incarnation,
        at: RequestNumber,
        fetch: PartitionFetch,
    ) {
        let PartitionFetch { leader_epoch, position, flushed, log_state } = fetch;
        let fetch_of = FollowerFetch { broker: from, incarnation, leader_epoch, position, flushed, log_state };
        let now_us = self.now_us;
        let mut effects = Effects::new();
        let node = self.nodes.get_mut(&to).expect("known");
        let Role::Leader(leader) = node.replica.role_mut() else { return };
        let unasked = LeaderLog { first_offset: node.log.base.offset, link: Link::NotLookedUp };
        let mut outcome = leader.on_follower_fetch(now_us, &fetch_of, unasked, &mut effects);
        if let Ok(FetchOutcome::LookUp { offset }) = outcome {
            assert!(effects.is_empty());
            outcome = leader.on_follower_fetch(now_us, &fetch_of, node.log.look_up(offset), &mut effects);
        }
        self.run(to, &effects);
        let answer = match outcome {
            Ok(FetchOutcome::Serve { .. }) => return,
            Ok(FetchOutcome::Diverging { epoch, end_offset }) => Answer::Diverging { epoch, end_offset },
            Ok(FetchOutcome::BelowLogStart { .. } | FetchOutcome::LookUp { .. }) => panic!("{outcome:?}"),
            Err(FollowerRefusal::ChainMismatch { .. }) => Answer::ChainMismatch,
            Err(FollowerRefusal::UnknownLeaderEpoch { got, .. }) => {
                let Role::Leader(leader) = self.nodes.get_mut(&to).expect("known").replica.role_mut() else { return };
                let unknown = leader.on_newer_leader_epoch(got);
                self.on_unknown(unknown);
                self.count("newer epoch by fetch");
                return;
            }
            Err(_) => {
                self.count("fetch refused");
                return;
            }
        };
        self.send_answer(to, from, at, fetch, answer);
    }

    pub(super) fn send_answer(
        &mut self,
        to: BrokerId,
        from: BrokerId,
        at: RequestNumber,
        fetch: PartitionFetch,
        outcome: Answer,
    ) {
        let node = self.nodes.get_mut(&to).expect("known");
        let told = match outcome {
            Answer::Frames { high_watermark, .. } => Some((id(), Told { high_watermark, log_start_offset: Offset::ZERO })),
            _ => None,
        };
        if node.sessions.on_answered(shard(from), at, told) {
            self.network.push((from, Message::Answer { at, fetch, outcome }));
        }
    }

    /// Every parked fetch for which there is something to send.
    pub(super) fn answer_parked(&mut self) {
        let pairs: Vec<_> = self.nodes.keys().flat_map(|&to| self.nodes.keys().map(move |&from| (to, from))).collect();
        for (to, from) in pairs {
            let most = 1 + self.random.below(4);
            let node = self.nodes.get_mut(&to).expect("known");
            let Some(at) = node.sessions.parked(shard(from)).filter(|_| node.is_up) else { continue };
            let Some((_, &fetched)) = node.sessions.partitions(shard(from)).next() else { continue };
            let Role::Leader(leader) = node.replica.role_mut() else { continue };
            // Only a follower whose place is proved is served.
            if fetched.fetch.leader_epoch != leader.leader_epoch()
                || leader.follower_position(from) != Some(fetched.fetch.position)
            {
                continue;
            }
            let high_watermark = leader.high_watermark();
            let headers: Vec<_> = node.log.from(fetched.fetch.position.offset).iter().take(most).copied().collect();
            let now = Told { high_watermark, log_start_offset: Offset::ZERO };
            if headers.is_empty() && !LeaderSessions::has_news(&fetched, now) {
                continue;
            }
            if let Some(last) = headers.last() {
                leader.on_sent(from, self.state.replicas[&from], last);
            }
            self.send_answer(to, from, at, fetched.fetch, Answer::Frames { headers, high_watermark });
        }
    }

    pub(super) fn on_flush(&mut self, to: BrokerId, from: BrokerId, incarnation: Incarnation, request: &FlushRequest) {
        let now_us = self.now_us;
        let node = self.nodes.get_mut(&to).expect("known");
        let mut effects = Effects::new();
        match node.sessions.on_flush((shard(from), incarnation), request) {
            Ok(changed) => {
                let Role::Leader(leader) = node.replica.role_mut() else { return };
                for fetch in changed.into_values() {
                    let PartitionFetch { leader_epoch, flushed, .. } = fetch;
                    let flush = FollowerFlush { broker: from, incarnation, leader_epoch, flushed };
                    if leader.on_follower_flush(now_us, &flush, &mut effects).is_ok() {
                        *self.counts.entry("flush reported").or_default() += 1;
                    }
                }
            }
            Err(SessionRefusal::FullAgain) => {
                self.count("full again");
                self.network.push((from, Message::FullAgain { session: request.at.session }));
            }
            Err(SessionRefusal::Stale) => {}
        }
        self.run(to, &effects);
    }

    /// A message comes again that was answered long ago: leader and follower see through it without a session's help.
    pub(super) fn replay(&mut self) {
        if self.past.is_empty() {
            return;
        }
        let at = self.random.below(self.past.len());
        let (to, message) = self.past[at].clone();
        if !self.nodes[&to].is_up {
            return;
        }
        self.count("replayed");
        match message {
            Message::Fetch { from, incarnation, request } => {
                let none = RequestNumber { session: 0, number: 0 };
                request.named.into_values().for_each(|fetch| self.judge(to, from, incarnation, none, fetch));
            }
            Message::Answer { fetch, outcome, .. } => self.on_answer(to, fetch, outcome),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn on_answer(&mut self, to: BrokerId, fetch: PartitionFetch, outcome: Answer) {
        let node = self.nodes.get_mut(&to).expect("known");
        let Role::Follower(follower) = node.replica.role_mut() else { return };
        let mut effects = FollowerEffects::new();
        let (leader_epoch, fetch_offset) = (fetch.leader_epoch, fetch.position.offset);
        match outcome {
            Answer::Frames { headers, high_watermark } => {
                let answer = FetchedFrames {
                    leader_epoch,
                    fetch_offset,
                    headers: &headers,
                    high_watermark,
                    log_start_offset: Offset::ZERO,
                };
                match follower.on_fetched(answer, &mut effects) {
                    Ok(()) | Err(follower::on_fetched::FetchedRefusal::Stale) => {}
                    Err(refusal) => panic!("{to}: {refusal}"),
                }
            }
            Answer::Diverging { epoch, end_offset } => {
                follower.on_diverging(Diverging { leader_epoch, fetch_offset, epoch, end_offset }, &mut effects);
            }
            Answer::ChainMismatch => {
                follower.on_chain_mismatch(leader_epoch, fetch_offset, &mut effects);
            }
        }
        for effect in effects {
            match effect {
                FollowerEffect::Append { header } => node.log.frames.push(header),
                FollowerEffect::Truncate { end_offset } => {
                    *self.counts.entry("truncated").or_default() += 1;
                    let cut = node.log.truncate(end_offset);
                    follower.on_truncated(cut).expect("the cut that was wanted");
                }
                FollowerEffect::HighWatermarkMoved { .. } => {}
                other => panic!("{to}: {other:?}"),
            }
        }
    }

    pub(super) fn on_state(&mut self, to: BrokerId, state: &PartitionState) {
        let node = self.nodes.get_mut(&to).expect("known");
        let mut effects = Effects::new();
        let facts = LogFacts { log_start_offset: Offset::ZERO, log_state: LogState::Whole };
        let change = node.replica.on_partition_state(state, facts, &mut effects);
        if matches!(change, Ok(RoleChange::Leads | RoleChange::Follows { .. })) {
            node.to_leader.on_lost(node.to_leader.id());
        }
        self.run(to, &effects);
        if let Ok(RoleChange::Follows { unknown }) = change {
            self.on_unknown(unknown);
        }
        if let Role::Leader(leader) = self.nodes.get_mut(&to).expect("known").replica.role_mut() {
            // Registrations are in the metadata log too, whatever this state was about.
            state.replicas.iter().for_each(|(&broker, &incarnation)| leader.on_broker_registered(broker, incarnation));
        }
    }

    pub(super) fn on_unknown(&mut self, unknown: Vec<u64>) {
        for token in unknown {
            self.count("unknown");
            let (slot, _) = self.tokens.remove(&token).expect("answered once");
            // The producer sends it again, wherever the leader is.
            if self.producers[slot].waiting == Some(token) {
                self.producers[slot].waiting = None;
            }
        }
    }
}
