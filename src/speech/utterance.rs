//! From frames to utterances: onset, hangover, parts.

mod parts;
mod saved;
mod settings;
#[cfg(test)]
mod tests;
mod withheld;

pub use saved::{Depth, SavedSegmenter};
pub use settings::{Settings, SettingsError, Timing};

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::media::{FRAME_SAMPLES, Frame, Law, Samples, g711};
use crate::queue::take_first;
use crate::speech::Output;
use crate::speech::voice::{self, Sound, VoiceActivity};
use parts::{Heard, Parts};
use withheld::Withheld;

/// Finds the utterances of one leg.
///
/// Give it the leg's frames and silences in their order and drain [`Segmenter::poll_output`] after
/// each; it needs no clock, for audio is its time. An utterance is pre-roll, speech and post-roll.
/// Whatever comes after the last speech is withheld until speech resumes, and stays outside when
/// the hangover ends the utterance: nothing is sent in vain. Utterances never overlap, and every
/// frame is in one of them or in silence.
pub struct Segmenter {
    settings: Arc<Settings>,
    /// What takes their place when the open utterance ends.
    next_settings: Option<Arc<Settings>>,
    detector: Box<dyn VoiceActivity>,
    /// Where the last input ended; the next one begins here.
    position: Option<Samples>,
    /// The law of the last frame, for silence made here.
    law: Law,
    verdicts: Verdicts,
    /// What may still become part of an utterance: pre-roll between utterances, a pause within one.
    withheld: Withheld,
    phase: Phase,
    next_utterance: u64,
    /// What a meter shows: it rises at once and falls back by [`METER_FALL`] a frame.
    level: f32,
    outputs: VecDeque<Output>,
}

impl Segmenter {
    /// A segmenter that has heard nothing.
    pub fn new(settings: Arc<Settings>, detector: Box<dyn VoiceActivity>) -> Self {
        Self {
            settings,
            next_settings: None,
            detector,
            position: None,
            law: Law::Pcmu,
            verdicts: Verdicts::default(),
            withheld: Withheld::default(),
            phase: Phase::Silence,
            next_utterance: 0,
            level: voice::FLOOR_DBFS,
            outputs: VecDeque::new(),
        }
    }

    /// Reads a little of what the next frame will need; the sum means nothing.
    pub fn touch(&self) -> u64 {
        let position = self.position.map_or(0, |position| position.0);
        position ^ self.verdicts.0 ^ self.withheld.len() as u64 ^ self.outputs.len() as u64
    }

    /// The same of what lies in memory of its own.
    pub fn touch_beyond(&self) -> u64 {
        let start = self.withheld.start().map_or(0, |start| start.0);
        let parts = match &self.phase {
            Phase::Silence => 0,
            Phase::Speech { parts, .. } => parts.touch(),
        };
        start ^ parts ^ u64::from(self.detector.touch().to_bits())
    }

    /// Takes the next frame. One that starts later than the last input ended closes what is open;
    /// one that starts earlier is ignored.
    pub fn handle_frame(&mut self, frame: &Frame) {
        if frame.len == 0 || !self.continue_at(frame.start) {
            return;
        }
        self.law = frame.law;
        let (verdict, level) = self.judge(frame);
        self.take(*frame, verdict, level);
    }

    /// Takes a stretch in which the sender sent nothing on purpose. A short one inside an utterance
    /// becomes audible silence in it; a long one ends it, at the same cost.
    pub fn handle_silence(&mut self, start: Samples, len: Samples) {
        if len == Samples::ZERO || !self.continue_at(start) {
            return;
        }
        let end = start + len;
        let mut at = start;
        while at < end && matches!(self.phase, Phase::Speech { .. }) {
            at = self.take_silence(at, end);
        }
        let pre_roll = self.pre_roll_capacity();
        if end - at > pre_roll {
            at = end - pre_roll;
            self.level = voice::FLOOR_DBFS;
            self.withheld.clear();
            self.verdicts = Verdicts::default();
        }
        while at < end {
            at = self.take_silence(at, end);
        }
    }

    /// Closes the open utterance: the stream has ended or stalled. More may come, and opens
    /// another.
    pub fn handle_end(&mut self) {
        self.end_utterance();
        self.verdicts = Verdicts::default();
    }

    /// Goes on with other settings: at once if nobody speaks, else after this utterance.
    pub fn adopt(&mut self, settings: Arc<Settings>) {
        match self.phase {
            Phase::Silence => self.settings = settings,
            Phase::Speech { .. } => self.next_settings = Some(settings),
        }
    }

    /// Lets effects wait in another place, before there are any: one that many segmenters use in turn stays in the
    /// processor's cache.
    pub fn exchange_room(&mut self, room: &mut VecDeque<Output>) {
        std::mem::swap(&mut self.outputs, room);
    }

    /// The next effect, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        take_first(&mut self.outputs)
    }

    /// Whether an utterance is open or about to be.
    pub fn is_speech(&self) -> bool {
        matches!(self.phase, Phase::Speech { .. })
            || self.verdicts.speech_in(self.settings.onset_window()) > 0
    }

    /// How much more audio it takes at least to begin or end an utterance, or to complete a `fragment` of what is put out.
    pub fn uneventful(&self, fragment: Samples) -> Samples {
        match &self.phase {
            Phase::Silence => {
                let speech = self.verdicts.speech_in(self.settings.onset_window());
                let missing = self.settings.onset_frames.saturating_sub(speech);
                Samples(u64::from(missing) * FRAME_SAMPLES as u64)
            }
            Phase::Speech {
                parts,
                pause,
                quiet,
            } => {
                let hangover = self.settings.hangover;
                let until_end = hangover.saturating_sub(*quiet);
                let until_end = until_end.min((hangover + hangover).saturating_sub(*pause));
                // What is withheld or held back may be put out at once.
                let waiting = self.withheld.longest() + parts.held_len();
                let begun = Samples(parts.len().0 % fragment.0.max(1)) + waiting;
                until_end.min(fragment.saturating_sub(begun))
            }
        }
    }

    /// Utterances begun so far.
    pub const fn utterances(&self) -> u64 {
        self.next_utterance
    }

    /// How loud the leg is, in dBFS; a meter that falls back slowly.
    pub const fn level_dbfs(&self) -> f32 {
        self.level
    }

    /// Where the audio ends that was put out of the open part; `None` between utterances.
    pub fn put_out(&self) -> Option<Samples> {
        match &self.phase {
            Phase::Silence => None,
            Phase::Speech { parts, .. } => Some(parts.put_out()),
        }
    }

    /// Whether the input goes on from `start`.
    fn continue_at(&mut self, start: Samples) -> bool {
        let position = *self.position.get_or_insert(start);
        if start > position {
            self.handle_end();
            self.withheld.clear();
        }
        start >= position
    }

    fn judge(&mut self, frame: &Frame) -> (Verdict, f32) {
        let sound = Sound::from(frame);
        let verdict = if u16::from(frame.lost) * 2 > u16::from(frame.len) {
            Verdict::Unknown
        } else if !frame.telephone_event && self.detector.is_speech(&sound) {
            Verdict::Speech
        } else {
            Verdict::Quiet
        };
        (verdict, sound.level_dbfs())
    }

    fn take_silence(&mut self, at: Samples, end: Samples) -> Samples {
        let frame = silent_frame(self.law, at, end);
        self.take(frame, Verdict::Quiet, voice::FLOOR_DBFS);
        frame.end()
    }

    fn take(&mut self, frame: Frame, verdict: Verdict, level: f32) {
        self.position = Some(frame.end());
        self.level = level.max(self.level - METER_FALL).max(voice::FLOOR_DBFS);
        if verdict != Verdict::Unknown {
            self.verdicts.push(verdict == Verdict::Speech);
        }
        let is_speech = verdict == Verdict::Speech;
        let heard = Heard {
            frame,
            is_speech,
            level,
        };
        match self.phase {
            Phase::Silence => self.take_in_silence(heard),
            Phase::Speech { .. } => self.take_in_speech(heard, verdict),
        }
    }

    fn take_in_silence(&mut self, heard: Heard) {
        self.withheld.push(heard);
        let speech = self.verdicts.speech_in(self.settings.onset_window());
        if heard.is_speech && speech >= self.settings.onset_frames {
            self.begin_utterance();
        } else {
            self.withheld.keep_last(self.pre_roll_capacity());
        }
    }

    fn take_in_speech(&mut self, heard: Heard, verdict: Verdict) {
        let Phase::Speech {
            parts,
            pause,
            quiet,
        } = &mut self.phase
        else {
            return;
        };
        let len = Samples(u64::from(heard.frame.len));
        if heard.is_speech && self.verdicts.speech_in(RESUME_WINDOW) >= RESUME_FRAMES {
            (*pause, *quiet) = (Samples::ZERO, Samples::ZERO);
            self.withheld
                .drain()
                .for_each(|earlier| parts.push(earlier, &mut self.outputs));
            return parts.push(heard, &mut self.outputs);
        }
        *pause += len;
        if verdict == Verdict::Quiet {
            *quiet += len;
        }
        if *pause <= self.settings.post_roll {
            parts.push(heard, &mut self.outputs);
        } else {
            self.withheld.push(heard);
        }
        // Neither a loss nor a lone click decides, but they cannot keep an utterance open for ever.
        let hangover = self.settings.hangover;
        if *quiet >= hangover || *pause >= hangover + hangover {
            self.end_utterance();
        }
    }

    fn begin_utterance(&mut self) {
        let window = self.settings.onset_window();
        self.withheld
            .start_before_speech(self.settings.pre_roll, window);
        let Some(start) = self.withheld.start() else {
            return;
        };
        let (utterance, cut) = (self.next_utterance, self.settings.cut);
        self.next_utterance += 1;
        let mut parts = Parts::open(cut, utterance, start, &mut self.outputs);
        self.withheld
            .drain()
            .for_each(|heard| parts.push(heard, &mut self.outputs));
        self.phase = Phase::Speech {
            parts: Box::new(parts),
            pause: Samples::ZERO,
            quiet: Samples::ZERO,
        };
    }

    fn end_utterance(&mut self) {
        if let Phase::Speech { parts, .. } = std::mem::replace(&mut self.phase, Phase::Silence) {
            parts.close(&mut self.outputs);
            if let Some(settings) = self.next_settings.take() {
                self.settings = settings;
            }
            self.withheld.keep_last(self.pre_roll_capacity());
        }
    }

    /// What an onset can reach back to: the window that decides on it, and the pre-roll before.
    fn pre_roll_capacity(&self) -> Samples {
        self.settings.pre_roll
            + Samples(u64::from(self.settings.onset_window()) * FRAME_SAMPLES as u64)
    }
}

impl fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmenter")
            .field("position", &self.position)
            .field("phase", &self.phase)
            .field("next_utterance", &self.next_utterance)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Phase {
    Silence,
    Speech {
        parts: Box<Parts>,
        /// Time since the last speech.
        pause: Samples,
        /// How much of it was certainly none.
        quiet: Samples,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Speech,
    Quiet,
    /// The frame never arrived.
    Unknown,
}

/// The last verdicts, one bit each, the newest lowest.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Verdicts(u64);

impl Verdicts {
    fn push(&mut self, is_speech: bool) {
        self.0 = self.0 << 1 | u64::from(is_speech);
    }

    fn speech_in(self, frames: u32) -> u32 {
        (self.0 & ((1 << frames) - 1)).count_ones()
    }
}

/// At most one frame of the law's silence, from `at` and not past `end`.
fn silent_frame(law: Law, at: Samples, end: Samples) -> Frame {
    let len = (end - at).0.min(FRAME_SAMPLES as u64);
    Frame {
        start: at,
        law,
        g711: [g711::silence(law); FRAME_SAMPLES],
        len: u8::try_from(len).unwrap_or(u8::MAX),
        lost: 0,
        telephone_event: false,
    }
}

/// 25 dB a second: a syllable can be seen, and a pause too.
const METER_FALL: f32 = 0.5;

/// Inside an utterance, so many of so many frames resume the speech: one alone may be a click.
const RESUME_FRAMES: u32 = 2;
const RESUME_WINDOW: u32 = 4;
