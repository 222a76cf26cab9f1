//! What a worker counts of its own doing, in plain memory: nothing is shared until somebody asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::call::PartKey;
use crate::call::census::Census;
use crate::call::overload::{Load, Shedding};
use crate::event::{Body, EndReason, Event, GapReason};
use crate::io::metrics::Histogram;
use crate::io::recogniser::Delays;

/// What a worker has to show, at one moment.
#[derive(Clone, Debug)]
pub struct WorkerFigures {
    /// What its switchboard carries.
    pub census: Census,
    /// What it has done.
    pub meter: Meter,
    /// Time of a core that its thread has used.
    pub busy: Duration,
    /// How near it is to its capacity.
    pub load: Load,
    /// What it sheds.
    pub shedding: Shedding,
    /// How long parts took on their way to the recogniser.
    pub delays: Delays,
}

/// Counts of one worker; they only grow.
#[derive(Clone, Debug)]
pub struct Meter {
    /// How much later than due each tick began.
    pub tick_lag: Histogram,
    /// From the end of a part to its final text.
    pub transcript_delay: Histogram,
    /// Calls that have begun.
    pub calls_begun: u64,
    /// Calls that have ended, by reason.
    pub calls_ended: BTreeMap<EndReason, u64>,
    /// Parts with their final text.
    pub transcripts: u64,
    /// Those of them that came from the spool.
    pub late_transcripts: u64,
    /// `gap` lines, by reason.
    pub gaps: BTreeMap<GapReason, u64>,
    /// Telephone keys.
    pub digits: u64,
    /// Parts that were not recognised at once, for there was too much to do.
    pub deferred_parts: u64,
    /// Parts that are complete and wait for their outcome since then, or `None`: the reverse.
    closed: BTreeMap<PartKey, Option<Instant>>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            tick_lag: Histogram::new(&TICK_BOUNDS),
            transcript_delay: Histogram::new(&DELAY_BOUNDS),
            calls_begun: 0,
            calls_ended: BTreeMap::new(),
            transcripts: 0,
            late_transcripts: 0,
            gaps: BTreeMap::new(),
            digits: 0,
            deferred_parts: 0,
            closed: BTreeMap::new(),
        }
    }

    /// A tick began so late.
    pub(super) fn note_tick(&mut self, lag: Duration) {
        self.tick_lag.observe(lag);
    }

    /// A part is complete; its text is due.
    pub(super) fn note_closed(&mut self, key: PartKey, now: Instant) {
        if self.closed.remove(&key).is_none() {
            self.closed.insert(key, Some(now));
        }
    }

    /// A part has its outcome: a text, or none.
    pub(super) fn note_outcome(&mut self, key: PartKey, is_text: bool, now: Instant) {
        match self.closed.remove(&key) {
            Some(Some(closed)) if is_text => {
                let delay = now.saturating_duration_since(closed);
                self.transcript_delay.observe(delay);
            }
            Some(_) => {}
            // Given up before it was complete.
            None => drop(self.closed.insert(key, None)),
        }
    }

    /// A line goes out.
    pub(super) fn note_event(&mut self, event: &Event) {
        match &event.body {
            Body::CallStarted(_) => self.calls_begun += 1,
            Body::CallEnded(ended) => *self.calls_ended.entry(ended.reason).or_default() += 1,
            Body::Transcript(transcript) if transcript.part_final => {
                self.transcripts += 1;
                self.late_transcripts += u64::from(transcript.late);
            }
            Body::Gap { reason, .. } => *self.gaps.entry(*reason).or_default() += 1,
            Body::Dtmf { .. } => self.digits += 1,
            Body::Transcript(_)
            | Body::Hello(_)
            | Body::Heartbeat { .. }
            | Body::ChannelStarted(_)
            | Body::CallUpdated(_)
            | Body::SpeechStarted { .. }
            | Body::SpeechEnded { .. }
            | Body::ChannelHealth { .. }
            | Body::Error { .. } => {}
        }
    }
}

/// In seconds. The tick is 20 ms; a kernel buffer of the default size overflows after about 2 s.
const TICK_BOUNDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

/// In seconds: a text within one is good, after ten it is of no use to an agent's screen.
const DELAY_BOUNDS: [f64; 12] = [
    0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
];

/// In seconds, of what is on its way to the recogniser.
pub(crate) const SEND_BOUNDS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.025, 0.03, 0.05, 0.1, 0.2, 0.5, 2.0,
];
