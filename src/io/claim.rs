//! What only one daemon may use at a time: a journal, a spool, the state of calls.

#![expect(
    clippy::disallowed_methods,
    reason = "a daemon that is about to end is waited for"
)]

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A claim to what is beside this file; it ends when it is dropped, and with its process, however that ends.
#[derive(Debug)]
pub(super) struct Claim {
    _locked: File,
}

/// Why there is no claim.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// Another process has it.
    Taken,
    /// The system refused.
    Refused(io::Error),
}

impl Claim {
    /// Locks the file, which is made if need be. One who is about to end is waited for, but not for long.
    pub(super) fn take(path: &Path) -> Result<Self, ClaimError> {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(ClaimError::Refused)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _locked: file }),
                Err(TryLockError::Error(error)) => return Err(ClaimError::Refused(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(ClaimError::Taken);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(POLL),
            }
        }
    }

    /// The same for a folder, which is made if need be: what people said is nobody else's business.
    pub(super) fn take_folder(folder: &Path) -> Result<Self, ClaimError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(ClaimError::Refused)?;
        Self::take(&folder.join("lock"))
    }
}

/// How long one is waited for who has it: a daemon that has been told to stop closes its files last.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is tried.
const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_has_it_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("calls");
        let first = Claim::take_folder(&folder).unwrap();
        let second = Claim::take_folder(&folder);
        assert!(matches!(second, Err(ClaimError::Taken)));
        drop(first);
        assert!(Claim::take_folder(&folder).is_ok());
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
