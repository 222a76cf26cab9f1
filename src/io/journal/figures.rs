//! How the journal fares, for the metrics.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::io::metrics::Histogram;

/// The journal at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Bytes of the database that hold something.
    pub bytes: u64,
    /// When its oldest line was made, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// How long the disk took for each batch of lines.
    pub commits: Histogram,
    /// Whether the clock has jumped, so that no line is forgotten for its age.
    pub is_clock_doubted: bool,
}

/// Shows the figures to others than the journal's thread, for as long as they like.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// The database.
    pub path: PathBuf,
    shown: Arc<Mutex<Figures>>,
}

impl Gauge {
    pub(super) fn new(path: PathBuf) -> Self {
        let figures = Figures {
            bytes: 0,
            oldest_ms: None,
            commits: Histogram::new(&COMMIT_BOUNDS),
            is_clock_doubted: false,
        };
        Self {
            path,
            shown: Arc::new(Mutex::new(figures)),
        }
    }

    /// The figures of now.
    pub fn read(&self) -> Figures {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The disk has taken a batch.
    pub(super) fn note_commit(&self, took: Duration) {
        self.change(|figures| figures.commits.observe(took));
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// In seconds. Readers get a line when the disk has it, and after 2 s in any case.
const COMMIT_BOUNDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];
