//! The spool: what was said, on disk, until its text is out.
//!
//! Parts in progress are in a log that is written as they grow, so that a killed daemon finishes
//! them after its restart. A part that the recogniser could not take in time leaves the memory and
//! waits on a shelf, a file each, for the backlog. The disk has a thread of its own: no worker
//! waits for it. What is written survives the daemon, not a loss of power in the same second.

mod figures;
mod files;
mod keeper;
mod log;
mod record;
mod shelf;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::call::PartKey;
use crate::call::label::PartLabel;
use crate::call::part::{Closed, Outcome};
use crate::event::GapReason;
use crate::io::checkpoint_store::CheckpointStore;
use crate::io::claim::{Claim, ClaimError};
use crate::io::publisher::Publisher;
use crate::media::{Law, Samples};
pub use figures::{Figures, Gauge, Loss};
use keeper::Keeper;
pub(crate) use record::Change;
pub(crate) use shelf::Taken;
use shelf::{Header, Shelf};

/// Orders on their way to the spool's thread. A worker keeps one that is refused, and tries again.
const QUEUE_ORDERS: usize = 4_096;

/// Where a worker is told what became of its parts.
pub type Mailbox = mpsc::Sender<(PartKey, Outcome)>;

/// Where the spool is, and how much it may keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its folder; nobody else writes there.
    pub directory: PathBuf,
    /// Bytes on disk; the oldest part is given up for a new one.
    pub max_bytes: u64,
    /// How long a part waits for the recogniser.
    pub max_age: Duration,
}

/// Who waits for the text of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The media worker.
    pub worker: usize,
    /// The part, as it is called there.
    pub part: PartKey,
}

/// A part on disk that has outlived its daemon. [`Spool::release`] is due for each in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct SpooledPart {
    /// Its place in the spool.
    pub ordinal: u64,
    /// What it is.
    pub label: PartLabel,
    /// Its extent; of a part that was still growing, as far as it got.
    pub closed: Closed,
    /// Its audio in G.711, unless it waited for the recogniser: then it stays on disk.
    pub in_progress: Option<Vec<u8>>,
}

impl SpooledPart {
    /// How much of it is on disk.
    pub fn len(&self) -> Samples {
        self.closed.end.saturating_sub(self.label.audio_start())
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.len() == Samples::ZERO
    }

    /// Its first so many samples, if it was in progress and they are all there.
    pub fn audio_of(&self, len: Samples) -> Option<(Law, Vec<u8>)> {
        let len = usize::try_from(len.0).ok()?;
        let g711 = self.in_progress.as_ref()?.get(..len)?;
        Some((self.label.law, g711.to_vec()))
    }
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error(
        "the spool {} is used by another daemon; give each its own spool.directory",
        directory.display()
    )]
    InUse {
        /// Its folder.
        directory: PathBuf,
    },
    /// The disk says no.
    #[error("cannot use the spool {}: {source}; see spool.directory", directory.display())]
    Refused {
        /// Its folder.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The sending end of the spool: workers, backlog and publisher hold one each.
#[derive(Clone, Debug)]
pub struct Spool {
    orders: SyncSender<Order>,
    /// Parts whose last line is safe. Not in the queue, for a release must not be refused.
    released: Arc<Mutex<Vec<u64>>>,
    next: Arc<AtomicU64>,
    gauge: Gauge,
}

/// The running spool; it ends when every [`Spool`] is dropped.
#[derive(Debug)]
pub struct SpoolThread(thread::JoinHandle<()>);

impl SpoolThread {
    /// Waits until everything that was handed over is on the disk.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the spool panicked");
        }
    }
}

/// What the spool's thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Parts in progress have changed.
    Log(Vec<Change>),
    /// A part is to wait for the recogniser.
    Keep(Box<Kept>),
    /// Tell this worker what becomes of its parts.
    Connect(usize, Mailbox),
    /// Replace what is to be found of this worker after a crash, by what fits the log so far.
    Checkpoint(CheckpointStore, usize, Vec<u8>),
    /// Somebody waits for a part that was left behind.
    Assign(u64, Owner, Closed),
    /// Give out the next part to be recognised.
    Take(oneshot::Sender<Option<Given>>),
    /// A part that was given out could not be recognised; by its own fault?
    PutBack(u64, bool),
}

/// A part to be recognised, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) part: Taken,
    pub(crate) mailbox: Mailbox,
}

/// A part that is to wait for the recogniser, with all of its audio.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) ordinal: u64,
    pub(crate) label: PartLabel,
    pub(crate) closed: Closed,
    /// Why it has to wait.
    pub(crate) reason: GapReason,
    pub(crate) owner: Owner,
    pub(crate) g711: Vec<u8>,
}

impl Spool {
    /// Opens a spool and starts its thread. `publisher` is told when the disk fails.
    ///
    /// # Errors
    /// When the folder cannot be had.
    pub fn open(
        settings: Settings,
        publisher: Publisher,
    ) -> Result<(Self, Vec<SpooledPart>, SpoolThread), OpenError> {
        let directory = settings.directory.clone();
        let refused = |source| OpenError::Refused {
            directory: directory.clone(),
            source,
        };
        let claim = claim(&directory)?;
        let (shelf, recovered) = recover(&directory).map_err(refused)?;
        let last = recovered.last().map(|part| part.ordinal);
        let (orders, incoming) = sync_channel(QUEUE_ORDERS);
        let gauge = Gauge::new(directory.clone());
        let spool = Self {
            orders,
            released: Arc::default(),
            next: Arc::new(AtomicU64::new(last.map_or(0, |last| last + 1))),
            gauge: gauge.clone(),
        };
        let released = Arc::clone(&spool.released);
        let keeper = Keeper::new(settings, shelf, publisher, gauge);
        let body = move || {
            keeper.run(&incoming, &released);
            drop(claim);
        };
        let thread = thread::Builder::new().name("spool".to_owned());
        let thread = thread.spawn(body).map_err(refused)?;
        Ok((spool, recovered, SpoolThread(thread)))
    }

    /// The place of a part that begins now.
    pub fn next_ordinal(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How it fares; that may be kept when the spool is gone.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// A part need not be kept any more: its last line is safe. Never waits.
    pub fn release(&self, ordinal: u64) {
        self.released().push(ordinal);
    }

    /// Hands an order over without waiting; a full queue gives it back.
    pub(crate) fn order(&self, order: Order) -> Result<(), Order> {
        match self.orders.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => Err(order),
        }
    }

    /// Hands an order over, however long the disk takes.
    pub(crate) fn order_and_wait(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the spool is gone");
        }
    }

    fn released(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the folder, and makes it ours as long as the claim is held.
fn claim(directory: &Path) -> Result<Claim, OpenError> {
    let directory = directory.to_owned();
    match Claim::take_folder(&directory) {
        Ok(claim) => Ok(claim),
        Err(ClaimError::Taken) => Err(OpenError::InUse { directory }),
        Err(ClaimError::Refused(source)) => Err(OpenError::Refused { directory, source }),
    }
}

/// Puts the parts that were in progress on the shelf, to the others.
fn recover(directory: &Path) -> io::Result<(Shelf, Vec<SpooledPart>)> {
    let (mut shelf, mut headers) = Shelf::open(directory.to_owned())?;
    let mut in_progress = BTreeMap::new();
    for (ordinal, part) in log::read(directory)? {
        let len = Samples(part.g711.len() as u64);
        if len <= part.label.lead_in || headers.contains_key(&ordinal) {
            continue;
        }
        let header = Header {
            closed: part.closed.unwrap_or(Closed {
                end: part.label.audio_start() + len,
                speech: len.saturating_sub(part.label.lead_in),
                last: true,
            }),
            label: *part.label,
            reason: GapReason::Shutdown,
        };
        shelf.put(ordinal, &header, &part.g711, None)?;
        headers.insert(ordinal, header);
        in_progress.insert(ordinal, part.g711);
    }
    log::clear(directory)?;
    let part = |(ordinal, header): (u64, Header)| SpooledPart {
        ordinal,
        label: header.label,
        closed: header.closed,
        in_progress: in_progress.remove(&ordinal),
    };
    Ok((shelf, headers.into_iter().map(part).collect()))
}

#[cfg(test)]
pub(super) mod tests;
