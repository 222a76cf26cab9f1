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
    pub(super) withheld: AtomicU64,
    pub(super) journal_failed: AtomicU64,
    pub(super) journal_outages: AtomicU64,
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

    /// Lines that wait for the journal before readers get them.
    pub fn withheld(&self) -> f64 {
        read(&self.withheld)
    }

    /// 1 while lines are not journaled that ought to be.
    pub fn journal_failed(&self) -> f64 {
        read(&self.journal_failed)
    }

    /// How often that began.
    pub fn journal_outages(&self) -> f64 {
        read(&self.journal_outages)
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

/// Shows a value that may fall.
pub(super) fn show(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}
