//! Controllers that reach each other through memory, on a clock that only moves when nobody has anything to do: what a
//! test finds does not depend on how quick the machine is.

use sluice_controller::{
    Applied, Call, Command, CommandError, ControllerNode, LEASE_MS, LEASE_RENEWAL_MS, NodeConfig, SNAPSHOT_AFTER_LEN, Transport,
};
use sluice_metadata::{
    Address, ClusterId, CreateTopic, FolderId, HeldPartitions, Image, RegisterBroker, ReportRecovery, Start, UnfenceBroker,
};
use sluice_model::{BrokerId, Incarnation, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// One way between two controllers.
const HOP: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<BrokerId, ControllerNode>,
    /// From and to: nothing goes that way.
    cut: BTreeSet<(BrokerId, BrokerId)>,
    /// How many answers to each broker's next calls are lost.
    lost: BTreeMap<BrokerId, u32>,
    messages: u64,
}

struct Link {
    from: BrokerId,
    wires: Arc<Mutex<Wires>>,
}

impl Transport for Link {
    fn call(&self, to: BrokerId, _address: &str, message: Vec<u8>) -> Call {
        let (from, wires) = (self.from, self.wires.clone());
        Box::pin(async move {
            let passes = |a, b| !wires.lock().unwrap().cut.contains(&(a, b));
            sleep(HOP).await;
            let node = wires.lock().unwrap().nodes.get(&to).cloned();
            let Some(node) = node.filter(|_| passes(from, to)) else { return Err(io::ErrorKind::NotConnected.into()) };
            wires.lock().unwrap().messages += 1;
            let answer = node.on_message(&message).await;
            sleep(HOP).await;
            if let Some(left) = wires.lock().unwrap().lost.get_mut(&from).filter(|left| **left > 0) {
                *left -= 1;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if passes(to, from) { Ok(answer) } else { Err(io::ErrorKind::ConnectionReset.into()) }
        })
    }
}

pub(crate) struct Cluster {
    dir: PathBuf,
    voters: BTreeMap<BrokerId, String>,
    wires: Arc<Mutex<Wires>>,
    folders: BTreeMap<BrokerId, FolderId>,
    heartbeats: BTreeMap<BrokerId, AbortHandle>,
    pub(crate) snapshot_after_len: u64,
    /// Cluster ids that its brokers draw begin with it.
    pub(crate) founding_mark: u8,
}

pub(crate) fn id(broker: u32) -> BrokerId {
    BrokerId(broker)
}

fn address(broker: BrokerId) -> String {
    format!("broker-{broker}:7500")
}

pub(crate) fn create_topic(number: u8, partitions: u32) -> CreateTopic {
    let (topic_id, name) = (TopicId([number; 16]), format!("topic-{number}"));
    CreateTopic { topic_id, name, partitions, replication_factor: Some(3), settings: Vec::new() }
}

impl Cluster {
    /// Voters with folders of their own, none of them started.
    pub(crate) fn new(test: &str, voters: u32) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster").join(test);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let voters = (1..=voters).map(|broker| (id(broker), address(id(broker)))).collect();
        let (wires, folders, heartbeats) = Default::default();
        Self { dir, voters, wires, folders, heartbeats, snapshot_after_len: SNAPSHOT_AFTER_LEN, founding_mark: 0xc0 }
    }

    /// Three voters that run, registered and active, with heartbeats.
    pub(crate) async fn of_three(test: &str) -> Self {
        let mut cluster = Self::new(test, 3);
        for broker in 1..=3 {
            cluster.start(broker).await;
        }
        for broker in 1..=3 {
            cluster.register(broker).await;
        }
        cluster
    }

    pub(crate) fn path(&self, broker: u32) -> PathBuf {
        self.dir.join(format!("{broker}.redb"))
    }

    pub(crate) fn folder(&self, broker: u32) -> FolderId {
        self.folders.get(&id(broker)).copied().unwrap_or(FolderId([u8::try_from(broker).unwrap(); 16]))
    }

    /// Another disk in the place of the one that was lost.
    pub(crate) fn lose_folder(&mut self, broker: u32) {
        fs::remove_file(self.path(broker)).unwrap();
        self.folders.insert(id(broker), FolderId([0xf0 + u8::try_from(broker).unwrap(); 16]));
    }

    pub(crate) fn config(&self, broker: u32) -> NodeConfig {
        NodeConfig {
            path: self.path(broker),
            folder_id: self.folder(broker),
            broker: id(broker),
            voters: self.voters.clone(),
            address: address(id(broker)),
            founding: Some(ClusterId([self.founding_mark + u8::try_from(broker).unwrap(); 16])),
            lease: Some(Duration::from_millis(LEASE_MS)),
            snapshot_after_len: self.snapshot_after_len,
        }
    }

    pub(crate) fn link(&self, broker: u32) -> Arc<dyn Transport> {
        Arc::new(Link { from: id(broker), wires: self.wires.clone() })
    }

    pub(crate) async fn start(&mut self, broker: u32) {
        let node = ControllerNode::open(self.config(broker), self.link(broker)).await.unwrap();
        self.wires.lock().unwrap().nodes.insert(id(broker), node);
    }

    pub(crate) fn node(&self, broker: u32) -> ControllerNode {
        self.wires.lock().unwrap().nodes[&id(broker)].clone()
    }

    pub(crate) fn nodes(&self) -> Vec<ControllerNode> {
        self.wires.lock().unwrap().nodes.values().cloned().collect()
    }

    /// It is gone from one moment to the next; its heartbeats with it.
    pub(crate) async fn kill(&mut self, broker: u32) {
        self.silence(broker);
        let node = self.wires.lock().unwrap().nodes.remove(&id(broker)).unwrap();
        node.stop().await;
    }

    /// No heartbeats any more.
    pub(crate) fn silence(&mut self, broker: u32) {
        if let Some(task) = self.heartbeats.remove(&id(broker)) {
            task.abort();
        }
    }

    /// Neither way between `broker` and the others.
    pub(crate) fn cut_off(&self, broker: u32) {
        let mut wires = self.wires.lock().unwrap();
        let others: Vec<BrokerId> = wires.nodes.keys().copied().filter(|other| *other != id(broker)).collect();
        for other in others {
            wires.cut.extend([(id(broker), other), (other, id(broker))]);
        }
    }

    /// The answers to the next calls of a broker are lost; what it asked for has happened.
    pub(crate) fn lose_answers(&self, broker: u32, count: u32) {
        self.wires.lock().unwrap().lost.insert(id(broker), count);
    }

    pub(crate) fn heal(&self) {
        self.wires.lock().unwrap().cut.clear();
    }

    /// Waits for whatever is to become so; a minute of the clock is for ever.
    pub(crate) async fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let waited = timeout(Duration::from_secs(60), async {
            loop {
                if let Some(found) = found(self) {
                    return found;
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| {
            panic!("in vain: {what}: {:#?}", self.nodes().iter().map(ControllerNode::status).collect::<Vec<_>>())
        })
    }

    /// The one that decides, of those that `of` names.
    pub(crate) async fn controller_of(&self, of: &[u32]) -> u32 {
        self.until("a controller", |cluster| {
            of.iter().copied().find(|broker| {
                let nodes = &cluster.wires.lock().unwrap().nodes;
                nodes.get(&id(*broker)).is_some_and(|node| node.status().is_controller)
            })
        })
        .await
    }

    pub(crate) async fn controller(&self) -> u32 {
        self.controller_of(&[1, 2, 3, 4, 5]).await
    }

    /// Asks whoever is the controller, as a broker would: again while it is not known who that is.
    pub(crate) async fn decide(&self, command: Command) -> Result<Applied, CommandError> {
        self.decide_among(&[1, 2, 3, 4, 5], command).await
    }

    pub(crate) async fn decide_among(&self, of: &[u32], command: Command) -> Result<Applied, CommandError> {
        let answered = timeout(Duration::from_secs(60), async {
            loop {
                let controller = self.controller_of(of).await;
                match self.node(controller).propose(command.clone()).await {
                    Err(CommandError::NotController { .. } | CommandError::Undecided) => sleep(Duration::from_millis(20)).await,
                    answer => return answer,
                }
            }
        });
        answered.await.expect("a controller answers")
    }

    pub(crate) fn incarnation(&self, broker: u32, image: &Image) -> Incarnation {
        let number = image.next_incarnation_number(id(broker));
        Incarnation { number, random: u64::from(broker) << 32 | number }
    }

    pub(crate) fn registration(&self, broker: u32, image: &Image) -> RegisterBroker {
        let port = u16::try_from(7000 + broker).unwrap();
        RegisterBroker {
            broker: id(broker),
            incarnation: self.incarnation(broker, image),
            folder_id: self.folder(broker),
            addresses: vec![Address { host: "localhost".into(), port }],
            held: HeldPartitions::default(),
            start: Start::InCluster { rack: None, replaces_folder: None },
        }
    }

    /// What a broker does when it starts with nothing in its folder, and from then on.
    pub(crate) async fn register(&mut self, broker: u32) {
        let controller = self.controller().await;
        let request = self.registration(broker, &self.node(controller).image().image);
        let (broker, incarnation) = (request.broker, request.incarnation);
        self.decide(Command::RegisterBroker(request)).await.unwrap();
        let report = ReportRecovery { broker, incarnation, replicas: Vec::new(), complete: true };
        self.decide(Command::ReportRecovery(report)).await.unwrap();
        self.decide(Command::UnfenceBroker(UnfenceBroker { broker, incarnation })).await.unwrap();
        self.beat(broker, incarnation);
    }

    /// Heartbeats to whoever takes them.
    fn beat(&mut self, broker: BrokerId, incarnation: Incarnation) {
        let wires = self.wires.clone();
        let task = tokio::spawn(async move {
            loop {
                let nodes: Vec<ControllerNode> = wires.lock().unwrap().nodes.values().cloned().collect();
                for node in nodes.into_iter().filter(|node| node.status().is_controller) {
                    let _not_the_controller_after_all = node.heartbeat(broker, incarnation).await;
                }
                sleep(Duration::from_millis(LEASE_RENEWAL_MS)).await;
            }
        });
        self.heartbeats.insert(broker, task.abort_handle());
    }

    /// Everybody has applied what the controller has.
    pub(crate) async fn settle(&self) -> Arc<Image> {
        let controller = self.controller().await;
        self.until("equal images", |cluster| {
            let newest = cluster.node(controller).image();
            cluster.nodes().iter().all(|node| node.image().index == newest.index).then_some(())
        })
        .await;
        let images: Vec<_> = self.nodes().iter().map(|node| node.image().image).collect();
        assert!(images.windows(2).all(|pair| pair[0] == pair[1]), "equal indexes, other images");
        sluice_metadata::invariants::check(&images[0]).unwrap();
        images[0].clone()
    }

    pub(crate) async fn stop(mut self) {
        let brokers: Vec<BrokerId> = self.wires.lock().unwrap().nodes.keys().copied().collect();
        for broker in brokers {
            self.kill(broker.0).await;
        }
    }
}

pub(crate) fn led_by(image: &Image, broker: u32) -> usize {
    image.led_by(id(broker)).count()
}

pub(crate) fn since(start: Instant) -> Duration {
    start.elapsed()
}
