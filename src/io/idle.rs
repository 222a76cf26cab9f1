//! Connections between two sessions, counted over all workers, for they take places of the quota.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The connections of all workers that wait for another session.
#[derive(Debug, Default)]
pub(super) struct Idle {
    connections: AtomicU32,
    /// One of them is to go, for another worker needs its place.
    leave: Notify,
}

impl Idle {
    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Has one of them closed, of whichever worker.
    pub(super) fn ask_one_to_go(&self) {
        self.leave.notify_one();
    }
}

/// The place of a connection that waits for another session; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    idle: Arc<Idle>,
    /// How long the connection may wait.
    pub(super) patience: Duration,
}

impl Place {
    /// A place for a connection that may wait so long.
    pub(super) fn new(idle: Arc<Idle>, patience: Duration) -> Self {
        idle.connections.fetch_add(1, Ordering::Relaxed);
        Self { idle, patience }
    }

    /// Waits until the place is needed.
    pub(super) async fn needed(&self) {
        self.idle.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.idle.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
