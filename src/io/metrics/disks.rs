//! What is kept on disk: the journal, the spool, the state of calls.

#![expect(clippy::disallowed_methods, reason = "an age is told")]

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::page::Page;
use crate::io::checkpoint_store::CheckpointStore;
use crate::io::{journal, spool};

/// What the daemon keeps on disk, as far as it does.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    /// The lines.
    pub journal: Option<journal::Gauge>,
    /// Audio that waits for its text.
    pub spool: Option<spool::Gauge>,
    /// The state of calls.
    pub checkpoints: Option<CheckpointStore>,
}

impl Disks {
    pub(super) fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(journal) = &self.journal {
            encode_journal(&journal.read(), page)?;
        }
        if let Some(spool) = &self.spool {
            encode_spool(&spool.read(), page)?;
        }
        if let Some(checkpoints) = &self.checkpoints {
            page.gauge(
                "callscribe_checkpoints_failed",
                "1 while the state of calls cannot be written: a crash would end them",
                f64::from(u8::from(checkpoints.is_failing())),
            )?;
        }
        self.encode_free(page)
    }

    fn encode_free(&self, page: &mut Page<'_>) -> fmt::Result {
        let journal = self.journal.as_ref().and_then(|gauge| gauge.path.parent());
        let spool = self.spool.as_ref().map(|gauge| gauge.directory.as_path());
        let places = [("journal", journal), ("spool", spool)];
        page.gauges(
            "callscribe_disk_free_bytes",
            "Room on the file system for the daemon's user",
            "store",
            places.into_iter().filter_map(|(store, path)| {
                let free = free_bytes(path?)?;
                Some((store, free as f64))
            }),
        )
    }
}

/// Room for an ordinary user on the file system of this place.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

fn encode_journal(figures: &journal::Figures, page: &mut Page<'_>) -> fmt::Result {
    page.gauge(
        "callscribe_journal_bytes",
        "Bytes of the journal that hold something",
        figures.bytes as f64,
    )?;
    let age_ms = figures
        .oldest_ms
        .map_or(0, |oldest| Timestamp::now().as_millisecond() - oldest);
    page.gauge(
        "callscribe_journal_oldest_seconds",
        "How long ago the oldest line in the journal was made; 0 if there is none",
        age_ms.max(0) as f64 / 1000.0,
    )?;
    page.gauge(
        "callscribe_journal_clock_doubted",
        "1 while no line is forgotten for its age, because the clock has jumped",
        f64::from(u8::from(figures.is_clock_doubted)),
    )?;
    page.histogram(
        "callscribe_journal_commit_seconds",
        "How long the disk took for each batch of lines",
        &figures.commits,
    )
}

fn encode_spool(figures: &spool::Figures, page: &mut Page<'_>) -> fmt::Result {
    page.gauge(
        "callscribe_spool_parts",
        "Parts on disk that wait for the recogniser",
        figures.parts as f64,
    )?;
    page.gauge(
        "callscribe_spool_bytes",
        "Their bytes on disk",
        figures.bytes as f64,
    )?;
    page.gauge(
        "callscribe_spool_log_bytes",
        "Bytes on disk of parts in progress",
        figures.log_bytes as f64,
    )?;
    page.gauge(
        "callscribe_spool_oldest_seconds",
        "How long ago the part was begun that has waited longest; 0 if none waits",
        figures
            .oldest
            .map_or(0.0, |age: Duration| age.as_secs_f64()),
    )?;
    page.counter(
        "callscribe_spool_parts_kept",
        "Parts that had to wait on disk for the recogniser",
        figures.kept as f64,
    )?;
    let given_up = spool::Loss::ALL.iter().zip(figures.given_up);
    page.counters(
        "callscribe_spool_parts_given_up",
        "Parts that became gaps instead of waiting on",
        "cause",
        given_up.map(|(cause, count)| (cause.name(), count as f64)),
    )?;
    page.counter(
        "callscribe_spool_write_failures",
        "Writes to the spool that failed",
        figures.failures as f64,
    )?;
    page.gauge(
        "callscribe_spool_failed",
        "1 while the spool cannot be written",
        f64::from(u8::from(figures.is_failing)),
    )
}
