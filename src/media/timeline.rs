//! Time: where on the call clock a packet belongs, and what lies between it and the one before.
//!
//! RTP timestamps say how the sound of one run of a sender fits together; arrival says where a run begins on the call
//! clock, and whether a jump of the timestamp is a silence or a sender that began anew:
//!
//! - A timestamp that goes on where the last packet ended is contiguous, whatever the sequence numbers did.
//! - A gap is lost audio as far as missing packets explain it, and otherwise silence that the sender did not send.
//! - A packet that starts a little before the last one ended is appended whole; the debt is worked off in silence.
//! - A jump that arrival contradicts begins a new run where the packet arrived, never before what is already placed.

use crate::media::Samples;
use crate::media::drift::Drift;

/// Places the packets of a leg on the call clock.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Everything before is placed; only grows.
    end: Samples,
    run: Option<Run>,
    /// Where the next run begins, at the earliest.
    begin: Samples,
}

/// An audio packet in want of a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audio {
    /// As on the wire.
    pub(crate) timestamp: u32,
    /// In samples.
    pub(crate) len: u32,
    pub(crate) marker: bool,
    /// Packets given up since the one before.
    pub(crate) missing: u64,
    pub(crate) arrival: Samples,
}

/// What lies between the audio before and the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Never arrived.
    pub(crate) lost: Samples,
    /// Never sent.
    pub(crate) silence: Samples,
    /// Whether the lost part comes first.
    pub(crate) lost_first: bool,
}

/// Packets whose timestamps count from one origin.
#[derive(Debug)]
struct Run {
    /// The timestamp that continues the audio so far.
    expected: u32,
    /// The same without wrapping, from the start of the run.
    media_time: i64,
    /// Position on the call clock less media time.
    offset: i64,
    /// Duration of the longest recent packet, the measure of a lost one.
    packet_len: u32,
    /// How much later than its position the last packet came.
    lateness: i64,
    /// Missing packets not yet made into time.
    missing: u64,
    /// Whether comfort noise came since the last audio.
    is_silent: bool,
    event: Option<EventSpan>,
    drift: Drift,
}

/// The media time that a telephone event takes.
#[derive(Clone, Copy, Debug)]
struct EventSpan {
    start: i64,
    /// `None` while no end was heard of.
    end: Option<i64>,
    /// Whether audio goes on during it.
    interleaved: bool,
}

impl Timeline {
    /// Begins where the leg begins.
    pub(crate) fn new(start: Samples) -> Self {
        Self {
            end: start,
            run: None,
            begin: start,
        }
    }

    /// Lets the next packet begin a new run at `arrival`: another stream, or the same after a pause.
    pub(crate) fn restart(&mut self, arrival: Samples) {
        self.run = None;
        self.begin = arrival;
    }

    /// Places a packet after everything before it.
    pub(crate) fn place(&mut self, audio: &Audio) -> Gap {
        if let Some(run) = &self.run
            && run.is_jump(audio)
        {
            self.restart(audio.arrival);
        }
        let gap = match &mut self.run {
            Some(run) => run.place(audio, self.end),
            None => self.begin_run(audio),
        };
        self.end += gap.lost + gap.silence + Samples(u64::from(audio.len));
        gap
    }

    /// Takes note of comfort noise (RFC 3389); its timestamp, if it moves at all, ends a silence that is certain.
    pub(crate) fn comfort_noise(&mut self, audio: &Audio) -> Gap {
        let Some(run) = &mut self.run else {
            return Gap::default();
        };
        let gap = run.comfort_noise(audio, self.end);
        self.end += gap.lost + gap.silence;
        gap
    }

    /// Takes note of a telephone event (RFC 4733) in the stream and gives its position.
    pub(crate) fn telephone_event(&mut self, audio: &Audio, duration: u32, ended: bool) -> Samples {
        let position = self.run.as_mut().and_then(|run| {
            run.missing += audio.missing;
            run.telephone_event(audio, duration, ended)
        });
        position.unwrap_or(audio.arrival)
    }

    /// Counts packets that were given up before one that carries no time.
    pub(crate) fn miss(&mut self, missing: u64) {
        if let Some(run) = &mut self.run {
            run.missing += missing;
        }
    }

    /// Moves the end of what is placed by samples that were put in or left out.
    pub(crate) fn shift_end(&mut self, samples: i64) {
        self.end = Samples(self.end.0.saturating_add_signed(samples));
    }

    /// How far the clock wants the next contiguous packet to move: later if positive.
    pub(crate) fn error(&self) -> i64 {
        self.run
            .as_ref()
            .map_or(0, |run| run.position(0) - self.end.0.cast_signed())
    }

    /// How much later a packet came than the packets before it, by its timestamp.
    pub(crate) fn delay_grew(&self, timestamp: u32, arrival: Samples) -> i64 {
        self.run.as_ref().map_or(0, |run| {
            let lateness = arrival.0.cast_signed() - run.position(run.gap(timestamp));
            lateness - run.lateness.max(0)
        })
    }

    /// Whether a telephone event covers the packet at this timestamp.
    pub(crate) fn is_within_event(&self, timestamp: u32) -> bool {
        self.run.as_ref().is_some_and(|run| {
            let time = run.media_time + run.gap(timestamp);
            run.event
                .is_some_and(|event| time >= event.start && event.end.is_none_or(|end| time < end))
        })
    }

    /// Where on the call clock a timestamp of the current run lies.
    pub(crate) fn position_of(&self, timestamp: u32) -> Option<Samples> {
        let run = self.run.as_ref()?;
        let position = run.position(run.gap(timestamp));
        Some(Samples(u64::try_from(position).unwrap_or(0)))
    }

    /// Forgets an event whose end never came.
    pub(crate) fn end_event(&mut self) {
        if let Some(run) = &mut self.run {
            run.event = None;
        }
    }

    fn begin_run(&mut self, audio: &Audio) -> Gap {
        let wait = self.begin.saturating_sub(self.end);
        let silence = if wait.0 < SNAP { Samples::ZERO } else { wait };
        let start = (self.end + silence).0.cast_signed();
        self.run = Some(Run {
            expected: audio.timestamp.wrapping_add(audio.len),
            media_time: i64::from(audio.len),
            offset: start,
            packet_len: audio.len,
            lateness: audio.arrival.0.cast_signed() - start,
            missing: 0,
            is_silent: false,
            event: None,
            drift: Drift::default(),
        });
        Gap {
            silence,
            ..Gap::default()
        }
    }
}

impl Run {
    fn place(&mut self, audio: &Audio, end: Samples) -> Gap {
        let gap = self.gap(audio.timestamp);
        self.missing += audio.missing;
        self.packet_len = (self.packet_len - self.packet_len / 16).max(audio.len);
        let filled = self.fill(gap, audio.marker, end);
        let media_time = self.media_time + gap;
        let arrival = audio.arrival.0.cast_signed();
        self.offset += self.drift.observe(arrival - media_time, audio.arrival);
        self.lateness = arrival - self.position(gap);
        self.media_time = media_time + i64::from(audio.len);
        self.expected = audio.timestamp.wrapping_add(audio.len);
        self.missing = 0;
        self.is_silent = false;
        self.settle_event();
        self.forgive(end + filled.lost + filled.silence + Samples(u64::from(audio.len)));
        filled
    }

    fn comfort_noise(&mut self, audio: &Audio, end: Samples) -> Gap {
        let gap = self.gap(audio.timestamp);
        // Noise packets that go missing are not audio that goes missing.
        self.missing = if self.is_silent {
            0
        } else {
            self.missing + audio.missing
        };
        self.is_silent = true;
        // Asterisk's keep-alive freezes the timestamp: it tells nothing about time.
        if gap <= 0 || self.is_jump(audio) {
            return Gap::default();
        }
        let filled = self.fill(gap, true, end);
        self.missing = 0;
        self.media_time += gap;
        self.expected = audio.timestamp;
        filled
    }

    fn telephone_event(&mut self, audio: &Audio, duration: u32, ended: bool) -> Option<Samples> {
        let gap = self.gap(audio.timestamp);
        let start = self.media_time + gap;
        let position = self.position(gap);
        // SIPp plays recorded events with timestamps of their own.
        if (position - audio.arrival.0.cast_signed()).abs() > 10 * TOLERANCE {
            return None;
        }
        let interleaved = self
            .event
            .is_some_and(|event| event.start == start && event.interleaved);
        let end = ended.then(|| start + i64::from(duration));
        self.event = Some(EventSpan {
            start,
            end,
            interleaved,
        });
        Some(Samples(u64::try_from(position).unwrap_or(0)))
    }

    /// What fills a gap of so many samples before a packet.
    fn fill(&self, gap: i64, marker: bool, end: Samples) -> Gap {
        let Ok(len) = u64::try_from(gap) else {
            return Gap::default();
        };
        let by_event = u64::try_from(self.covered_by_event(gap)).unwrap_or(0);
        let explained = self.missing.saturating_mul(u64::from(self.packet_len));
        let lost = if self.is_silent && marker {
            0
        } else {
            explained.min(len.saturating_sub(by_event))
        };
        let unsent = len - lost;
        let silence = if unsent == 0 {
            0
        } else {
            let error = self.position(0) - end.0.cast_signed();
            unsent.saturating_add_signed(error)
        };
        Gap {
            lost: Samples(lost),
            silence: Samples(silence),
            // The marker tells that the packet opens a talkspurt, so what is missing closed the one before.
            lost_first: marker,
        }
    }

    fn covered_by_event(&self, gap: i64) -> i64 {
        let until = self.media_time + gap;
        self.event.map_or(0, |event| {
            let end = event.end.unwrap_or(until).min(until);
            let covered = end - event.start.max(self.media_time);
            if event.interleaved { 0 } else { covered.max(0) }
        })
    }

    /// Audio was placed: an open event is interleaved with it, a past one is over.
    fn settle_event(&mut self) {
        if let Some(event) = &mut self.event {
            event.interleaved |= self.media_time > event.start;
            if event.end.is_some_and(|end| self.media_time >= end) {
                self.event = None;
            }
        }
    }

    /// A sender whose timestamps keep running behind its own audio is believed by its audio.
    fn forgive(&mut self, end: Samples) {
        let error = self.position(0) - end.0.cast_signed();
        if error < -MAX_DEBT {
            self.offset -= error;
        }
    }

    /// Whether the sender's clock was set anew, as arrival shows.
    fn is_jump(&self, audio: &Audio) -> bool {
        let gap = self.gap(audio.timestamp);
        let overlap = i64::from(self.packet_len.max(audio.len));
        let early = self.position(gap) - audio.arrival.0.cast_signed();
        gap < -overlap || (gap > 0 && early > TOLERANCE + (-self.lateness).max(0))
    }

    /// Samples from the end of the audio so far to this timestamp.
    fn gap(&self, timestamp: u32) -> i64 {
        i64::from(timestamp.wrapping_sub(self.expected).cast_signed())
    }

    /// Position on the call clock of the audio that comes `gap` samples after the last.
    const fn position(&self, gap: i64) -> i64 {
        self.media_time + self.offset + gap
    }
}

/// How much earlier than ever before a packet may come before its timestamp is disbelieved: 1 s.
const TOLERANCE: i64 = 8_000;

/// Debt of overlapping packets at which the timestamps are disbelieved: 100 ms.
const MAX_DEBT: i64 = 800;

/// A new run this close behind the one before is contiguous with it: 60 ms, what jitter explains.
const SNAP: u64 = 480;

#[cfg(test)]
mod tests;
