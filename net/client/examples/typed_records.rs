//! Records of one Rust type: written with rkyv, validated and read in place.
//!
//! `sluice serve --data-dir data`, and then
//! `cargo run -p sluice-client --example typed_records -- 127.0.0.1:7400`

use sluice_client::{
    Admin, Assignment, Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, StartAt, TypedConsumer,
    TypedProducer, TypedRecord, record_type,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

record_type! {
    #[derive(Debug)]
    pub struct Payment { pub id: u64, pub cents: i64, pub purpose: String }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let cents = run(&std::env::args().nth(1).unwrap_or("127.0.0.1:7400".into())).await?;
    println!("{cents} cents in all");
    Ok(())
}

/// The sum of what was paid.
pub async fn run(broker: &str) -> Result<i64, Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    let admin = Admin::new(client.clone());
    if !admin.list_topics().await?.iter().any(|topic| &*topic.name == "payments") {
        admin.create_topic("payments", 1, &[]).await?;
    }

    let payments = TypedProducer::new(Producer::new(client.clone(), ProducerConfig::default()).await?, "payments");
    for id in 1..=3 {
        let payment = Payment { id, cents: 100 * id.cast_signed(), purpose: format!("order {id}") };
        payments.send(TypedRecord::new(&payment).with_key(&id.to_le_bytes())).await?.await.acknowledged()?;
    }

    let consumer = Consumer::new(client, ConsumerConfig::default())?;
    consumer.assign(&[Assignment { topic: "payments".into(), partition: 0, start: StartAt::Beginning }]).await?;
    let end = consumer.end_offsets(&[("payments", 0)]).await?[0];
    let consumer = TypedConsumer::<Payment>::new(consumer);
    let (mut stream, mut cents) = (consumer.stream(), 0);
    while consumer.consumer().position("payments", 0) < Some(end) {
        // A record of another type, or of a Payment with other fields, is an error that names both.
        let Some(record) = stream.next().await.transpose()? else { break };
        if let Some(payment) = record.value() {
            println!("payment {} of {} cents for {}", payment.id, payment.cents, payment.purpose);
            cents += payment.cents.to_native();
        }
    }
    Ok(cents)
}
