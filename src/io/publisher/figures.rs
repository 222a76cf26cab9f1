//! How the publisher and its readers fare, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that the publisher's thread keeps and others read.
#[derive(Debug, Default)]
pub struct Figures {
    pub(super) lines: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) readers: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) slow: AtomicU64,
}

impl Figures {
    /// Lines that were given a number.
    pub fn lines(&self) -> f64 {
        read(&self.lines)
    }

    /// Events that never became lines, because the queue was full.
    pub fn lost(&self) -> f64 {
        read(&self.lost)
    }

    /// Readers that are connected.
    pub fn readers(&self) -> f64 {
        read(&self.readers)
    }

    /// Readers turned away because there were too many.
    pub fn refused(&self) -> f64 {
        read(&self.refused)
    }

    /// Readers closed because they did not keep up.
    pub fn slow(&self) -> f64 {
        read(&self.slow)
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}
