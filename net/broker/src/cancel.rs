//! A start that may be given up from outside, as long as it waits for others.

use tokio::sync::watch;

/// Clones are the same.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Sender<bool>);

impl Default for Cancel {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Cancel {
    /// From now on whoever waits gives up.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn cancelled(&self) {
        // This holds a sender itself, so there is always one.
        let mut changes = self.0.subscribe();
        let _never_closed = changes.wait_for(|is_cancelled| *is_cancelled).await;
    }
}
