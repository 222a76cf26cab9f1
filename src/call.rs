//! Calls: their legs, their ledger, and the switchboard that plugs ports into them.
//!
//! [`switchboard::Switchboard`] is the whole pure core of a media worker: datagrams and `now` in, [`Output`]s out. The
//! live daemon and the replay of a capture run the same one.

pub mod census;
pub mod conversation;
pub mod feedback;
pub mod health;
pub mod label;
pub mod ledger;
pub mod leg;
pub mod loss;
pub mod overload;
pub mod part;
pub mod port;
pub mod registration;
pub mod session;
pub mod snapshot;
pub mod speech_settings;
pub mod stray;
pub mod switchboard;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use crate::call::feedback::Report;
use crate::call::label::PartLabel;
use crate::call::part::Closed;
use crate::event::{Body, Event};
use crate::media::Frame;
use crate::speech;

/// What the switchboard asks of its worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give the line to the publisher.
    Publish(Event),
    /// Give the last line of a part to the publisher. Its audio need not be kept once the line is safe.
    Settle {
        /// The part.
        key: PartKey,
        /// The line.
        event: Event,
    },
    /// Begin to recognise: open a session, its audio follows.
    OpenPart {
        /// The part.
        key: PartKey,
        /// What it is called outside its call, and the law of the audio that follows.
        label: Box<PartLabel>,
    },
    /// The next 20 ms of an open part.
    Audio {
        /// The part.
        key: PartKey,
        /// The audio.
        frame: Frame,
        /// When what completed it came.
        at: Instant,
    },
    /// The part is complete; its text is due through
    /// [`switchboard::Switchboard::handle_recognised`].
    ClosePart {
        /// The part.
        key: PartKey,
        /// Its extent.
        closed: Closed,
        /// When what ended it came, or the time was up.
        at: Instant,
    },
    /// What a leg heard, speech or not; only where [`switchboard::Settings::monitor`] is set.
    Heard {
        /// The call.
        call: CallKey,
        /// The leg's number in the call.
        channel: u8,
        /// The audio.
        frame: Frame,
    },
    /// Send RTCP to the sender of a leg.
    SendReport {
        /// The local port of the leg's stream.
        port: u16,
        /// What to send, and where.
        report: Report,
    },
}

/// Names a call within its worker, for ever: a slot is used again, a serial number is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    slot: u32,
    serial: u32,
}

#[cfg(test)]
impl CallKey {
    /// The call of that serial number in that slot.
    pub(crate) const fn new(slot: u32, serial: u32) -> Self {
        Self { slot, serial }
    }
}

/// Names a part within its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKey {
    /// The call.
    pub call: CallKey,
    /// The leg, by its number in the call.
    pub channel: u8,
    /// Ordinal of the utterance on its leg.
    pub utterance: u64,
    /// Ordinal of the part in its utterance.
    pub part: u32,
}

impl PartKey {
    /// Every part that a leg may have.
    pub const fn of_leg(call: CallKey, channel: u8) -> RangeInclusive<Self> {
        let first = Self {
            call,
            channel,
            utterance: 0,
            part: 0,
        };
        let last = Self {
            utterance: u64::MAX,
            part: u32::MAX,
            ..first
        };
        RangeInclusive::new(first, last)
    }
}

/// Where machines of this room leave what they ask for, in order.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Output>,
    wall: WallClock,
    /// Where the effects of each leg's speech wait, but for an instant.
    speech: VecDeque<speech::Output>,
}

/// Turns the monotonic clock into the time of day, for the field `ts` alone.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    instant: Instant,
    timestamp: jiff::Timestamp,
}

impl WallClock {
    /// A clock that reads `timestamp` at `instant`.
    pub const fn new(instant: Instant, timestamp: jiff::Timestamp) -> Self {
        Self { instant, timestamp }
    }

    /// The time of day at `now`, which may be before or after the anchor.
    pub fn at(&self, now: Instant) -> jiff::Timestamp {
        let moved = if now >= self.instant {
            self.timestamp.checked_add(now - self.instant)
        } else {
            self.timestamp.checked_sub(self.instant - now)
        };
        moved.unwrap_or(self.timestamp)
    }
}

impl Outbox {
    const fn new(wall: WallClock) -> Self {
        Self {
            queue: VecDeque::new(),
            wall,
            speech: VecDeque::new(),
        }
    }

    fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    fn publish(&mut self, call_id: &Arc<str>, body: Body, now: Instant) {
        let event = self.event(call_id, body, now);
        self.push(Output::Publish(event));
    }

    fn settle(&mut self, key: PartKey, call_id: &Arc<str>, body: Body, now: Instant) {
        let event = self.event(call_id, body, now);
        self.push(Output::Settle { key, event });
    }

    /// A line about the daemon itself.
    fn publish_error(&mut self, code: &'static str, message: String, now: Instant) {
        let body = Body::Error {
            code,
            message,
            retry_after_ms: None,
            resume_from: None,
        };
        let at = self.wall.at(now);
        self.push(Output::Publish(Event {
            at,
            call_id: None,
            body,
        }));
    }

    fn event(&self, call_id: &Arc<str>, body: Body, now: Instant) -> Event {
        Event {
            at: self.wall.at(now),
            call_id: Some(Arc::clone(call_id)),
            body,
        }
    }
}
