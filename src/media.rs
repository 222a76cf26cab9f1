//! From datagrams to audio on the call clock: RTP, order, time, G.711.
//!
//! [`receiver::Receiver`] is the circuit of this room; everything else is one of its parts. It
//! takes the datagrams of one port and gives [`Frame`]s: 20 ms of sound each, contiguous on the
//! call clock, with what was lost said.

pub mod admission;
mod concealment;
mod drift;
mod dtmf;
mod framer;
#[doc(hidden)]
pub mod fuzz;
pub mod g711;
mod health;
mod packet;
mod probation;
mod quiet;
pub mod receiver;
mod reception;
mod reorder;
mod rtcp;
mod sequence;
mod settings;
mod statistics;
mod stream;
mod timeline;

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant};

/// Samples a second of every G.711 stream (RFC 3551 §4.5.14).
pub const SAMPLE_RATE: u32 = 8_000;

/// Samples in a [`Frame`]: 20 ms, the default packetization interval (RFC 3551 §4.2).
pub const FRAME_SAMPLES: usize = 160;

/// A position on the call clock, or a length of it, in samples at [`SAMPLE_RATE`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Samples(pub u64);

impl Samples {
    /// No time at all; the first accepted packet of a call.
    pub const ZERO: Self = Self(0);

    /// The samples in so many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * (SAMPLE_RATE as u64 / 1000))
    }

    /// The whole samples in a duration.
    pub fn from_duration(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(micros / (1_000_000 / u64::from(SAMPLE_RATE)))
    }

    /// Whole milliseconds, as the JSON lines give them.
    pub const fn as_ms(self) -> u64 {
        self.0 / (SAMPLE_RATE as u64 / 1000)
    }

    /// The time these samples take.
    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0 * (1_000_000 / SAMPLE_RATE as u64))
    }

    /// The difference, or zero where `other` is later.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Samples {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Samples {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Samples {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// The companding law of ITU-T G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Law {
    /// µ-law, RTP payload type 0 (RFC 3551 §6).
    Pcmu,
    /// A-law, RTP payload type 8.
    Pcma,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        })
    }
}

/// The clock that every leg of a call is placed on: zero is the first accepted packet of the call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallClock {
    origin: Option<Instant>,
}

impl CallClock {
    /// Starts the clock, unless it runs already.
    pub fn start(&mut self, now: Instant) {
        self.origin.get_or_insert(now);
    }

    /// A clock that reads zero at `origin`, or has not started.
    pub const fn started_at(origin: Option<Instant>) -> Self {
        Self { origin }
    }

    /// When the clock read zero; `None` before the first accepted packet.
    pub const fn origin(&self) -> Option<Instant> {
        self.origin
    }

    /// What the clock reads at `now`; zero before it was started.
    pub fn position(&self, now: Instant) -> Samples {
        let elapsed = self
            .origin
            .map(|origin| now.saturating_duration_since(origin));
        Samples::from_duration(elapsed.unwrap_or_default())
    }
}

/// The synchronization source of an RTP stream (RFC 3550 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Ssrc(pub u32);

/// Twenty milliseconds of a leg, companded as it came.
///
/// Frames of a leg are contiguous: each starts where the one before ended, or where a
/// [`receiver::Output::Silence`] between them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the frame starts on the call clock.
    pub start: Samples,
    /// The law of `g711`.
    pub law: Law,
    /// The audio; only the last frame of a stream is shorter than [`FRAME_SAMPLES`] (see `len`),
    /// and is then padded with the law's silence.
    pub g711: [u8; FRAME_SAMPLES],
    /// Samples of the call clock that the frame covers, 1 to 160.
    pub len: u8,
    /// How many of them never arrived and are concealed, 0 to `len`.
    pub lost: u8,
    /// Whether a telephone event was being sent meanwhile (RFC 4733): a tone, not speech.
    pub telephone_event: bool,
}

impl Frame {
    /// Where the frame ends on the call clock.
    pub fn end(&self) -> Samples {
        self.start + Samples(u64::from(self.len))
    }

    /// The companded samples, without padding.
    pub fn bytes(&self) -> &[u8] {
        &self.g711[..usize::from(self.len).min(FRAME_SAMPLES)]
    }

    /// Samples that did arrive.
    pub fn received(&self) -> Samples {
        Samples(u64::from(self.len.saturating_sub(self.lost)))
    }
}
