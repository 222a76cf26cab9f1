//! What the service has done so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::fault::Fault;

/// Counters of the whole service, shared by its connections.
#[derive(Debug, Default)]
pub struct Counters {
    /// WebSocket handshakes begun.
    pub handshakes: Counter,
    /// START messages received.
    pub starts: Counter,
    /// Requests refused.
    pub refused: Counter,
    /// Connections accepted.
    pub connections: Gauge,
    /// Sessions started.
    pub sessions: Gauge,
    /// Sessions that ended with reason `NORMAL`.
    pub completed: Counter,
    /// `ERROR` and `FATAL_ERROR` messages sent.
    pub errors: Counter,
    /// Bytes of audio received.
    pub audio_bytes: Counter,
    /// Text and binary messages received.
    pub messages_in: Counter,
    /// Text messages sent.
    pub messages_out: Counter,
    /// Pings received.
    pub pings: Counter,
    /// Faults injected.
    pub faults: FaultCounter,
    /// Tokens issued.
    pub tokens: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `amount` more and gives the number before.
    pub fn add(&self, amount: u64) -> u64 {
        self.0.fetch_add(amount, Ordering::Relaxed)
    }

    /// The number so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often each fault was injected.
#[derive(Debug, Default)]
pub struct FaultCounter(Mutex<BTreeMap<String, u64>>);

impl FaultCounter {
    /// Counts one more.
    pub(super) fn add(&self, fault: &Fault) {
        let kind = format!("{:?} at {:?}", fault.action, fault.at);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kinds.entry(kind).or_default() += 1;
    }

    /// The number so far, of all kinds.
    pub fn total(&self) -> u64 {
        self.by_kind().values().sum()
    }

    /// The number so far of each kind, by what happens and when.
    pub fn by_kind(&self) -> BTreeMap<String, u64> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.clone()
    }
}

/// How many there were, are, and were at most at once.
#[derive(Debug, Default)]
pub struct Gauge {
    total: Counter,
    open: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// One more is open; gives its ordinal, from 1.
    pub fn opened(&self) -> u64 {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
        self.total.add(1) + 1
    }

    /// One fewer is open.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total.total()
    }

    /// How many are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// The most that were open at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}
