//! Brokers that join, lose and regain their leases, and leave.

use crate::support::{Cluster, create_topic, id, led_by};
use sluice_controller::{Command, LeaseState, Membership, MembershipError, Registered, Registration, register};
use sluice_metadata::{BrokerState, FolderId, HeldPartitions, Recovered, Refusal, ReplicaEnd};
use sluice_model::Incarnation;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A broker's process.
struct Process {
    membership: Membership,
    incarnation: Incarnation,
    lease: watch::Receiver<LeaseState>,
    ran: JoinHandle<Result<(), MembershipError>>,
}

fn registration(cluster: &Cluster, broker: u32) -> Registration {
    let image = cluster.node(broker).image().image;
    let request = cluster.registration(broker, &image);
    Registration {
        folder_id: request.folder_id,
        addresses: request.addresses,
        held: HeldPartitions::default(),
        rack: None,
        replaces_folder: None,
        random: u64::from(broker),
    }
}

impl Process {
    async fn start(cluster: &Cluster, broker: u32) -> Self {
        let registered = register(&cluster.node(broker), registration(cluster, broker)).await.unwrap();
        Self::run(cluster, broker, &registered)
    }

    fn run(cluster: &Cluster, broker: u32, registered: &Registered) -> Self {
        let known = registered.image.image.broker(id(broker)).unwrap();
        assert_eq!((known.incarnation, known.state), (registered.incarnation, BrokerState::Recovering));
        let membership = Membership::new(cluster.node(broker), registered.incarnation);
        let ran = tokio::spawn({
            let membership = membership.clone();
            async move { membership.run().await }
        });
        let end = ReplicaEnd::default();
        let own = registered.image.image.partitions().filter(|(_, partition)| partition.is_replica(id(broker)));
        membership.report(own.map(|(partition, _)| (partition, Recovered::Whole { end })).collect());
        Self { lease: membership.lease(), incarnation: registered.incarnation, membership, ran }
    }

    async fn has_lease(&mut self) {
        timeout(Duration::from_secs(30), self.lease.wait_for(|lease| lease.is_held(Instant::now()))).await.unwrap().unwrap();
    }

    async fn has_none(&mut self) {
        timeout(Duration::from_secs(30), self.lease.wait_for(|lease| *lease == LeaseState::Lost)).await.unwrap().unwrap();
    }

    async fn ends(self) -> Result<(), MembershipError> {
        let ended = timeout(Duration::from_secs(30), self.ran).await.unwrap().unwrap();
        assert_eq!(*self.lease.borrow(), LeaseState::Lost);
        ended
    }
}

async fn started(name: &str) -> (Cluster, BTreeMap<u32, Process>) {
    let mut cluster = Cluster::new(name, 3);
    for broker in 1..=3 {
        cluster.start(broker).await;
    }
    let mut processes = BTreeMap::new();
    for broker in 1..=3 {
        processes.insert(broker, Process::start(&cluster, broker).await);
    }
    for process in processes.values_mut() {
        process.has_lease().await;
    }
    cluster.settle().await;
    (cluster, processes)
}

fn state(cluster: &Cluster, broker: u32) -> BrokerState {
    cluster.node(broker).image().image.broker(id(broker)).unwrap().state
}

#[tokio::test(start_paused = true)]
async fn brokers_join_keep_their_leases_and_leave() {
    let (mut cluster, mut processes) = started("joining").await;
    cluster.start(4).await;
    processes.insert(4, Process::start(&cluster, 4).await);
    processes.get_mut(&4).unwrap().has_lease().await;
    cluster.node(4).submit(Command::CreateTopic(create_topic(1, 24))).await.unwrap();
    cluster.settle().await;
    let index = cluster.node(1).image().index;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.node(1).image().index, index, "nothing happens while all is well");
    let controller = cluster.controller().await;
    let leaves: Vec<u32> = (1..=4).filter(|broker| *broker != controller).collect();
    for broker in [leaves[2], controller] {
        let image = cluster.settle().await;
        assert!(led_by(&image, broker) > 0);
        let process = processes.remove(&broker).unwrap();
        let began = Instant::now();
        process.membership.begin_shutdown(Duration::from_secs(20));
        process.ends().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let image = cluster.settle().await;
        assert_eq!((led_by(&image, broker), state(&cluster, broker)), (0, BrokerState::Fenced));
        assert!(image.partitions().all(|(_, partition)| partition.leader.is_some()));
    }
    // It comes back as another incarnation, at once: nobody holds its lease.
    let began = Instant::now();
    let process = Process::start(&cluster, leaves[2]).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(process.incarnation.number, 2);
    drop(processes);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_loses_its_lease_by_itself_and_comes_back() {
    let (cluster, mut processes) = started("regained").await;
    cluster.node(1).submit(Command::CreateTopic(create_topic(1, 24))).await.unwrap();
    cluster.settle().await;
    let controller = cluster.controller().await;
    let broker = if controller == 1 { 2 } else { 1 };
    let process = processes.get_mut(&broker).unwrap();
    cluster.cut_off(broker);
    let cut = Instant::now();
    process.has_none().await;
    assert!(cut.elapsed() <= Duration::from_secs(1), "{:?}: before others lead", cut.elapsed());
    let others = |cluster: &Cluster| cluster.node(controller).image().image;
    let fenced = |cluster: &Cluster| others(cluster).broker(id(broker)).unwrap().state == BrokerState::Fenced;
    assert!(!fenced(&cluster), "it has stopped before the controller gives its place away");
    cluster.until("the fencing", |cluster| fenced(cluster).then_some(())).await;
    sleep(Duration::from_secs(3)).await;
    cluster.heal();
    process.has_lease().await;
    assert_eq!(cluster.settle().await.broker(id(broker)).unwrap().state, BrokerState::Active, "let in again");
    assert_eq!(state(&cluster, broker), BrokerState::Active);
    // So short that nobody is fenced: the lease never ends.
    let lease = process.lease.clone();
    cluster.cut_off(broker);
    sleep(Duration::from_millis(400)).await;
    cluster.heal();
    sleep(Duration::from_millis(700)).await;
    assert!(lease.borrow().is_held(Instant::now()));
    drop(processes);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_one_process_is_a_broker() {
    let (mut cluster, mut processes) = started("only_one").await;
    let broker = if cluster.controller().await == 1 { 2 } else { 1 };
    // A copy of its folder, or the same id by mistake: it is alive, and stays.
    let node = cluster.node(broker);
    let own = processes[&broker].incarnation;
    let alive = register(&node, registration(&cluster, broker)).await.map(drop).unwrap_err();
    assert!(matches!(alive, MembershipError::Alive { incarnation, .. } if incarnation == own), "{alive}");
    assert!(processes[&broker].lease.borrow().is_held(Instant::now()));
    // Another folder is refused by name, whoever is alive.
    let gone = processes.remove(&broker).unwrap();
    gone.ran.abort();
    let began = Instant::now();
    let mut other = registration(&cluster, broker);
    other.folder_id = FolderId([0x99; 16]);
    let refused = register(&node, other).await.map(drop).unwrap_err();
    assert!(matches!(&refused, MembershipError::Refused(Refusal::OtherFolder { .. })), "{refused}");
    assert!(began.elapsed() >= Duration::from_millis(500), "the lease of the one that was there had to end");
    // One that has died is replaced, by a number that no start of it had.
    let mut mine = registration(&cluster, broker);
    mine.held.incarnation_number = 40;
    let registered = register(&node, mine).await.unwrap();
    assert_eq!(registered.incarnation.number, 41);
    let mut process = Process::run(&cluster, broker, &registered);
    process.has_lease().await;
    // Somebody registers by other means: the older one ends.
    cluster.silence(broker);
    let image = cluster.settle().await;
    let request = cluster.registration(broker, &image);
    let current = request.incarnation;
    cluster.decide(Command::RegisterBroker(request)).await.unwrap();
    let superseded = process.ends().await.unwrap_err();
    assert!(matches!(superseded, MembershipError::Superseded { current: got, .. } if got == current), "{superseded}");
    drop(processes);
    cluster.stop().await;
}

/// It waits for as long as it takes, and goes on through every change of controllers.
#[tokio::test(start_paused = true)]
async fn a_start_without_a_controller_waits_for_one() {
    let mut cluster = Cluster::new("waits", 3);
    cluster.start(1).await;
    let waiting = {
        let (node, registration) = (cluster.node(1), registration(&cluster, 1));
        tokio::spawn(async move { register(&node, registration).await })
    };
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    cluster.start(2).await;
    let registered = waiting.await.unwrap().unwrap();
    let mut process = Process::run(&cluster, 1, &registered);
    process.has_lease().await;
    cluster.start(3).await;
    cluster.settle().await;
    if cluster.controller().await == 2 {
        cluster.kill(2).await;
        sleep(Duration::from_secs(5)).await;
        process.has_lease().await;
        assert_eq!(cluster.node(1).image().image.broker(id(1)).unwrap().incarnation, process.incarnation);
    }
    process.membership.begin_shutdown(Duration::from_secs(5));
    process.ends().await.unwrap();
    cluster.stop().await;
}
