//! Records in, records out.
//!
//! `sluice serve --data-dir data`, and then
//! `cargo run -p sluice-client --example quickstart -- 127.0.0.1:7400`

use sluice_client::{
    Admin, Assignment, Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, StartAt,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(&std::env::args().nth(1).unwrap_or("127.0.0.1:7400".into())).await
}

pub async fn run(broker: &str) -> Result<(), Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    let admin = Admin::new(client.clone());
    if !admin.list_topics().await?.iter().any(|topic| &*topic.name == "greetings") {
        admin.create_topic("greetings", 1, &[]).await?;
    }

    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    let confirm = producer.send(ProducerRecord::new("greetings", b"hello").with_key(b"world")).await?;
    // The record is on the device before this is answered.
    let acknowledged = confirm.await.acknowledged()?;
    println!("written to partition {} at offset {:?}", acknowledged.partition, acknowledged.offset);
    producer.close().await;

    let consumer = Consumer::new(client, ConsumerConfig::default())?;
    consumer.assign(&[Assignment { topic: "greetings".into(), partition: 0, start: StartAt::Beginning }]).await?;
    let end = consumer.end_offsets(&[("greetings", 0)]).await?[0];
    let mut records = consumer.stream();
    while consumer.position("greetings", 0) < Some(end) {
        let Some(record) = records.next().await else { break };
        let record = record?;
        println!("offset {}: {}", record.offset, String::from_utf8_lossy(&record.value.unwrap_or_default()));
    }
    Ok(())
}
