//! Brokers of a cluster whose disk is full: they fall behind or refuse, and come back.

use crate::command::Command;
use crate::command_error::CommandError;
use crate::fake_disk::FakeDisk;
use crate::network::{Call, Transport};
use crate::node::ControllerNode;
use crate::node_config::NodeConfig;
use crate::open_log::{Owner, open_with};
use crate::store::{FORMAT_VERSION, Meta, Store};
use sluice_metadata::{Address, ClusterId, CreateTopic, FolderId, RegisterBroker, Start};
use sluice_model::{BrokerId, Incarnation, TopicId};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{sleep, timeout};

type Nodes = Arc<Mutex<BTreeMap<BrokerId, ControllerNode>>>;

struct Wires(Nodes);

impl Transport for Wires {
    fn call(&self, to: BrokerId, _address: &str, message: Vec<u8>) -> Call {
        let nodes = self.0.clone();
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let node = nodes.lock().unwrap().get(&to).cloned();
            let node = node.ok_or(io::ErrorKind::NotConnected)?;
            Ok(node.on_message(&message).await)
        })
    }
}

async fn started(nodes: &Nodes, broker: u32) -> FakeDisk {
    let disk = FakeDisk::default();
    let (none, founding_id, folder_id) = (ClusterId([0; 16]), ClusterId([9; 16]), FolderId([2; 16]));
    let store = Store::open(disk.clone()).unwrap();
    store
        .initialize(&Meta { format_version: FORMAT_VERSION, cluster_id: none, folder_id, broker_id: broker, founding_id })
        .unwrap();
    drop(store);
    let path = Path::new("fake");
    let opened = {
        let disk = disk.clone();
        let owner = Owner { folder_id, broker: Some(BrokerId(broker)) };
        open_with(path, owner, Box::new(move || Ok((Store::open(disk.clone())?, None)))).unwrap_or_else(|error| panic!("{error}"))
    };
    let voters = (1..=3).map(|voter| (BrokerId(voter), format!("broker-{voter}:7500"))).collect();
    let config = NodeConfig { voters, ..NodeConfig::alone(path.to_owned(), folder_id, BrokerId(broker), None) };
    let node =
        ControllerNode::start(config, opened, Arc::new(Wires(nodes.clone()))).await.unwrap_or_else(|error| panic!("{error}"));
    nodes.lock().unwrap().insert(BrokerId(broker), node);
    disk
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let waited = timeout(Duration::from_secs(60), async {
        loop {
            match found() {
                Some(found) => return found,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

fn controller(nodes: &Nodes) -> Option<ControllerNode> {
    nodes.lock().unwrap().values().find(|node| node.status().is_controller).cloned()
}

fn create_topic(number: u8) -> Command {
    let (topic_id, name) = (TopicId([number; 16]), format!("topic-{number}"));
    Command::CreateTopic(CreateTopic { topic_id, name, partitions: 2000, replication_factor: Some(1), settings: Vec::new() })
}

/// Whoever decides now: it may change meanwhile.
async fn decide(nodes: &Nodes, command: Command) -> Result<u64, CommandError> {
    loop {
        let node = until("a controller", || controller(nodes)).await;
        match node.propose(command.clone()).await {
            Ok(applied) => return Ok(applied.index),
            Err(CommandError::NotController { .. } | CommandError::Undecided) => sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error),
        }
    }
}

async fn settled(nodes: &Nodes, index: u64) {
    let all = || nodes.lock().unwrap().values().all(|node| node.image().index >= index);
    until("all to be up to date", || all().then_some(())).await;
    let images: Vec<_> = nodes.lock().unwrap().values().map(ControllerNode::image).collect();
    assert!(images.windows(2).all(|pair| pair[0].index == pair[1].index && pair[0].image == pair[1].image));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_of_any_broker_stops_that_one_alone_and_loses_nothing() {
    let nodes = Nodes::default();
    let mut disks = Vec::new();
    for broker in 1..=3 {
        disks.push(started(&nodes, broker).await);
    }
    let register = RegisterBroker {
        broker: BrokerId(1),
        incarnation: Incarnation { number: 1, random: 7 },
        folder_id: FolderId([2; 16]),
        addresses: vec![Address { host: "localhost".into(), port: 7400 }],
        held: Default::default(),
        start: Start::Alone,
    };
    decide(&nodes, Command::RegisterBroker(register)).await.unwrap();
    let leads = until("a controller", || controller(&nodes)).await.status().broker;
    let follower = BrokerId(if leads == BrokerId(1) { 2 } else { 1 });
    let disk = |broker: BrokerId| &disks[broker.0 as usize - 1];
    disk(follower).set_full(true);
    let mut index = 0;
    for number in 1..=12 {
        index = decide(&nodes, create_topic(number)).await.unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    let behind = nodes.lock().unwrap()[&follower].image().index;
    assert!(behind < index, "it has no room for what the others have: {behind} of {index}");
    disk(follower).set_full(false);
    settled(&nodes, index).await;

    let leads = until("a controller", || controller(&nodes)).await.status().broker;
    disk(leads).set_full(true);
    let mut refused = 0;
    for number in 13..=24 {
        match decide(&nodes, create_topic(number)).await {
            Ok(reached) => index = reached,
            Err(CommandError::DiskFull) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "the controller had room for everything");
    disk(leads).set_full(false);
    settled(&nodes, index).await;
    let image = nodes.lock().unwrap()[&leads].image();
    assert_eq!(image.image.topics().count() as u64, 24 - refused, "what was refused is not there, what was taken is");
    let nodes: Vec<_> = nodes.lock().unwrap().values().cloned().collect();
    for node in nodes {
        node.stop().await;
    }
}
