//! The spool's thread: the only one that touches its files.

#![expect(
    clippy::disallowed_methods,
    reason = "age is told by the time of day, which survives a restart, and by how long this daemon has run"
)]

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::log::Log;
use super::record::Change;
use super::shelf::{GivenUp, Header, Shelf};
use super::{Figures, Gauge, Given, Kept, Loss, Mailbox, Order, Owner, Settings};
use crate::call::part::Outcome;
use crate::event::{Body, Event, GapReason};
use crate::io::publisher::Publisher;

/// How often aged parts are looked for, and releases are obeyed, when nothing else happens.
const ROUND: Duration = Duration::from_millis(200);

/// How long a disk that failed is left alone.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// Owns the files.
pub(super) struct Keeper {
    settings: Settings,
    log: Log,
    shelf: Shelf,
    mailboxes: BTreeMap<usize, Mailbox>,
    publisher: Publisher,
    /// When the disk failed last, while it does.
    failed_at: Option<Instant>,
    clock: Clock,
    figures: Figures,
    gauge: Gauge,
}

/// The time of day as the daemon found it at its start: a clock that is set while it runs makes no part older.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun: Instant,
    begun_at: Timestamp,
}

impl Clock {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            begun_at: Timestamp::now(),
        }
    }

    fn now(self) -> Timestamp {
        self.begun_at
            .saturating_add(self.begun.elapsed())
            .unwrap_or(Timestamp::MAX)
    }
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        shelf: Shelf,
        publisher: Publisher,
        gauge: Gauge,
    ) -> Self {
        Self {
            log: Log::new(settings.directory.clone()),
            settings,
            shelf,
            mailboxes: BTreeMap::new(),
            publisher,
            failed_at: None,
            clock: Clock::new(),
            figures: Figures::default(),
            gauge,
        }
    }

    /// Obeys until nobody can order any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>, released: &Mutex<Vec<u64>>) {
        loop {
            let first = orders.recv_timeout(ROUND);
            let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            // What was released before now was ordered before now: after the queue both are known.
            let releases =
                std::mem::take(&mut *released.lock().unwrap_or_else(PoisonError::into_inner));
            first.into_iter().for_each(|order| self.obey(order));
            orders.try_iter().for_each(|order| self.obey(order));
            self.release(releases);
            self.give_up();
            self.show();
            if is_over {
                return;
            }
        }
    }

    /// Lets others see how it is.
    fn show(&self) {
        let now = self.clock.now();
        let age = |opened_at| now.duration_since(opened_at).try_into().unwrap_or_default();
        self.gauge.show(Figures {
            parts: self.shelf.len() as u64,
            bytes: self.shelf.bytes(),
            log_bytes: self.log.bytes(),
            oldest: self.shelf.oldest().map(age),
            is_failing: self.failed_at.is_some(),
            ..self.figures
        });
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Log(changes) => self.append(changes),
            Order::Keep(kept) => self.keep(*kept),
            Order::Connect(worker, mailbox) => {
                self.mailboxes.insert(worker, mailbox);
            }
            Order::Checkpoint(store, worker, state) => store.write(worker, state),
            Order::Assign(ordinal, owner, closed) => {
                if !self.shelf.assign(ordinal, owner, closed) {
                    let detail = "it is not in the spool any more";
                    self.tell(owner, GapReason::Shutdown, detail.to_owned());
                }
            }
            // The backlog waits for it; if it is gone, the daemon stops.
            Order::Take(reply) => drop(reply.send(self.take())),
            Order::PutBack(ordinal, is_own_fault) => self.shelf.put_back(ordinal, is_own_fault),
        }
    }

    /// A log that failed begins anew: what is said of older parts then has no place in it.
    fn append(&mut self, changes: Vec<Change>) {
        let is_resting = self.failed_at.is_some_and(|at| at.elapsed() < DISK_PAUSE);
        if is_resting || self.log.bytes() > self.settings.max_bytes {
            return;
        }
        let written = self.log.append(changes);
        self.note(written);
    }

    /// Puts a part on the shelf; it is told at once if there is no place for it.
    fn keep(&mut self, kept: Kept) {
        let owner = kept.owner;
        let reason = kept.reason;
        let header = Header {
            label: kept.label,
            closed: kept.closed,
            reason,
        };
        let put = self
            .shelf
            .put(kept.ordinal, &header, &kept.g711, Some(owner));
        self.figures.kept += 1;
        if let Err(error) = &put {
            self.figures.given_up[Loss::NotWritten as usize] += 1;
            self.tell(
                owner,
                reason,
                format!("it could not be kept on disk: {error}"),
            );
        }
        if self.note(put).is_some() {
            self.append(vec![Change::Released(kept.ordinal)]);
        }
    }

    fn take(&mut self) -> Option<Given> {
        let part = self.shelf.take().unwrap_or_else(|(part, error)| {
            let detail = format!("it cannot be read from disk: {error}");
            self.tell_given_up(part, Loss::Unreadable, &detail);
            None
        })?;
        let mailbox = self.mailboxes.get(&part.owner.worker)?.clone();
        Some(Given { part, mailbox })
    }

    fn release(&mut self, ordinals: Vec<u64>) {
        let on_shelf = |ordinal: &u64| self.shelf.remove(*ordinal).is_none();
        let in_log = ordinals.into_iter().filter(on_shelf);
        let changes: Vec<Change> = in_log.map(Change::Released).collect();
        if !changes.is_empty() {
            self.append(changes);
        }
    }

    /// Gives up what is too old, and the oldest of what is too much.
    fn give_up(&mut self) {
        while let Some(part) = self
            .shelf
            .give_up_aged(self.settings.max_age, self.clock.now())
        {
            let detail = "it waited in the spool for longer than spool.max-age-hours";
            self.tell_given_up(part, Loss::TooOld, detail);
        }
        while self.shelf.bytes() + self.log.bytes() > self.settings.max_bytes {
            let Some(part) = self.shelf.give_up_oldest() else {
                return;
            };
            let detail = "the spool was full (spool.max-bytes) before the recogniser came back";
            self.tell_given_up(part, Loss::TooMuch, detail);
        }
    }

    fn tell_given_up(&mut self, part: GivenUp, loss: Loss, detail: &str) {
        self.figures.given_up[loss as usize] += 1;
        warn!(detail, "a part in the spool was given up");
        if let Some(owner) = part.owner {
            self.tell(owner, part.reason, detail.to_owned());
        }
    }

    fn tell(&self, owner: Owner, reason: GapReason, detail: String) {
        if let Some(mailbox) = self.mailboxes.get(&owner.worker) {
            let outcome = Outcome::Unrecognised { reason, detail };
            // A worker that has stopped finds out after the restart.
            mailbox.blocking_send((owner.part, outcome)).ok();
        }
    }

    /// Tells once that the disk fails, and once that it works again.
    fn note<T>(&mut self, outcome: io::Result<T>) -> Option<T> {
        match outcome {
            Ok(done) => {
                if self.failed_at.take().is_some() {
                    info!("the spool works again");
                    let message = "the spool works again";
                    self.publish("spool_recovered", message.to_owned());
                }
                Some(done)
            }
            Err(error) => {
                self.figures.failures += 1;
                if self.failed_at.replace(Instant::now()).is_none() {
                    error!(%error, "the spool fails; calls go on without it");
                    let folder = self.settings.directory.display();
                    let message = format!(
                        "the spool {folder} fails: {error}; calls go on, but speech that the \
                         recogniser does not take in time becomes a gap"
                    );
                    self.publish("spool_failed", message);
                }
                None
            }
        }
    }

    fn publish(&self, code: &'static str, message: String) {
        let body = Body::Error {
            code,
            message,
            retry_after_ms: None,
            resume_from: None,
        };
        self.publisher.publish(Event {
            at: Timestamp::now(),
            call_id: None,
            body,
        });
    }
}
