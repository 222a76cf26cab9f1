//! The state of the calls between two daemons, where it is kept.

use std::path::PathBuf;

use tracing::warn;

use crate::config::File;
use crate::io::checkpoint::FoundCall;
use crate::io::checkpoint_store::{CheckpointStore, CheckpointThread, StoreError};
use crate::io::state_directory;

/// What the workers' checkpoints are kept in, if they are.
pub(super) struct CallState(Option<Kept>);

struct Kept {
    directory: PathBuf,
    store: CheckpointStore,
    thread: CheckpointThread,
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
        let kept = Kept {
            directory,
            store,
            thread,
        };
        Ok((Self(Some(kept)), found))
    }

    /// For a worker.
    pub(super) fn store(&self) -> Option<CheckpointStore> {
        self.0.as_ref().map(|kept| kept.store.clone())
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
