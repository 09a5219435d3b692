//! Brokers with a shard each, and messages between them that a test passes on by hand, in memory.

use super::{Setup, TestProducer, TestShard, assignment, incarnation};
use sluice_model::{BrokerId, LeaderEpoch, Offset, PartitionEpoch, ShardIndex, TopicPartition};
use sluice_partition::{
    CatchUpRead, CaughtUp, Completed, FetchedFrames, FetchedReplica, From, PartitionState, Reader, ReplicaFramesRefusal,
    ReplicaRefusal, StateTaken,
};
use sluice_replica::session::follower::FollowerSession;
use sluice_replica::session::leader::LeaderSessions;
use sluice_replica::session::{FlushRequest, FollowerShard, PartitionFetch, RequestNumber, Told};
use sluice_replica::{Diverging, FetchOutcome, FollowerRefusal};
use sluice_storage::testing::fault_disk::FaultDisk;
use std::collections::{BTreeMap, BTreeSet};

/// What a leader says of one partition.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Frames { frames: Vec<u8>, told: Told },
    Diverging { epoch: Option<LeaderEpoch>, end_offset: Offset },
    BelowLogStart { first_offset: Offset },
    ChainMismatch,
}

pub(crate) struct Node {
    pub(crate) broker: BrokerId,
    pub(crate) start: u64,
    pub(crate) disk: FaultDisk,
    pub(crate) shard: TestShard,
    pub(crate) session: FollowerSession,
    pub(crate) sessions: LeaderSessions,
    setup: Setup,
}

impl Node {
    fn open(disk: FaultDisk, mut setup: Setup, broker: u32, start: u64) -> Self {
        (setup.broker, setup.start) = (BrokerId(broker), start);
        let shard = TestShard::open(&disk, setup.clone());
        let (session, sessions) = (FollowerSession::default(), LeaderSessions::default());
        Self { broker: BrokerId(broker), start, disk, shard, session, sessions, setup }
    }

    pub(crate) fn from(&self) -> From {
        (self.broker, incarnation(self.start))
    }

    fn follower_shard(&self) -> FollowerShard {
        FollowerShard { broker: self.broker, shard: ShardIndex(0) }
    }

    /// Of the log of a partition: its end, and the chain there.
    pub(crate) fn end(&self, id: TopicPartition) -> Offset {
        self.shard.partitions.status(id).expect("it is here").log_end_offset
    }

    pub(crate) fn high_watermark(&self, id: TopicPartition) -> Offset {
        self.shard.partitions.status(id).expect("it is here").high_watermark
    }
}

/// Brokers 1, 2, ... with partition 0, led by the first. What the controller decides is passed on at once.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) state: PartitionState,
    /// Bytes of frames in one answer, at most.
    pub(crate) len_max: usize,
    /// Who does not hear what is decided.
    pub(crate) deaf: BTreeSet<usize>,
    /// Answers so far that had a log cut off, or begun anew.
    pub(crate) cut_off: u32,
    pub(crate) begun_anew: u32,
}

pub(crate) fn id() -> TopicPartition {
    super::id(0)
}

impl Cluster {
    pub(crate) fn new(count: u32, min_insync_replicas: u32) -> Self {
        Self::with(count, min_insync_replicas, Setup::new(0, 1))
    }

    pub(crate) fn with(count: u32, min_insync_replicas: u32, mut setup: Setup) -> Self {
        let mut assigned = assignment(0, 1);
        assigned.state = None;
        assigned.settings.min_insync_replicas = min_insync_replicas;
        setup.assigned = vec![assigned];
        let nodes: Vec<_> = (1..=count).map(|n| Node::open(FaultDisk::new(u64::from(n)), setup.clone(), n, 1)).collect();
        let state = PartitionState {
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            leader: Some(BrokerId(1)),
            isr: nodes.iter().map(|node| node.broker).collect(),
            replicas: nodes.iter().map(Node::from).collect(),
        };
        let cluster = Self { nodes, state, len_max: 200 * 1024, deaf: BTreeSet::new(), cut_off: 0, begun_anew: 0 };
        cluster.publish();
        cluster
    }

    /// Everybody hears what is decided, but for those who are deaf.
    pub(crate) fn publish(&self) -> Vec<Option<StateTaken>> {
        let hears = |at: &usize| !self.deaf.contains(at);
        let told = |at: usize| self.nodes[at].shard.partitions.on_partition_state(id(), self.state.clone()).ok();
        (0..self.nodes.len()).map(|at| Some(at).filter(hears).and_then(told)).collect()
    }

    /// Another leader epoch, led by `nodes[leader]`.
    pub(crate) fn elect(&mut self, leader: usize) -> Vec<Option<StateTaken>> {
        self.state.leader = Some(self.nodes[leader].broker);
        self.state.leader_epoch.0 += 1;
        self.state.partition_epoch.0 += 1;
        self.nodes.iter_mut().for_each(|node| node.session = FollowerSession::default());
        self.nodes.iter_mut().for_each(|node| node.sessions = LeaderSessions::default());
        self.publish()
    }

    /// Another in-sync set.
    pub(crate) fn decide_isr(&mut self, members: &[usize]) {
        self.state.isr = members.iter().map(|&at| self.nodes[at].broker).collect();
        self.state.partition_epoch.0 += 1;
        self.publish();
    }

    /// `nodes[at]` starts again, with `disk`, and is registered.
    pub(crate) fn restart(&mut self, at: usize, disk: FaultDisk) {
        let Node { broker, start, setup, .. } = &self.nodes[at];
        let node = Node::open(disk, setup.clone(), broker.0, start + 1);
        self.state.replicas.insert(node.broker, node.from().1);
        self.nodes[at] = node;
        self.deaf.remove(&at);
        for node in &mut self.nodes {
            // An earlier incarnation's session is over; the others begin anew as well.
            (node.session, node.sessions) = (FollowerSession::default(), LeaderSessions::default());
        }
        self.state.partition_epoch.0 += 1;
        self.publish();
    }

    /// Another broker gets a replica.
    pub(crate) fn join(&mut self, disk: FaultDisk) -> usize {
        let number = u32::try_from(self.nodes.len() + 1).unwrap();
        let node = Node::open(disk, self.nodes[0].setup.clone(), number, 1);
        self.state.replicas.insert(node.broker, node.from().1);
        self.nodes.push(node);
        self.state.partition_epoch.0 += 1;
        self.publish();
        self.nodes.len() - 1
    }

    pub(crate) fn leader(&self) -> usize {
        self.nodes.iter().position(|node| Some(node.broker) == self.state.leader).expect("somebody leads")
    }

    pub(crate) fn produce(&mut self, producer: &mut TestProducer, token: u64, len: usize) {
        let leader = self.leader();
        self.nodes[leader].shard.append(&producer.frame_of(len), token).unwrap();
    }

    /// The shards' own work, of all brokers.
    pub(crate) fn settle(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.shard.settle());
    }

    /// One fetch of `nodes[from]` from the leader, and its answer; `false` when it fetches nothing.
    pub(crate) fn fetch(&mut self, from: usize) -> bool {
        let Some((at, fetch)) = self.send_fetch(from) else { return false };
        if let Some(answer) = self.answer(from, at, &fetch) {
            self.deliver(from, at, &fetch, answer);
        }
        true
    }

    /// The leader has the fetch; what it says of the place comes later.
    pub(crate) fn send_fetch(&mut self, from: usize) -> Option<(RequestNumber, PartitionFetch)> {
        let node = &mut self.nodes[from];
        let position = node.shard.partitions.follower_position(id())?;
        if Some(position.leader) != self.state.leader {
            assert!(self.deaf.contains(&from), "it follows somebody else");
            return None;
        }
        let wanted = BTreeMap::from([(id(), position.fetch())]);
        let request = node.session.fetch(&wanted)?;
        let (at, sender) = (request.at, (node.follower_shard(), node.from().1));
        let leader = self.leader();
        self.nodes[leader].sessions.on_fetch(sender, request).expect("in order");
        Some((at, position.fetch()))
    }

    /// What the leader makes of a fetch now.
    pub(crate) fn answer(&mut self, from: usize, at: RequestNumber, fetch: &PartitionFetch) -> Option<Answer> {
        let (sender, follower) = (self.nodes[from].from(), self.nodes[from].follower_shard());
        let (len_max, leader) = (self.len_max, self.leader());
        let node = &mut self.nodes[leader];
        // As the session knows it: a flush may have been said since.
        let named = node.sessions.partitions(follower).find(|(of, _)| *of == id()).expect("it is fetched").1.fetch;
        assert_eq!(named.position, fetch.position);
        let answer = match judged(&mut node.shard, sender, &named) {
            Ok(FetchOutcome::Serve { .. }) => frames(&mut node.shard, sender, fetch, len_max).ok(),
            Ok(FetchOutcome::Diverging { epoch, end_offset }) => Some(Answer::Diverging { epoch, end_offset }),
            Ok(FetchOutcome::BelowLogStart { first_offset }) => Some(Answer::BelowLogStart { first_offset }),
            Err(ReplicaRefusal::Rules(FollowerRefusal::ChainMismatch { .. })) => Some(Answer::ChainMismatch),
            other => panic!("{other:?}"),
        };
        let told = match &answer {
            Some(Answer::Frames { told, .. }) => Some((id(), *told)),
            _ => None,
        };
        assert!(node.sessions.on_answered(follower, at, told), "it is parked");
        answer
    }

    pub(crate) fn deliver(&mut self, to: usize, at: RequestNumber, fetch: &PartitionFetch, answer: Answer) {
        assert!(self.nodes[to].session.on_answer(at), "it is waited for");
        let partitions = self.nodes[to].shard.partitions.clone();
        let (leader_epoch, fetch_offset) = (fetch.leader_epoch, fetch.position.offset);
        match answer {
            Answer::Frames { frames, told } => {
                let Told { high_watermark, log_start_offset } = told;
                let fetched = FetchedReplica { leader_epoch, fetch_offset, frames: &frames, high_watermark, log_start_offset };
                partitions.on_fetched(partitions.now(), id(), fetched).unwrap_or_else(|refusal| panic!("{refusal}"));
            }
            Answer::Diverging { epoch, end_offset } => {
                self.cut_off += 1;
                assert!(partitions.on_diverging(id(), Diverging { leader_epoch, fetch_offset, epoch, end_offset }));
            }
            Answer::ChainMismatch => assert!(partitions.on_chain_mismatch(id(), leader_epoch, fetch_offset)),
            Answer::BelowLogStart { first_offset } => {
                self.begun_anew += 1;
                assert!(partitions.on_below_log_start(id(), leader_epoch, fetch_offset, first_offset));
                self.ask_beginning(to);
            }
        }
    }

    /// `nodes[to]` asks where the leader's log begins, and is told.
    pub(crate) fn ask_beginning(&mut self, to: usize) {
        let leader = self.leader();
        let leader_epoch = self.state.leader_epoch;
        let shard = &mut self.nodes[leader].shard;
        let asked = shard.partitions.clone();
        let beginning = shard.run(async move { asked.beginning(id(), leader_epoch).await }).expect("it begins");
        self.nodes[to].shard.partitions.on_beginning(id(), beginning).unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// What `nodes[from]` has flushed is said while its fetch is parked.
    pub(crate) fn say_flushed(&mut self, from: usize) -> Option<FlushRequest> {
        let node = &mut self.nodes[from];
        let mut flushed = Vec::new();
        node.shard.partitions.take_flushed(&mut flushed);
        let request = node.session.flush(flushed)?;
        let (sender, shard) = (node.from(), node.follower_shard());
        let leader = self.leader();
        let node = &mut self.nodes[leader];
        let changed = node.sessions.on_flush((shard, sender.1), &request).expect("in order");
        for (id, fetch) in changed {
            node.shard.partitions.follower_flush(node.shard.partitions.now(), sender, id, &fetch).unwrap();
        }
        Some(request)
    }

    /// Everybody copies until all are where the leader is, and know it.
    pub(crate) fn copy_all(&mut self) {
        for _ in 0..200 {
            self.settle();
            let leader = self.leader();
            for at in (0..self.nodes.len()).filter(|&at| at != leader) {
                self.fetch(at);
                self.nodes[at].shard.settle();
            }
            let (end, high_watermark) = (self.nodes[leader].end(id()), self.nodes[leader].high_watermark(id()));
            let is_there = |node: &Node| node.end(id()) == end && node.high_watermark(id()) == high_watermark;
            if self.nodes.iter().all(is_there) && high_watermark == end {
                return;
            }
        }
        let ends: Vec<_> = self.nodes.iter().map(|node| node.shard.partitions.status(id())).collect();
        panic!("they do not come together: {ends:?}");
    }

    /// Tokens of produces that were acknowledged on `nodes[at]`, and of those that nobody can answer.
    pub(crate) fn answers(&self, at: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
        for completion in self.nodes[at].shard.completions() {
            match completion.outcome {
                Completed::Produced { .. } => acknowledged.push(completion.token),
                Completed::LeadershipLost => unknown.push(completion.token),
                other => panic!("{other:?}"),
            }
        }
        (acknowledged, unknown)
    }
}

/// The judgement of a fetch, whatever has to be read for it.
pub(crate) fn judged(shard: &mut TestShard, from: From, fetch: &PartitionFetch) -> Result<FetchOutcome, ReplicaRefusal> {
    for _ in 0..3 {
        match shard.partitions.follower_fetch(shard.partitions.now(), from, id(), fetch) {
            Ok(FetchOutcome::LookUp { offset }) => {
                let partitions = shard.partitions.clone();
                shard.run(async move { partitions.look_up_chain(id(), offset).await }).expect("it is there");
            }
            other => return other,
        }
    }
    panic!("it is looked up again and again");
}

fn frames(shard: &mut TestShard, from: From, fetch: &PartitionFetch, len_max: usize) -> Result<Answer, ReplicaFramesRefusal> {
    let read = shard.partitions.replica_frames(from, id(), fetch, len_max)?;
    let slices = match read.frames {
        FetchedFrames::Empty => Vec::new(),
        FetchedFrames::Memory(slices) => slices,
        FetchedFrames::Disk(_) => {
            let reader = Reader::Follower { from, leader_epoch: fetch.leader_epoch };
            let read = CatchUpRead { id: id(), offset: fetch.position.offset, len_max, piece_len: len_max / 2, reader };
            let partitions = shard.partitions.clone();
            match shard.run(async move { partitions.catch_up(read).await }) {
                CaughtUp::Frames { slices, .. } => slices,
                other => panic!("{other:?}"),
            }
        }
    };
    Ok(Answer::Frames { frames: slices.concat(), told: read.told })
}
