//! A shard starts, runs what it is given, paces, pins, and says why it cannot start.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::on_shard;
use sluice_model::{Clock, ShardIndex};
use sluice_shard::{
    CoreReadings, PaceClass, Pacer, PacerConfig, ProduceActivity, Queue, ShardConfig, WaitMode, Wake, plan_cores, run_shard,
};
use sluice_storage::disk::{Disk, OpenMode};

#[test]
fn a_shard_knows_its_index_and_returns_what_its_main_future_returns() {
    let config = ShardConfig { index: ShardIndex(7), core: None, io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep };
    let shard = run_shard(config, |shard| async move { (shard.index(), shard.clock().now().mono_us) }).expect("a shard");
    assert_eq!(shard.join().0, ShardIndex(7));
}

#[test]
fn shards_run_where_the_plan_puts_them() {
    for (place, core) in plan_cores(&CoreReadings::read(None), Some(2)).into_iter().enumerate() {
        let config = ShardConfig { index: ShardIndex(place as u16), core, io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep };
        let main = |_shard| async move { core_affinity::get_core_ids().unwrap_or_default().len() };
        let may_use = run_shard(config, main).expect("a shard").join();
        assert!(core.is_none() || may_use == 1, "pinned to {core:?} and may use {may_use} cores");
    }
}

#[test]
fn a_core_that_is_not_there_leaves_the_shard_unpinned() {
    let config = ShardConfig { index: ShardIndex(0), core: Some(1000), io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep };
    run_shard(config, |_shard| async move {}).expect("a shard").join();
}

#[test]
fn tasks_of_every_queue_run_and_sleep() {
    let mut done = on_shard(|shard| async move {
        let done = Rc::new(RefCell::new(Vec::new()));
        for queue in [Queue::Produce, Queue::TailFetch, Queue::CatchUpFetch, Queue::Background] {
            let (done, other) = (done.clone(), shard.clone());
            shard.spawn(queue, async move {
                other.sleep(Duration::from_millis(1)).await;
                other.yield_now().await;
                done.borrow_mut().push(queue as usize);
            });
        }
        while done.borrow().len() < 4 {
            shard.sleep(Duration::from_millis(1)).await;
        }
        done.take()
    });
    done.sort_unstable();
    assert_eq!(done, [0, 1, 2, 3]);
}

#[test]
fn what_a_shard_had_spawned_is_dropped_with_it() {
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let path = folder.path().join("open");
    on_shard(move |shard| async move {
        let file = shard.disk().open(&path, OpenMode::CreateNew).await.expect("create");
        let other = shard.clone();
        shard.spawn(Queue::Produce, async move {
            let (_ended, _file, wake) = (ended, file, Wake::new());
            let sockets = other.sockets().expect("sockets");
            sockets.listen("127.0.0.1:0".parse().expect("an address")).expect("listen");
            loop {
                sockets.wait(&wake, None).await;
            }
        });
        shard.sleep(Duration::from_millis(2)).await;
    });
    assert_eq!(has_ended.recv(), Err(std::sync::mpsc::RecvError));
}

#[test]
#[should_panic(expected = "the main future fails")]
fn a_panic_of_the_main_future_reaches_who_joins() {
    on_shard(|_shard| async move { panic!("the main future fails") });
}

#[test]
fn the_pacer_lets_everyone_through_in_the_end_and_gives_all_back() {
    const TASKS: usize = 6;
    const PIECES: usize = 20;
    on_shard(|shard| async move {
        let config = PacerConfig { read_in_flight_len: 100_000, write_in_flight_len: 100_000, ..PacerConfig::default() };
        let (pacer, done) = (Pacer::new(config, ProduceActivity::default()), Rc::new(RefCell::new(0)));
        for task in 0..TASKS {
            let (pacer, done, other) = (pacer.clone(), done.clone(), shard.clone());
            let class = [PaceClass::UrgentWriteBack, PaceClass::WriteBack, PaceClass::CatchUpRead][task % 3];
            shard.spawn(Queue::Background, async move {
                for _ in 0..PIECES {
                    let permit = pacer.acquire(class, 60_000).await;
                    assert!(pacer.in_flight_len() <= 60_000 * 68);
                    other.sleep(Duration::from_micros(20)).await;
                    drop(permit);
                }
                *done.borrow_mut() += 1;
            });
        }
        while *done.borrow() < TASKS {
            shard.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pacer.in_flight_len(), 0);
    });
}

#[test]
fn one_who_gives_up_waiting_for_the_pacer_makes_room() {
    on_shard(|shard| async move {
        let pacer = Pacer::new(PacerConfig { read_in_flight_len: 10, ..PacerConfig::default() }, ProduceActivity::default());
        let first = pacer.acquire(PaceClass::CatchUpRead, 10).await;
        {
            let mut second = Box::pin(pacer.acquire(PaceClass::CatchUpRead, 10));
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        drop(first);
        let third = pacer.acquire(PaceClass::CatchUpRead, 10).await;
        assert_eq!(pacer.in_flight_len(), 10);
        drop(third);
        drop(shard);
    });
}
