//! How the spool fares, for the metrics.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The spool at one moment, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Parts that wait for the recogniser.
    pub parts: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes of the log of parts in progress.
    pub log_bytes: u64,
    /// How long ago the part was spoken that has waited longest.
    pub oldest: Option<Duration>,
    /// Parts that had to wait.
    pub kept: u64,
    /// Parts that were given up, in the order of [`Loss::ALL`].
    pub given_up: [u64; Loss::ALL.len()],
    /// Writes that failed.
    pub failures: u64,
    /// Whether the last one did.
    pub is_failing: bool,
}

/// Why a part in the spool was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It waited for longer than `spool.max-age-hours`.
    TooOld,
    /// There was more than `spool.max-bytes`.
    TooMuch,
    /// Its file could not be read.
    Unreadable,
    /// Its file could not be written.
    NotWritten,
}

impl Loss {
    /// Every cause.
    pub const ALL: [Self; 4] = [
        Self::TooOld,
        Self::TooMuch,
        Self::Unreadable,
        Self::NotWritten,
    ];

    /// The cause in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooMuch => "too_much",
            Self::Unreadable => "unreadable",
            Self::NotWritten => "not_written",
        }
    }
}

/// Shows the figures to others than the spool's thread, for as long as they like.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// Where the spool is.
    pub directory: PathBuf,
    shown: Arc<Mutex<Figures>>,
}

impl Gauge {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            shown: Arc::default(),
        }
    }

    /// The figures of the last fifth of a second.
    pub fn read(&self) -> Figures {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, figures: Figures) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }
}
