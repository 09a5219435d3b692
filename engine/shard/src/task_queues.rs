//! Which work gets how much of a core's time when there is more than fits.
//!
//! Shares divide processor time only, never the device: what reads or writes in bulk also asks the `Pacer`. The
//! expensive mistake is a latency goal (`Latency::Matters`) below 10 ms: it shortens the preempt timer, and with a short
//! one glommio 0.9.0 can go to sleep for good with runnable tasks.

use glommio::{Latency, Shares, TaskQueueHandle};

/// Where a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The data task, the commit task and everything a produce waits for.
    Produce,
    /// Fetches answered from memory.
    TailFetch,
    /// Fetches that read the disk.
    CatchUpFetch,
    /// Write-back, checkpoint, retention, scrub, control messages.
    Background,
}

impl Queue {
    const ALL: [Queue; 4] = [Queue::Produce, Queue::TailFetch, Queue::CatchUpFetch, Queue::Background];

    /// Parts of the processor when every queue wants it.
    fn shares(self) -> usize {
        match self {
            Queue::Produce => 1000,
            Queue::TailFetch => 500,
            Queue::CatchUpFetch => 200,
            Queue::Background => 100,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Queue::Produce => "produce",
            Queue::TailFetch => "tail-fetch",
            Queue::CatchUpFetch => "catch-up-fetch",
            Queue::Background => "background",
        }
    }
}

/// The queues of one executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskQueues {
    handles: [TaskQueueHandle; Queue::ALL.len()],
}

impl TaskQueues {
    /// Call on the executor's own thread.
    pub(crate) fn create() -> TaskQueues {
        let create = |queue: Queue| {
            glommio::executor().create_task_queue(Shares::Static(queue.shares()), Latency::NotImportant, queue.name())
        };
        TaskQueues { handles: Queue::ALL.map(create) }
    }

    pub(crate) fn handle(&self, queue: Queue) -> TaskQueueHandle {
        self.handles[queue as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_at_its_own_place() {
        for (place, queue) in Queue::ALL.iter().enumerate() {
            assert_eq!(*queue as usize, place);
        }
    }
}
