//! What the readers share: the newest lines, and where the older ones are.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::backlog::Backlog;
use super::figures::Figures;
use crate::io::journal::writer::OldestSeq;

/// The lines as readers see them; the desk fills it.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) epoch: RefCell<Arc<str>>,
    pub(super) backlog: RefCell<Backlog>,
    /// Readers get the lines below.
    pub(super) released_seq: Cell<u64>,
    /// The journal, if there is one.
    pub(super) archive: Option<Archive>,
    news: Notify,
    pub(super) figures: Arc<Figures>,
    is_closing: Cell<bool>,
    seats: Cell<usize>,
}

/// Where lines are that memory has forgotten.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) oldest_seq: OldestSeq,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These lines, and then the one with this number.
    Lines(String, u64),
    /// Nothing: it has them all.
    UpToDate,
    /// Lines that are no longer in memory.
    Past,
}

impl Hub {
    pub(super) fn new(
        epoch: Arc<str>,
        backlog: Backlog,
        archive: Option<Archive>,
        max_readers: usize,
        figures: Arc<Figures>,
    ) -> Rc<Self> {
        Rc::new(Self {
            epoch: RefCell::new(epoch),
            released_seq: Cell::new(backlog.next_seq()),
            backlog: RefCell::new(backlog),
            archive,
            news: Notify::new(),
            is_closing: Cell::new(false),
            figures,
            seats: Cell::new(max_readers),
        })
    }

    /// Lets readers have the lines below this number.
    pub(super) fn release(&self, released_seq: u64) {
        if self.released_seq.replace(released_seq) != released_seq {
            self.news.notify_waiters();
        }
    }

    /// Readers that have every line are let go.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
        self.news.notify_waiters();
    }

    /// A place for one more reader, until it is dropped.
    pub(super) fn seat(self: &Rc<Self>) -> Option<Seat> {
        let left = self.seats.get().checked_sub(1)?;
        self.seats.set(left);
        self.figures.readers.fetch_add(1, Ordering::Relaxed);
        Some(Seat(Rc::clone(self)))
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    pub(super) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    /// The lines from `seq` on, up to about `max_bytes`.
    pub(super) fn next(&self, seq: u64, max_bytes: usize) -> Next {
        let read = self
            .backlog
            .borrow()
            .read(seq, self.released_seq.get(), max_bytes);
        match read {
            None => Next::Past,
            Some((text, _)) if text.is_empty() => Next::UpToDate,
            Some((text, next)) => Next::Lines(text, next),
        }
    }

    /// Number of the oldest line that can be resumed from.
    pub(super) fn oldest_seq(&self) -> u64 {
        let in_memory = self.oldest_in_memory();
        let archive = self.archive.as_ref();
        archive.map_or(in_memory, |archive| {
            archive.oldest_seq.load().min(in_memory)
        })
    }

    /// Number of the oldest line in memory.
    pub(super) fn oldest_in_memory(&self) -> u64 {
        self.backlog.borrow().oldest_seq()
    }
}

/// A reader's place.
#[derive(Debug)]
pub(super) struct Seat(Rc<Hub>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.set(self.0.seats.get() + 1);
        self.0.figures.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
