//! The bounded channel between the control thread and a shard, with the receiving side asleep each time.

use std::thread;
use std::time::Duration;

use sluice_model::ShardIndex;
use sluice_shard::{Queue, ShardConfig, WaitMode, Wake, run_shard};

const ROUNDS: u32 = 60;

fn config() -> ShardConfig {
    ShardConfig { index: ShardIndex(0), core: None, io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep }
}

#[test]
fn tokio_and_a_shard_answer_each_other_while_both_sleep_in_between() {
    let (to_shard, requests) = async_channel::bounded::<u32>(4);
    let (to_control, answers) = async_channel::bounded::<u32>(4);
    let shard = run_shard(config(), move |_shard| async move {
        let mut served = 0;
        while let Ok(request) = requests.recv().await {
            to_control.send(request + 1).await.expect("the control thread listens");
            served += 1;
        }
        served
    })
    .expect("a shard");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for round in 0..ROUNDS {
            if round % 10 == 0 {
                // Longer than the tick of the executor, so both sides are asleep.
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
            to_shard.send(round).await.expect("the shard listens");
            let answer = tokio::time::timeout(Duration::from_secs(20), answers.recv()).await.expect("an answer in time");
            assert_eq!(answer.expect("an answer"), round + 1);
        }
    });
    drop(to_shard);
    assert_eq!(shard.join(), ROUNDS);
}

#[test]
fn a_full_mailbox_makes_the_sender_wait_on_either_side() {
    let (to_shard, requests) = async_channel::bounded::<u32>(1);
    let (to_control, answers) = async_channel::bounded::<u32>(1);
    let shard = run_shard(config(), move |shard| async move {
        while let Ok(request) = requests.recv().await {
            shard.sleep(Duration::from_micros(200)).await;
            to_control.send(request).await.expect("the control thread listens");
        }
    })
    .expect("a shard");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let sender = async {
            for number in 0..ROUNDS {
                to_shard.send(number).await.expect("the shard listens");
            }
            to_shard.close();
        };
        let receiver = async {
            for number in 0..ROUNDS {
                assert_eq!(answers.recv().await.expect("an answer"), number);
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        };
        tokio::join!(sender, receiver);
    });
    shard.join();
}

#[test]
fn a_plain_thread_wakes_a_data_task_that_sleeps_on_its_sockets() {
    let (to_shard, requests) = async_channel::bounded::<u32>(4);
    let (answer, answers) = std::sync::mpsc::channel();
    let shard = run_shard(config(), move |shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let (last, notified) = (std::rc::Rc::new(std::cell::Cell::new(None)), wake.clone());
        let inbox = last.clone();
        shard.spawn(Queue::Background, async move {
            while let Ok(request) = requests.recv().await {
                inbox.set(Some(request));
                notified.notify();
            }
            inbox.set(Some(u32::MAX));
            notified.notify();
        });
        loop {
            sockets.wait(&wake, None).await;
            match last.take() {
                Some(u32::MAX) => break,
                Some(number) => answer.send(number).expect("the test listens"),
                None => {}
            }
        }
    })
    .expect("a shard");
    for number in 0..ROUNDS {
        if number % 20 == 0 {
            thread::sleep(Duration::from_millis(120));
        }
        to_shard.send_blocking(number).expect("the shard listens");
        assert_eq!(answers.recv_timeout(Duration::from_secs(20)).expect("an answer in time"), number);
    }
    drop(to_shard);
    shard.join();
}
