//! A UDP port: whose it is, and how long it rests before it is anybody else's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::call::CallKey;
use crate::media::admission::{Admission, admitted_stream, stream_of};
use crate::media::{Ssrc, receiver};

/// A port rests until nothing has arrived on it for so long: a sender that has not noticed the end
/// of its call must not be heard in the next one.
const REST_SILENCE: Duration = Duration::from_secs(30);

/// A port that never falls silent is used again after so long; its old stream stays refused.
const REST_LIMIT: Duration = Duration::from_secs(600);

/// An old stream that falls silent for so long and comes again is a new one: a phone that was put
/// back and taken up, or a sender that always uses the same SSRC.
const OLD_STREAM_PAUSE: Duration = Duration::from_secs(5);

/// Packets in a codec that begins no call after which it is told: half a second of them.
const FOREIGN_PACKETS: u32 = 25;

/// It is told again when it comes again after so long.
const FOREIGN_PAUSE: Duration = Duration::from_secs(60);

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
    old_stream: Option<OldStream>,
    foreign: Option<Foreign>,
    /// When the last packet came of a stream that begins no call for there is too much to do.
    refused: Option<Instant>,
}

/// Sound in a codec that begins no call.
#[derive(Clone, Copy, Debug)]
struct Foreign {
    packets: u32,
    last_arrival: Instant,
}

/// A stream as a port knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldStream {
    /// Its sender.
    pub source: SocketAddr,
    /// Its synchronization source.
    pub ssrc: Ssrc,
    /// When its last packet came.
    pub last_packet: Instant,
}

/// The time after a call, in which the port is not given out.
#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Instant,
    last_arrival: Instant,
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
            old_stream: None,
            foreign: None,
            refused: None,
        }
    }

    /// Reads a little of what the next datagram will need; the sum means nothing.
    pub fn touch(&self) -> u64 {
        u64::from(self.old_stream.is_some()) + u64::from(self.taken_by.is_some())
    }

    /// The call on the port is over; `old_stream` is what was heard last, and may go on.
    pub const fn rest(&mut self, old_stream: Option<OldStream>, now: Instant) {
        self.taken_by = None;
        self.rest = Some(Rest::new(now));
        self.old_stream = old_stream;
    }

    /// Whether the datagram belongs to the stream of the call before, which goes on as if that call
    /// were not over; whatever the port is used for now.
    pub fn is_of_old_call(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) -> bool {
        let Some(old) = &mut self.old_stream else {
            return false;
        };
        // Looked at first: the next call's packets are told apart for 5 s, not for ever.
        if now.saturating_duration_since(old.last_packet) >= OLD_STREAM_PAUSE {
            self.old_stream = None;
            return false;
        }
        let is_old = old.source == source && stream_of(bytes) == Some(old.ssrc);
        if is_old {
            old.last_packet = now;
        }
        is_old
    }

    /// Whether a call may be registered on the port.
    pub fn is_free(&self, now: Instant) -> bool {
        self.taken_by.is_none() && !self.is_resting(now)
    }

    /// Whether the datagram may begin a call on the port: it is audio that is allowed.
    pub fn admits(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        settings: &receiver::Settings,
    ) -> bool {
        let admits = admitted_stream(settings, source, bytes).is_some();
        if admits {
            self.rest = None;
        }
        admits
    }

    /// Whether a stream that nobody invited comes in, which the next call on the port would hear.
    pub fn is_disturbed(&self, now: Instant) -> bool {
        self.stray.is_some_and(|stray| stray.is_on(now))
    }

    /// A datagram arrived that no call is made of.
    pub fn note_stray(&mut self, admission: Admission, now: Instant) {
        if let Some(rest) = &mut self.rest {
            rest.last_arrival = now;
        }
        if !matches!(admission, Admission::Admitted(_)) {
            return;
        }
        match &mut self.stray {
            Some(stray) if stray.is_heard(now) => stray.last_arrival = now,
            stray => *stray = Some(Rest::new(now)),
        }
    }

    /// Takes note of a packet in a codec that begins no call; true once while such go on, when there
    /// were enough of them to tell an operator.
    pub fn note_foreign(&mut self, now: Instant) -> bool {
        let foreign = self.foreign.get_or_insert(Foreign {
            packets: 0,
            last_arrival: now,
        });
        if now.saturating_duration_since(foreign.last_arrival) >= FOREIGN_PAUSE {
            foreign.packets = 0;
        }
        foreign.packets = foreign.packets.saturating_add(1);
        foreign.last_arrival = now;
        foreign.packets == FOREIGN_PACKETS
    }

    /// A packet came that might begin a call if there were less to do; true for the first of a stream.
    pub fn note_refused(&mut self, now: Instant) -> bool {
        let last = self.refused.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) >= OLD_STREAM_PAUSE)
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.rest.is_some_and(|rest| rest.is_on(now))
    }
}

impl Rest {
    const fn new(now: Instant) -> Self {
        Self {
            since: now,
            last_arrival: now,
        }
    }

    fn is_on(&self, now: Instant) -> bool {
        self.is_heard(now) && now.saturating_duration_since(self.since) < REST_LIMIT
    }

    fn is_heard(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_arrival) < REST_SILENCE
    }
}
