//! SIGINT and SIGTERM as one wish to stop. The second of them ends the process at once.

use crate::exit_status::{ExitStatus, Failure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if asked.send_replace(true) {
                    std::process::exit(ExitStatus::Interrupted as i32);
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Returns once the process was asked to stop.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|&asked| asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
