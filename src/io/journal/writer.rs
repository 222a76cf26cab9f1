//! The journal's thread: writes what it is given, one batch at a time, and forgets what is old.

#![expect(
    clippy::disallowed_methods,
    reason = "what is old, is told by the clock"
)]

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::store::{Store, new_epoch};
use super::{Gauge, Journal, JournalError, Record, Settings, claim, replace};
use crate::io::claim::Claim;

/// How often old lines are looked for while nothing is written.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// How often they are looked for while lines are written.
const BUSY_TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// What the publisher asks for.
#[derive(Debug)]
pub(in crate::io) enum Request {
    /// Write lines that follow each other, the first with this number.
    Write {
        first_seq: u64,
        records: Vec<Record>,
    },
    /// Lines are given to readers that are not written: should the daemon die, its numbers are not used again.
    Outage,
    /// Every line is written again, or given up.
    Mended,
}

/// What became of a [`Request::Write`].
#[derive(Debug)]
pub(in crate::io) enum Answer {
    /// The disk has them.
    Written,
    /// It has not, for this reason; the same may be tried again.
    Failed(String),
    /// It has not, and another journal is used from now on: with another numbering, whose first line is the first of
    /// the next request, and not before this number.
    Renumbered {
        epoch: String,
        first_seq: u64,
        reason: String,
    },
}

/// The publisher's end of the journal's thread.
#[derive(Debug)]
pub(in crate::io) struct JournalThread {
    requests: SyncSender<Request>,
    pub(in crate::io) answers: mpsc::Receiver<Answer>,
    pub(in crate::io) settings: Settings,
    /// Number of the oldest line that the journal can give.
    pub(in crate::io) oldest_seq: OldestSeq,
}

/// The number of the oldest line in the journal, as the thread keeps it.
#[derive(Clone, Debug)]
pub(in crate::io) struct OldestSeq(Arc<AtomicU64>);

impl OldestSeq {
    fn new(seq: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seq)))
    }

    fn store(&self, seq: u64) {
        self.0.store(seq, Ordering::Relaxed);
    }

    pub(in crate::io) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the numbering goes on after a start.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::io) struct Beginning {
    pub(in crate::io) epoch: String,
    pub(in crate::io) next_seq: u64,
    /// What is to be told to readers.
    pub(in crate::io) trouble: Option<Trouble>,
}

impl Beginning {
    /// The numbering of a daemon that keeps no journal.
    pub(in crate::io) fn without_journal() -> Self {
        Self {
            epoch: new_epoch(),
            next_seq: 0,
            trouble: None,
        }
    }
}

/// What was wrong with the journal at the start.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::io) enum Trouble {
    /// It cannot be used, for this reason.
    Failed(String),
    /// It was damaged, and begun anew.
    MovedAside(String),
}

impl Journal {
    /// Starts the thread.
    pub(in crate::io) fn start(self) -> io::Result<(JournalThread, Beginning)> {
        let (beginning, oldest) = match &self.store {
            Ok(store) => (
                Beginning {
                    epoch: store.epoch.clone(),
                    next_seq: store.next_seq,
                    trouble: self.moved_aside.map(|place| {
                        Trouble::MovedAside(format!("it was moved to {}", place.display()))
                    }),
                },
                store.oldest_seq,
            ),
            Err(error) => (
                Beginning {
                    epoch: new_epoch(),
                    next_seq: 0,
                    trouble: Some(Trouble::Failed(error.to_string())),
                },
                0,
            ),
        };
        let (requests, orders) = sync_channel(8);
        let (replies, answers) = mpsc::channel(1);
        let oldest_seq = OldestSeq::new(oldest);
        let mut writer = Writer {
            store: self.store.ok(),
            epoch: beginning.epoch.clone(),
            claim: self.claim,
            gauge: self.gauge,
            settings: self.settings.clone(),
            oldest_seq: oldest_seq.clone(),
        };
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                writer.run(&orders, &replies);
                drop(writer);
                // Who waits for the end of the answers knows that the database is closed.
                drop(replies);
            })?;
        let thread = JournalThread {
            requests,
            answers,
            settings: self.settings,
            oldest_seq,
        };
        Ok((thread, beginning))
    }
}

impl JournalThread {
    /// Asks for something; one [`Request::Write`] at a time. `false` if the thread is gone, or hangs with more than it
    /// can be asked.
    pub(in crate::io) fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Asks for nothing more; the answers end when the database is closed.
    pub(in crate::io) fn close(self) -> mpsc::Receiver<Answer> {
        self.answers
    }
}

struct Writer {
    store: Option<Store>,
    epoch: String,
    settings: Settings,
    claim: Option<Claim>,
    gauge: Gauge,
    oldest_seq: OldestSeq,
}

impl Writer {
    fn run(&mut self, requests: &Receiver<Request>, replies: &mpsc::Sender<Answer>) {
        let mut has_more = self.trim();
        let mut trimmed = Instant::now();
        loop {
            match requests.recv_timeout(TRIM_INTERVAL) {
                Ok(Request::Write { first_seq, records }) => {
                    let answer = self.write(first_seq, &records);
                    if replies.blocking_send(answer).is_err() {
                        return;
                    }
                    // A step at a time: the next lines do not wait for all that is old.
                    if has_more || trimmed.elapsed() >= BUSY_TRIM_INTERVAL {
                        has_more = self.trim();
                        trimmed = Instant::now();
                    }
                }
                Ok(Request::Outage) => self.mark_outage(),
                Ok(Request::Mended) => self.unmark_outage(),
                Err(RecvTimeoutError::Timeout) => while self.trim() {},
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, first_seq: u64, records: &[Record]) -> Answer {
        let Some(store) = &mut self.store else {
            return self.open();
        };
        let is_begun = store.is_begun();
        let begun = Instant::now();
        match store.append(first_seq, records) {
            Ok(()) => {
                self.gauge.note_commit(begun.elapsed());
                self.oldest_seq.store(store.oldest_seq);
                if !is_begun {
                    self.unmark_outage();
                }
                Answer::Written
            }
            Err(error @ JournalError::Damaged { .. }) => self.replace(&error),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Tries again what failed at the start: the numbering that was begun without the journal becomes its own.
    fn open(&mut self) -> Answer {
        if self.claim.is_none() {
            match claim(&self.settings) {
                Ok(claim) => self.claim = claim,
                Err(error) => return Answer::Failed(error.to_string()),
            }
        }
        let mut opened = Store::open(&self.settings, Some(&self.epoch));
        if let Err(JournalError::Damaged { .. }) = opened {
            opened = replace(&self.settings).1;
        }
        match opened {
            Ok(store) => self.renumber(store, "the journal can be used again".to_owned()),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    fn replace(&mut self, damage: &JournalError) -> Answer {
        self.store = None;
        match replace(&self.settings) {
            (Some(place), Ok(store)) => self.renumber(
                store,
                format!("{damage}; it was moved to {}", place.display()),
            ),
            (_, Ok(store)) => self.renumber(store, damage.to_string()),
            (_, Err(error)) => Answer::Failed(error.to_string()),
        }
    }

    fn renumber(&mut self, store: Store, reason: String) -> Answer {
        self.epoch.clone_from(&store.epoch);
        let (epoch, first_seq) = (store.epoch.clone(), store.next_seq);
        self.oldest_seq.store(u64::MAX);
        self.store = Some(store);
        Answer::Renumbered {
            epoch,
            first_seq,
            reason,
        }
    }

    /// Forgets a step of what is old; `true` if there is more.
    fn trim(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        let was_doubted = store.doubt().is_some();
        let more = store.trim(&self.settings, Timestamp::now().as_millisecond());
        self.oldest_seq.store(store.oldest_seq);
        // What cannot be read now is shown as it was.
        let bytes = store.used_bytes().ok();
        self.gauge.change(|figures| {
            figures.bytes = bytes.unwrap_or(figures.bytes);
            figures.oldest_ms = store.oldest_ms;
            figures.is_clock_doubted = store.doubt().is_some();
        });
        match store.doubt() {
            Some(doubt) if !was_doubted => warn!(
                before = %at(doubt.before_ms), now = %at(doubt.since_ms),
                "the clock has jumped, or the daemon was off for long: no line is forgotten for its age \
                 until the clock is back, or has gone on for a day; if it is wrong, set it"
            ),
            None if was_doubted => info!("lines are forgotten for their age again"),
            Some(_) | None => {}
        }
        more.unwrap_or_else(|error| {
            debug!(%error, "old lines cannot be forgotten now");
            false
        })
    }

    fn mark_outage(&self) {
        let mark = self.settings.outage_mark();
        if let Err(error) = fs::write(&mark, b"") {
            warn!(
                path = %mark.display(), %error,
                "cannot note that lines go out without the journal; remove the journal if the daemon dies now"
            );
        }
    }

    fn unmark_outage(&self) {
        let mark = self.settings.outage_mark();
        match fs::remove_file(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                error!(path = %mark.display(), %error, "cannot remove the note of an outage");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// A moment as people write it.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}
