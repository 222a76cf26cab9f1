//! One utterance, written out in parts that fit a recognition each.

mod saved;

use std::collections::VecDeque;

use crate::media::{Frame, Samples};
use crate::speech::{Output, cut};
pub(super) use saved::SavedParts;

/// A frame with what the detector made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) frame: Frame,
    pub(super) is_speech: bool,
    /// In dBFS.
    pub(super) level: f32,
}

impl Heard {
    fn as_piece(&self) -> cut::Piece {
        cut::Piece {
            len: Samples(u64::from(self.frame.len)),
            level: self.level,
            is_speech: self.is_speech,
        }
    }
}

/// The open utterance on its way out: frames pass at once, until its part is long enough to be cut;
/// from then on they are held back within the look-ahead.
#[derive(Debug)]
pub(super) struct Parts {
    settings: cut::Settings,
    utterance: u64,
    utterance_start: Samples,
    part: u32,
    part_start: Samples,
    /// Audio of the part before that this one's recogniser heard first.
    lead_in: Samples,
    /// Up to where the audio is put out.
    put_out: Samples,
    /// Received samples put out in this part.
    speech: Samples,
    held: VecDeque<Heard>,
    held_len: Samples,
    /// What was put out last, where a cut may come that needs it for a lead-in.
    recent: VecDeque<Heard>,
    /// Scratch for the decision, kept for its memory.
    window: Vec<cut::Piece>,
}

impl Parts {
    /// Opens an utterance and its first part.
    pub(super) fn open(
        settings: cut::Settings,
        utterance: u64,
        start: Samples,
        outputs: &mut VecDeque<Output>,
    ) -> Self {
        outputs.push_back(Output::Started { utterance, start });
        outputs.push_back(Output::PartOpened {
            utterance,
            part: 0,
            start,
            lead_in: Samples::ZERO,
        });
        Self {
            settings,
            utterance,
            utterance_start: start,
            part: 0,
            part_start: start,
            lead_in: Samples::ZERO,
            put_out: start,
            speech: Samples::ZERO,
            held: VecDeque::new(),
            held_len: Samples::ZERO,
            recent: VecDeque::new(),
            window: Vec::new(),
        }
    }

    /// Reads a little of what the next frame will need; the sum means nothing.
    pub(super) fn touch(&self) -> u64 {
        self.put_out.0 ^ self.speech.0 ^ self.part_start.0 ^ self.held.len() as u64
    }

    /// Takes the next frame of the utterance.
    pub(super) fn push(&mut self, heard: Heard, outputs: &mut VecDeque<Output>) {
        if self.audio_until(heard.frame.end()) > self.settings.limit {
            let count = cut::anywhere(self.window());
            self.end_part(count, outputs);
            self.begin_part(self.settings.overlap, outputs);
        }
        if self.audio_until(heard.frame.end()) <= self.settings.search_from {
            self.release(Samples::ZERO, outputs);
            return self.put_out_next(&heard, outputs);
        }
        self.hold(heard);
        if heard.is_speech && self.follows_a_pause() {
            let offset = self.audio_until(self.put_out);
            let settings = self.settings;
            if let Some(count) = cut::at_pause(self.window(), offset, &settings) {
                self.end_part(count, outputs);
                return self.begin_part(Samples::ZERO, outputs);
            }
        }
        self.release(self.settings.look_ahead, outputs);
    }

    /// Closes the last part and the utterance at the end of the last frame; gives that end.
    pub(super) fn close(mut self, outputs: &mut VecDeque<Output>) -> Samples {
        self.release(Samples::ZERO, outputs);
        let end = self.put_out;
        outputs.push_back(Output::PartClosed {
            end,
            speech: self.speech,
            last: true,
        });
        outputs.push_back(Output::Ended {
            utterance: self.utterance,
            start: self.utterance_start,
            end,
        });
        end
    }

    /// Ends the part after so many held frames; the others begin the next one.
    fn end_part(&mut self, count: usize, outputs: &mut VecDeque<Output>) {
        for _ in 0..count {
            self.put_out_oldest(outputs);
        }
        outputs.push_back(Output::PartClosed {
            end: self.put_out,
            speech: self.speech,
            last: false,
        });
    }

    /// Opens the next part where the one before ended, with as much of its end as lead-in.
    fn begin_part(&mut self, lead_in: Samples, outputs: &mut VecDeque<Output>) {
        let start = self.put_out;
        let from = start.saturating_sub(lead_in);
        let lead_in: Vec<Frame> = self.recent.drain(..).map(|heard| heard.frame).collect();
        let lead_in = &lead_in[lead_in.partition_point(|frame| frame.start < from)..];
        self.part += 1;
        self.part_start = start;
        self.lead_in = lead_in
            .first()
            .map_or(Samples::ZERO, |frame| start - frame.start);
        self.speech = Samples::ZERO;
        outputs.push_back(Output::PartOpened {
            utterance: self.utterance,
            part: self.part,
            start,
            lead_in: self.lead_in,
        });
        outputs.extend(lead_in.iter().copied().map(Output::LeadIn));
        self.release(Samples::ZERO, outputs);
    }

    /// What the recogniser of the open part has heard when it has heard all up to `end`.
    fn audio_until(&self, end: Samples) -> Samples {
        self.lead_in + end.saturating_sub(self.part_start)
    }

    /// How much audio of the open part is put out.
    pub(super) fn len(&self) -> Samples {
        self.audio_until(self.put_out)
    }

    /// Up to where the audio is put out.
    pub(super) const fn put_out(&self) -> Samples {
        self.put_out
    }

    /// What is held back.
    pub(super) const fn held_len(&self) -> Samples {
        self.held_len
    }

    fn hold(&mut self, heard: Heard) {
        self.held_len += Samples(u64::from(heard.frame.len));
        self.held.push_back(heard);
    }

    /// Puts out the oldest held frames until no more than `keep` is held.
    fn release(&mut self, keep: Samples, outputs: &mut VecDeque<Output>) {
        while self.held_len > keep {
            self.put_out_oldest(outputs);
        }
    }

    fn put_out_oldest(&mut self, outputs: &mut VecDeque<Output>) {
        if let Some(heard) = self.held.pop_front() {
            let len = Samples(u64::from(heard.frame.len));
            self.held_len = self.held_len.saturating_sub(len);
            self.put_out_next(&heard, outputs);
        }
    }

    fn put_out_next(&mut self, heard: &Heard, outputs: &mut VecDeque<Output>) {
        let frame = heard.frame;
        self.put_out = frame.end();
        self.speech += frame.received();
        outputs.push_back(Output::Audio(frame));
        if self.audio_until(frame.end()) + self.settings.overlap > self.settings.search_from {
            self.recall(*heard);
        }
    }

    fn recall(&mut self, heard: Heard) {
        let from = heard.frame.end().saturating_sub(self.settings.overlap);
        self.recent.push_back(heard);
        while self
            .recent
            .front()
            .is_some_and(|oldest| oldest.frame.start < from)
        {
            self.recent.pop_front();
        }
    }

    fn follows_a_pause(&self) -> bool {
        let before = self
            .held
            .len()
            .checked_sub(2)
            .and_then(|index| self.held.get(index));
        before.is_some_and(|heard| !heard.is_speech)
    }

    fn window(&mut self) -> &[cut::Piece] {
        self.window.clear();
        self.window.extend(self.held.iter().map(Heard::as_piece));
        &self.window
    }
}
