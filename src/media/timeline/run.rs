//! One run of a sender: packets whose timestamps count from one origin.

use super::{Audio, Placement};
use crate::media::Samples;
use crate::media::drift::Drift;

/// Packets whose timestamps count from one origin.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Run {
    /// The timestamp that continues the audio so far.
    expected: u32,
    /// The same without wrapping, from the start of the run.
    media_time: i64,
    /// Position on the call clock less media time.
    offset: i64,
    /// Duration of the longest recent packet, the measure of a lost one.
    packet_len: u32,
    /// How many packets in a row were as long.
    alike: u32,
    /// Whether sound came since the last audio that nobody here can decode.
    is_foreign: bool,
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
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct EventSpan {
    start: i64,
    /// `None` while no end was heard of.
    end: Option<i64>,
    /// Whether audio goes on during it.
    interleaved: bool,
}

impl Run {
    /// Begins with this packet, which is placed at `start`.
    pub(super) fn new(audio: &Audio, start: Samples) -> Self {
        let start = start.0.cast_signed();
        Self {
            expected: audio.timestamp.wrapping_add(audio.len),
            media_time: i64::from(audio.len),
            offset: start,
            packet_len: audio.len,
            alike: 1,
            is_foreign: false,
            lateness: audio.arrival.0.cast_signed() - start,
            missing: 0,
            is_silent: false,
            event: None,
            drift: Drift::default(),
        }
    }

    /// Counts packets that were given up before one that carries no time.
    pub(super) fn miss(&mut self, missing: u64) {
        self.missing += missing;
    }

    /// Forgets an event whose end never came.
    pub(super) fn end_event(&mut self) {
        self.event = None;
    }

    /// How much later a packet came than the one before, by its timestamp.
    pub(super) fn delay_grew(&self, timestamp: u32, arrival: Samples) -> i64 {
        let lateness = arrival.0.cast_signed() - self.position(self.gap(timestamp));
        lateness - self.lateness.max(0)
    }

    pub(super) fn place(&mut self, audio: &Audio, end: Samples) -> Placement {
        let gap = self.gap(audio.timestamp);
        self.missing += audio.missing;
        self.alike = if audio.len == self.packet_len {
            self.alike.saturating_add(1)
        } else {
            0
        };
        self.packet_len = (self.packet_len - self.packet_len / 16).max(audio.len);
        let filled = self.fill(gap, audio.marker, end);
        let media_time = self.media_time + gap;
        let telephone_event = self.is_within_event(media_time, filled.silence);
        let arrival = audio.arrival.0.cast_signed();
        self.offset += self.drift.observe(arrival - media_time, audio.arrival);
        self.lateness = arrival - self.position(gap);
        self.media_time = media_time + i64::from(audio.len);
        self.expected = audio.timestamp.wrapping_add(audio.len);
        self.missing = 0;
        self.is_silent = false;
        self.is_foreign = false;
        self.forgive(end + filled.lost + filled.silence + Samples(u64::from(audio.len)));
        Placement {
            telephone_event,
            ..filled
        }
    }

    pub(super) fn comfort_noise(&mut self, audio: &Audio, end: Samples) -> Placement {
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
            return Placement::default();
        }
        let filled = self.fill(gap, true, end);
        self.missing = 0;
        self.media_time += gap;
        self.expected = audio.timestamp;
        filled
    }

    pub(super) fn telephone_event(
        &mut self,
        audio: &Audio,
        duration: u32,
        ended: bool,
    ) -> Option<Samples> {
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

    /// Reads a little of what the next packet will need; the sum means nothing.
    pub(super) fn touch(&self) -> u64 {
        u64::from(self.packet_len) + self.missing
    }

    /// Sound in another codec: by arrival, for its timestamps may count in another clock.
    pub(super) fn foreign(&mut self, audio: &Audio, end: Samples) -> Placement {
        let packet_len = i64::from(self.packet_len);
        let until = audio.arrival.0.cast_signed() - self.lateness + packet_len;
        let Ok(len @ 1..) = u64::try_from(until - end.0.cast_signed()) else {
            return Placement::default();
        };
        let missing = self.missing + audio.missing;
        let at_most = missing.saturating_mul(u64::from(self.packet_len)) + FOREIGN_PACKET;
        let lost = len.min(at_most);
        self.media_time += len.cast_signed();
        let len_on_wire = u32::try_from(len).unwrap_or(u32::MAX);
        self.expected = self.expected.wrapping_add(len_on_wire);
        self.missing = 0;
        self.is_foreign = true;
        Placement {
            lost: Samples(lost),
            silence: Samples(len - lost),
            ..Placement::default()
        }
    }

    /// What fills a gap of so many samples before a packet.
    fn fill(&self, gap: i64, marker: bool, end: Samples) -> Placement {
        let Ok(len) = u64::try_from(gap) else {
            return Placement::default();
        };
        let by_event = u64::try_from(self.covered_by_event(gap)).unwrap_or(0);
        let explained = self.missing.saturating_mul(u64::from(self.packet_len));
        let lost = if self.is_silent && marker || self.were_swallowed(explained, len) {
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
        Placement {
            lost: Samples(lost),
            silence: Samples(silence),
            // The marker tells that the packet opens a talkspurt, so what is missing closed the one
            // before.
            lost_first: marker,
            telephone_event: false,
        }
    }

    /// Whether numbers are missing that had no time of their own, so that they were no audio:
    /// Asterisk swallows the keys of the phone it speaks for, and keeps the numbers.
    fn were_swallowed(&self, explained: u64, gap: u64) -> bool {
        self.alike >= UNIFORM && explained >= gap + 2 * u64::from(self.packet_len)
    }

    fn covered_by_event(&self, gap: i64) -> i64 {
        let until = self.media_time + gap;
        self.event.map_or(0, |event| {
            let end = event.end.unwrap_or(until).min(until);
            let covered = end - event.start.max(self.media_time);
            if event.interleaved { 0 } else { covered.max(0) }
        })
    }

    /// Whether the event goes on at this time, in which audio was placed behind so much silence.
    fn is_within_event(&mut self, time: i64, silence: Samples) -> bool {
        let Some(event) = &mut self.event else {
            return false;
        };
        // An event in place of audio is over when audio comes again, even if every packet of its
        // end was lost.
        let is_over = event.end.map_or(silence > Samples::ZERO, |end| time >= end);
        event.interleaved = true;
        let is_within = time >= event.start && !is_over;
        if is_over {
            self.event = None;
        }
        is_within
    }

    /// A sender whose timestamps keep running behind its own audio is believed by its audio.
    fn forgive(&mut self, end: Samples) {
        let error = self.position(0) - end.0.cast_signed();
        if error < -MAX_DEBT {
            self.offset -= error;
        }
    }

    /// Whether the sender's clock was set anew, as arrival shows.
    pub(super) fn is_jump(&self, audio: &Audio) -> bool {
        let gap = self.gap(audio.timestamp);
        let overlap = i64::from(self.packet_len.max(audio.len));
        let early = self.position(gap) - audio.arrival.0.cast_signed();
        let is_foreign_clock = self.is_foreign && gap.abs() > 2 * overlap;
        is_foreign_clock
            || gap < -overlap
            || (gap > 0 && early > TOLERANCE + (-self.lateness).max(0))
    }

    /// Whether so many packets ago the run was about at this timestamp; pauses may lie between.
    pub(super) fn has_passed(&self, timestamp: u32, behind: u64) -> bool {
        let passed = -self.gap(timestamp);
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        let least = behind.saturating_mul(i64::from(self.packet_len)) / 2;
        behind > 0 && (least..=MAX_JAM).contains(&passed)
    }

    /// Samples from the end of the audio so far to this timestamp.
    pub(super) fn gap(&self, timestamp: u32) -> i64 {
        i64::from(timestamp.wrapping_sub(self.expected).cast_signed())
    }

    /// Position on the call clock of the audio that comes `gap` samples after the last.
    pub(super) const fn position(&self, gap: i64) -> i64 {
        self.media_time + self.offset + gap
    }
}

/// How much earlier than ever before a packet may come before its timestamp is disbelieved: 1 s.
const TOLERANCE: i64 = 8_000;

/// Packets of one length after which their number tells their time.
const UNIFORM: u32 = 10;

/// Longest time that one packet in another codec stands for: 300 ms, with what jitter adds.
const FOREIGN_PACKET: u64 = 2_400;

/// What came earlier than this, a minute ago, is not late any more.
const MAX_JAM: i64 = 480_000;

/// Debt of overlapping packets at which the timestamps are disbelieved: 100 ms.
const MAX_DEBT: i64 = 800;
