//! The heard stream: its packets in order, on the call clock, as frames.

use std::sync::Arc;
use std::time::Instant;

use crate::media::dtmf::{Digit, Keypad, TelephoneEvent};
use crate::media::framer::Framer;
use crate::media::quiet::Quiet;
use crate::media::receiver::Output;
use crate::media::reception::Reception;
use crate::media::reorder::{Arrival, Header, Order, Reorder};
use crate::media::sequence::SequenceExtender;
use crate::media::settings::{Payload, Settings};
use crate::media::statistics::Statistics;
use crate::media::timeline::{Audio, Gap, Timeline};
use crate::media::{Law, Samples};

/// What became of a packet of the heard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is heard, or will be when it is its turn.
    Played,
    /// Its place was given up.
    Late,
    /// It was here before.
    Duplicate,
}

/// Plays the packets of a leg, one stream after the other.
#[derive(Debug)]
pub(crate) struct Stream {
    settings: Arc<Settings>,
    sequence: SequenceExtender,
    reorder: Reorder,
    reception: Reception,
    timeline: Timeline,
    framer: Framer,
    keypad: Keypad,
    digits: Vec<Digit>,
    quiet: Quiet,
    is_speech: bool,
    /// How late the packet came that may end a pause; it is held until those behind it have told.
    may_resume: Option<i64>,
    total: Statistics,
}

impl Stream {
    /// Begins a leg with its first packet.
    pub(crate) fn new(settings: Arc<Settings>, first: &Header, law: Law) -> Self {
        let start = first.arrival.position;
        Self {
            sequence: SequenceExtender::new(first.sequence_number),
            reorder: Self::begin_order(&settings, first.arrival),
            reception: Reception::default(),
            timeline: Timeline::new(start),
            framer: Framer::new(start, law, settings.concealment),
            keypad: Keypad::default(),
            digits: Vec::new(),
            quiet: Quiet::default(),
            is_speech: false,
            may_resume: None,
            total: Statistics {
                streams: 1,
                ..Statistics::default()
            },
            settings,
        }
    }

    /// Goes on with another stream, whose numbers and timestamps have nothing to do with the last.
    pub(crate) fn change(&mut self, first: &Header, now: Instant) {
        self.begin_sequence(first, now);
        self.timeline.restart(first.arrival.position);
        self.digits.extend(self.keypad.release());
        self.keypad = Keypad::default();
        self.total = self.statistics();
        self.total.streams += 1;
        self.reception = Reception::default();
    }

    /// Goes on with the same stream after a jump of its sequence numbers.
    pub(crate) fn begin_sequence(&mut self, first: &Header, now: Instant) {
        self.flush(now);
        self.total = self.statistics();
        self.reception = Reception::default();
        self.sequence = SequenceExtender::new(first.sequence_number);
        self.reorder = Self::begin_order(&self.settings, first.arrival);
    }

    /// Whether the number belongs to the sequence heard so far.
    pub(crate) fn is_in_sequence(&self, sequence_number: u16) -> bool {
        self.sequence.extend(sequence_number).is_some()
    }

    /// Takes a packet of the heard stream.
    pub(crate) fn accept(&mut self, header: &Header, bytes: &[u8], now: Instant) -> Fate {
        let sequence = self.sequence.nearest(header.sequence_number);
        self.sequence.advance(sequence);
        self.reception.count(sequence);
        let order = self.reorder.judge(sequence);
        if matches!(order, Order::Late | Order::Duplicate) {
            return if order == Order::Late {
                Fate::Late
            } else {
                Fate::Duplicate
            };
        }
        self.watch_for_pause(header, now);
        if order == Order::Next && !self.reorder.is_holding() {
            self.reorder.pass(sequence);
            self.play(header, bytes, 0);
        } else {
            self.reorder.keep(sequence, *header, bytes);
        }
        self.release(now);
        Fate::Played
    }

    /// Gives up what has waited long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.release(now);
        self.digits.extend(self.keypad.handle_timeout(now));
        if self.keypad.poll_timeout().is_none() {
            self.timeline.end_event();
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.reorder.deadline(), self.keypad.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// Plays everything that waits; nothing more will come.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.flush(now);
        self.digits.extend(self.keypad.release());
        self.framer.finish();
    }

    /// Tells whether somebody speaks, as far as the listener knows; the clock is not corrected meanwhile.
    pub(crate) const fn set_speech(&mut self, is_speech: bool) {
        self.is_speech = is_speech;
    }

    /// The next frame or silence.
    pub(crate) fn pull(&mut self) -> Option<Output> {
        self.framer.pull()
    }

    /// The next key that was released.
    pub(crate) fn pull_digit(&mut self) -> Option<Digit> {
        (!self.digits.is_empty()).then(|| self.digits.remove(0))
    }

    /// Where a timestamp of the stream lies on the call clock.
    pub(crate) fn position_of(&self, timestamp: u32) -> Option<Samples> {
        self.timeline.position_of(timestamp)
    }

    /// The figures of this stream, the sums over all of them.
    pub(crate) fn statistics(&self) -> Statistics {
        let reception = &self.reception;
        Statistics {
            extended_highest: reception.extended_highest(),
            expected: self.total.expected + reception.expected(),
            received: self.total.received + reception.received(),
            lost: self.total.lost + reception.lost(),
            jitter: reception.jitter(),
            ..self.total
        }
    }

    /// The figures that a receiver report is made of.
    pub(crate) const fn reception_mut(&mut self) -> &mut Reception {
        &mut self.reception
    }

    fn begin_order(settings: &Settings, first: Arrival) -> Reorder {
        let until = first
            .at
            .checked_add(settings.reorder_wait)
            .unwrap_or(first.at);
        Reorder::new(settings.reorder_wait, until)
    }

    /// A packet that comes much later than its timestamp either ends a pause, during which the sender's clock stood
    /// still, or is the first of a jam. Only those behind it tell, so it is held until they are there.
    fn watch_for_pause(&mut self, header: &Header, now: Instant) {
        if !matches!(header.payload, Some(Payload::Audio(_))) || self.reorder.is_holding() {
            return;
        }
        let late = self
            .timeline
            .delay_grew(header.timestamp, header.arrival.position);
        if late > PAUSE {
            self.may_resume = Some(late);
            self.reorder
                .hold(now.checked_add(self.settings.reorder_wait).unwrap_or(now));
        }
    }

    fn resume(&mut self) {
        let Some(late) = self.may_resume.take() else {
            return;
        };
        let audio = |header: &&Header| matches!(header.payload, Some(Payload::Audio(_)));
        let Some(first) = self.reorder.waiting().find(audio) else {
            return;
        };
        let still_late = self.reorder.waiting().rfind(audio).map_or(late, |last| {
            self.timeline
                .delay_grew(last.timestamp, last.arrival.position)
        });
        let is_jam = self.reorder.is_full() || still_late < late / 2;
        if !is_jam {
            self.timeline.restart(first.arrival.position);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.reorder.give_up_waiting();
        self.resume();
        self.release(now);
    }

    fn release(&mut self, now: Instant) {
        if self.reorder.ends_hold(now) {
            self.resume();
        }
        while let Some((stored, missing)) = self.reorder.release(now) {
            self.play(&stored.header, &stored.bytes, missing);
            self.reorder.recycle(stored.bytes);
        }
    }

    /// Plays the packet whose turn it is.
    fn play(&mut self, header: &Header, bytes: &[u8], missing: u64) {
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
            Some(Payload::Audio(_)) | None => self.timeline.miss(missing),
            Some(Payload::ComfortNoise) => {
                let gap = self.timeline.comfort_noise(&Audio { len: 0, ..audio });
                self.push_gap(gap);
            }
            Some(Payload::TelephoneEvent) => self.play_event(bytes, &audio, header.arrival.at),
        }
    }

    fn play_audio(&mut self, law: Law, bytes: &[u8], audio: &Audio) {
        self.reception.follow_jitter(audio.timestamp, audio.arrival);
        let telephone_event = self.timeline.is_within_event(audio.timestamp);
        let gap = self.timeline.place(audio);
        self.push_gap(gap);
        let heard = self.correct_clock(law, bytes);
        self.framer.push_audio(law, heard, telephone_event);
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

    fn push_gap(&mut self, gap: Gap) {
        self.total.lost_samples += gap.lost.0;
        if gap.lost_first {
            self.framer.push_lost(gap.lost);
            self.framer.push_silence(gap.silence);
        } else {
            self.framer.push_silence(gap.silence);
            self.framer.push_lost(gap.lost);
        }
    }

    /// Works off what the clock is wrong by, a little in each quiet packet: gives what to play of the packet.
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

/// A packet this much later than those before may end a pause: 500 ms, twice the burst interval of `ffmpeg -re`.
const PAUSE: i64 = 4_000;

/// Errors of less than 1 ms are left alone.
const LEAST_CORRECTION: i64 = 8;

/// An error so large, 200 ms, is put right at once in a pause.
const UNHEARD: i64 = 1_600;
