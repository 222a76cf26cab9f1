//! The state of the calls between two daemons, where it is kept.

use std::env;
use std::path::PathBuf;

use tracing::warn;

use crate::config::File;
use crate::io::checkpoint::FoundCall;
use crate::io::checkpoint_store::{CheckpointStore, CheckpointThread, StoreError};
use crate::io::state_directory;
use crate::io::tape::{self, Tape, Taped};

/// What the workers' checkpoints are kept in, if they are.
pub(super) struct CallState(Option<Kept>);

struct Kept {
    directory: PathBuf,
    store: CheckpointStore,
    thread: CheckpointThread,
    /// Where the tapes are, if there is a place in memory for them.
    tapes: Option<PathBuf>,
}

impl CallState {
    /// Opens it, and gives the calls of the daemon before.
    ///
    /// # Errors
    /// When another daemon has it, or a place that was asked for cannot be used.
    pub(super) fn open(config: &File) -> Result<(Self, Vec<FoundCall>), StoreError> {
        let Some(directory) = state_directory::calls(config) else {
            return Ok((Self(None), Vec::new()));
        };
        let (store, thread, found) = match CheckpointStore::open(&directory) {
            Ok(opened) => opened,
            Err(error @ StoreError::Refused { .. }) if config.resume.directory.is_none() => {
                warn!(%error, "a restart will end the calls that go on then");
                return Ok((Self(None), Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let in_memory = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
        let tapes = in_memory.map(|directory| directory.join("tapes"));
        let kept = Kept {
            directory,
            store,
            thread,
            tapes,
        };
        Ok((Self(Some(kept)), found))
    }

    /// For a worker.
    pub(super) fn store(&self) -> Option<CheckpointStore> {
        self.0.as_ref().map(|kept| kept.store.clone())
    }

    /// What the daemon before has read last; to be asked before there are tapes of this one.
    pub(super) fn taped(&self) -> Vec<Taped> {
        let directory = self.0.as_ref().and_then(|kept| kept.tapes.as_ref());
        directory.map_or_else(Vec::new, |directory| tape::read(directory))
    }

    /// The tape of a worker, if it is to have one. Without it calls go on; a crash costs more of them.
    pub(super) fn tape(&self, worker: usize) -> Option<Tape> {
        let directory = self.0.as_ref()?.tapes.as_ref()?;
        Tape::open(directory, worker)
            .inspect_err(|error| {
                warn!(
                    %error, directory = %directory.display(),
                    "datagrams are not kept: a crash would lose those of the last moment"
                );
            })
            .ok()
    }

    /// Whether the next daemon can go on with the calls.
    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// There are fewer workers than there may have been: what those left is known.
    pub(super) fn forget_workers_from(&self, number: usize) {
        if let Some(kept) = &self.0 {
            kept.store.keep_only(number, &kept.directory);
        }
    }

    /// Waits until everything is written.
    pub(super) fn join(self) {
        if let Some(kept) = self.0 {
            kept.thread.join();
        }
    }
}
