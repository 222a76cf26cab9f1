//! The spool: what was said, on disk, until its text is out.
//!
//! Parts in progress are in a log that is written as they grow, so that a killed daemon finishes
//! them after its restart. A part that the recogniser could not take in time leaves the memory and
//! waits on a shelf, a file each, for the backlog. The disk has a thread of its own: no worker
//! waits for it. What is written survives the daemon, not a loss of power in the same second.

mod files;
mod keeper;
mod log;
mod record;
mod shelf;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
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
use crate::io::publisher::Publisher;
use crate::media::Samples;
use keeper::Keeper;
pub(crate) use record::Change;
pub(crate) use shelf::Taken;
use shelf::{Header, Shelf};

/// Orders on their way to the spool's thread. A worker whose order is refused keeps it and tries again.
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

/// What a daemon that is gone left behind.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The state of each worker, as it was written last.
    pub checkpoints: BTreeMap<usize, Vec<u8>>,
    /// Parts without a text, oldest first. [`Spool::assign`] or [`Spool::release`] is due for each.
    pub parts: Vec<SpooledPart>,
}

/// A part on disk that has outlived its daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct SpooledPart {
    /// Its place in the spool.
    pub ordinal: u64,
    /// What it is.
    pub label: PartLabel,
    /// Its extent; of a part that was still growing, as far as it got.
    pub closed: Closed,
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
    /// Replace what is to be found of this worker after a crash.
    Checkpoint(usize, Vec<u8>),
    /// Somebody waits for a part that was left behind.
    Assign(u64, Owner, Closed),
    /// Give out the next part to be recognised.
    Take(oneshot::Sender<Option<Taken>>),
    /// A part that was given out could not be recognised.
    PutBack(u64),
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
    ) -> Result<(Self, Recovered, SpoolThread), OpenError> {
        let directory = settings.directory.clone();
        let refused = |source| OpenError::Refused {
            directory: directory.clone(),
            source,
        };
        let lock = lock(&directory)?;
        let (shelf, recovered) = recover(&directory).map_err(refused)?;
        let last = recovered.parts.last().map(|part| part.ordinal);
        let (orders, incoming) = sync_channel(QUEUE_ORDERS);
        let spool = Self {
            orders,
            released: Arc::default(),
            next: Arc::new(AtomicU64::new(last.map_or(0, |last| last + 1))),
        };
        let released = Arc::clone(&spool.released);
        let keeper = Keeper::new(settings, shelf, publisher);
        let body = move || {
            keeper.run(&incoming, &released);
            drop(lock);
        };
        let thread = thread::Builder::new().name("spool".to_owned());
        let thread = thread.spawn(body).map_err(refused)?;
        Ok((spool, recovered, SpoolThread(thread)))
    }

    /// The place of a part that begins now.
    pub fn next_ordinal(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces what is to be found of a worker after a crash; written after everything that the
    /// worker handed over before. `false` if the disk is too far behind.
    #[must_use]
    pub fn checkpoint(&self, worker: usize, state: Vec<u8>) -> bool {
        self.order(Order::Checkpoint(worker, state)).is_ok()
    }

    /// The text of a part that was left behind is to go to `owner`, who knows it to be `closed`
    /// there; `false` if the disk is too far behind.
    #[must_use]
    pub fn assign(&self, ordinal: u64, owner: Owner, closed: Closed) -> bool {
        self.order(Order::Assign(ordinal, owner, closed)).is_ok()
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

    fn released(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the folder, and makes it ours as long as the file is open.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let directory = directory.to_owned();
    let open = || {
        files::create_folder(&directory)?;
        files::create(&directory.join("lock"))
    };
    let lock = match open() {
        Ok(lock) => lock,
        Err(source) => return Err(OpenError::Refused { directory, source }),
    };
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { directory }),
        Err(TryLockError::Error(source)) => Err(OpenError::Refused { directory, source }),
    }
}

/// Puts the parts that were in progress on the shelf, to the others.
fn recover(directory: &Path) -> io::Result<(Shelf, Recovered)> {
    let (mut shelf, mut headers) = Shelf::open(directory.to_owned())?;
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
    }
    log::clear(directory)?;
    let part = |(ordinal, header): (u64, Header)| SpooledPart {
        ordinal,
        label: header.label,
        closed: header.closed,
    };
    let recovered = Recovered {
        checkpoints: read_checkpoints(directory)?,
        parts: headers.into_iter().map(part).collect(),
    };
    Ok((shelf, recovered))
}

fn read_checkpoints(directory: &Path) -> io::Result<BTreeMap<usize, Vec<u8>>> {
    let mut checkpoints = BTreeMap::new();
    for path in files::with_extension(directory, CHECKPOINT)? {
        let worker = files::number_of(&path).and_then(|worker| usize::try_from(worker).ok());
        if let Some(worker) = worker {
            checkpoints.insert(worker, fs::read(&path)?);
        }
    }
    Ok(checkpoints)
}

fn checkpoint_path(directory: &Path, worker: usize) -> PathBuf {
    directory.join(format!("{worker}.{CHECKPOINT}"))
}

const CHECKPOINT: &str = "checkpoint";

#[cfg(test)]
mod tests;
