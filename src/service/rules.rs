//! The limits and manners of the service.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits and manners of a connection; the defaults are the cloud's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Audio of one session at most.
    pub max_audio: Duration,
    /// What happens past `max_audio`.
    pub over_length: OverLength,
    /// Longest time without a message of the client.
    pub idle: Duration,
    /// Longest life of a connection.
    pub max_life: Duration,
    /// New audio between two interim results.
    pub interim_every: Duration,
    /// What is said of a session without words.
    pub silence: Silence,
    /// The hot-word tables that exist.
    pub vocabularies: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_audio: Duration::from_secs(60),
            over_length: OverLength::Error,
            idle: Duration::from_secs(20),
            max_life: Duration::from_secs(5 * 3600),
            interim_every: Duration::from_secs(1),
            silence: Silence::EmptyText,
            vocabularies: Vec::new(),
        }
    }
}

/// What becomes of a session that is longer than the service allows; pages of different years
/// differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLength {
    /// `ERROR` `SIS.0309`, then `END`: the session's text is lost.
    Error,
    /// `EVENT` `EXCEEDED_AUDIO`: what follows is ignored, what came before is recognised.
    Event,
}

/// How a session without words is answered; no page says, so clients must take all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// A `RESULT` with one segment whose text is empty.
    EmptyText,
    /// A `RESULT` with no segment.
    NoSegment,
    /// No `RESULT`.
    NoResult,
}

/// The sessions that may be open at once, over all connections.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Semaphore>);

impl Seats {
    /// So many sessions at once.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// A seat, free again when dropped; `None` when all are taken.
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
