//! What a packet whose turn it is does to the leg's audio, keys and clock.

use std::time::Instant;

use super::Stream;
use crate::media::dtmf::TelephoneEvent;
use crate::media::packet::NO_SOUND;
use crate::media::quiet::Quiet;
use crate::media::reorder::Header;
use crate::media::settings::Payload;
use crate::media::timeline::{Audio, Placement};
use crate::media::{Law, Samples};

impl Stream {
    /// Plays the packet whose turn it is.
    pub(super) fn play(&mut self, header: &Header, bytes: &[u8], missing: u64) {
        let audio = Audio {
            timestamp: header.timestamp,
            len: u32::try_from(bytes.len()).unwrap_or(0),
            marker: header.marker,
            missing,
            arrival: header.arrival.position,
        };
        match header.payload {
            // A keep-alive without payload (RFC 6263 §4.2) has no place in time.
            Some(Payload::Audio(law)) if !bytes.is_empty() => self.play_audio(law, bytes, &audio),
            None if bytes.len() > NO_SOUND => self.play_foreign(&Audio { len: 0, ..audio }),
            Some(Payload::Audio(_)) | None => self.timeline.miss(missing),
            Some(Payload::ComfortNoise) => {
                let gap = self.timeline.comfort_noise(&Audio { len: 0, ..audio });
                self.push_gap(&gap);
            }
            Some(Payload::TelephoneEvent) => self.play_event(bytes, &audio, header.arrival.at),
        }
    }

    /// Takes sound in another codec that came under another SSRC in place of the heard stream.
    pub(crate) fn hear_foreign(&mut self, header: &Header, bytes: &[u8]) {
        if bytes.len() > NO_SOUND {
            self.play_foreign(&Audio {
                timestamp: header.timestamp,
                len: 0,
                marker: header.marker,
                missing: 0,
                arrival: header.arrival.position,
            });
        }
    }

    fn play_foreign(&mut self, audio: &Audio) {
        let gap = self.timeline.foreign(audio);
        self.total.lost_samples += gap.lost.0;
        self.framer.push_silence(gap.silence);
        self.framer.push_undecodable(gap.lost);
    }

    fn play_audio(&mut self, law: Law, bytes: &[u8], audio: &Audio) {
        self.reception.follow_jitter(audio.timestamp, audio.arrival);
        let placement = self.timeline.place(audio);
        self.push_gap(&placement);
        let heard = self.correct_clock(law, bytes);
        self.framer
            .push_audio(law, heard, placement.telephone_event);
    }

    /// Takes a key whose packets have numbers of their own.
    pub(crate) fn hear_key(&mut self, header: &Header, bytes: &[u8]) {
        let audio = Audio {
            timestamp: header.timestamp,
            len: 0,
            marker: header.marker,
            missing: 0,
            arrival: header.arrival.position,
        };
        self.play_event(bytes, &audio, header.arrival.at);
    }

    fn play_event(&mut self, bytes: &[u8], audio: &Audio, at: Instant) {
        let Some(event) = TelephoneEvent::parse(bytes) else {
            return self.timeline.miss(audio.missing);
        };
        let duration = u32::from(event.duration);
        let audio = Audio { len: 0, ..*audio };
        let position = self
            .timeline
            .telephone_event(&audio, duration, event.is_end);
        let digits = self.keypad.handle(event, audio.timestamp, position, at);
        self.digits.extend(digits.into_iter().flatten());
    }

    fn push_gap(&mut self, gap: &Placement) {
        self.total.lost_samples += gap.lost.0;
        if gap.lost_first {
            self.framer.push_lost(gap.lost);
            self.framer.push_silence(gap.silence);
        } else {
            self.framer.push_silence(gap.silence);
            self.framer.push_lost(gap.lost);
        }
    }

    /// Works off what the clock is wrong by, a little in each quiet packet: gives what to play of
    /// the packet.
    fn correct_clock<'a>(&mut self, law: Law, bytes: &'a [u8]) -> &'a [u8] {
        let error = self.timeline.error();
        if error.abs() < LEAST_CORRECTION {
            self.quiet = Quiet::default();
            return bytes;
        }
        if !self.quiet.observe(law, bytes) || self.is_speech {
            return bytes;
        }
        let step = i64::try_from(bytes.len() / 10).unwrap_or(0);
        let correction = if error > UNHEARD {
            error
        } else {
            error.clamp(-step, step)
        };
        self.timeline.shift_end(correction);
        self.total.clock_adjustment += correction;
        match u64::try_from(correction) {
            Ok(later) => {
                self.framer.push_silence(Samples(later));
                bytes
            }
            Err(_) => {
                let dropped = usize::try_from(correction.unsigned_abs()).unwrap_or(0);
                &bytes[..bytes.len().saturating_sub(dropped)]
            }
        }
    }
}

/// Errors of less than 1 ms are left alone.
const LEAST_CORRECTION: i64 = 8;

/// An error so large, 200 ms, is put right at once in a pause.
const UNHEARD: i64 = 1_600;
