//! Where the checkpoints of the workers lie: a file each, the newest only, written by a thread of its own. A worker hands
//! one over without waiting; if the disk is slower than the workers, states in between are skipped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::{info, warn};

use crate::io::checkpoint::{self, FoundCall};
use crate::io::claim::{Claim, ClaimError};

/// Ends the name of each file; before it stands the number of its worker.
const EXTENSION: &str = "checkpoint";

/// Why there are no checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon has them.
    #[error(
        "the state of calls in {} is used by another daemon; give each its own resume.directory",
        directory.display()
    )]
    InUse {
        /// Its folder.
        directory: PathBuf,
    },
    /// The disk says no.
    #[error("cannot keep the state of calls in {}: {source}; see resume.directory", directory.display())]
    Refused {
        /// Its folder.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The store; every worker holds one of it.
#[derive(Clone, Debug)]
pub struct CheckpointStore(Arc<Inbox>);

/// The thread of the store.
#[derive(Debug)]
pub struct CheckpointThread {
    inbox: Arc<Inbox>,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    is_failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What is to be written, by worker.
    states: BTreeMap<usize, Vec<u8>>,
    is_over: bool,
}

impl CheckpointStore {
    /// Opens the store, and gives what a daemon that is gone left behind in it.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn open(directory: &Path) -> Result<(Self, CheckpointThread, Vec<FoundCall>), StoreError> {
        let failed = |source| StoreError::Refused {
            directory: directory.to_owned(),
            source,
        };
        let claim = Claim::take_folder(directory).map_err(|error| match error {
            ClaimError::Taken => StoreError::InUse {
                directory: directory.to_owned(),
            },
            ClaimError::Refused(source) => failed(source),
        })?;
        let found = read_all(directory).map_err(failed)?;
        let inbox = Arc::new(Inbox::default());
        let (own, folder) = (Arc::clone(&inbox), directory.to_owned());
        let thread = thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                own.write_all(&folder);
                drop(claim);
            })
            .map_err(failed)?;
        let store = Self(Arc::clone(&inbox));
        Ok((store, CheckpointThread { inbox, thread }, found))
    }

    /// Replaces what is to be found of a worker. Never waits for the disk.
    pub fn write(&self, worker: usize, state: Vec<u8>) {
        self.0.waiting().states.insert(worker, state);
        self.0.changed.notify_one();
    }

    /// Whether the state of calls cannot be written.
    pub fn is_failing(&self) -> bool {
        self.0.is_failing.load(Ordering::Relaxed)
    }

    /// Forgets the workers from this number on: there are no more.
    pub fn keep_only(&self, workers: usize, directory: &Path) {
        for (worker, path) in files(directory).unwrap_or_default() {
            if worker >= workers
                && let Err(error) = fs::remove_file(&path)
            {
                warn!(%error, path = %path.display(), "cannot remove an old checkpoint");
            }
        }
    }
}

impl CheckpointThread {
    /// Waits until everything that was handed over is written.
    pub fn join(self) {
        self.inbox.waiting().is_over = true;
        self.inbox.changed.notify_one();
        if self.thread.join().is_err() {
            warn!("the thread of the checkpoints panicked");
        }
    }
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, directory: &Path) {
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.states.is_empty() && !waiting.is_over;
            let waiting = self.changed.wait_while(self.waiting(), is_idle);
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let states = std::mem::take(&mut waiting.states);
            if states.is_empty() {
                return;
            }
            drop(waiting);
            for (worker, state) in states {
                let written = replace(directory, worker, &state);
                let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
                match written {
                    Err(error) if !was_failing => {
                        warn!(%error, "the state of calls cannot be written: a crash now would end them");
                    }
                    Ok(()) if was_failing => info!("the state of calls is written again"),
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
}

/// Writes the file whole or not at all. What the kernel has survives the daemon; power may fail.
fn replace(directory: &Path, worker: usize, state: &[u8]) -> io::Result<()> {
    let path = directory.join(format!("{worker}.{EXTENSION}"));
    let new = path.with_extension("new");
    fs::write(&new, state)?;
    fs::rename(&new, &path)
}

fn read_all(directory: &Path) -> io::Result<Vec<FoundCall>> {
    let mut found = Vec::new();
    for (_, path) in files(directory)? {
        found.extend(checkpoint::read(&fs::read(path)?));
    }
    Ok(found)
}

/// The files, with the number of the worker each.
fn files(directory: &Path) -> io::Result<Vec<(usize, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_one = path
            .extension()
            .is_some_and(|extension| extension == EXTENSION);
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_one) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}
