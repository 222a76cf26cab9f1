//! Where lines are numbered, handed to the journal, and released to readers.

#![expect(
    clippy::disallowed_methods,
    reason = "how long the disk takes is told by the clock"
)]

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{error, info};

use super::backlog::Backlog;
use super::durability::{Change, Durability, Written};
use super::figures::{Figures, count, show};
use super::hub::{Archive, Hub};
use super::{After, Posted};
use crate::config::file;
use crate::event::{Body, Event};
use crate::io::journal::Record;
use crate::io::journal::writer::{Answer, Beginning, JournalThread, Request, Trouble};

/// Events numbered in one go, so that readers are not forgotten over them.
const MAX_BATCH: usize = 256;

/// How long the journal may take to close.
const JOURNAL_CLOSING_TIME: Duration = Duration::from_secs(2);

/// The publisher's state: everything but the readers and the queue.
pub(super) struct Desk {
    hub: Rc<Hub>,
    durability: Durability,
    journal: Option<JournalThread>,
    /// Why the journal failed last.
    reason: String,
    afters: VecDeque<(u64, After)>,
    lost: Arc<AtomicU64>,
    capacity: u64,
}

impl Desk {
    /// Goes on where the journal ends; without one, begins a numbering.
    pub(super) fn new(
        config: &file::Events,
        journal: Option<JournalThread>,
        beginning: Option<Beginning>,
        lost: Arc<AtomicU64>,
        figures: Arc<Figures>,
    ) -> Self {
        let beginning = beginning.unwrap_or_else(Beginning::without_journal);
        let backlog = Backlog::new(config.backlog_lines, beginning.next_seq);
        let archive = journal.as_ref().map(|journal| Archive {
            path: journal.settings.path.clone(),
            oldest_seq: journal.oldest_seq.clone(),
        });
        let epoch = beginning.epoch.into();
        let mut desk = Self {
            hub: Hub::new(epoch, backlog, archive, config.max_readers, figures),
            durability: Durability::new(journal.is_some(), beginning.next_seq),
            journal,
            reason: String::new(),
            afters: VecDeque::new(),
            lost,
            capacity: config.backlog_lines as u64,
        };
        match beginning.trouble {
            Some(Trouble::Failed(reason)) => {
                desk.reason = reason;
                let change = desk.durability.lose(Instant::now());
                desk.tell(change);
            }
            Some(Trouble::MovedAside(place)) => desk.tell_error(
                "journal_restored",
                format!("the journal was damaged and has begun anew, with another epoch; {place}"),
            ),
            None => {}
        }
        desk
    }

    /// Numbers what was taken from the queue.
    pub(super) fn number(&mut self, batch: &mut Vec<Posted>) {
        for Posted { event, after } in batch.drain(..) {
            let seq = self.durability.next_seq();
            self.add_line(&event);
            self.afters.extend(after.map(|after| (seq, after)));
        }
        self.tell_lost();
    }

    /// Waits until the journal has answered, or it is time to look after it.
    pub(super) async fn journal_moved(&mut self) {
        let timer = wait_until(self.durability.poll_timeout());
        let Some(journal) = &mut self.journal else {
            return std::future::pending().await;
        };
        let answer = tokio::select! {
            answer = journal.answers.recv() => answer,
            () = timer => return,
        };
        let change = self.handle_answer(answer);
        self.tell(change);
    }

    /// Writes what is to be written and lets readers have what is safe.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        let change = self.durability.handle_timeout(now);
        if change.is_some() {
            "the disk has not answered for 2 s".clone_into(&mut self.reason);
        }
        self.tell(change);
        if let Some(range) = self.durability.next_write(self.hub.oldest_in_memory(), now) {
            let first_seq = range.start;
            let records = self.hub.backlog.borrow().records(range);
            self.ask(Request::Write { first_seq, records });
        }
        let released_seq = self.durability.released_seq();
        self.hub.release(released_seq);
        show(&self.hub.figures.withheld, self.durability.withheld());
        while let Some((_, after)) = self.afters.pop_front_if(|(seq, _)| *seq < released_seq) {
            after();
        }
    }

    /// Lets the journal write what it was given and close its database, if it does so soon.
    pub(super) async fn close(&mut self) {
        if let Some(journal) = self.journal.take() {
            let mut answers = journal.close();
            let closed = async { while answers.recv().await.is_some() {} };
            if timeout(JOURNAL_CLOSING_TIME, closed).await.is_err() {
                error!("stopped before the journal was closed");
            }
        }
    }

    pub(super) const fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// Events that may be numbered now. Lines wait for the disk in memory; when half of it is full of them, events wait
    /// in the queue.
    pub(super) fn room(&self) -> usize {
        let room = (self.capacity / 2).saturating_sub(self.durability.withheld());
        usize::try_from(room).map_or(MAX_BATCH, |room| room.min(MAX_BATCH))
    }

    /// Whether lines wait for others to be written with.
    pub(super) fn is_gathering(&self) -> bool {
        self.durability.is_gathering(Instant::now())
    }

    /// Whether readers may have every line.
    pub(super) const fn is_settled(&self) -> bool {
        self.durability.withheld() == 0
    }

    fn handle_answer(&mut self, answer: Option<Answer>) -> Option<Change> {
        let now = Instant::now();
        let written = match answer {
            Some(Answer::Written) => Written::Safe,
            Some(Answer::Failed(reason)) => {
                self.reason = reason;
                Written::Failed
            }
            Some(Answer::Renumbered {
                epoch,
                first_seq,
                reason,
            }) => {
                self.reason = reason;
                *self.hub.epoch.borrow_mut() = epoch.into();
                Written::Renumbered(first_seq)
            }
            None => {
                "its thread has ended".clone_into(&mut self.reason);
                self.journal = None;
                return self.durability.lose(now);
            }
        };
        let change = self.durability.handle_written(written, now);
        let next_seq = self.durability.next_seq();
        self.hub.backlog.borrow_mut().skip_to(next_seq);
        change
    }

    fn add_line(&mut self, event: &Event) {
        let line = event.to_line(&self.hub.epoch.borrow(), self.durability.next_seq());
        self.hub.backlog.borrow_mut().push(Record {
            at_ms: event.at.as_millisecond(),
            call_id: event.call_id.clone(),
            event: event.body.name(),
            line: line.into(),
        });
        self.durability.handle_line(Instant::now());
        count(&self.hub.figures.lines);
    }

    /// A queue that overflowed lost lines before they had a number; that is said in a line that has one.
    fn tell_lost(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            error!(
                lost,
                "events were lost because the publisher's queue was full"
            );
            let message = format!("{lost} events were lost because the publisher's queue was full");
            self.tell_error("events_lost", message);
        }
    }

    fn tell(&mut self, change: Option<Change>) {
        let reason = &self.reason;
        match change {
            Some(Change::Lost) => {
                error!(%reason, "lines are not journaled");
                show(&self.hub.figures.journal_failed, 1);
                count(&self.hub.figures.journal_outages);
                let message = format!(
                    "lines from here on are not journaled and cannot be resumed from after a restart: {reason}"
                );
                self.ask(Request::Outage);
                self.tell_error("journal_failed", message);
            }
            Some(Change::Mended { missing }) => {
                info!(missing, "lines are journaled again");
                show(&self.hub.figures.journal_failed, 0);
                let message =
                    format!("lines are journaled again; {missing} are missing ({reason})");
                self.ask(Request::Mended);
                self.tell_error("journal_restored", message);
            }
            None => {}
        }
    }

    fn ask(&self, request: Request) {
        // A thread that hangs is noticed by its silence.
        if let Some(journal) = &self.journal
            && !journal.ask(request)
        {
            error!("the journal's thread takes no requests");
        }
    }

    fn tell_error(&mut self, code: &'static str, message: String) {
        let body = Body::Error {
            code,
            message,
            retry_after_ms: None,
            resume_from: None,
        };
        self.add_line(&Event {
            at: Timestamp::now(),
            call_id: None,
            body,
        });
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
