//! Topics that are created, written to, deleted and created again under the same name while the broker dies: what
//! the client was told of each holds, and no record of an earlier life of a name is in a later one.

use super::ledger::Ledger;
use super::load::{connect, read_all};
use super::random::Random;
use sluice_client::{Admin, Client, ClientError, ErrorCode, Producer, ProducerConfig, ProducerRecord, SendError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const NAMES: u64 = 5;
const PARTITIONS: u32 = 3;

/// What is known of a name.
#[derive(Debug)]
enum Known {
    Absent,
    Present(Arc<Ledger>),
    /// The answer to a creation or a deletion never came.
    Unclear,
}

pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Churned>,
}

/// What a broker has to agree with.
pub(crate) struct Churned {
    known: BTreeMap<String, Known>,
    created: u64,
    deleted: u64,
}

impl Churn {
    pub(crate) fn begin(client: Client, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { task: tokio::spawn(run(client, seed, stop.clone())), stop }
    }

    pub(crate) fn assert_alive(&self) {
        assert!(!self.task.is_finished(), "the churn of topics has ended");
    }

    pub(crate) async fn end(self) -> Churned {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the churn does not fail")
    }
}

async fn run(client: Client, seed: u64, stop: Arc<AtomicBool>) -> Churned {
    let mut random = Random::new(seed).branch(1_000_001);
    let mut state = Churned { known: BTreeMap::new(), created: 0, deleted: 0 };
    let mut generation = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("churn-{}", random.below(NAMES));
        let known = state.known.remove(&name).unwrap_or(Known::Absent);
        let next = match known {
            Known::Absent => {
                generation += 1;
                state.create(&client, &name, seed ^ generation << 32, &mut random).await
            }
            // Kept for a while, so that some are there at the end.
            Known::Present(ledger) if random.chance(50) => Known::Present(ledger),
            known => state.delete(&client, &name, known).await,
        };
        state.known.insert(name, next);
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
    state
}

impl Churned {
    async fn create(&mut self, client: &Client, name: &str, seed: u64, random: &mut Random) -> Known {
        let settings = [("segment_len".to_owned(), "1MiB".to_owned())];
        match Admin::new(client.clone()).create_topic(name, PARTITIONS, &settings).await {
            Ok(_) => {}
            Err(error) if is_silence(&error) => return Known::Unclear,
            Err(error) if error.is_transient() => return Known::Absent,
            Err(error) => panic!("topic {name} does not exist and cannot be created: {error}"),
        }
        self.created += 1;
        let ledger = Arc::new(Ledger::new(seed, 1, PARTITIONS));
        let Ok(producer) = Producer::new(client.clone(), ProducerConfig::default()).await else { return Known::Present(ledger) };
        let mut confirms = Vec::new();
        for n in 0..random.below(40) {
            let id = ledger.begin(0);
            let value = ledger.value(id);
            let partition = (n % u64::from(PARTITIONS)) as u32;
            let record = ProducerRecord::new(name, &value).with_partition(partition);
            let confirm = loop {
                match producer.send(record).await {
                    Ok(confirm) => break confirm,
                    // It asks for the topic first, and there is nobody to ask just now.
                    Err(SendError::Client(error)) if is_silence(&error) => {}
                    Err(error) => panic!("topic {name} was created: {error}"),
                }
            };
            confirms.push((id, confirm));
        }
        for (id, confirm) in confirms {
            ledger.settle(id, confirm.await);
        }
        let tally = ledger.tally();
        assert_eq!(tally.refused + tally.unknown, 0, "{name} was created, and then: {:?}", ledger.reasons());
        Known::Present(ledger)
    }

    async fn delete(&mut self, client: &Client, name: &str, known: Known) -> Known {
        let may_be_absent = matches!(known, Known::Unclear);
        match Admin::new(client.clone()).delete_topic(name).await {
            Ok(()) => {
                self.deleted += 1;
                Known::Absent
            }
            Err(error) if is_silence(&error) => Known::Unclear,
            Err(error) if may_be_absent && error.code() == Some(ErrorCode::UnknownTopic) => Known::Absent,
            Err(error) if error.is_transient() => known,
            Err(error) => panic!("topic {name} exists and cannot be deleted: {error}"),
        }
    }

    pub(crate) async fn check(self, address: &str) {
        let client = connect(address).await;
        let listed: Vec<_> = Admin::new(client).list_topics().await.expect("topics").iter().map(|t| t.name.to_string()).collect();
        let mut present = 0;
        for (name, known) in &self.known {
            match known {
                Known::Absent => assert!(!listed.contains(name), "{name} was deleted and is listed"),
                Known::Present(ledger) => {
                    assert!(listed.contains(name), "{name} was created and is not listed");
                    ledger.check(&read_all(address, name, PARTITIONS, ledger).await);
                    present += 1;
                }
                Known::Unclear => {}
            }
        }
        eprintln!("{} topics created, {} deleted, {present} read at the end", self.created, self.deleted);
        assert!(self.created > 0, "no topic was created");
    }
}

/// Nobody can say whether it was done.
fn is_silence(error: &ClientError) -> bool {
    let unknown = error.code().is_some_and(|code| code.outcome() == sluice_model::Outcome::Unknown);
    unknown || matches!(error, ClientError::Lost { .. } | ClientError::Unreachable { .. })
}
