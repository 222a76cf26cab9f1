//! A UDP port: whose it is, and how long it rests before it is anybody else's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::call::CallKey;
use crate::media::admission::admitted_stream;
use crate::media::{Ssrc, receiver};

/// A port rests until nothing has arrived on it for so long: a sender that has not noticed the end
/// of its call must not be heard in the next one.
const REST_SILENCE: Duration = Duration::from_secs(30);

/// A port that never falls silent is used again after so long; its old stream stays refused by its
/// SSRC.
const REST_LIMIT: Duration = Duration::from_secs(600);

/// What a port is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// It receives a leg.
    Leg {
        /// The call.
        call: CallKey,
        /// The leg's number in the call.
        channel: u8,
    },
    /// It receives the RTCP of the leg on the port before it.
    Rtcp {
        /// The call.
        call: CallKey,
        /// The leg's number in the call.
        channel: u8,
    },
}

/// A port of the switchboard.
#[derive(Debug)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// The leg it carries now.
    pub taken_by: Option<PortUse>,
    /// The line it belongs to, by index.
    pub line: Option<usize>,
    rest: Option<Rest>,
    stray: Option<Rest>,
}

/// The time after a call, in which the port's old stream is refused.
#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Instant,
    last_arrival: Instant,
    old_stream: Option<Ssrc>,
}

impl Port {
    /// A port that carries nothing.
    pub const fn new(number: u16) -> Self {
        Self {
            number,
            taken_by: None,
            line: None,
            rest: None,
            stray: None,
        }
    }

    /// The call on the port is over; `old_stream` is what was heard last.
    pub const fn rest(&mut self, old_stream: Option<Ssrc>, now: Instant) {
        self.taken_by = None;
        self.rest = Some(Rest::new(old_stream, now));
    }

    /// Whether a call may be registered on the port.
    pub fn is_free(&self, now: Instant) -> bool {
        self.taken_by.is_none() && !self.is_resting(now)
    }

    /// Whether the datagram may begin a call on the port: it is audio that is allowed, and not the
    /// stream of the call before.
    pub fn admits(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        settings: &receiver::Settings,
        now: Instant,
    ) -> bool {
        let is_resting = self.is_resting(now);
        let Some(rest) = &mut self.rest else {
            return admitted_stream(settings, source, bytes).is_some();
        };
        rest.last_arrival = now;
        let Some(ssrc) = admitted_stream(settings, source, bytes) else {
            return false;
        };
        let is_old = is_resting && rest.old_stream == Some(ssrc);
        if !is_old {
            self.rest = None;
        }
        !is_old
    }

    /// Whether a stream that nobody invited comes in, which the next call on the port would hear.
    pub fn is_disturbed(&self, now: Instant) -> bool {
        self.stray.is_some_and(|stray| stray.is_on(now))
    }

    /// A datagram arrived that no call is made of.
    pub fn note_stray(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        settings: &receiver::Settings,
        now: Instant,
    ) {
        if let Some(rest) = &mut self.rest {
            rest.last_arrival = now;
        }
        let Some(stream) = admitted_stream(settings, source, bytes) else {
            return;
        };
        match &mut self.stray {
            Some(stray) if stray.is_heard(now) => stray.last_arrival = now,
            stray => *stray = Some(Rest::new(Some(stream), now)),
        }
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.rest.is_some_and(|rest| rest.is_on(now))
    }
}

impl Rest {
    const fn new(old_stream: Option<Ssrc>, now: Instant) -> Self {
        Self {
            since: now,
            last_arrival: now,
            old_stream,
        }
    }

    fn is_on(&self, now: Instant) -> bool {
        self.is_heard(now) && now.saturating_duration_since(self.since) < REST_LIMIT
    }

    fn is_heard(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_arrival) < REST_SILENCE
    }
}
