//! The heard stream: its packets in order, on the call clock, as frames.

mod past;
mod play;
mod saved;

use std::sync::Arc;
use std::time::Instant;

use crate::media::dtmf::{Digit, Keypad};
use crate::media::framer::Framer;
use crate::media::quiet::Quiet;
use crate::media::receiver::Output;
use crate::media::reception::Reception;
use crate::media::reorder::{Arrival, Fingerprint, Header, Order, Reorder};
use crate::media::rewind::{Nature, Past, Rewind};
use crate::media::sequence::{MAX_LEAP, SequenceExtender, SequenceNumber};
use crate::media::settings::{Payload, Settings};
use crate::media::statistics::Statistics;
use crate::media::timeline::Timeline;
use crate::media::{Law, Samples};
pub(crate) use saved::SavedStream;

/// What became of a packet of the heard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is heard, or will be when it is its turn.
    Played,
    /// Its place was given up.
    Late,
    /// It was here before.
    Duplicate,
    /// It is kept until it is clear what it is; see [`Stream::take_decided`].
    Undecided,
}

/// What became of packets that were [`Fate::Undecided`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) played: u64,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
}

/// Plays the packets of a leg, one stream after the other.
#[derive(Debug)]
pub(crate) struct Stream {
    settings: Arc<Settings>,
    sequence: SequenceExtender,
    reorder: Reorder,
    rewind: Rewind,
    decided: Decided,
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
            rewind: Rewind::default(),
            decided: Decided::default(),
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
        self.dismiss_past();
        self.flush(now);
        self.total = self.statistics();
        self.reception = Reception::default();
        self.sequence = SequenceExtender::new(first.sequence_number);
        self.reorder = Self::begin_order(&self.settings, first.arrival);
    }

    /// Reads a little of what the next packet will need; the sum means nothing.
    pub(crate) fn touch(&self) -> u64 {
        let order =
            u64::from(self.reorder.has_begun()) + u64::from(self.rewind.iter().next().is_some());
        let waits = u64::from(self.poll_timeout().is_some()) + u64::from(self.is_speech);
        let figures = self.reception.expected()
            ^ self.reception.received()
            ^ self.reception.jitter()
            ^ self.total.streams
            ^ self.total.lost_samples;
        let clock = self.timeline.error().cast_unsigned();
        let clock = clock ^ u64::from(self.sequence.distance(0).unsigned_abs());
        let clock = clock ^ self.timeline.touch();
        order ^ waits ^ figures ^ clock ^ self.framer.touch()
    }

    /// The same of what lies in memory of its own.
    pub(crate) fn touch_beyond(&self) -> u64 {
        self.framer.touch_beyond()
    }

    /// Whether the number belongs to the sequence heard so far.
    pub(crate) fn is_in_sequence(&self, sequence_number: u16) -> bool {
        let sequence = self.sequence.nearest(sequence_number);
        let is_in_hole = self.sequence.distance(sequence_number) < 0
            && self.reorder.has_begun()
            && self.reorder.behind(sequence) == 0;
        is_in_hole || self.sequence.extend(sequence_number).is_some()
    }

    /// Whether a packet belongs to the sequence heard so far, be it late.
    pub(crate) fn is_continued_by(&self, header: &Header) -> bool {
        let number = header.sequence_number;
        if header.payload == Some(Payload::TelephoneEvent) {
            // Keys that leap ahead have numbers of their own, and must not make audio late.
            return self.is_in_sequence(number) && self.sequence.distance(number) <= MAX_LEAP;
        }
        let behind = self.reorder.behind(self.sequence.nearest(number));
        self.is_in_sequence(number) || self.timeline.has_passed(header.timestamp, behind)
    }

    /// Takes a packet of the heard stream.
    pub(crate) fn accept(&mut self, header: &Header, bytes: &[u8], now: Instant) -> Fate {
        let sequence = self.sequence.nearest(header.sequence_number);
        let nature = match self.reorder.judge(sequence, header, bytes) {
            Order::Next | Order::Ahead => return self.accept_new(sequence, header, bytes, now),
            Order::Late => Nature::Late,
            Order::Duplicate => Nature::Copy,
            Order::Other => Nature::Other,
        };
        if matches!(header.payload, Some(Payload::Audio(_))) {
            self.keep_past(Past::new(sequence, nature, header, bytes), now)
        } else {
            self.count_past(sequence, nature);
            self.accept_out_of_order(nature, header, bytes)
        }
    }

    fn accept_new(
        &mut self,
        sequence: SequenceNumber,
        header: &Header,
        bytes: &[u8],
        now: Instant,
    ) -> Fate {
        self.dismiss_past();
        self.rewind.note_progress(header.arrival.at);
        self.sequence.advance(sequence);
        self.reception.count(sequence);
        self.watch_for_pause(header, now);
        if self.reorder.is_due(sequence) {
            self.reorder.pass(sequence, Fingerprint::of(header, bytes));
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
        self.dismiss_past();
        self.flush(now);
        self.digits.extend(self.keypad.release());
        self.framer.finish();
    }

    /// Tells whether somebody speaks, as far as the listener knows; the clock is not corrected
    /// meanwhile.
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
            never_seen: self.total.never_seen + reception.never_seen(),
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

    /// A packet that comes much later than its timestamp either ends a pause, during which the
    /// sender's clock stood still, or is the first of a jam. Only those behind it tell, so it is
    /// held until they are there.
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
}

/// A packet this much later than those before may end a pause: 500 ms, twice the burst interval of
/// `ffmpeg -re`.
const PAUSE: i64 = 4_000;
