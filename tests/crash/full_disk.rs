//! A disk that fills up under a broker, on real file systems: what is refused, what goes on, and how it comes back.

use super::ledger::Ledger;
use super::load::{connect, connect_with, read_all};
use super::mount::{FileSystem, Mount};
use super::process::{Home, Life};
use super::random::seed_of_this_run;
use crate::common::{run, sluice};
use sluice_client::{Admin, Client, ClientConfig, Delivery, ErrorCode, Producer, ProducerConfig, ProducerRecord, StartAt};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TOPIC: &str = "filling";
const PARTITIONS: u32 = 3;
/// Longer than anything here takes on any machine.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn a_full_ext4_refuses_produce_and_nothing_else_and_heals_by_itself() {
    fill_and_heal(FileSystem::Ext4);
}

#[test]
fn a_full_xfs_refuses_produce_and_nothing_else_and_heals_by_itself() {
    fill_and_heal(FileSystem::Xfs);
}

struct Test {
    runtime: Runtime,
    address: String,
    ledger: Arc<Ledger>,
    began: Instant,
    mounted: std::path::PathBuf,
}

fn fill_and_heal(file_system: FileSystem) {
    let seed = seed_of_this_run();
    let Some(mount) = Mount::new(file_system) else { return };
    let mut home = Home::with_data_dir(mount.path().join("data"));
    let mut life = home.start(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let test = Test {
        runtime,
        address: home.address(),
        ledger: Arc::new(Ledger::new(seed, 1, PARTITIONS)),
        began: Instant::now(),
        mounted: mount.path(),
    };
    test.create(TOPIC, PARTITIONS).expect("there is room");
    test.create("spare", 1).expect("there is room");
    test.produce(40);

    // Somebody else takes nearly all the room, the log the rest.
    // (More than the shortest retention keeps of every partition: it has to give something back.)
    let foreign = mount.fill_up(12 << 20);
    test.produce_until_full(&life);
    test.assert_full_and_readable("full");

    // It stops and starts on the full disk, after a clean stop and after a crash.
    life.stop();
    life = home.start(1);
    test.produce_until_full(&life);
    test.assert_full_and_readable("after a clean stop");
    life.kill();
    life = home.start(1);
    test.produce_until_full(&life);
    test.assert_full_and_readable("after a kill");
    // And where not one block is left.
    life.stop();
    let last = mount.path().join("last");
    fs::write(&last, vec![0; usize::try_from(mount.free_len()).expect("little")]).unwrap_or_default();
    life = home.start(1);
    test.assert_full_and_readable("with no block free");
    life.kill();
    life = home.start(1);
    test.assert_full_and_readable("with no block free, after a kill");

    match fs::remove_file(&last) {
        // There was no room for its name even.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.expect("it was made"),
    }

    // Deletions go on, and give the room back: a topic's, records', retention's, and a foreign file's.
    test.delete_topic("spare");
    test.delete_most_records();
    test.await_room("records were deleted");
    test.produce_until_full(&life);
    test.assert_full_and_readable("full again");
    test.alter(&[("retention_bytes", "1MiB")]);
    test.await_room("retention was shortened");
    test.alter(&[("retention_bytes", "none")]);
    test.produce_until_full(&life);
    fs::remove_file(&foreign).expect("the foreign file is there");
    test.await_room("a foreign file was removed");
    test.create("later", 2).expect("there is room again");

    test.check();
    life.stop();
    run(sluice().args(["log", "verify"]).arg(home.data_dir())).expect(0, &[]);
    let life = home.start(1);
    test.check();
    eprintln!("{file_system:?}: {:?}", test.ledger.tally());
    life.stop();
}

impl Test {
    /// One that takes no for an answer soon.
    async fn client(&self) -> Client {
        connect_with(&self.address, ClientConfig { request_timeout_ms: 1_000, ..ClientConfig::default() }).await
    }

    fn create(&self, name: &str, partitions: u32) -> Result<(), sluice_client::ClientError> {
        self.runtime.block_on(async {
            let settings = [("segment_len".to_owned(), "1MiB".to_owned())];
            Admin::new(self.client().await).create_topic(name, partitions, &settings).await.map(|_| ())
        })
    }

    /// What takes how much of the disk.
    fn room(&self) -> String {
        let said = crate::common::output(
            std::process::Command::new("sh")
                .arg("-c")
                .arg("df -k \"$0\"; find \"$0\" -type f -printf '%b %s %P\\n'")
                .arg(&self.mounted),
        );
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    fn step(&self, what: &str) {
        eprintln!("{:>6} ms {what}", self.began.elapsed().as_millis());
    }

    fn delete_topic(&self, name: &str) {
        let deleted = self.runtime.block_on(async { Admin::new(connect(&self.address).await).delete_topic(name).await });
        deleted.unwrap_or_else(|error| panic!("topic {name} cannot be deleted on a full disk: {error}"));
    }

    fn alter(&self, settings: &[(&str, &str)]) {
        let settings: Vec<_> = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let altered =
            self.runtime.block_on(async { Admin::new(connect(&self.address).await).alter_topic(TOPIC, &settings, None).await });
        altered.unwrap_or_else(|error| panic!("{settings:?} cannot be set on a full disk: {error}"));
    }

    /// Sends records; how many were acknowledged, and what was said of the others.
    fn produce(&self, count: u64) -> (usize, Vec<String>) {
        self.runtime.block_on(async { produce(&self.client().await, &self.ledger, count).await })
    }

    /// Produces until the broker says that the disk is full.
    fn produce_until_full(&self, life: &Life) {
        let began = Instant::now();
        loop {
            let (_, refused) = self.produce(100);
            if refused.iter().any(|text| text.contains("DiskFull")) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the disk does not fill up: {refused:?}; {}", life.said());
        }
    }

    /// Produces until it is acknowledged again.
    fn await_room(&self, after: &str) {
        self.step(after);
        let began = Instant::now();
        while self.produce(1).0 == 0 {
            assert!(began.elapsed() < PATIENCE, "{after}, and the broker still refuses: {}", self.room());
        }
    }

    /// Produce is refused at once, and what was acknowledged is served.
    fn assert_full_and_readable(&self, when: &str) {
        self.step(when);
        let began = Instant::now();
        // What its own write-back and checkpoints give back may be room for a few records more.
        let refused = loop {
            match self.produce(1) {
                (0, refused) => break refused,
                _ => assert!(began.elapsed() < PATIENCE, "{when}: records are taken"),
            }
        };
        assert!(refused[0].contains("DiskFull"), "{when}: {refused:?}");
        match self.create("one-more", 1) {
            Ok(()) => self.delete_topic("one-more"),
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::DiskFull), "{when}: {error}"),
        }
        self.check();
    }

    fn check(&self) {
        self.runtime.block_on(async {
            self.ledger.check(&read_all(&self.address, TOPIC, PARTITIONS, &self.ledger).await);
        });
    }

    fn delete_most_records(&self) {
        self.runtime.block_on(async {
            let admin = Admin::new(connect(&self.address).await);
            for partition in 0..PARTITIONS {
                let end = admin.list_offsets(&[(TOPIC, partition, StartAt::End)]).await.expect("a high watermark")[0].offset;
                let deleted = admin.delete_records(TOPIC, partition, end - 1).await;
                deleted.unwrap_or_else(|error| panic!("records cannot be deleted on a full disk: {error}"));
            }
        });
    }
}

async fn produce(client: &Client, ledger: &Arc<Ledger>, count: u64) -> (usize, Vec<String>) {
    let config = ProducerConfig { delivery_timeout_ms: 300, ..ProducerConfig::default() };
    let producer = match Producer::new(client.clone(), config).await {
        Ok(producer) => producer,
        // A block of producer ids, too, has to be written down.
        Err(error) => return (0, vec![format!("{:?}: {error}", error.code())]),
    };
    let mut confirms = Vec::new();
    for _ in 0..count {
        let id = ledger.begin(0);
        let value = ledger.value(id);
        let record = ProducerRecord::new(TOPIC, &value).with_partition((id.number % u64::from(PARTITIONS)) as u32);
        confirms.push((id, producer.send(record).await.expect("the topic is there")));
    }
    let (mut acknowledged, mut refused) = (0, Vec::new());
    for (id, confirm) in confirms {
        let delivery = confirm.await;
        match &delivery {
            Delivery::Acknowledged(_) => acknowledged += 1,
            Delivery::Refused(failure) | Delivery::Unknown(failure) => refused.push(failure.to_string()),
        }
        ledger.settle(id, delivery);
    }
    (acknowledged, refused)
}
