//! Whose packets are heard: the rules are written down at [`Receiver`].

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Counters, ExpectedSource, Output, Payload, Receiver};
use crate::media::dtmf::TelephoneEvent;
use crate::media::health::Trouble;
use crate::media::packet::Packet;
use crate::media::probation::{Refused, StreamId};
use crate::media::reorder::{Arrival, Header};
use crate::media::stream::{Decided, Fate};
use crate::media::{CallClock, Ssrc};

impl Receiver {
    /// Whether the leg may be sent to from there at all; RTCP has a port of its own.
    pub(super) fn permits(&self, host: IpAddr, port: Option<u16>) -> bool {
        let expected = match self.expected {
            ExpectedSource::Any => true,
            ExpectedSource::Host(expected) => expected.to_canonical() == host,
            ExpectedSource::Address(expected) => {
                expected.ip().to_canonical() == host
                    && port.is_none_or(|port| port == expected.port())
            }
        };
        let networks = &self.settings.allowed_networks;
        expected && (networks.is_empty() || networks.iter().any(|network| network.contains(&host)))
    }

    /// Counts a datagram of a stranger.
    pub(super) fn refuse_source(&mut self, source: SocketAddr, now: Instant) {
        self.counters.source_rejected += 1;
        let notice = self.health.report(Trouble::SourceRejected, now, || {
            format!(
                "datagrams from {source} are not heard: it is not an allowed source of this leg"
            )
        });
        self.notices.extend(notice);
    }

    /// Takes an RTP packet from a permitted address.
    pub(super) fn handle_rtp(
        &mut self,
        source: SocketAddr,
        packet: &Packet<'_>,
        clock: &mut CallClock,
        now: Instant,
    ) {
        let payload = self.payload_of(packet);
        if !is_sound(payload, packet.payload) {
            self.counters.malformed += 1;
            return;
        }
        let id = StreamId {
            source,
            ssrc: packet.ssrc,
        };
        if payload.is_some() {
            clock.start(now);
        }
        let arrival = Arrival {
            at: now,
            position: clock.position(now),
        };
        let header = Header {
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload,
            arrival,
        };
        match &self.heard {
            Some(heard) if heard.id == id && heard.goes_on_with(&header) => {
                self.hear(&header, packet, now);
            }
            _ if payload.is_none() => {
                self.miss_foreign(id, &header, packet.payload);
                self.refuse_payload(packet.payload_type, source, now);
            }
            _ => self.try_out(id, &header, packet.payload, now),
        }
    }

    /// What the packet carries, by the table of payload types or by how it behaves.
    fn payload_of(&mut self, packet: &Packet<'_>) -> Option<Payload> {
        let known = self.settings.payload_types.get(packet.payload_type);
        known.or_else(|| {
            let (number, timestamp) = (packet.payload_type, packet.timestamp);
            let is_event = self.event_type.is_event(number, timestamp, packet.payload);
            is_event.then_some(Payload::TelephoneEvent)
        })
    }

    /// Takes a packet of the heard stream.
    fn hear(&mut self, header: &Header, packet: &Packet<'_>, now: Instant) {
        let Some(heard) = &mut self.heard else {
            return;
        };
        let fate = heard.accept(header, packet.payload, now);
        self.counters.count_decided(heard.stream.take_decided());
        if header.payload.is_none() {
            self.refuse_payload(packet.payload_type, self.pinned(), now);
        } else {
            self.counters.count(fate);
        }
        if matches!(header.payload, Some(Payload::Audio(_))) {
            self.undecodable = 0;
            self.notices.extend(self.health.settle(now));
        }
        if !self.probation.is_empty() {
            self.refuse_neighbours(fate, now);
        }
        self.collect_digits();
    }

    /// The heard stream is alive: whoever waits to follow it waits in vain, as does its own new
    /// beginning.
    fn refuse_neighbours(&mut self, fate: Fate, now: Instant) {
        let heard = self.heard.as_ref().map(|heard| heard.id);
        let counters = &mut self.counters;
        let mut count = |refused| counters.refuse(refused, heard);
        self.probation.refuse_older(OVERLAP, now, &mut count);
        if let (Some(id), Fate::Played) = (heard, fate) {
            self.probation.refuse(id, count);
        }
    }

    /// Counts a packet that cannot be decoded and says so when there are only such.
    fn refuse_payload(&mut self, payload_type: u8, source: SocketAddr, now: Instant) {
        self.counters.unknown_payload_type += 1;
        self.undecodable = self.undecodable.saturating_add(1);
        if self.undecodable >= ONLY_UNDECODABLE {
            let notice = self.health.report(Trouble::BadPayload, now, || {
                format!("{source} sends payload type {payload_type}, which is no G.711 here")
            });
            self.notices.extend(notice);
        }
    }

    /// The heard sender speaks in another stream and codec: what it says is lost.
    fn miss_foreign(&mut self, id: StreamId, header: &Header, bytes: &[u8]) {
        let Some(heard) = &mut self.heard else {
            return;
        };
        let at = header.arrival.at;
        let silent = at.saturating_duration_since(heard.last_arrival);
        if heard.id.source == id.source && silent >= TOOK_OVER {
            heard.stream.hear_foreign(header, bytes);
        }
    }

    /// Keeps a packet of a stream that is not heard, or not yet.
    fn try_out(&mut self, id: StreamId, header: &Header, bytes: &[u8], now: Instant) {
        if let Some(heard) = &self.heard {
            // SIPp sends audio from a port and keys from a raw socket, whose port is 0.
            let is_beside = heard.id.source.ip() == id.source.ip() && heard.id.ssrc != id.ssrc;
            let is_of_sender = heard.id.source == id.source || is_beside;
            if is_of_sender && header.payload == Some(Payload::TelephoneEvent) {
                return self.hear_foreign_key(id.ssrc, header, bytes, now);
            }
        }
        let refused = self.probation.offer(id, *header, bytes);
        let heard = self.heard.as_ref().map(|heard| heard.id);
        self.counters.refuse(refused, heard);
        self.report_neighbour(id, now);
        if self
            .probation
            .get(id)
            .is_some_and(|candidate| self.may_succeed(candidate, now))
        {
            self.switch_to(id, now);
        }
    }

    /// SIPp and some gateways signal keys in a stream of its own beside the audio, or with numbers
    /// of their own under its SSRC.
    fn hear_foreign_key(&mut self, ssrc: Ssrc, header: &Header, bytes: &[u8], now: Instant) {
        self.counters
            .count(self.foreign_keys.count(header.sequence_number));
        let heard = self.heard.as_mut().filter(|heard| heard.id.ssrc == ssrc);
        if let Some(heard) = heard {
            heard.stream.hear_key(header, bytes);
            self.collect_digits();
        } else if let Some(event) = TelephoneEvent::parse(bytes) {
            let digits = self.foreign_keys.press(event, header, now);
            self.notices.extend(digits.map(Output::from));
        }
    }

    fn pinned(&self) -> SocketAddr {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        self.heard.as_ref().map_or(unknown, |heard| heard.id.source)
    }
}

impl Counters {
    pub(super) fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Played => self.played += 1,
            Fate::Late => self.late += 1,
            Fate::Duplicate => self.duplicate += 1,
            Fate::Undecided => {}
        }
    }

    pub(super) fn count_decided(&mut self, decided: Decided) {
        self.played += decided.played;
        self.late += decided.late;
        self.duplicate += decided.duplicate;
    }

    pub(super) fn refuse(&mut self, refused: Refused, heard: Option<StreamId>) {
        match heard {
            Some(heard) if heard == refused.id => self.out_of_sequence += refused.packets,
            Some(heard) if heard.source != refused.id.source => {
                self.source_rejected += refused.packets;
            }
            _ => self.other_ssrc += refused.packets,
        }
    }
}

/// Whether the payload is one that its type can have.
fn is_sound(payload: Option<Payload>, bytes: &[u8]) -> bool {
    match payload {
        Some(Payload::Audio(_)) => bytes.len() <= MAX_PAYLOAD,
        Some(Payload::TelephoneEvent) => TelephoneEvent::parse(bytes).is_some(),
        Some(Payload::ComfortNoise) | None => true,
    }
}

/// Longest audio payload, 1 s: several times what fits an Ethernet frame.
const MAX_PAYLOAD: usize = 8_000;

/// Packets of a successor that came this long before the last one of the heard stream are still
/// heard: the network may have swapped them.
pub(super) const OVERLAP: Duration = Duration::from_millis(60);

/// A stream in another codec stands for the heard one when that has been silent for so long.
const TOOK_OVER: Duration = Duration::from_millis(200);

/// Packets without one of audio between them after which a leg is said to be undecodable: half a
/// second of them.
const ONLY_UNDECODABLE: u32 = 25;
