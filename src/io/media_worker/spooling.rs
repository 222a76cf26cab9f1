//! The parts of a worker on their way to disk, and what comes back of those that waited there.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;

use tokio::sync::mpsc;
use tracing::info;

use crate::call::PartKey;
use crate::call::label::PartLabel;
use crate::call::part::{Closed, Outcome};
use crate::event::GapReason;
use crate::io::checkpoint_store::CheckpointStore;
use crate::io::part_audio::PartAudio;
use crate::io::spool::{Change, Kept, Order, Owner, Spool};

/// Outcomes on their way to the worker; the backlog waits when it is full.
const MAILBOX_OUTCOMES: usize = 1_024;

/// What of a worker is on disk. Nothing here waits: an order that the spool refuses is kept, and
/// audio that it has not taken is handed over with the next.
pub(super) struct Spooling {
    worker: usize,
    spool: Option<Spool>,
    parts: BTreeMap<PartKey, Entry>,
    /// The parts that wait on disk, one order or file each.
    waiting: BTreeMap<PartKey, u64>,
    undelivered: VecDeque<Order>,
    outcomes: mpsc::Receiver<(PartKey, Outcome)>,
}

/// A part in progress.
struct Entry {
    ordinal: u64,
    label: Box<PartLabel>,
    audio: Rc<PartAudio>,
    closed: Option<Closed>,
    /// Bytes in the log; `None` while it does not know the part.
    logged: Option<usize>,
    is_close_logged: bool,
    /// It will have to wait, for this reason, when it is complete.
    postponed: Option<GapReason>,
    /// Where it is on disk from before a restart.
    replaces: Option<u64>,
}

impl Spooling {
    pub(super) fn new(worker: usize, spool: Option<Spool>) -> Self {
        let (mailbox, outcomes) = mpsc::channel(MAILBOX_OUTCOMES);
        let connect = spool.is_some().then(|| Order::Connect(worker, mailbox));
        Self {
            worker,
            spool,
            parts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            undelivered: connect.into_iter().collect(),
            outcomes,
        }
    }

    /// A part begins.
    pub(super) fn open(&mut self, key: PartKey, label: Box<PartLabel>, audio: Rc<PartAudio>) {
        let Some(spool) = &self.spool else { return };
        let entry = Entry {
            ordinal: spool.next_ordinal(),
            label,
            audio,
            closed: None,
            logged: None,
            is_close_logged: false,
            postponed: None,
            replaces: None,
        };
        self.parts.insert(key, entry);
    }

    /// A part goes on after a restart with the audio that it had; it `replaces` what is on disk.
    pub(super) fn reopen(
        &mut self,
        (key, label): (PartKey, Box<PartLabel>),
        audio: Rc<PartAudio>,
        closed: Option<Closed>,
        replaces: Option<u64>,
    ) {
        self.open(key, label, audio);
        if let Some(entry) = self.parts.get_mut(&key) {
            (entry.closed, entry.replaces) = (closed, replaces);
        }
    }

    /// A part is complete.
    pub(super) fn close(&mut self, key: PartKey, closed: Closed) {
        let Some(entry) = self.parts.get_mut(&key) else {
            return;
        };
        entry.closed = Some(closed);
        if entry.postponed.is_some() {
            self.keep(key);
        }
    }

    /// The recogniser could not take a part in time. `false` if it cannot wait on disk.
    pub(super) fn postpone(&mut self, key: PartKey, reason: GapReason) -> bool {
        let Some(entry) = self.parts.get_mut(&key) else {
            return false;
        };
        entry.postponed = Some(reason);
        if entry.closed.is_some() {
            self.keep(key);
        }
        true
    }

    /// A part of the daemon before waits on disk; its text is to come here.
    pub(super) fn adopt(&mut self, key: PartKey, ordinal: u64, closed: Closed) {
        self.waiting.insert(key, ordinal);
        let (worker, part) = (self.worker, key);
        self.deliver(Order::Assign(ordinal, Owner { worker, part }, closed));
    }

    /// Hands over what has grown since the last time.
    pub(super) fn flush(&mut self) {
        self.try_again();
        let Some(spool) = &self.spool else { return };
        if !self.undelivered.is_empty() {
            return;
        }
        let changes: Vec<Change> = self.parts.values().flat_map(Entry::changes).collect();
        if changes.is_empty() || spool.order(Order::Log(changes)).is_err() {
            return;
        }
        for entry in self.parts.values_mut() {
            entry.logged = Some(entry.audio.len());
            entry.is_close_logged = entry.closed.is_some();
            if let Some(replaced) = entry.replaces.take() {
                spool.release(replaced);
            }
        }
    }

    /// Writes the state of the calls, if it is another, behind the audio that belongs to it.
    pub(super) fn checkpoint(&mut self, store: &CheckpointStore, state: Option<Vec<u8>>) {
        self.flush();
        let Some(state) = state else { return };
        match &self.spool {
            None => store.write(self.worker, state),
            Some(spool) if self.undelivered.is_empty() => {
                // Refused, the state before it stays, which fits what is on the disk.
                drop(spool.order(Order::Checkpoint(store.clone(), self.worker, state)));
            }
            Some(_) => {}
        }
    }

    /// The same for the last time: it may wait for the disk.
    pub(super) fn leave(&mut self, store: Option<(&CheckpointStore, Vec<u8>)>) {
        let changes = self.parts.values().flat_map(Entry::changes).collect();
        let mut orders = std::mem::take(&mut self.undelivered);
        orders.push_back(Order::Log(changes));
        match (&self.spool, store) {
            (Some(spool), store) => {
                let checkpoint = |(store, state): (&CheckpointStore, _)| {
                    Order::Checkpoint(store.clone(), self.worker, state)
                };
                let orders = orders.into_iter().chain(store.map(checkpoint));
                orders.for_each(|order| spool.order_and_wait(order));
            }
            (None, Some((store, state))) => store.write(self.worker, state),
            (None, None) => {}
        }
    }

    /// The last line of a part goes out: what is to be called when it is safe.
    pub(super) fn settle(&mut self, key: PartKey) -> Option<impl FnOnce() + Send + 'static> {
        let spool = self.spool.clone()?;
        let entry = self.parts.remove(&key);
        let logged = entry.iter().filter(|entry| entry.logged.is_some());
        let logged = logged.map(|entry| entry.ordinal);
        let replaced = entry.iter().filter_map(|entry| entry.replaces);
        let on_disk = logged.chain(replaced).chain(self.waiting.remove(&key));
        let on_disk: Vec<u64> = on_disk.collect();
        Some(move || on_disk.into_iter().for_each(|part| spool.release(part)))
    }

    /// Forgets a part of the daemon before.
    pub(super) fn release(&self, ordinal: u64) {
        if let Some(spool) = &self.spool {
            spool.release(ordinal);
        }
    }

    /// How many of these parts wait on disk.
    pub(super) fn waiting(&self, parts: RangeInclusive<PartKey>) -> u64 {
        self.waiting.range(parts).count() as u64
    }

    /// What became of a part that waited.
    pub(super) fn poll_outcome(&mut self) -> Option<(PartKey, Outcome)> {
        self.outcomes.try_recv().ok()
    }

    /// Puts a complete part on the shelf; it leaves the memory.
    fn keep(&mut self, key: PartKey) {
        let Some(entry) = self.parts.remove(&key) else {
            return;
        };
        let (Some(closed), Some(reason)) = (entry.closed, entry.postponed) else {
            return;
        };
        info!(call_id = %entry.label.call_id, ?reason, "a part waits in the spool");
        self.waiting.insert(key, entry.ordinal);
        let (worker, part) = (self.worker, key);
        self.deliver(Order::Keep(Box::new(Kept {
            ordinal: entry.ordinal,
            label: *entry.label,
            closed,
            reason,
            owner: Owner { worker, part },
            g711: entry.audio.g711(),
        })));
        if let Some(replaced) = entry.replaces {
            self.release(replaced);
        }
    }

    fn deliver(&mut self, order: Order) {
        self.undelivered.push_back(order);
        self.try_again();
    }

    fn try_again(&mut self) {
        let Some(spool) = &self.spool else { return };
        while let Some(order) = self.undelivered.pop_front() {
            if let Err(refused) = spool.order(order) {
                return self.undelivered.push_front(refused);
            }
        }
    }
}

impl Entry {
    /// What the log does not know yet.
    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.logged.is_none() {
            changes.push(Change::Opened(self.ordinal, self.label.clone()));
        }
        let more = self.audio.g711_from(self.logged.unwrap_or(0));
        if !more.is_empty() {
            changes.push(Change::Audio(self.ordinal, more));
        }
        if let Some(closed) = self.closed.filter(|_| !self.is_close_logged) {
            changes.push(Change::Closed(self.ordinal, closed));
        }
        changes
    }
}
