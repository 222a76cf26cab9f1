//! Whose packets are heard: the rules are written down at [`Receiver`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Counters, ExpectedSource, Heard, Output, Payload, Receiver};
use crate::media::dtmf::TelephoneEvent;
use crate::media::health::Trouble;
use crate::media::packet::Packet;
use crate::media::probation::{Candidate, Refused, StreamId};
use crate::media::reorder::{Arrival, Header};
use crate::media::stream::{Fate, Stream};
use crate::media::{CallClock, Law};

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
        let payload = self.settings.payload_types.get(packet.payload_type);
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
        match &mut self.heard {
            Some(heard)
                if heard.id == id && heard.stream.is_in_sequence(packet.sequence_number) =>
            {
                self.hear(&header, packet, now);
            }
            _ if payload.is_none() => self.refuse_payload(packet.payload_type, source, now),
            _ => self.try_out(id, &header, packet.payload, now),
        }
    }

    /// Takes a packet of the heard stream.
    fn hear(&mut self, header: &Header, packet: &Packet<'_>, now: Instant) {
        let Some(heard) = &mut self.heard else {
            return;
        };
        let fate = heard.accept(header, packet.payload, now);
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
            let heard = self.heard.as_ref().map(|heard| heard.id);
            let counters = &mut self.counters;
            self.probation
                .refuse_older(OVERLAP, now, |refused| counters.refuse(refused, heard));
        }
        self.collect_digits();
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

    /// Keeps a packet of a stream that is not heard, or not yet.
    fn try_out(&mut self, id: StreamId, header: &Header, bytes: &[u8], now: Instant) {
        if let Some(heard) = &self.heard {
            let is_key = header.payload == Some(Payload::TelephoneEvent);
            if is_key && heard.id.source == id.source && heard.id.ssrc != id.ssrc {
                return self.hear_foreign_key(header, bytes, now);
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

    /// SIPp and some gateways signal keys in a stream of its own beside the audio.
    fn hear_foreign_key(&mut self, header: &Header, bytes: &[u8], now: Instant) {
        self.counters.played += 1;
        if let Some(event) = TelephoneEvent::parse(bytes) {
            let position = header.arrival.position;
            let digits = self
                .foreign_keypad
                .handle(event, header.timestamp, position, now);
            self.notices
                .extend(digits.into_iter().flatten().map(Output::from));
        }
    }

    /// Says once that a second stream is on the port.
    fn report_neighbour(&mut self, id: StreamId, now: Instant) {
        let Some(heard) = self.heard.as_ref().map(|heard| heard.id) else {
            return;
        };
        let is_stream = self.probation.get(id).is_some_and(Candidate::is_proven);
        if !is_stream || id == heard {
            return;
        }
        let trouble = if id.source == heard.source {
            Trouble::SsrcChanged
        } else {
            Trouble::SourceRejected
        };
        let notice = self.health.report(trouble, now, || {
            let (from, to) = (heard.ssrc.0, id.ssrc.0);
            format!(
                "SSRC {to:08x} from {} appeared beside SSRC {from:08x} from {}, and is heard only if that ends",
                id.source, heard.source
            )
        });
        self.notices.extend(notice);
    }

    /// Whether the candidate is to be heard from now on.
    fn may_succeed(&self, candidate: &Candidate, now: Instant) -> bool {
        candidate.is_proven()
            && self.heard.as_ref().is_none_or(|heard| {
                let silent = now.saturating_duration_since(heard.last_arrival);
                silent >= self.patience(heard, candidate)
            })
    }

    /// How long the heard stream must have been silent before the candidate takes over.
    fn patience(&self, heard: &Heard, candidate: &Candidate) -> Duration {
        let goes_on = candidate.id.ssrc == heard.id.ssrc
            && candidate
                .newest()
                .is_some_and(|newest| heard.stream.is_in_sequence(newest.sequence_number));
        let is_known = candidate.id.source == heard.id.source;
        if candidate.id == heard.id || heard.said_bye || (is_known && !heard.has_audio) {
            Duration::ZERO
        } else if is_known || goes_on {
            self.settings.ssrc_change_after
        } else {
            self.settings.source_change_after
        }
    }

    /// Hears a candidate of the pinned sender whose time has come without another packet of it.
    pub(super) fn hear_successor(&mut self, now: Instant) {
        let Some(heard) = &self.heard else {
            return;
        };
        let successor = self.probation.iter().find(|candidate| {
            candidate.id.source == heard.id.source && self.may_succeed(candidate, now)
        });
        if let Some(id) = successor.map(|candidate| candidate.id) {
            self.switch_to(id, now);
        }
    }

    /// When the next candidate of the pinned sender may be heard.
    pub(super) fn succession_deadline(&self) -> Option<Instant> {
        let heard = self.heard.as_ref()?;
        let deadline = |candidate: &Candidate| {
            let is_due = candidate.is_proven() && candidate.id.source == heard.id.source;
            let patience = self.patience(heard, candidate);
            is_due
                .then(|| heard.last_arrival.checked_add(patience))
                .flatten()
        };
        self.probation.iter().filter_map(deadline).min()
    }

    /// At the end of a leg, hears who would have been heard had the leg gone on.
    pub(super) fn hear_last(&mut self, now: Instant) {
        let last_words = self.probation.iter().find(|candidate| match &self.heard {
            None => true,
            Some(heard) => {
                let is_newer = candidate
                    .newest()
                    .is_some_and(|newest| newest.arrival.at > heard.last_arrival);
                let is_known = candidate.id.source == heard.id.source;
                is_newer && candidate.is_proven() && (is_known || self.may_succeed(candidate, now))
            }
        });
        if let Some(id) = last_words.map(|candidate| candidate.id) {
            self.switch_to(id, now);
        }
    }

    /// Hears a candidate, from the first packet that was kept of it.
    fn switch_to(&mut self, id: StreamId, now: Instant) {
        let Some(candidate) = self.probation.take(id) else {
            return;
        };
        let Some(first) = candidate.oldest().copied() else {
            return;
        };
        match &mut self.heard {
            None => self.start_leg(&candidate, &first, now),
            Some(heard) => heard.change(id, &first, now),
        }
        tracing::debug!(source = %id.source, ssrc = id.ssrc.0, "stream is heard");
        if let Some(heard) = &mut self.heard {
            for stored in candidate.packets {
                let fate = heard.accept(&stored.header, &stored.bytes, now);
                self.counters.count(fate);
            }
        }
        self.undecodable = 0;
        self.collect_digits();
    }

    fn start_leg(&mut self, candidate: &Candidate, first: &Header, now: Instant) {
        let law = candidate
            .packets
            .iter()
            .find_map(|stored| match stored.header.payload {
                Some(Payload::Audio(law)) => Some(law),
                _ => None,
            });
        let law = law.unwrap_or(Law::Pcmu);
        let StreamId {
            source: remote,
            ssrc,
        } = candidate.id;
        let start = first.arrival.position;
        self.notices.push_back(Output::Started {
            ssrc,
            law,
            remote,
            start,
        });
        self.heard = Some(Heard {
            id: candidate.id,
            stream: Stream::new(Arc::clone(&self.settings), first, law),
            last_arrival: now,
            has_audio: false,
            said_bye: false,
        });
    }

    fn pinned(&self) -> SocketAddr {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        self.heard.as_ref().map_or(unknown, |heard| heard.id.source)
    }
}

impl Heard {
    fn accept(&mut self, header: &Header, bytes: &[u8], now: Instant) -> Fate {
        self.last_arrival = self.last_arrival.max(header.arrival.at);
        self.has_audio |= matches!(header.payload, Some(Payload::Audio(_)));
        self.stream.accept(header, bytes, now)
    }

    /// Goes on with another stream, or with the same from another address or another place in its sequence.
    fn change(&mut self, id: StreamId, first: &Header, now: Instant) {
        if self.id.ssrc != id.ssrc {
            self.stream.change(first, now);
        } else if !self.stream.is_in_sequence(first.sequence_number) {
            self.stream.begin_sequence(first, now);
        }
        self.id = id;
        self.last_arrival = first.arrival.at;
        self.said_bye = false;
    }
}

impl Counters {
    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Played => self.played += 1,
            Fate::Late => self.late += 1,
            Fate::Duplicate => self.duplicate += 1,
        }
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

/// Packets of a successor that came this long before the last one of the heard stream are still heard: the network
/// may have swapped them.
const OVERLAP: Duration = Duration::from_millis(60);

/// Packets without one of audio between them after which a leg is said to be undecodable: half a second of them.
const ONLY_UNDECODABLE: u32 = 25;
