//! Lines that are no longer in memory, from the journal.

use std::mem;

use tokio::task::spawn_blocking;
use tracing::warn;

use super::hub::Hub;
use super::reader::BATCH_BYTES;
use crate::io::journal::JournalError;
use crate::io::journal::history::{History, Stretch};

/// A reader's connection to the journal while it is behind.
#[derive(Debug, Default)]
pub(super) struct Past {
    history: Option<History>,
}

/// What the journal has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// These lines, and then the one with this number.
    Lines(String, u64),
    /// Not the line that was asked for; the oldest after it has this number.
    Later(u64),
    /// There is no journal.
    Nothing,
}

impl Past {
    /// Lines from `seq` on. The disk is read on another thread.
    pub(super) async fn read(&mut self, hub: &Hub, seq: u64) -> Found {
        let Some(archive) = &hub.archive else {
            return Found::Nothing;
        };
        let (path, end) = (archive.path.clone(), hub.oldest_in_memory());
        let open = mem::take(&mut self.history);
        let fetch = move || -> Result<(History, Option<Stretch>), JournalError> {
            let history = open.map_or_else(|| History::open(&path), Ok)?;
            let stretch = history.stretch(seq, end, BATCH_BYTES)?;
            Ok((history, stretch))
        };
        let stretch = match spawn_blocking(fetch).await {
            Ok(Ok((history, stretch))) => {
                self.history = Some(history);
                stretch
            }
            Ok(Err(error)) => {
                warn!(%error, seq, "cannot read old lines for a reader");
                None
            }
            Err(error) => {
                warn!(%error, seq, "cannot read old lines for a reader");
                None
            }
        };
        match stretch {
            Some(stretch) if stretch.first_seq == seq => {
                Found::Lines(stretch.text, stretch.next_seq)
            }
            Some(stretch) => Found::Later(stretch.first_seq),
            None => Found::Later(end.max(seq + 1)),
        }
    }

    /// The reader has caught up.
    pub(super) fn close(&mut self) {
        self.history = None;
    }
}
