//! The journal: every numbered line in an SQLite database, before a reader gets it.
//!
//! One thread writes ([`writer`]); whoever wants to know what was said opens a [`history::History`] of its own, which
//! never waits for the writer (SQLite's write-ahead log). A journal that cannot be used costs nobody a line: the
//! publisher goes on without it, says so, and keeps trying.

mod clock;
mod figures;
pub mod history;
mod store;
pub mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, warn};

use crate::config::file;
use crate::io::claim::{Claim, ClaimError};
use crate::io::state_directory;
pub use figures::{Figures, Gauge};
use history::History;
use store::Store;

/// What is kept, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database; its write-ahead log is beside it, with `-wal` and `-shm` after the name.
    pub path: PathBuf,
    /// Lines that are older are forgotten.
    pub max_age: Duration,
    /// Size of the lines kept, in bytes of the database's pages.
    pub max_bytes: u64,
}

impl Settings {
    /// What the configuration says; `None` if there is to be no journal.
    pub fn new(config: &file::Journal) -> Option<Self> {
        state_directory::journal(config).map(|path| Self {
            path,
            max_age: Duration::from_secs(u64::from(config.max_age_days) * 24 * 60 * 60),
            max_bytes: config.max_bytes,
        })
    }

    /// Locked by the daemon that writes. Not the database: closing it a second time would free SQLite's own locks.
    fn lock(&self) -> PathBuf {
        with_suffix(&self.path, "-lock")
    }

    /// Its presence says that lines were numbered which the journal does not have.
    fn outage_mark(&self) -> PathBuf {
        with_suffix(&self.path, "-outage")
    }
}

/// The journal at the start of the daemon: read first, then given to the publisher.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    store: Result<Store, JournalError>,
    moved_aside: Option<PathBuf>,
    claim: Option<Claim>,
    gauge: Gauge,
}

impl Journal {
    /// Opens the journal, in place of a damaged one if need be. That it cannot be opened is logged, and no reason not
    /// to take calls.
    ///
    /// # Errors
    /// When another daemon writes it: two would give the same numbers to different lines.
    pub fn open(settings: Settings) -> Result<Self, JournalError> {
        let claim = claim(&settings)?;
        let mut moved_aside = None;
        let mut store = Store::open(&settings, None);
        if let Err(JournalError::Damaged { .. }) = store {
            (moved_aside, store) = replace(&settings);
        }
        if let Err(error) = &store {
            error!(%error, "lines are not journaled; mend it, or change journal.path");
        }
        Ok(Self {
            gauge: Gauge::new(settings.path.clone()),
            settings,
            store,
            moved_aside,
            claim,
        })
    }

    /// How it fares; that may be kept when the journal is gone.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// What earlier runs of the daemon wrote; `None` while the journal cannot be read.
    pub fn history(&self) -> Option<History> {
        self.store.as_ref().ok()?;
        History::open(&self.settings.path)
            .inspect_err(|error| warn!(%error, "the journal cannot be read"))
            .ok()
    }
}

/// One line on its way into the journal.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its call.
    pub call_id: Option<Arc<str>>,
    /// Its `event`.
    pub event: &'static str,
    /// The line itself, with its newline.
    pub line: Arc<str>,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another daemon writes it.
    #[error(
        "the journal {} is used by another daemon; stop that one, or give each its own journal.path",
        path.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file is no database, or its pages contradict each other.
    #[error("the journal {} is damaged: {source}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The disk is full, the file may not be written, or the like.
    #[error("the journal {} cannot be used: {source}", path.display())]
    Unusable {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The folder of the database cannot be made, or a damaged one not be moved.
    #[error("the journal {} cannot be made: {source}", path.display())]
    NoPlace {
        /// The database.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A database, but none of ours, or one of a later version.
    #[error("{} is not a journal of this version of callscribe", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
}

impl JournalError {
    fn new(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, source },
            Some(_) | None => Self::Unusable { path, source },
        }
    }
}

/// Keeps other daemons out. A place where nothing can be locked is no reason not to write.
fn claim(settings: &Settings) -> Result<Option<Claim>, JournalError> {
    if let Some(folder) = settings.path.parent() {
        // If it cannot be made, that is told when the database is opened.
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o750).create(folder).ok();
    }
    match Claim::take(&settings.lock()) {
        Ok(claim) => Ok(Some(claim)),
        Err(ClaimError::Taken) => Err(JournalError::InUse {
            path: settings.path.clone(),
        }),
        Err(ClaimError::Refused(error)) => {
            debug!(%error, "the journal cannot be locked");
            Ok(None)
        }
    }
}

/// Moves a damaged journal aside, and begins another.
fn replace(settings: &Settings) -> (Option<PathBuf>, Result<Store, JournalError>) {
    match move_aside(&settings.path) {
        Ok(place) => {
            error!(
                journal = %settings.path.display(), moved_to = %place.display(),
                "the journal was damaged; it was moved aside and a new one begun"
            );
            (Some(place), Store::open(settings, None))
        }
        Err(source) => {
            let path = settings.path.clone();
            (None, Err(JournalError::NoPlace { path, source }))
        }
    }
}

/// Gives a damaged journal a name that is free, with what belongs to it.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (1..).map(|number| with_suffix(path, &format!(".damaged-{number}")));
    let mut free = names.filter(|name| !name.exists());
    let place = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &place)?;
    for part in ["-wal", "-shm"] {
        match fs::rename(with_suffix(path, part), with_suffix(&place, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(place)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
