//! The receiving circuit of one leg.

mod foreign_keys;
mod reports;
mod saved;
mod selection;
mod succession;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::HealthState;
use crate::media::dtmf::{Digit, EventTypeGuess};
use crate::media::health::Health;
use crate::media::packet::Datagram;
use crate::media::probation::{Probation, StreamId};
use crate::media::stream::Stream;
use crate::media::{CallClock, Frame, Law, Samples, Ssrc};

pub use crate::media::rtcp::{ReportBlock, receiver_report};
pub use crate::media::settings::{ExpectedSource, Payload, PayloadTypes, Settings};
pub use crate::media::statistics::{Counters, Statistics};
use foreign_keys::ForeignKeys;
pub use saved::SavedReceiver;

/// Receives one leg: datagrams in, [`Output`]s out.
///
/// Call a `handle_…` function with each input, then [`Self::poll_output`] until `None`, then
/// [`Self::poll_timeout`].
///
/// # Whose packets are heard
///
/// 1. Only datagrams from the allowed networks, and from the expected source if the leg has one.
/// 2. The first stream (address and SSRC) of which two packets came in sequence is heard, and its
///    address pinned. The packets that proved it are heard too; a stray packet of an older call
///    proves nothing. While two addresses contend within a second, the leg waits for the first that
///    has kept the pace of its timestamps for 200 ms: a flood does not. Who floods at that pace, or
///    alone before the sender begins, may win; a registered source or the allowed networks shut him
///    out.
/// 3. Another SSRC of the pinned address takes over when two of its packets came in sequence and
///    the heard stream has been silent for [`Settings::ssrc_change_after`], or said BYE, or never
///    carried audio.
/// 4. Another address takes over likewise, but after [`Settings::source_change_after`], unless it
///    goes on with the SSRC and the sequence of the heard stream.
/// 5. What a successor sends while it waits is kept, and heard when it takes over. Two streams that
///    go on side by side never alternate: one is heard, the other counted and reported once.
/// 6. A jump of the sequence numbers within the heard stream is believed after two packets in
///    sequence, if no packet of the old sequence comes in between; a step back to numbers that were
///    there before, when the packets are no copies of those, or keep the pace of a live sender.
/// 7. Telephone events that the pinned sender sends under another SSRC, even from another port of
///    its host, or with far sequence numbers of their own, are keys of this leg.
///
/// # What is known when
///
/// Packets in sequence become frames at once, but for the first 100 ms of a stream, whose order is
/// not known before. A silence is known when the packet behind it arrives, and is said then: while
/// nothing arrives, nothing is said, because the packets may be stuck in a jam. Whoever has to end
/// an utterance meanwhile does so by his own clock.
#[derive(Debug)]
pub struct Receiver {
    settings: Arc<Settings>,
    expected: ExpectedSource,
    heard: Option<Heard>,
    probation: Probation,
    event_type: EventTypeGuess,
    foreign_keys: ForeignKeys,
    counters: Counters,
    health: Health,
    /// Packets of unknown type since the last audio.
    undecodable: u32,
    notices: VecDeque<Output>,
    wall_clock: Option<WallClock>,
    last_report: Option<(u64, Instant)>,
    rtcp_path: Option<RtcpPath>,
}

/// What the receiver asks of the leg. `Frame` and `Silence` tile the leg from its start without
/// overlap or hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The first packet of the leg was accepted.
    Started {
        /// The stream that is heard.
        ssrc: Ssrc,
        /// The law of the packet.
        law: Law,
        /// Its sender.
        remote: SocketAddr,
        /// Where the leg begins on the call clock.
        start: Samples,
    },
    /// The next 20 ms of audio.
    Frame(Frame),
    /// A stretch in which the sender sent nothing on purpose; no frames cover it.
    Silence {
        /// Where it starts on the call clock.
        start: Samples,
        /// How long it is.
        len: Samples,
    },
    /// A telephone key was released.
    Dtmf {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// Where it was pressed, on the call clock.
        start: Samples,
        /// How long it was held.
        duration: Samples,
    },
    /// What there is to say of the leg's health; each state once until it changes.
    Health {
        /// `bad_payload`, `source_rejected`, `ssrc_changed` or `ok`.
        state: HealthState,
        /// The evidence, for people.
        detail: String,
    },
    /// RTCP BYE of the heard stream (RFC 3550 §6.6).
    Bye,
}

/// The sender's wall clock at a position of the call clock, from its last sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WallClock {
    /// In 2^-32 s since 1900 (RFC 3550 §4).
    pub ntp: u64,
    /// Where on the call clock it read this.
    pub position: Samples,
}

/// The sender's end of RTCP, and with it ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RtcpPath {
    /// On the ports of the stream (RFC 5761).
    Muxed(SocketAddr),
    /// On ports of its own; ours is the one above the stream's (RFC 3550 §11).
    Apart(SocketAddr),
}

impl RtcpPath {
    /// The sender's end.
    pub const fn address(self) -> SocketAddr {
        match self {
            Self::Muxed(address) | Self::Apart(address) => address,
        }
    }
}

/// The stream that is heard.
#[derive(Debug)]
struct Heard {
    id: StreamId,
    stream: Stream,
    last_arrival: Instant,
    has_audio: bool,
    said_bye: bool,
}

impl Receiver {
    /// Waits for the first packet of a leg.
    pub fn new(settings: Arc<Settings>, expected: ExpectedSource) -> Self {
        Self {
            settings,
            expected,
            heard: None,
            probation: Probation::default(),
            foreign_keys: ForeignKeys::default(),
            event_type: EventTypeGuess::default(),
            counters: Counters::default(),
            health: Health::default(),
            undecodable: 0,
            notices: VecDeque::new(),
            wall_clock: None,
            last_report: None,
            rtcp_path: None,
        }
    }

    /// Who may send was learned late; a heard stream that is not of it is refused from now on.
    pub const fn set_expected_source(&mut self, expected: ExpectedSource) {
        self.expected = expected;
    }

    /// Goes on with other settings; the stream that is heard keeps what concerns its order.
    pub fn adopt(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Reads a little of what the next datagram will need; the sum means nothing.
    pub fn touch(&self) -> u64 {
        let is_open = u64::from(matches!(self.expected, ExpectedSource::Any));
        let others = u64::from(self.probation.is_empty()) + u64::from(self.undecodable);
        let keys = u64::from(self.foreign_keys.keypad.poll_timeout().is_some());
        let rules = self.settings.allowed_networks.len() as u64;
        let own =
            is_open + others + keys + rules + self.counters.played + self.notices.len() as u64;
        let heard = self.heard.as_ref();
        own ^ heard.map_or(0, |heard| {
            u64::from(heard.has_audio) ^ u64::from(heard.id.ssrc.0) ^ heard.stream.touch()
        })
    }

    /// The same of what lies in memory of its own.
    pub fn touch_beyond(&self) -> u64 {
        let heard = self.heard.as_ref();
        heard.map_or(0, |heard| heard.stream.touch_beyond())
    }

    /// Takes a datagram of the leg's RTP port; the first accepted one of a call starts its clock.
    pub fn handle_datagram(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        clock: &mut CallClock,
        now: Instant,
    ) {
        let source = canonical(source);
        let datagram = Datagram::classify(bytes);
        // GStreamer sends RTCP to the port of RTP, but from a port of its own.
        let port = (!matches!(datagram, Datagram::Rtcp)).then_some(source.port());
        if !self.permits(source.ip(), port) {
            self.refuse_source(source, now);
            return;
        }
        match datagram {
            Datagram::Rtp(packet) => self.handle_rtp(source, &packet, clock, now),
            Datagram::Rtcp => self.handle_permitted_rtcp(RtcpPath::Muxed(source), bytes, now),
            Datagram::Stun => self.counters.stun += 1,
            Datagram::Malformed => self.counters.malformed += 1,
            Datagram::NotRtp => self.counters.not_rtp += 1,
        }
    }

    /// Takes a datagram of the port above the leg's, where RTCP comes that is not multiplexed (RFC
    /// 3550 §11).
    pub fn handle_rtcp(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) {
        let source = canonical(source);
        if !self.permits(source.ip(), None) {
            self.refuse_source(source, now);
        } else if matches!(Datagram::classify(bytes), Datagram::Rtcp) {
            self.handle_permitted_rtcp(RtcpPath::Apart(source), bytes, now);
        } else {
            self.counters.not_rtp += 1;
        }
    }

    /// Gives up what has waited long enough; calls that are late, early or repeated do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(heard) = &mut self.heard {
            heard.stream.handle_timeout(now);
        }
        let digit = self.foreign_keys.keypad.handle_timeout(now);
        self.notices.extend(digit.map(Output::from));
        self.hear_successor(now);
        self.collect_digits();
    }

    /// Plays everything that is still held, the last short frame included: the leg is over, and
    /// nothing is fed any more.
    pub fn handle_end(&mut self, now: Instant) {
        self.hear_last(now);
        if let Some(heard) = &mut self.heard {
            heard.stream.finish(now);
            self.counters.count_decided(heard.stream.take_decided());
        }
        let digit = self.foreign_keys.keypad.release();
        self.notices.extend(digit.map(Output::from));
        self.collect_digits();
        let heard = self.heard.as_ref().map(|heard| heard.id);
        let counters = &mut self.counters;
        self.probation
            .refuse_all(|refused| counters.refuse(refused, heard));
    }

    /// Tells whether somebody speaks on this leg, as far as the listener knows: meanwhile the clock
    /// is not corrected.
    pub const fn set_speech(&mut self, is_speech: bool) {
        if let Some(heard) = &mut self.heard {
            heard.stream.set_speech(is_speech);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let notice = self.notices.pop_front();
        notice.or_else(|| self.heard.as_mut()?.stream.pull())
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stream = self
            .heard
            .as_ref()
            .and_then(|heard| heard.stream.poll_timeout());
        let deadlines = [
            stream,
            self.foreign_keys.keypad.poll_timeout(),
            self.succession_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The figures of the leg so far.
    pub fn statistics(&self) -> Statistics {
        let counters = self.counters;
        let Some(heard) = &self.heard else {
            return Statistics {
                counters,
                ..Statistics::default()
            };
        };
        Statistics {
            ssrc: Some(heard.id.ssrc),
            counters,
            ..self.foreign_keys.add_to(heard.stream.statistics())
        }
    }

    /// When the last packet of the heard stream came; `None` before the first.
    pub fn last_packet(&self) -> Option<Instant> {
        self.heard.as_ref().map(|heard| heard.last_arrival)
    }

    /// Where the heard stream comes from.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.heard.as_ref().map(|heard| heard.id.source)
    }

    /// Where RTCP to the heard sender goes: where its own comes from, else to the port above its RTP (RFC 3550 §11).
    pub fn rtcp_path(&self) -> Option<RtcpPath> {
        let remote = self.remote()?;
        let known = self
            .rtcp_path
            .filter(|path| path.address().ip() == remote.ip());
        let above = || Some(SocketAddr::new(remote.ip(), remote.port().checked_add(1)?));
        known.or_else(|| above().map(RtcpPath::Apart))
    }

    /// The sender's wall clock, if it told.
    pub const fn wall_clock(&self) -> Option<WallClock> {
        self.wall_clock
    }

    /// What a receiver report says of the heard stream (RFC 3550 §6.4.1); begins the next reporting
    /// interval.
    pub fn take_report(&mut self, now: Instant) -> Option<ReportBlock> {
        let heard = self.heard.as_mut()?;
        let since = self
            .last_report
            .map(|(_, at)| now.saturating_duration_since(at));
        let reception = heard.stream.reception_mut();
        let lost = reception.lost();
        Some(ReportBlock {
            ssrc: heard.id.ssrc.0,
            fraction_lost: reception.take_fraction_lost(),
            cumulative_lost: i32::try_from(lost).unwrap_or(i32::MAX),
            extended_highest: reception.extended_highest(),
            jitter: u32::try_from(reception.jitter()).unwrap_or(u32::MAX),
            last_sender_report: self.last_report.map_or(0, |(ntp, _)| middle_of(ntp)),
            delay_since_last: since.map_or(0, in_65536ths),
        })
    }

    fn collect_digits(&mut self) {
        if let Some(heard) = &mut self.heard {
            while let Some(digit) = heard.stream.pull_digit() {
                self.notices.push_back(digit.into());
            }
        }
    }
}

impl From<Digit> for Output {
    fn from(digit: Digit) -> Self {
        let Digit {
            digit,
            start,
            duration,
        } = digit;
        Self::Dtmf {
            digit,
            start,
            duration,
        }
    }
}

/// An IPv4 address as such, also when it came through an IPv6 socket.
fn canonical(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}

/// The middle 32 of the 64 bits of an NTP time (RFC 3550 §6.4.1).
fn middle_of(ntp: u64) -> u32 {
    u32::try_from(ntp >> 16 & u64::from(u32::MAX)).unwrap_or_default()
}

fn in_65536ths(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX)
}
