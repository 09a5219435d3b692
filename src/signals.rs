//! SIGINT and SIGTERM as one wish to stop. A second one, later than `SAME_WISH`, ends the process at once.

use crate::exit_status::{ExitStatus, Failure};
use sluice_tuning::Stop;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// `timeout` and some shells send one wish as two signals, to the process and to its group.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Has `stop` asked once the process was, which it says as `notice`; as long as the runtime given back lives. For work that runs
/// on threads of its own and looks at `stop`.
pub(crate) fn ask_at_signal(stop: &Stop, notice: &'static str) -> Result<Runtime, Failure> {
    let runtime = crate::connect::runtime()?;
    let stop = stop.clone();
    runtime.block_on(async {
        let mut signal = StopSignal::install()?;
        tokio::spawn(async move {
            signal.asked().await;
            eprintln!("{notice}");
            stop.ask();
        });
        Ok(())
    })?;
    Ok(runtime)
}

/// Knows whether the process was asked to stop. Clones know the same.
#[derive(Clone)]
pub(crate) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Takes over both signals for the rest of the process; inside a tokio runtime.
    pub(crate) fn install() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::io("cannot listen for signals", &error));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (asked, receiver) = watch::channel(false);
        tokio::spawn(async move {
            let mut first = None;
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                let first = *first.get_or_insert_with(Instant::now);
                if asked.send_replace(true) && first.elapsed() > SAME_WISH {
                    eprintln!("a second signal: ended at once");
                    std::process::exit(ExitStatus::Interrupted as i32);
                }
            }
        });
        Ok(Self(receiver))
    }

    /// The result of `work`, unless the process is asked to stop before it is there.
    pub(crate) async fn unless_asked<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.asked() => Err(Failure::new(ExitStatus::Interrupted, "stopped by a signal before it began")),
        }
    }

    /// Returns once the process was asked to stop.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|&asked| asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
