//! Waits for a session of the quota, which all workers share.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads the clock and waits"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::asr::quota::{Quota, Settings, Ticket, Urgency, Usage};

/// The door to the recogniser.
#[derive(Debug)]
pub(super) struct SessionGate {
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    quota: Quota,
    waiters: HashMap<Ticket, oneshot::Sender<()>>,
}

impl SessionGate {
    /// A door with nobody behind it.
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let quota = Quota::new(settings);
        let waiters = HashMap::new();
        Arc::new(Self {
            inside: Mutex::new(Inside { quota, waiters }),
        })
    }

    /// Waits for a session, for a part that began at `since`.
    pub(super) async fn enter(self: &Arc<Self>, urgency: Urgency, since: Instant) -> Slot {
        let (granted, mut waiting) = oneshot::channel();
        let slot = {
            let mut inside = self.inside();
            let ticket = inside.quota.handle_request(urgency, since);
            inside.waiters.insert(ticket, granted);
            inside.grant();
            // From here on, whatever happens to us gives the place back.
            let gate = Arc::clone(self);
            Slot { gate, ticket }
        };
        loop {
            let timeout = self.inside().quota.poll_timeout();
            tokio::select! {
                biased;
                _ = &mut waiting => return slot,
                () = at(timeout) => self.update(|quota| quota.handle_timeout(Instant::now())),
            }
        }
    }

    /// The service refused a session for want of quota.
    pub(super) fn refused(&self) {
        self.update(|quota| quota.handle_refusal(Instant::now()));
    }

    /// There may be more sessions from now on, or fewer.
    pub(super) fn adopt(&self, settings: Settings) {
        self.update(|quota| quota.handle_settings(settings));
    }

    /// What the metrics show.
    pub(super) fn usage(&self) -> Usage {
        self.inside().quota.usage()
    }

    fn update(&self, change: impl FnOnce(&mut Quota)) {
        let mut inside = self.inside();
        change(&mut inside.quota);
        inside.grant();
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn grant(&mut self) {
        while let Some(ticket) = self.quota.poll_granted() {
            // One who has gone meanwhile gives the place back as its slot is dropped.
            if let Some(waiter) = self.waiters.remove(&ticket) {
                waiter.send(()).ok();
            }
        }
    }
}

/// A place inside, or in the queue; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    gate: Arc<SessionGate>,
    ticket: Ticket,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        inside.waiters.remove(&self.ticket);
        inside.quota.handle_release(self.ticket);
        inside.grant();
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
