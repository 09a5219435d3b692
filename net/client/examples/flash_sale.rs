//! Order intake of a flash sale: more orders than the log takes at once, and a truthful answer for every one.
//!
//! `sluice serve --data-dir data`, and then
//! `cargo run --release -p sluice-client --example flash_sale -- 127.0.0.1:7400`
//!
//! An order is confirmed when it is on the device. What the shop's own buffer cannot hold is turned away at once, and
//! its customer comes back a little later. What the broker refuses is offered again by the producer, no sooner than the
//! broker asked for; an order that is not through after two seconds is answered with *refused*, certainly not written,
//! and the time after which to try again. Only when the broker is lost is an order *unknown*; then the customer is
//! asked to look again rather than to order twice.

use sluice_client::{Admin, Client, ClientConfig, Delivery, OnFull, Producer, ProducerConfig, ProducerRecord, SendError};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Error = Box<dyn std::error::Error + Send + Sync>;
const TOPIC: &str = "flash-sale-orders";
/// How often a customer who is turned away comes back.
const VISITS_MAX: u32 = 50;

/// What became of the orders; the last four are all of them.
#[derive(Debug, Default)]
pub struct Sale {
    /// Turned away by a full buffer; one order may be several times.
    pub turned_away: AtomicU64,
    /// Confirmed, and refused by the broker at first.
    pub after_refusal: AtomicU64,
    pub confirmed: AtomicU64,
    pub refused: AtomicU64,
    pub unknown: AtomicU64,
    /// Customers who came back too often and went home.
    pub gone: AtomicU64,
    pub first_refusal: Mutex<Option<String>>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(&std::env::args().nth(1).unwrap_or("127.0.0.1:7400".into()), 200_000).await.map(drop)
}

/// Offers `orders` as fast as it can.
pub async fn run(broker: &str, orders: u64) -> Result<Arc<Sale>, Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    let admin = Admin::new(client.clone());
    if !admin.list_topics().await?.iter().any(|topic| &*topic.name == TOPIC) {
        admin.create_topic(TOPIC, 4, &[]).await?;
    }
    let config = ProducerConfig {
        // Nobody waits in the shop: there is room, or there is not.
        on_full: OnFull::Fail,
        buffer_len_max: 1024 * 1024,
        batch_len_max: 64 * 1024,
        delivery_timeout_ms: 2_000,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config).await?;
    let sale = Arc::new(Sale::default());
    for order in 0..orders {
        offer(&producer, &sale, order).await?;
    }
    producer.flush().await;
    let statistics = producer.statistics();
    let given_up = producer.close_with_timeout(Duration::from_secs(5)).await;
    assert_eq!(given_up, 0, "a flush leaves nothing behind");
    report(orders, &sale);
    println!(
        "{} records a batch, p50 {} µs, p99 {} µs, longest {} µs; {} batches sent again",
        statistics.batch_records_mean,
        statistics.latency.p50_us,
        statistics.latency.p99_us,
        statistics.latency.max_us,
        statistics.batches_retried
    );
    Ok(sale)
}

/// One customer, who comes back when there is no room.
async fn offer(producer: &Producer, sale: &Arc<Sale>, order: u64) -> Result<(), Error> {
    let customer = (order % 10_000).to_be_bytes();
    let value = format!("{{\"order\":{order},\"article\":\"the one\",\"count\":1}}");
    for visit in 1..=VISITS_MAX {
        let record = ProducerRecord::new(TOPIC, value.as_bytes()).with_key(&customer);
        let told = sale.clone();
        match producer.send_with(record, move |delivery| tell(&told, order, &delivery)).await {
            Ok(()) => return Ok(()),
            Err(SendError::BufferFull) => {
                sale.turned_away.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(visit.min(20).into())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    sale.gone.fetch_add(1, Relaxed);
    Ok(())
}

/// What the customer is told; called from the producer's tasks.
fn tell(sale: &Sale, order: u64, delivery: &Delivery) {
    match delivery {
        Delivery::Acknowledged(ack) => {
            sale.confirmed.fetch_add(1, Relaxed);
            sale.after_refusal.fetch_add(u64::from(ack.refusal_count > 0), Relaxed);
        }
        Delivery::Refused(failure) => {
            if sale.refused.fetch_add(1, Relaxed) == 0
                && let Ok(mut first) = sale.first_refusal.lock()
            {
                let after_ms = failure.retry_after_ms;
                *first = Some(format!("order {order} is not placed, try again in {after_ms} ms ({failure})"));
            }
        }
        Delivery::Unknown(_) => {
            sale.unknown.fetch_add(1, Relaxed);
        }
    }
}

fn report(orders: u64, sale: &Sale) {
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    println!(
        "{orders} orders: {} confirmed, {} of them after the broker refused them at first,",
        count(&sale.confirmed),
        count(&sale.after_refusal)
    );
    println!(
        "{} refused, {} unknown, {} gone home; turned away {} times",
        count(&sale.refused),
        count(&sale.unknown),
        count(&sale.gone),
        count(&sale.turned_away)
    );
    if let Some(text) = sale.first_refusal.lock().ok().and_then(|mut first| first.take()) {
        println!("the first customer who was refused read: {text}");
    }
}
