//! Who is heard next: the rules are written down at [`Receiver`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::selection::OVERLAP;
use super::{Heard, Output, Payload, Receiver};
use crate::media::Law;
use crate::media::health::Trouble;
use crate::media::probation::{Candidate, StreamId};
use crate::media::reorder::Header;
use crate::media::stream::{Fate, Stream};

impl Receiver {
    /// Says once that a second stream is on the port.
    pub(super) fn report_neighbour(&mut self, id: StreamId, now: Instant) {
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
                "SSRC {to:08x} from {} appeared beside SSRC {from:08x} from {}, \
                 and is heard only if that ends",
                id.source, heard.source
            )
        });
        self.notices.extend(notice);
    }

    /// Whether the candidate is to be heard from now on.
    pub(super) fn may_succeed(&self, candidate: &Candidate, now: Instant) -> bool {
        let Some(heard) = &self.heard else {
            return self.may_begin(candidate, now);
        };
        let silent = now.saturating_duration_since(heard.last_arrival);
        candidate.is_proven() && silent >= self.patience(heard, candidate)
    }

    /// Whether the leg is to begin with the candidate.
    fn may_begin(&self, candidate: &Candidate, now: Instant) -> bool {
        let waited = now.saturating_duration_since(candidate.began) >= BURST_AT_START;
        let is_likely = candidate.is_proven() && (candidate.keeps_time() || waited);
        (is_likely && !self.is_contended(candidate)) || candidate.is_steady()
    }

    fn is_contended(&self, candidate: &Candidate) -> bool {
        let mut others = self.probation.iter();
        others.any(|other| candidate.is_contended_by(other))
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

    /// Hears a candidate whose time has come without another packet of it: the first of a leg, or
    /// one of the pinned sender.
    pub(super) fn hear_successor(&mut self, now: Instant) {
        let pinned = self.remote();
        let successor = self.probation.iter().find(|candidate| {
            let is_known = pinned.is_none_or(|pinned| candidate.id.source == pinned);
            is_known && self.may_succeed(candidate, now)
        });
        if let Some(id) = successor.map(|candidate| candidate.id) {
            self.switch_to(id, now);
        }
    }

    /// When the next candidate of the pinned sender, or the first of the leg, may be heard.
    pub(super) fn succession_deadline(&self) -> Option<Instant> {
        let Some(heard) = &self.heard else {
            let mut candidates = self.probation.iter();
            let first = candidates.find(|one| one.is_proven() && !self.is_contended(one))?;
            return first.began.checked_add(BURST_AT_START);
        };
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
        let last_words = self.probation.iter().filter(|candidate| match &self.heard {
            None => true,
            Some(heard) => {
                // One that went on beside the heard stream is no successor.
                let is_newer = candidate.began + OVERLAP > heard.last_arrival;
                let is_known = candidate.id.source == heard.id.source;
                is_newer && candidate.is_proven() && (is_known || self.may_succeed(candidate, now))
            }
        });
        let longest = match &self.heard {
            None => last_words.max_by_key(|candidate| candidate.packets.len()),
            Some(_) => last_words.min_by_key(|candidate| candidate.began),
        };
        let id = longest.map(|candidate| candidate.id);
        if let Some(id) = id {
            self.switch_to(id, now);
        }
    }

    /// Hears a candidate, from the first packet that was kept of it.
    pub(super) fn switch_to(&mut self, id: StreamId, now: Instant) {
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
                // As if they had been heard when they came: swapped ones wait for each other.
                let fate = heard.accept(&stored.header, &stored.bytes, stored.header.arrival.at);
                self.counters.count(fate);
            }
            heard.stream.handle_timeout(now);
            self.counters.count_decided(heard.stream.take_decided());
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
}

impl Heard {
    /// Whether a packet of the stream belongs to the sequence heard so far.
    pub(super) fn goes_on_with(&self, header: &Header) -> bool {
        self.stream.is_continued_by(header)
    }

    pub(super) fn accept(&mut self, header: &Header, bytes: &[u8], now: Instant) -> Fate {
        self.last_arrival = self.last_arrival.max(header.arrival.at);
        self.has_audio |= matches!(header.payload, Some(Payload::Audio(_)));
        self.stream.accept(header, bytes, now)
    }

    /// Goes on with another stream, or with the same from another address or another place in its
    /// sequence.
    fn change(&mut self, id: StreamId, first: &Header, now: Instant) {
        let is_jump = self.id == id || !self.stream.is_in_sequence(first.sequence_number);
        if self.id.ssrc != id.ssrc {
            self.stream.change(first, now);
        } else if is_jump {
            self.stream.begin_sequence(first, now);
        }
        self.id = id;
        self.last_arrival = first.arrival.at;
        self.said_bye = false;
    }
}

/// What came at once may be a flood, or the burst with which some senders begin: after so long it is
/// taken for the latter, if nobody else contends for the leg.
const BURST_AT_START: Duration = Duration::from_millis(100);
