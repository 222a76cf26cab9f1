//! The state of the calls between two daemons, where it is kept.

use std::env;
use std::path::PathBuf;

use crate::config::File;
use crate::io::checkpoint::FoundCall;
use crate::io::checkpoint_store::{CheckpointStore, CheckpointThread, StoreError};

/// What the workers' checkpoints are kept in, if they are.
pub(super) struct CallState(Option<Kept>);

struct Kept {
    directory: PathBuf,
    store: CheckpointStore,
    thread: CheckpointThread,
}

impl CallState {
    /// Opens it, and gives the calls of the daemon before.
    pub(super) fn open(config: &File) -> Result<(Self, Vec<FoundCall>), StoreError> {
        let from_unit = || env::var_os("STATE_DIRECTORY").map(PathBuf::from);
        let by_default = || from_unit().map(|directory| directory.join("calls"));
        let Some(directory) = config.resume.directory.clone().or_else(by_default) else {
            return Ok((Self(None), Vec::new()));
        };
        let (store, thread, found) = CheckpointStore::open(&directory)?;
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
